//! Serves HTTP inside of the client's TLS, where a tunnel has to be opened so that what is in it can be judged.
//!
//! [`Interceptor`] shows the client a certificate of ours for the permitted host, and hands every request inside to the
//! gate, whose permit leads over the tunnel's own addresses and nowhere else. Comes in: a tunnel whose hello has been
//! judged. Goes out: answers of the origin, over verified TLS on that side as well, or refusals. Bodies stream both ways
//! and are not looked at.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use codex_network_gate::{Connection, Fingerprint, HttpOffer, Permit, Proof, chain};
use codex_network_policy::Target;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::authority::leaf::{Alpn, Leaves};
use crate::exchange::{Exchange, HttpVersion};
use crate::hello::Hello;
use crate::patience::Patient;
use crate::watch::Watch;

mod distrust;
mod leftovers;
mod serve;
mod session;

use distrust::Distrust;
use session::Session;

/// How many connections to an origin one client may keep busy at once, where each of its requests takes one.
const CONNECTIONS: usize = 16;

/// Opens the tunnels of one proxy.
#[derive(Debug)]
pub(crate) struct Interceptor {
    exchange: Arc<Exchange>,
    leaves: Leaves,
    distrust: Distrust,
}

/// A tunnel that is to be opened.
#[derive(Debug)]
pub(crate) struct Opening<D> {
    pub(crate) watch: Watch,
    /// Opened for the tunnel and silent so far; none where the origin is known to be there.
    pub(crate) upstream: Option<Connection>,
    /// The client's stream, which begins with the hello.
    pub(crate) downstream: D,
    /// How it begins. It is judged already.
    pub(crate) hello: Hello,
    pub(crate) draining: watch::Receiver<bool>,
}

impl Interceptor {
    pub(crate) fn new(exchange: Arc<Exchange>, leaves: Leaves) -> Self {
        Self {
            exchange,
            leaves,
            distrust: Distrust::default(),
        }
    }

    /// Whether the origin of this tunnel is reached already.
    pub(crate) fn is_reached(&self, tunnel: &Permit) -> bool {
        self.exchange.is_reached(tunnel)
    }

    /// Serves one client until it leaves, or a new policy forbids the tunnel.
    ///
    /// # Errors
    /// What the client's stream reports; [`io::ErrorKind::TimedOut`] where its handshake takes too long;
    /// [`io::ErrorKind::PermissionDenied`] where a new policy forbids the tunnel.
    pub(crate) async fn serve<D>(&self, opening: Opening<D>) -> io::Result<()>
    where
        D: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Opening {
            watch,
            upstream,
            downstream,
            hello,
            draining,
        } = opening;
        let origin = self.learn(&watch.permit, upstream, &hello).await;
        let accepted = self.accept(&watch, downstream, origin.alpn).await;
        let stream = accepted.inspect_err(|error| {
            self.distrust.note(&watch, &hello, error);
        })?;
        let proof = Proof {
            dialled: origin.dialled,
            hello: Some(hello.asks),
            certificate: origin.certificate,
        };
        watch.gate.record_connection(&watch.permit, &proof);
        let session = Session {
            exchange: Arc::clone(&self.exchange),
            watch,
            offer: origin.offer,
            turns: Arc::new(Semaphore::new(origin.turns)),
        };
        serve::serve(session, stream, draining).await
    }

    /// Finds out what the origin speaks, so that the client is offered the same. An origin that fails is no reason to
    /// break off: the client is told inside of TLS, where it can read it.
    async fn learn(
        &self,
        tunnel: &Permit,
        upstream: Option<Connection>,
        hello: &Hello,
    ) -> KnownOrigin {
        let offer = if hello.offers_http2 {
            HttpOffer::Http2OrHttp1
        } else {
            HttpOffer::Http1
        };
        let mut known = KnownOrigin {
            offer,
            alpn: if hello.offers_http2 {
                Alpn::Http2OrHttp1
            } else {
                Alpn::Http1
            },
            dialled: upstream.as_ref().and_then(Connection::peer_address),
            certificate: None,
            turns: CONNECTIONS,
        };
        match self.exchange.prepare(tunnel, upstream, offer).await {
            Ok(prepared) => {
                // A client that speaks nothing else has its requests rewritten, which beats no connection at all.
                match prepared.version {
                    HttpVersion::Http1 if hello.offers_http1 => known.alpn = Alpn::Http1,
                    HttpVersion::Http1 => {}
                    HttpVersion::Http2 => known.turns = Semaphore::MAX_PERMITS,
                }
                known.dialled = prepared.dialled.or(known.dialled);
                known.certificate = prepared.certificate;
            }
            Err(error) => {
                tracing::info!(target = %tunnel, error = %chain(&error), "upstream failed");
            }
        }
        known
    }

    /// Answers the client's hello with a certificate for the tunnel's host.
    async fn accept<D>(
        &self,
        watch: &Watch,
        downstream: D,
        alpn: Alpn,
    ) -> io::Result<TlsStream<Patient<D>>>
    where
        D: AsyncRead + AsyncWrite + Unpin,
    {
        let Target::Host { host, .. } = watch.permit.target() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let config = self
            .leaves
            .server_config(host, alpn)
            .inspect_err(|error| tracing::error!(%error, "a tunnel cannot be opened"))
            .map_err(io::Error::other)?;
        let limits = watch.gate.limits();
        let stream = Patient::new(downstream, limits);
        let accepting = TlsAcceptor::from(config).accept(stream);
        match timeout(limits.handshake, accepting).await {
            Ok(accepted) => accepted,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// What is known of an origin before its client's hello is answered.
#[derive(Debug)]
struct KnownOrigin {
    /// What it is offered.
    offer: HttpOffer,
    /// What the client is offered.
    alpn: Alpn,
    dialled: Option<SocketAddr>,
    certificate: Option<Fingerprint>,
    /// How many requests it is sent at once for this client.
    turns: usize,
}
