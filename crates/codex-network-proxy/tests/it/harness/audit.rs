//! The events of the proxy that runs on this thread.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Metadata, Subscriber, span};

use super::within;

/// One audit event: its fields in the order in which they were recorded.
#[derive(Clone, Debug)]
pub(crate) struct Event(pub(crate) Vec<(&'static str, String)>);

impl Event {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(field, _)| *field == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The event in the short form of the specification, without time and client.
    pub(crate) fn line(&self) -> String {
        let field = |name| self.field(name).unwrap_or("-");
        let mut line = format!(
            "{} {} {}:{} reason={} method={} source={} scope={} override={}",
            field("network.transport.protocol"),
            field("network.policy.decision"),
            field("server.address"),
            field("server.port"),
            field("network.policy.reason"),
            field("http.request.method"),
            field("network.policy.source"),
            field("network.policy.scope"),
            field("network.policy.override"),
        );
        if let Some(upstream) = self.field("network.upstream") {
            line.push_str(" upstream=");
            line.push_str(upstream);
        }
        line
    }
}

/// Collects what this thread records, until it is dropped.
pub(crate) struct Audit {
    records: Arc<Records>,
    _guard: DefaultGuard,
}

#[derive(Debug, Default)]
struct Records {
    events: Mutex<Vec<Event>>,
    arrived: Notify,
    log: Mutex<String>,
}

impl Audit {
    pub(crate) fn start() -> Self {
        let records = Arc::new(Records::default());
        let guard = tracing::subscriber::set_default(Recorder(Arc::clone(&records)));
        Self {
            records,
            _guard: guard,
        }
    }

    /// The audit events since the last call.
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.records.events.lock().unwrap())
    }

    /// Waits for an event, and takes it and what has come with it.
    pub(crate) async fn next(&self) -> Vec<Event> {
        within("an audit event", async {
            loop {
                let arrived = self.records.arrived.notified();
                let events = self.take();
                if !events.is_empty() {
                    return events;
                }
                arrived.await;
            }
        })
        .await
    }

    /// Everything that was logged at any level, audit events included.
    pub(crate) fn log(&self) -> String {
        self.records.log.lock().unwrap().clone()
    }
}

struct Recorder(Arc<Records>);

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("codex")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields(Vec::new());
        event.record(&mut fields);
        let mut log = self.0.log.lock().unwrap();
        for (name, value) in &fields.0 {
            log.push_str(&format!("{name}={value} "));
        }
        log.push('\n');
        if event.metadata().target() == "codex_otel.network_proxy" {
            self.0.events.lock().unwrap().push(Event(fields.0));
            self.0.arrived.notify_waiters();
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Fields(Vec<(&'static str, String)>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}
