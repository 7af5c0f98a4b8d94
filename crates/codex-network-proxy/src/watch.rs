//! Ends what a [`Permit`] has opened as soon as a new policy forbids it.
//!
//! [`Watch`] runs a future, whatever moves the bytes, beside the changes of the policy. It deliberately judges by the
//! gate's own methods and knows nothing of what the future does.

use std::io;
use std::sync::{Arc, OnceLock};

use codex_network_gate::{Gate, Permit};
use codex_network_policy::Host;

/// The terms on which something stays open.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) gate: Arc<Gate>,
    pub(crate) permit: Permit,
    /// The HTTP method that asked for it; `None` for SOCKS5.
    pub(crate) method: Option<&'static str>,
    /// Whether it began as an HTTP upgrade.
    pub(crate) upgrade: bool,
    /// The server name in the client's TLS, once it is known.
    pub(crate) server_name: OnceLock<Host>,
}

impl Watch {
    /// Runs `work` to its end, or until the policy forbids it. What is large is boxed by whoever calls: an idle tunnel should
    /// hold it once.
    ///
    /// # Errors
    /// What `work` reports; [`io::ErrorKind::PermissionDenied`] where a new policy forbids it.
    pub(crate) async fn run<T>(
        &self,
        mut work: impl Future<Output = io::Result<T>> + Unpin,
    ) -> io::Result<T> {
        let mut changes = self.gate.store().watch();
        loop {
            if !self.is_permitted() {
                tracing::warn!(target = %self.permit, "a tunnel was closed: the new policy forbids it");
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            tokio::select! {
                ended = &mut work => return ended,
                changed = changes.changed() => {
                    if changed.is_err() {
                        return work.await;
                    }
                }
            }
        }
    }

    fn is_permitted(&self) -> bool {
        self.gate
            .still_permits(&self.permit, self.method, self.upgrade)
            && self
                .server_name
                .get()
                .is_none_or(|name| self.gate.still_admits(&self.permit, name))
    }
}
