//! A stream under a [`Permit`], opaque or opened.
//!
//! [`Tunnel`] looks at how the client begins and has the server name of a TLS hello judged before the origin gets one byte
//! of it. Then it relays until both sides have ended or a new policy forbids it, or hands the client to the interceptor
//! where the permit demands that. It is where CONNECT, SOCKS5 and upgrades meet. It deliberately does not look at what
//! follows the first bytes.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use codex_network_gate::{Breach, Connection, Denial, Fingerprint, Gate, HelloName, Permit, Proof};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch::Receiver;
use tokio::time::timeout;

use crate::hello::Hello;
use crate::intercept::{Interceptor, Opening};
use crate::relay::{Relay, Stream};
use crate::watch::Watch;

mod screen;

use screen::{First, Screen};

/// A fatal TLS alert, `access_denied` (RFC 8446 section 6): most clients print its name.
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// What may still be read from a client that has been refused, so that its alert is not lost to a reset.
const LEFTOVER_BYTES: u64 = 64 * 1024;

/// A permitted tunnel that waits for its client.
#[derive(Debug)]
pub(crate) struct Tunnel {
    watch: Watch,
    way: Way,
}

/// What becomes of the bytes.
#[derive(Debug)]
enum Way {
    /// They go to the origin as they are.
    Relayed(Connection),
    /// They are TLS, which is opened.
    Opened(Box<Opener>),
}

/// What it takes to open a tunnel.
#[derive(Debug)]
pub(crate) struct Opener {
    pub(crate) interceptor: Arc<Interceptor>,
    /// None where the origin is known to be there.
    pub(crate) upstream: Option<Connection>,
    pub(crate) draining: Receiver<bool>,
}

impl Tunnel {
    /// An opaque tunnel that was asked for by this HTTP method; `None` for SOCKS5.
    pub(crate) fn new(
        gate: Arc<Gate>,
        permit: Permit,
        upstream: Connection,
        method: Option<&'static str>,
    ) -> Self {
        Self::over(Way::Relayed(upstream), gate, permit, method)
    }

    /// A tunnel that is opened.
    pub(crate) fn opened(
        gate: Arc<Gate>,
        permit: Permit,
        opener: Opener,
        method: &'static str,
    ) -> Self {
        let way = Way::Opened(Box::new(opener));
        Self::over(way, gate, permit, Some(method))
    }

    /// What became of an HTTP connection that its origin has let go.
    pub(crate) fn upgraded(gate: Arc<Gate>, permit: Permit, upstream: Connection) -> Self {
        let mut tunnel = Self::new(gate, permit, upstream, Some("GET"));
        tunnel.watch.upgrade = true;
        tunnel
    }

    fn over(way: Way, gate: Arc<Gate>, permit: Permit, method: Option<&'static str>) -> Self {
        let watch = Watch {
            gate,
            permit,
            method,
            upgrade: false,
            server_name: OnceLock::new(),
        };
        Self { watch, way }
    }

    /// Our end of the upstream connection, where there is one.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match &self.way {
            Way::Relayed(upstream) => upstream.local_address(),
            Way::Opened(_) => None,
        }
    }

    /// Serves the client on `downstream`. `early` was read from it already.
    ///
    /// The future has a place of its own on the heap, made when everything that it needs is at hand: what led here is
    /// forgotten by then, and an idle tunnel is no larger than what it still needs.
    ///
    /// # Errors
    /// What either stream reports; [`io::ErrorKind::TimedOut`] after a limit;
    /// [`io::ErrorKind::PermissionDenied`] where what the client begins with is refused, or a new policy forbids the
    /// tunnel.
    pub(crate) fn run<D>(self, downstream: D, early: Bytes) -> Running
    where
        D: Stream + Send + 'static,
    {
        let Self { watch, way } = self;
        let traffic = watch.gate.meters().traffic(watch.permit.protocol());
        let open_tunnels = traffic.tunnels.hold();
        let limits = watch.gate.limits();
        let (idle, half_closed) = (limits.tunnel_idle, limits.tunnel_half_closed);
        let handshake = limits.handshake;
        match way {
            Way::Relayed(upstream) if watch.upgrade => {
                let relay = Relay::new(downstream, upstream, &early, idle, half_closed);
                let relay = Box::new(relay);
                Box::pin(async move {
                    let _open = open_tunnels;
                    watch.run(relay).await
                })
            }
            Way::Relayed(upstream) => {
                let screen = Screen::new(downstream, early, handshake);
                let relay = Box::new(Relay::new(screen, upstream, &[], idle, half_closed));
                Box::pin(async move {
                    let _open = open_tunnels;
                    screened(&watch, relay).await
                })
            }
            Way::Opened(opener) => {
                let screen = Screen::new(downstream, early, handshake);
                Box::pin(async move {
                    let _open = open_tunnels;
                    open(watch, *opener, screen).await
                })
            }
        }
    }
}

