//! Audit events as OTLP logs, and metrics as OTLP metrics, to a collector over HTTP with protobuf.
//!
//! [`OtlpSettings`] says where to, from the standard variables; [`run`] sends until it is told to stop. A collector that is
//! down or slow costs events when the queue is full, and nothing else; every limit is its own. It offers no gRPC, no
//! compression and no traces.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use codex_network_gate::record_audit_loss;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::queue::Queue;
use crate::meters::ExporterMeters;
use crate::metrics::Metrics;

mod encode;
mod endpoint;
mod post;
mod record;
mod settings;

pub use settings::{OtlpSettings, OtlpSettingsError};

use encode::Encoder;
use post::{Message, Post, Sent};
use settings::{LOGS, METRICS};

/// How long to wait after a first failure, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The proxy whose metrics are sent, once there is one.
pub(super) type Source = Arc<Mutex<Option<Metrics>>>;

/// Sends both until `stop` becomes true, and then what is left.
pub(super) async fn run(
    settings: OtlpSettings,
    logs: Option<Arc<Queue>>,
    metrics: Option<Arc<ExporterMeters>>,
    source: Source,
    stop: watch::Receiver<bool>,
) {
    let encoder = Encoder::new(&settings.resource);
    let logs = async {
        if let (Some(queue), Some(endpoint)) = (logs, settings.logs) {
            let sender = Sender::new(LOGS, Post::new(endpoint), Arc::clone(&queue.meters));
            send_logs(sender, &encoder, &queue, settings.delay, stop.clone()).await;
        }
    };
    let metrics = async {
        if let (Some(meters), Some(endpoint)) = (metrics, settings.metrics) {
            let sender = Sender::new(METRICS, Post::new(endpoint), meters);
            send_metrics(sender, &encoder, &source, settings.interval, stop.clone()).await;
        }
    };
    tokio::join!(logs, metrics);
}

async fn send_logs(
    mut sender: Sender,
    encoder: &Encoder,
    queue: &Queue,
    delay: Duration,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let gathered = async {
            queue.some().await;
            tokio::select! {
                () = queue.full_batch() => {}
                () = sleep(delay) => {}
            }
        };
        let stopping = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => true,
            () = gathered => false,
        };
        loop {
            let batch = queue.take();
            if batch.events == 0 {
                break;
            }
            let count = u64::try_from(batch.events).unwrap_or(u64::MAX);
            let message = Message {
                head: encoder.logs_head(batch.bytes.len()).into(),
                rest: batch.bytes.into(),
            };
            let lost = sender.send(&message, count, &mut stop).await;
            if message.rest.is_unique() {
                queue.give_back(message.rest.into());
            }
            queue.lose(lost);
            if lost > 0 && *stop.borrow() {
                break;
            }
            // Said behind what got through, where there is room again.
            if lost == 0 && queue.has_untold() {
                record_audit_loss(LOGS, queue.take_untold());
            }
            if !stopping {
                break;
            }
        }
        if stopping {
            return;
        }
    }
}

async fn send_metrics(
    mut sender: Sender,
    encoder: &Encoder,
    source: &Source,
    interval: Duration,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let stopping = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => true,
            () = sleep(interval) => false,
        };
        let metrics = source
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(metrics) = metrics {
            // The next collection says all that this one does, so it is not repeated.
            let message = Message {
                head: encoder.metrics(&metrics).into(),
                ..Message::default()
            };
            let sent = sender.attempt(&message).await;
            if !matches!(sent, Sent::Taken { .. }) {
                sender.meters.dropped.increment();
            }
        }
        if stopping {
            return;
        }
    }
}

/// Sends one signal, repeats what failed, and says when it begins and ceases to fail.
struct Sender {
    name: &'static str,
    post: Post,
    meters: Arc<ExporterMeters>,
    failing: bool,
}

impl Sender {
    fn new(name: &'static str, post: Post, meters: Arc<ExporterMeters>) -> Self {
        Self {
            name,
            post,
            meters,
            failing: false,
        }
    }

    /// Sends `count` events, again and again while the collector asks for that or is not there. Returns how many are lost.
    async fn send(
        &mut self,
        message: &Message,
        count: u64,
        stop: &mut watch::Receiver<bool>,
    ) -> u64 {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.attempt(message).await {
                Sent::Taken { rejected } => {
                    let rejected = rejected.min(count);
                    // One for a whole message; `attempt` cannot know what it holds.
                    self.meters.exported.add(count - rejected);
                    return rejected;
                }
                Sent::Refused => return count,
                Sent::Later { after } => {
                    if *stop.borrow() {
                        return count;
                    }
                    let until = Instant::now() + after.unwrap_or(pause).min(LONGEST_PAUSE);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    tokio::select! {
                        () = sleep_until(until) => {}
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                }
            }
        }
    }

    async fn attempt(&mut self, message: &Message) -> Sent {
        match self.post.send(message).await {
            Ok(sent @ Sent::Taken { .. }) => {
                if self.failing {
                    self.failing = false;
                    tracing::warn!(exporter = self.name, "the collector takes evidence again");
                }
                if self.name == METRICS {
                    self.meters.exported.increment();
                }
                sent
            }
            Ok(sent) => {
                self.failed("the collector refused it");
                sent
            }
            Err(error) => {
                self.failed(&error);
                Sent::Later { after: None }
            }
        }
    }

    fn failed(&mut self, why: &str) {
        self.meters.failures.increment();
        if !self.failing {
            self.failing = true;
            tracing::warn!(
                exporter = self.name,
                why = why.escape_debug().to_string(),
                "evidence cannot be sent to the collector; it waits, as far as there is room"
            );
        }
    }
}
