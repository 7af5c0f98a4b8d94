//! What a proxy tells of itself beside its audit trail: the builder's and the proxy's part of metrics.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::NetworkProxy;
use super::builder::NetworkProxyBuilder;
use crate::error::{Error, ErrorKind};
#[cfg(feature = "export")]
use crate::export::Exports;
use crate::metrics::{Metrics, MetricsEndpoint};

impl NetworkProxyBuilder {
    /// Serves metrics here while the proxy runs. May be called for several; by default there is none.
    #[must_use]
    pub fn metrics_endpoint(mut self, endpoint: MetricsEndpoint) -> Self {
        self.metrics.push(endpoint);
        self
    }

    /// Hands the metrics to these exporters, shows theirs among them, and heeds whether their audit log can be written.
    #[cfg(feature = "export")]
    #[must_use]
    pub fn exports(mut self, exports: &Arc<Exports>) -> Self {
        self.exports = Some(Arc::clone(exports));
        self
    }
}

#[cfg(feature = "export")]
impl NetworkProxy {
    /// Makes the proxy known to its exporters.
    pub(super) fn export_to(&self, exports: Option<&Arc<Exports>>) {
        let Some(exports) = exports else { return };
        for meters in exports.meters() {
            self.meters.add_exporter(meters);
        }
        exports.observe(self.metrics());
    }
}

impl NetworkProxy {
    /// What the proxy counts.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::new(Arc::clone(&self.gate), Arc::clone(&self.meters))
    }

    /// Tells whoever asks `/readyz` at a metrics endpoint to send new clients elsewhere. Those that come are served all the
    /// same; shutting down says it by itself.
    pub fn withdraw(&self) {
        self.metrics().withdraw();
    }

    /// Binds the endpoints of the metrics and serves them until the other ends of `doors` are dropped.
    pub(super) fn serve_metrics(
        &self,
        tasks: &mut JoinSet<()>,
        draining: &watch::Receiver<bool>,
        doors: watch::Sender<()>,
    ) -> Result<(), Error> {
        let doors = Arc::new(doors);
        for endpoint in &self.metrics {
            let bound = endpoint.bind().and_then(|bound| {
                bound.hide_from(&self.gate)?;
                Ok(bound)
            });
            let bound = bound.map_err(|error| {
                let message = format!("bind metrics endpoint: {endpoint}");
                Error::new(ErrorKind::Evidence, message, error)
            })?;
            tracing::info!("metrics at {}", bound.place());
            tasks.spawn(bound.run(self.metrics(), draining.clone(), Arc::clone(&doors)));
        }
        Ok(())
    }
}
