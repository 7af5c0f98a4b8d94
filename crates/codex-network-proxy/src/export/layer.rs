//! Hears audit events among everything that `tracing` is told.
//!
//! [`AuditLayer`] is added to the subscriber of the program. It puts each event into the queue of each exporter and never waits;
//! log lines and spans are not for it.

use std::sync::Arc;

use codex_network_gate::AUDIT_TARGET;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::queue::Queue;

/// The part of a subscriber that takes audit events. Made by [`Exports::layer`](super::Exports::layer).
#[derive(Clone, Debug)]
pub(super) struct AuditLayer {
    queues: Arc<[Arc<Queue>]>,
}

impl AuditLayer {
    pub(super) fn of<S>(queues: Arc<[Arc<Queue>]>) -> impl Layer<S> + Send + Sync
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let wanted = !queues.is_empty();
        Self { queues }.with_filter(AuditEvents { wanted })
    }
}

impl<S: Subscriber> Layer<S> for AuditLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        for queue in self.queues.iter() {
            queue.push(event);
        }
    }
}

/// Lets audit events pass, whatever the filter of the log says.
#[derive(Debug)]
struct AuditEvents {
    wanted: bool,
}

impl AuditEvents {
    /// `tracing::enabled!` asks with metadata that is neither an event's nor a span's.
    fn pass(&self, metadata: &Metadata<'_>) -> bool {
        self.wanted && !metadata.is_span() && metadata.target() == AUDIT_TARGET
    }
}

impl<S> Filter<S> for AuditEvents {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.pass(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Never "always": where all layers say that, they are not asked again, and what another layer's `enabled!` has left
        // of its own answer on this thread would be taken for ours. An audit event would be lost.
        if self.pass(metadata) {
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        let level = if self.wanted {
            Level::INFO.into()
        } else {
            tracing::level_filters::LevelFilter::OFF
        };
        Some(level)
    }
}
