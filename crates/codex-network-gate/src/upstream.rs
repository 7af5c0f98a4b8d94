//! Opens what a [`Permit`] names, and nothing else: the only caller of `connect` and of sending datagrams.
//!
//! [`Upstream::open`] turns a permit into a [`Connection`]: a TCP connection to one of the judged addresses, a
//! tunnel through the parent proxy, TLS on top where the permit says so, or a unix socket. It deliberately
//! never resolves a target and never judges; the addresses come with the permit. Beside it stands [`Collector`], for the
//! operator's own endpoint of evidence.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use codex_network_policy::{Host, Protocol, Target};
use tokio::time::{Instant, timeout};

use crate::error::UpstreamError;
use crate::fingerprint::Fingerprint;
use crate::limits::Limits;
use crate::listeners::Listeners;
use crate::meter::{GateMeters, Metered};
use crate::permit::Permit;
use crate::resolve::Lookups;
use crate::roots::TrustRoots;
use crate::route::{Parent, Route};

mod collector;
mod connection;
mod datagrams;
mod parent;
mod race;
mod tls;
mod verified;

pub use collector::Collector;
pub use connection::Connection;
pub use datagrams::Datagrams;
pub use tls::HttpOffer;

use connection::Io;
use tls::Purpose;
use verified::Verified;

/// The dialler of one proxy.
#[derive(Debug)]
pub struct Upstream {
    limits: Arc<Limits>,
    lookups: Arc<Lookups>,
    listeners: Arc<Listeners>,
    meters: Arc<GateMeters>,
    tls: tls::Verifier,
    verified: Verified,
}

impl Upstream {
    pub(crate) fn new(
        limits: Arc<Limits>,
        lookups: Arc<Lookups>,
        listeners: Arc<Listeners>,
        meters: Arc<GateMeters>,
        roots: TrustRoots,
    ) -> Self {
        Self {
            limits,
            lookups,
            listeners,
            meters,
            tls: tls::Verifier::new(roots),
            verified: Verified::default(),
        }
    }

    /// Opens the permit's target. Where the proxy itself is to speak TLS with it, HTTP/1.1 is offered.
    ///
    /// Over a parent proxy a plain HTTP access yields a connection *to the parent*, to be used in absolute form
    /// (see [`Permit::wants_absolute_form`]); every other access yields a tunnel to the target.
    ///
    /// # Errors
    /// [`UpstreamError`] where the target, or the parent, cannot be opened within the limits.
    pub async fn open(&self, permit: &Permit) -> Result<Connection, UpstreamError> {
        self.open_for(permit, HttpOffer::Http1).await
    }

    /// As [`Upstream::open`], with the HTTP versions to offer.
    ///
    /// # Errors
    /// As for [`Upstream::open`].
    pub async fn open_for(
        &self,
        permit: &Permit,
        offer: HttpOffer,
    ) -> Result<Connection, UpstreamError> {
        let connection = self.open_bare(permit).await?;
        if permit.is_tls() {
            self.secure(permit, connection, offer).await
        } else {
            Ok(self.metered(permit, connection))
        }
    }

    /// Counts what goes through a connection, which is that of the outermost layer only.
    fn metered(&self, permit: &Permit, connection: Connection) -> Connection {
        let traffic = self.meters.traffic(permit.protocol());
        connection.metered(Metered::new(traffic))
    }

    /// Begins TLS on a connection that was opened by this permit.
    ///
    /// # Errors
    /// [`UpstreamError::Tls`] or a timeout.
    pub async fn secure(
        &self,
        permit: &Permit,
        connection: Connection,
        offer: HttpOffer,
    ) -> Result<Connection, UpstreamError> {
        match permit.target() {
            Target::Host { host, .. } => {
                let bare = connection.unmetered();
                let secured = self.start_tls(bare, host, Purpose::Speak(offer)).await?;
                Ok(self.metered(permit, secured))
            }
            Target::Unix(_) => Ok(connection),
        }
    }

    /// Makes a handshake of our own with what a tunnel leads to, at the very address that was dialled, and says which
    /// certificate is valid there for `name`. `name_sent` is false where the tunnel's client sends no name.
    ///
    /// What was found is remembered for some minutes.
    ///
    /// # Errors
    /// Why there is no valid certificate.
    pub(crate) async fn verify(
        &self,
        permit: &Permit,
        dialled: Option<SocketAddr>,
        name: &Host,
        name_sent: bool,
    ) -> Result<Fingerprint, Arc<UpstreamError>> {
        let origin = verified::Origin {
            name: name.clone(),
            name_sent,
            address: dialled.filter(|_| !permit.is_via_parent()),
            port: match permit.target() {
                Target::Host { port, .. } => *port,
                Target::Unix(_) => 0,
            },
        };
        let look = async {
            let connection = match origin.address {
                // Another address of the same name may serve something else.
                Some(address) if permit.addresses().any(|judged| judged == address) => {
                    self.dial(&[address]).await?
                }
                Some(_) | None => self.open_bare(permit).await?,
            };
            let purpose = Purpose::Look { name_sent };
            let connection = self.start_tls(connection, name, purpose).await?;
            let certificate = connection.certificate();
            certificate.ok_or(UpstreamError::Protocol("the origin showed no certificate"))
        };
        self.verified.find(origin.clone(), look).await
    }

