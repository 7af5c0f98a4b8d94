//! An opaque stream under a [`Permit`].
//!
//! [`Tunnel`] relays until both sides have ended, and ends itself when a new policy would refuse it. It is where
//! CONNECT, SOCKS5 and upgrades meet. It deliberately does not look at the bytes.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use codex_network_gate::{Connection, Gate, Permit};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::relay::Relay;

/// A permitted upstream connection that waits for its client.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) gate: Arc<Gate>,
    pub(crate) permit: Permit,
    pub(crate) upstream: Connection,
    /// The HTTP method that asked for the tunnel; `None` for SOCKS5.
    pub(crate) method: Option<&'static str>,
    /// Whether it began as an HTTP upgrade.
    pub(crate) upgrade: bool,
}

impl Tunnel {
    /// Relays between `downstream` and the upstream. `early` was read from downstream already.
    ///
    /// # Errors
    /// What either stream reports; [`io::ErrorKind::TimedOut`] after the idle limit;
    /// [`io::ErrorKind::PermissionDenied`] where a new policy forbids the tunnel.
    pub(crate) async fn run<D>(self, downstream: D, early: Bytes) -> io::Result<()>
    where
        D: AsyncRead + AsyncWrite + Unpin,
    {
        let Self {
            gate,
            permit,
            upstream,
            method,
            upgrade,
        } = self;
        let mut changes = gate.store().watch();
        let limits = gate.limits();
        let (idle, half_closed) = (limits.tunnel_idle, limits.tunnel_half_closed);
        let mut relay = Relay::new(downstream, upstream, &early, idle, half_closed);
        drop(early);
        loop {
            if !gate.still_permits(&permit, method, upgrade) {
                tracing::warn!(target = %permit, "a tunnel was closed: the new policy forbids it");
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            tokio::select! {
                ended = &mut relay => return ended,
                changed = changes.changed() => {
                    if changed.is_err() {
                        return relay.await;
                    }
                }
            }
        }
    }
}
