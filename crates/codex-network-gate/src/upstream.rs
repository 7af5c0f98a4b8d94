//! Opens what a [`Permit`] names, and nothing else: the only caller of `connect` and of sending datagrams.
//!
//! [`Upstream::open`] turns a permit into a [`Connection`]: a TCP connection to one of the judged addresses, a
//! tunnel through the parent proxy, TLS on top where the permit says so, or a unix socket. It deliberately
//! never resolves a target and never judges; the addresses come with the permit.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use codex_network_policy::{Host, Target};
use tokio::time::timeout;

use crate::error::UpstreamError;
use crate::limits::Limits;
use crate::listeners::Listeners;
use crate::permit::Permit;
use crate::resolve::Lookups;
use crate::route::{Parent, Route};

mod connection;
mod datagrams;
mod parent;
mod race;
mod tls;

pub use connection::Connection;
pub use datagrams::Datagrams;

use connection::Io;

/// The dialler of one proxy.
#[derive(Debug)]
pub struct Upstream {
    limits: Arc<Limits>,
    lookups: Arc<Lookups>,
    listeners: Arc<Listeners>,
    tls: tls::Verifier,
}

impl Upstream {
    pub(crate) fn new(
        limits: Arc<Limits>,
        lookups: Arc<Lookups>,
        listeners: Arc<Listeners>,
    ) -> Self {
        Self {
            limits,
            lookups,
            listeners,
            tls: tls::Verifier::default(),
        }
    }

    /// Opens the permit's target.
    ///
    /// Over a parent proxy a plain HTTP access yields a connection *to the parent*, to be used in absolute form
    /// (see [`Permit::wants_absolute_form`]); every other access yields a tunnel to the target.
    ///
    /// # Errors
    /// [`UpstreamError`] where the target, or the parent, cannot be opened within the limits.
    pub async fn open(&self, permit: &Permit) -> Result<Connection, UpstreamError> {
        let connection = match permit.route() {
            Route::Address(address) => self.dial(&[*address]).await?,
            Route::Addresses { .. } => {
                let addresses: Vec<SocketAddr> = permit.addresses().collect();
                self.dial(&addresses).await?
            }
            Route::Socket { path, .. } => return self.open_socket(path).await,
            Route::Parent(parent) => self.open_by_parent(parent, permit).await?,
        };
        match (permit.is_tls(), permit.target()) {
            (true, Target::Host { host, .. }) => self.start_tls(connection, host).await,
            (true, Target::Unix(_)) | (false, _) => Ok(connection),
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
            connection = self.start_tls(connection, &parent.host).await?;
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
        let stream = timeout(
            self.limits.connect,
            race::connect(addresses, self.limits.connect_stagger),
        )
        .await
        .map_err(|_| UpstreamError::Timeout("connecting"))?
        .map_err(UpstreamError::Connect)?;
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
    ) -> Result<Connection, UpstreamError> {
        timeout(self.limits.handshake, self.tls.handshake(connection, host))
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
        Datagrams::bind()
    }
}

#[cfg(test)]
mod tests;
