//! An opaque stream under a [`Permit`].
//!
//! [`Tunnel`] looks at how the client begins, has the server name of a TLS hello judged before the origin gets one byte of
//! it, and relays until both sides have ended or a new policy forbids it. It is where CONNECT, SOCKS5 and upgrades meet.
//! It deliberately does not look at what follows the first bytes.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use codex_network_gate::{Connection, Denial, Fingerprint, Gate, HelloName, Permit, Proof};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::hello::Hello;
use crate::relay::Relay;
use crate::watch::Watch;

mod screen;

use screen::{First, Screen};

/// A fatal TLS alert, `access_denied` (RFC 8446 section 6): most clients print its name.
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// What may still be read from a client that has been refused, so that its alert is not lost to a reset.
const LEFTOVER_BYTES: u64 = 64 * 1024;

/// A permitted upstream connection that waits for its client.
#[derive(Debug)]
pub(crate) struct Tunnel {
    watch: Watch,
    upstream: Connection,
    client: SocketAddr,
}

impl Tunnel {
    /// A tunnel that was asked for by this HTTP method; `None` for SOCKS5.
    pub(crate) fn new(
        gate: Arc<Gate>,
        permit: Permit,
        upstream: Connection,
        method: Option<&'static str>,
        client: SocketAddr,
    ) -> Self {
        let watch = Watch {
            gate,
            permit,
            method,
            upgrade: false,
            server_name: OnceLock::new(),
        };
        Self {
            watch,
            upstream,
            client,
        }
    }

    /// What became of an HTTP connection that its origin has let go.
    pub(crate) fn upgraded(
        gate: Arc<Gate>,
        permit: Permit,
        upstream: Connection,
        client: SocketAddr,
    ) -> Self {
        let mut tunnel = Self::new(gate, permit, upstream, Some("GET"), client);
        tunnel.watch.upgrade = true;
        tunnel
    }

    /// Our end of the upstream connection.
    pub(crate) fn upstream(&self) -> &Connection {
        &self.upstream
    }

    /// Relays between `downstream` and the upstream. `early` was read from downstream already.
    ///
    /// # Errors
    /// What either stream reports; [`io::ErrorKind::TimedOut`] after the idle limit;
    /// [`io::ErrorKind::PermissionDenied`] where the client's hello is refused, or a new policy forbids the tunnel.
    pub(crate) async fn run<D>(self, downstream: D, early: Bytes) -> io::Result<()>
    where
        D: AsyncRead + AsyncWrite + Unpin,
    {
        let Self {
            watch,
            upstream,
            client,
        } = self;
        let limits = watch.gate.limits();
        let (idle, half_closed) = (limits.tunnel_idle, limits.tunnel_half_closed);
        if watch.upgrade {
            let relay = Relay::new(downstream, upstream, &early, idle, half_closed);
            drop(early);
            return watch.run(relay).await;
        }
        let screen = Screen::new(downstream, early, limits.handshake);
        let relay = Relay::new(screen, upstream, &[], idle, half_closed);
        watch.run(screened(&watch, relay, client)).await
    }
}

/// Relays what the client begins with once that is judged, and from then on everything.
async fn screened<D>(
    watch: &Watch,
    mut relay: Relay<Screen<D>, Connection>,
    client: SocketAddr,
) -> io::Result<()>
where
    D: AsyncRead + AsyncWrite + Unpin,
{
    let mut proof = Proof {
        dialled: relay.upstream().peer_address(),
        ..Proof::default()
    };
    let record = |proof: &Proof| {
        watch
            .gate
            .record_connection(&watch.permit, proof, Some(client));
    };
    let first = poll_fn(|cx| {
        // A server may speak first; what the client says waits for its verdict meanwhile.
        if let Poll::Ready(ended) = Pin::new(&mut relay).poll(cx) {
            return Poll::Ready(ended.and(Ok(First::Nothing)));
        }
        relay.downstream_mut().poll_first(cx)
    });
    let first = first.await.inspect_err(|_| record(&proof))?;
    if let First::Hello(hello) = first {
        match admit(watch, &hello, proof.dialled, client).await {
            Ok(certificate) => proof.certificate = certificate,
            Err(refused) => {
                let (screen, upstream) = relay.into_streams();
                // Before anything else: it has not got one byte of the hello, and has nothing more to wait for.
                drop(upstream);
                turn_away(screen.into_parts().0, watch.gate.limits().farewell).await;
                return Err(refused);
            }
        }
        proof.hello = Some(hello.asks);
    }
    record(&proof);
    relay.downstream_mut().release();
    relay.await
}

/// Has a hello judged, and the origin looked at where the policy wants that. Remembers the name for the next policy.
async fn admit(
    watch: &Watch,
    hello: &Hello,
    dialled: Option<SocketAddr>,
    client: SocketAddr,
) -> io::Result<Option<Fingerprint>> {
    let Watch { gate, permit, .. } = watch;
    let refused = |_: Denial| io::Error::from(io::ErrorKind::PermissionDenied);
    gate.admit_hello(permit, &hello.asks, Some(client))
        .map_err(refused)?;
    if let HelloName::Host(name) = &hello.asks.server_name {
        // Told once, so that it cannot be set already.
        let _ = watch.server_name.set(name.clone());
    }
    // Boxed, so that a tunnel does not carry the memory of a handshake that few policies want.
    let verified = Box::pin(gate.verify_origin(permit, dialled, &hello.asks, Some(client)));
    verified.await.map_err(refused)
}

/// Tells a client in its own protocol that it goes no further, and gives it a moment to read that.
async fn turn_away<D>(mut downstream: D, farewell: Duration)
where
    D: AsyncRead + AsyncWrite + Unpin,
{
    let told = async {
        downstream.write_all(&ACCESS_DENIED).await?;
        downstream.shutdown().await?;
        let mut rest = downstream.take(LEFTOVER_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    let _ = timeout(farewell, told).await;
}
