//! Verified TLS with an origin or a parent.
//!
//! [`Verifier`] checks the certificate against the system's trust roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` are
//! honoured) for the name that was permitted. It deliberately has no switch to skip or weaken the check, and
//! installs nothing process-wide.

use std::io;
use std::sync::Arc;

use codex_network_policy::Host;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::connection::{Connection, Io};
use crate::error::UpstreamError;

/// A TLS client whose trust roots are read at the first use.
#[derive(Debug, Default)]
pub(super) struct Verifier(OnceCell<Arc<ClientConfig>>);

impl Verifier {
    /// Performs the handshake as a client of `host`. The caller limits the time.
    pub(super) async fn handshake(
        &self,
        connection: Connection,
        host: &Host,
    ) -> Result<Connection, UpstreamError> {
        let config = self.0.get_or_try_init(load).await?;
        let connector = TlsConnector::from(Arc::clone(config));
        let name = server_name(host)?;
        let peer = connection.peer_address();
        let io = match connection.into_tcp() {
            Ok(stream) => {
                let stream = connector.connect(name, stream).await;
                Io::Tls(Box::new(stream.map_err(UpstreamError::Tls)?))
            }
            Err(connection) => {
                let stream = connector.connect(name, connection).await;
                Io::Nested(Box::new(stream.map_err(UpstreamError::Tls)?))
            }
        };
        Ok(Connection::new(io, peer))
    }
}

fn server_name(host: &Host) -> Result<ServerName<'static>, UpstreamError> {
    match host {
        Host::Address(literal) => Ok(ServerName::from(literal.address())),
        Host::Name(name) => ServerName::try_from(name.as_str().to_owned())
            .map_err(|error| UpstreamError::Tls(io::Error::other(error))),
    }
}

/// Reads the trust roots, which touches many files, away from the tasks that serve.
async fn load() -> Result<Arc<ClientConfig>, UpstreamError> {
    tokio::task::spawn_blocking(|| {
        let loaded = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(loaded.certs);
        if roots.is_empty() {
            return Err(io::Error::other(
                "this machine has no trust roots (see SSL_CERT_FILE)",
            ));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    })
    .await
    .map_err(io::Error::other)
    .flatten()
    .map_err(UpstreamError::Tls)
}
