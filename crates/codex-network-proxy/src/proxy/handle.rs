//! A running proxy: where it listens, waiting for its end, bringing it about.
//!
//! Main type: [`NetworkProxyHandle`], which owns every task of the proxy. Nothing that serves outlives it.

use std::time::Duration;

use codex_network_gate::History;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::ListenerAddresses;
use crate::error::{Error, ErrorKind};
use crate::in_force::Requests;

/// A running proxy. Dropping it stops the proxy at once.
#[derive(Debug)]
pub struct NetworkProxyHandle {
    pub(super) stop: watch::Sender<bool>,
    pub(super) tasks: JoinSet<()>,
    pub(super) addresses: Option<ListenerAddresses>,
    pub(super) requests: Requests,
    pub(super) history: History,
    /// How long an observer may take notice of the last refusals.
    pub(super) drain: Duration,
}

impl NetworkProxyHandle {
    /// Where the proxy listens; `None` where its configuration disables it.
    #[must_use]
    pub fn addresses(&self) -> Option<&ListenerAddresses> {
        self.addresses.as_ref()
    }

    /// Reads the configuration again, changed or not. Without files and without a reloader, or where reloading is off,
    /// nothing happens.
    pub fn reload(&self) {
        self.requests.request();
    }

    /// Waits for the proxy to end. A disabled proxy has ended already.
    ///
    /// # Errors
    /// [`ErrorKind::Task`] where a listener panicked.
    pub async fn wait(mut self) -> Result<(), Error> {
        self.finish().await
    }

    /// Stops accepting, lets open connections finish for as long as [`Limits::drain`] says, and closes the rest. An
    /// observer has as long again for the last refusals.
    ///
    /// # Errors
    /// As for [`NetworkProxyHandle::wait`].
    ///
    /// [`Limits::drain`]: crate::Limits::drain
    pub async fn shutdown(mut self) -> Result<(), Error> {
        self.stop.send_replace(true);
        self.finish().await
    }

    async fn finish(&mut self) -> Result<(), Error> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|error| Error::new(ErrorKind::Task, "a listener failed", error))?;
        }
        self.history.observed(self.drain).await;
        Ok(())
    }
}
