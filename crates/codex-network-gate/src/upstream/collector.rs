//! The way to an operator's collector of evidence.
//!
//! [`Collector`] opens connections to one address that comes from the operator's own environment, and to nothing else. It is
//! no [`Permit`](crate::Permit) because nobody asks the policy for it: no client can name it, no door holds one, and it
//! ignores parent proxies, so that evidence is never led through a proxy, least of all through this one. `cargo xtask tidy`
//! holds that one file of the product makes them.

use std::net::SocketAddr;
use std::time::Duration;

use codex_network_policy::Host;
use tokio::time::timeout;

use super::connection::{Connection, Io};
use super::race;
use super::tls::{HttpOffer, Purpose, Verifier};
use crate::error::UpstreamError;
use crate::resolve::{Resolver as _, SystemResolver};
use crate::roots::TrustRoots;

/// How long an address has before the next one is tried as well.
const STAGGER: Duration = Duration::from_millis(250);

/// Where an operator's collector listens.
#[derive(Debug)]
pub struct Collector {
    host: Host,
    port: u16,
    tls: Option<Verifier>,
}

impl Collector {
    /// The collector that the operator names, with the issuers that are trusted where it is to be TLS. Never call it with
    /// anything that came from a client.
    #[must_use]
    pub fn of_operator(host: Host, port: u16, tls: Option<TrustRoots>) -> Self {
        let tls = tls.map(Verifier::new);
        Self { host, port, tls }
    }

    /// Opens a connection to speak HTTP/1.1 over, within `limit`.
    ///
    /// # Errors
    /// [`UpstreamError`] where the name is not found, nobody answers, or the certificate is not valid.
    pub async fn open(&self, limit: Duration) -> Result<Connection, UpstreamError> {
        timeout(limit, self.open_unlimited())
            .await
            .map_err(|_| UpstreamError::Timeout("connecting"))?
    }

    async fn open_unlimited(&self) -> Result<Connection, UpstreamError> {
        let addresses = match &self.host {
            Host::Address(literal) => vec![literal.address()],
            Host::Name(name) => SystemResolver
                .lookup(name.as_str())
                .await
                .map_err(UpstreamError::Connect)?,
        };
        let addresses: Vec<SocketAddr> = addresses
            .into_iter()
            .map(|address| SocketAddr::new(address, self.port))
            .collect();
        let stream = race::connect(&addresses, STAGGER)
            .await
            .map_err(UpstreamError::Connect)?;
        let _ = stream.set_nodelay(true);
        let peer = stream.peer_addr().ok();
        let connection = Connection::new(Io::Tcp(stream), peer);
        match &self.tls {
            None => Ok(connection),
            Some(tls) => {
                let purpose = Purpose::Speak(HttpOffer::Http1);
                tls.handshake(connection, &self.host, purpose).await
            }
        }
    }
}
