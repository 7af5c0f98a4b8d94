//! What the proxy counts beside its gate: connections, associations, the pool, leaves, reloads, and what exports evidence.
//!
//! [`Meters`] is shared by everything of one proxy that has something to count. It is numbers and nothing else: how they are
//! called and shown is in `metrics`.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use codex_network_gate::{Counter, Gauge};

/// Everything that a proxy counts beside its gate.
#[derive(Debug)]
pub(crate) struct Meters {
    /// When the proxy was built.
    pub(crate) started: SystemTime,
    /// Whether whoever balances load is to send new clients elsewhere.
    pub(crate) withdrawn: AtomicBool,
    pub(crate) http: Arc<ListenerMeters>,
    pub(crate) socks: Arc<ListenerMeters>,
    /// UDP associations that are open.
    pub(crate) associations: Gauge,
    pub(crate) pool: PoolMeters,
    pub(crate) leaves: LeafMeters,
    pub(crate) reloads: Arc<ReloadMeters>,
    exporters: Mutex<Vec<Arc<ExporterMeters>>>,
}

/// The connections of one listener.
#[derive(Debug, Default)]
pub(crate) struct ListenerMeters {
    pub(crate) accepted: Counter,
    /// Closed at once, for their client had its share.
    pub(crate) over_share: Counter,
    pub(crate) open: Gauge,
}

/// Where requests find their upstream connections.
#[derive(Debug, Default)]
pub(crate) struct PoolMeters {
    /// Connections that wait for their next request, or that several share.
    pub(crate) kept: Gauge,
    /// Requests that went over a kept connection.
    pub(crate) reused: Counter,
    /// Requests that opened one.
    pub(crate) opened: Counter,
}

/// The certificates of opened tunnels.
#[derive(Debug, Default)]
pub(crate) struct LeafMeters {
    pub(crate) signed: Counter,
    pub(crate) reused: Counter,
    /// Hosts whose certificate is kept.
    pub(crate) kept: Gauge,
}

/// What came of changed config files.
#[derive(Debug, Default)]
pub(crate) struct ReloadMeters {
    pub(crate) taken_up: Counter,
    pub(crate) failed: Counter,
    /// 1 while files are broken and the last good policy is in force.
    pub(crate) failing: Gauge,
}

/// What exports audit events.
#[derive(Debug)]
pub(crate) struct ExporterMeters {
    /// Its name in labels: `file`, `otlp_logs`, `otlp_metrics`.
    pub(crate) name: &'static str,
    /// What was exported: events, or collections of metrics.
    pub(crate) exported: Counter,
    /// What was lost: there was no room in the queue, or it was refused for good.
    pub(crate) dropped: Counter,
    /// Attempts that failed.
    pub(crate) failures: Counter,
    /// What waits.
    pub(crate) waiting: Gauge,
}

impl ExporterMeters {
    #[cfg_attr(
        not(any(test, feature = "export")),
        expect(dead_code, reason = "there are no exporters without the feature")
    )]
    pub(crate) fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self {
            name,
            exported: Counter::default(),
            dropped: Counter::default(),
            failures: Counter::default(),
            waiting: Gauge::default(),
        })
    }
}

impl Meters {
    /// Beside those of the configuration in force, which several proxies may share.
    pub(crate) fn new(reloads: Arc<ReloadMeters>) -> Self {
        Self {
            started: SystemTime::now(),
            withdrawn: AtomicBool::new(false),
            http: Arc::default(),
            socks: Arc::default(),
            associations: Gauge::default(),
            pool: PoolMeters::default(),
            leaves: LeafMeters::default(),
            reloads,
            exporters: Mutex::default(),
        }
    }

    #[cfg_attr(
        not(any(test, feature = "export")),
        expect(dead_code, reason = "there are no exporters without the feature")
    )]
    /// Shows an exporter's numbers with the others.
    pub(crate) fn add_exporter(&self, meters: Arc<ExporterMeters>) {
        let mut exporters = self
            .exporters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        exporters.push(meters);
    }

    pub(crate) fn exporters(&self) -> Vec<Arc<ExporterMeters>> {
        let exporters = self.exporters.lock();
        exporters.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
