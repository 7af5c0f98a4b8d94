//! What a proxy tells of itself beside its audit trail: the builder's and the proxy's part of metrics.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::NetworkProxy;
use super::builder::NetworkProxyBuilder;
use crate::error::{Error, ErrorKind};
use crate::metrics::{Metrics, MetricsEndpoint};

impl NetworkProxyBuilder {
    /// Serves metrics here while the proxy runs. May be called for several; by default there is none.
    #[must_use]
    pub fn metrics_endpoint(mut self, endpoint: MetricsEndpoint) -> Self {
        self.metrics.push(endpoint);
        self
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
