//! Metrics: what the proxy has counted, under the names that dashboards know, and an endpoint that serves them.
//!
//! [`Metrics`] collects at the moment of asking; as text it is OpenMetrics. [`MetricsEndpoint`] says where to serve it: a unix
//! socket of the owner's, or an address with a bearer token. The endpoint also tells whoever supervises the proxy, or balances
//! load over several, that it lives and whether it wants new clients. There is none by default, and the gate lets nobody reach one
//! through the proxy. No metric has a host, a client or a path in its labels.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use codex_network_gate::Gate;

use crate::meters::Meters;

mod catalogue;
mod collect;
mod endpoint;
mod routes;
mod serve;
#[cfg(unix)]
mod socket_file;
mod text;
mod token;

pub use catalogue::{Definition, Kind, Metric, Unit};
pub use collect::{Family, Sample, Value};
pub use endpoint::MetricsEndpoint;
pub use token::BearerToken;

/// What a proxy has counted, whenever somebody asks. Made by [`NetworkProxy::metrics`](crate::NetworkProxy::metrics).
///
/// Its `Display` is the OpenMetrics text format.
#[derive(Clone, Debug)]
pub struct Metrics {
    gate: Arc<Gate>,
    meters: Arc<Meters>,
}

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Metrics {
    pub(crate) fn new(gate: Arc<Gate>, meters: Arc<Meters>) -> Self {
        Self { gate, meters }
    }

    /// Whether new clients are welcome: the proxy has not been withdrawn, and does not drain.
    pub(crate) fn is_ready(&self) -> bool {
        !self.meters.withdrawn.load(Ordering::Relaxed)
    }

    /// No new client is welcome any more.
    pub(crate) fn withdraw(&self) {
        self.meters.withdrawn.store(true, Ordering::Relaxed);
    }

    /// Every metric with its samples as of now, in the order of [`Metric::ALL`].
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        collect::families(&self.gate, &self.meters)
    }
}

#[cfg(feature = "export")]
impl Metrics {
    /// When counting began.
    pub(crate) fn started(&self) -> std::time::SystemTime {
        self.meters.started
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(f, &self.families())
    }
}

#[cfg(test)]
mod tests;
