//! Where evidence goes beside the log: a file of audit events, and a collector that speaks OTLP.
//!
//! [`Exports`] owns the threads that write and send. Audit events come in by its [`layer`](Exports::layer) of the program's
//! `tracing` subscriber, metrics from the proxy that is built with it. No request ever waits for an exporter: each has a queue
//! with room for so many, counts what it drops, and makes an event of the count.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use codex_network_gate::AuditLogHealth;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::Subscriber;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use crate::meters::ExporterMeters;
use crate::metrics::Metrics;

mod event;
mod file;
mod layer;
mod otlp;
mod queue;

pub use otlp::{OtlpSettings, OtlpSettingsError};

use file::AuditFile;
use layer::AuditLayer;
use otlp::Source;
use queue::Queue;

/// What exports the evidence of a program, from its start to its end.
///
/// The audit events are those of the whole program. The metrics are those of the proxy that was built with it last.
#[derive(Debug)]
pub struct Exports {
    queues: Arc<[Arc<Queue>]>,
    others: Vec<Arc<ExporterMeters>>,
    health: Arc<AuditLogHealth>,
    reopen: Arc<Notify>,
    source: Source,
    stop: watch::Sender<bool>,
    ended: Mutex<Vec<Receiver<()>>>,
}

/// What to export, and where to.
#[derive(Debug, Default)]
pub struct ExportsBuilder {
    audit_log: Option<PathBuf>,
    otlp: Option<OtlpSettings>,
}

impl ExportsBuilder {
    /// Appends every audit event to this file, a JSON object a line.
    #[must_use]
    pub fn audit_log(mut self, path: impl Into<PathBuf>) -> Self {
        self.audit_log = Some(path.into());
        self
    }

    /// Sends audit events and metrics to a collector.
    #[must_use]
    pub fn otlp(mut self, settings: OtlpSettings) -> Self {
        self.otlp = Some(settings);
        self
    }

    /// Opens the file and starts the threads.
    ///
    /// # Errors
    /// Where the file cannot be opened, is a link, or is open to others; where the system gives no thread.
    pub fn start(self) -> io::Result<Arc<Exports>> {
        let (stop, stopped) = watch::channel(false);
        let mut exports = Exports {
            queues: Arc::default(),
            others: Vec::new(),
            health: Arc::default(),
            reopen: Arc::default(),
            source: Source::default(),
            stop,
            ended: Mutex::default(),
        };
        let mut queues = Vec::new();
        if let Some(path) = &self.audit_log {
            queues.push(exports.start_file(path, stopped.clone())?);
        }
        if let Some(settings) = self.otlp {
            let logs = settings.log_queue();
            queues.extend(logs.clone());
            let metrics = settings.metrics_meters();
            exports.others.extend(metrics.clone());
            let source = Arc::clone(&exports.source);
            let ended = spawn("otlp", move || {
                otlp::run(settings, logs, metrics, source, stopped)
            })?;
            exports.watch(ended);
        }
        exports.queues = queues.into();
        Ok(Arc::new(exports))
    }
}

impl Exports {
    /// Starts saying what to export.
    #[must_use]
    pub fn builder() -> ExportsBuilder {
        ExportsBuilder::default()
    }

    /// The layer by which audit events come in, for the subscriber of the program. It takes them whatever the filters of
    /// other layers say, and nothing else.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        AuditLayer::of(Arc::clone(&self.queues))
    }

    /// Opens the audit log again, for it was moved away.
    pub fn reopen(&self) {
        self.reopen.notify_one();
    }

    /// Writes and sends what waits, for as long as `limit`, and ends. It blocks its thread.
    pub fn finish(&self, limit: Duration) {
        self.stop.send_replace(true);
        let deadline = Instant::now() + limit;
        let ended = std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        for ended in ended {
            let left = deadline.saturating_duration_since(Instant::now());
            let _ = ended.recv_timeout(left);
        }
    }

    fn watch(&self, thread: Receiver<()>) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push(thread);
    }

    pub(crate) fn health(&self) -> Arc<AuditLogHealth> {
        Arc::clone(&self.health)
    }

    pub(crate) fn meters(&self) -> impl Iterator<Item = Arc<ExporterMeters>> {
        let queues = self.queues.iter().map(|queue| Arc::clone(&queue.meters));
        queues.chain(self.others.iter().cloned())
    }

    /// Takes metrics from here on from this proxy.
    pub(crate) fn observe(&self, metrics: Metrics) {
        let source = self.source.lock();
        *source.unwrap_or_else(PoisonError::into_inner) = Some(metrics);
    }

    fn start_file(
        &mut self,
        path: &Path,
        stopped: watch::Receiver<bool>,
    ) -> io::Result<Arc<Queue>> {
        let queue = Queue::new(file::NAME, file::CAPACITY, file::BATCH, file::line);
        let file = AuditFile::open(path, self.health())?;
        let (waiting, reopen) = (Arc::clone(&queue), Arc::clone(&self.reopen));
        let ended = spawn("audit-log", move || file.run(waiting, reopen, stopped))?;
        self.watch(ended);
        Ok(queue)
    }
}

impl Drop for Exports {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Runs a future on a thread of its own, apart from the runtime that serves: a file that hangs must not hold up a request.
fn spawn<F: Future<Output = ()>>(
    name: &str,
    start: impl FnOnce() -> F + Send + 'static,
) -> io::Result<Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (end, ended) = sync_channel(1);
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            runtime.block_on(start());
            // A look-up that the system is busy with cannot be cancelled, and shall not be waited for.
            runtime.shutdown_background();
            let _ = end.try_send(());
        })?;
    Ok(ended)
}