    /// The connection without TLS with the target.
    async fn open_bare(&self, permit: &Permit) -> Result<Connection, UpstreamError> {
        match permit.route() {
            Route::Address(address) => self.dial(&[*address]).await,
            Route::Addresses { .. } => {
                let addresses: Vec<SocketAddr> = permit.addresses().collect();
                self.dial(&addresses).await
            }
            Route::Socket { path, .. } => self.open_socket(path).await,
            Route::Parent(parent) => self.open_by_parent(parent, permit).await,
        }
    }

    async fn open_by_parent(
        &self,
        parent: &Arc<Parent>,
        permit: &Permit,
    ) -> Result<Connection, UpstreamError> {
        let addresses = self.parent_addresses(parent).await?;
        // A parent's name may lead back here. Each of our connections would then ask for the next one.
        if addresses
            .iter()
            .any(|address| self.listeners.contain(*address))
        {
            return Err(UpstreamError::Protocol(
                "the parent proxy is this proxy itself",
            ));
        }
        let mut connection = self.dial(&addresses).await?;
        if parent.tls {
            let purpose = Purpose::Speak(HttpOffer::Http1);
            connection = self.start_tls(connection, &parent.host, purpose).await?;
        }
        if permit.wants_absolute_form() {
            return Ok(connection);
        }
        timeout(
            self.limits.handshake,
            parent::connect(connection, parent, permit.target()),
        )
        .await
        .map_err(|_| UpstreamError::Timeout("waiting for the parent proxy"))?
    }

    /// The operator chose the parent, so its addresses are not judged.
    async fn parent_addresses(&self, parent: &Parent) -> Result<Vec<SocketAddr>, UpstreamError> {
        let port = parent.port;
        match &parent.host {
            Host::Address(literal) => Ok(vec![SocketAddr::new(literal.address(), port)]),
            Host::Name(name) => {
                let addresses = self.lookups.addresses(name.as_str()).await;
                let addresses = addresses.map_err(|_| UpstreamError::ParentLookup)?;
                Ok(addresses
                    .iter()
                    .map(|address: &IpAddr| SocketAddr::new(*address, port))
                    .collect())
            }
        }
    }

    async fn dial(&self, addresses: &[SocketAddr]) -> Result<Connection, UpstreamError> {
        let began = Instant::now();
        let connecting = race::connect(addresses, self.limits.connect_stagger);
        let stream = match timeout(self.limits.connect, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.meters.dials.failed.increment();
                return Err(UpstreamError::Connect(error));
            }
            Err(_) => {
                self.meters.dials.timed_out.increment();
                return Err(UpstreamError::Timeout("connecting"));
            }
        };
        self.meters.dials.good.increment();
        self.meters.dial_time.observe(began.elapsed());
        // Small writes must not wait for each other; a failure here costs latency, not correctness.
        let _ = stream.set_nodelay(true);
        // Nor does one here: an origin that vanished without a word would hold an idle tunnel for longer.
        let keepalive = socket2::TcpKeepalive::new().with_time(self.limits.keepalive);
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        let peer = stream.peer_addr().ok();
        Ok(Connection::new(Io::Tcp(stream), peer))
    }

    async fn start_tls(
        &self,
        connection: Connection,
        host: &Host,
        purpose: Purpose,
    ) -> Result<Connection, UpstreamError> {
        let handshake = self.tls.handshake(connection, host, purpose);
        timeout(self.limits.handshake, handshake)
            .await
            .map_err(|_| UpstreamError::Timeout("the TLS handshake"))?
    }

    #[cfg(unix)]
    #[expect(
        clippy::disallowed_methods,
        reason = "the dialler of permitted sockets"
    )]
    async fn open_socket(&self, path: &Path) -> Result<Connection, UpstreamError> {
        let stream = timeout(self.limits.connect, tokio::net::UnixStream::connect(path))
            .await
            .map_err(|_| UpstreamError::Timeout("connecting"))?
            .map_err(UpstreamError::Connect)?;
        Ok(Connection::new(Io::Unix(stream), None))
    }

    #[cfg(not(unix))]
    async fn open_socket(&self, _: &Path) -> Result<Connection, UpstreamError> {
        Err(UpstreamError::Connect(
            std::io::ErrorKind::Unsupported.into(),
        ))
    }

    /// The sockets of one UDP association.
    ///
    /// # Errors
    /// Where the system gives no socket of either address family.
    pub fn datagrams(&self) -> std::io::Result<Datagrams> {
        Datagrams::bind(Arc::clone(self.meters.traffic(Protocol::Socks5Udp)))
    }
}

#[cfg(test)]
mod tests;