/// A tunnel that runs.
pub(crate) type Running = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Waits for the client's hello, has it judged, and hands the client to the interceptor.
async fn open<D>(watch: Watch, opener: Opener, mut screen: Screen<D>) -> io::Result<()>
where
    D: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = watch.gate.limits();
    let first = Box::pin(async {
        let first = timeout(limits.request_head, poll_fn(|cx| screen.poll_first(cx)));
        first.await.map_err(|_| io::ErrorKind::TimedOut)?
    });
    let hello = match watch.run(first).await? {
        First::Nothing => return Ok(()),
        First::NotTls => {
            let Watch { gate, permit, .. } = &watch;
            gate.refuse_breach(permit, Breach::NotTls, None);
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        First::Hello(hello) => hello,
    };
    if let Err(refused) = admit(&watch, &hello) {
        drop(opener);
        turn_away(screen.into_stream(), limits.farewell).await;
        return Err(refused);
    }
    screen.release();
    let opening = Opening {
        watch,
        upstream: opener.upstream,
        downstream: screen,
        hello,
        draining: opener.draining,
    };
    opener.interceptor.serve(opening).await
}

/// Relays what the client begins with once that is judged, and from then on everything.
async fn screened<D>(watch: &Watch, mut relay: Box<Relay<Screen<D>, Connection>>) -> io::Result<()>
where
    D: Stream + Send,
{
    let mut proof = Proof {
        dialled: relay.upstream().peer_address(),
        ..Proof::default()
    };
    let record = |proof: &Proof| watch.gate.record_connection(&watch.permit, proof);
    let first = watch.run(poll_fn(|cx| {
        // A server may speak first; what the client says waits for its verdict meanwhile.
        if let Poll::Ready(ended) = Pin::new(&mut relay).poll(cx) {
            return Poll::Ready(ended.and(Ok(First::Nothing)));
        }
        relay.downstream_mut().poll_first(cx)
    }));
    let first = first.await.inspect_err(|_| record(&proof))?;
    if let First::Hello(hello) = first {
        let admitted = match admit(watch, &hello) {
            Ok(()) => watch.run(verify(watch, &hello, proof.dialled)).await,
            Err(refused) => Err(refused),
        };
        match admitted {
            Ok(certificate) => proof.certificate = certificate,
            Err(refused) => {
                let (screen, upstream) = relay.into_streams();
                // Before anything else: it has not got one byte of the hello, and has nothing more to wait for.
                drop(upstream);
                let farewell = watch.gate.limits().farewell;
                Box::pin(turn_away(screen.into_stream(), farewell)).await;
                return Err(refused);
            }
        }
        proof.hello = Some(hello.asks);
    }
    record(&proof);
    relay.downstream_mut().release();
    watch.run(relay).await
}

/// Has a hello judged, and remembers its name for the next policy.
fn admit(watch: &Watch, hello: &Hello) -> io::Result<()> {
    let Watch { gate, permit, .. } = watch;
    gate.admit_hello(permit, &hello.asks).map_err(refused)?;
    if let HelloName::Host(name) = &hello.asks.server_name {
        // Told once, so that it cannot be set already.
        let _ = watch.server_name.set(name.clone());
    }
    Ok(())
}

/// Has the origin looked at, where the policy wants that. Boxed, so that a tunnel does not carry the memory of a handshake
/// that few policies want.
fn verify<'a>(
    watch: &'a Watch,
    hello: &'a Hello,
    dialled: Option<SocketAddr>,
) -> Pin<Box<dyn Future<Output = io::Result<Option<Fingerprint>>> + Send + 'a>> {
    Box::pin(async move {
        let Watch { gate, permit, .. } = watch;
        let verified = gate.verify_origin(permit, dialled, &hello.asks).await;
        verified.map_err(refused)
    })
}

/// The denial is recorded, and has no other words on this wire.
fn refused(_: Denial) -> io::Error {
    io::ErrorKind::PermissionDenied.into()
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
