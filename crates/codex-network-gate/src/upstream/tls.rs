//! Verified TLS with an origin or a parent.
//!
//! [`Verifier`] checks the certificate against the trust roots for the name that was permitted. It deliberately has no
//! switch to skip or weaken the check, and installs nothing process-wide.

use std::io;
use std::sync::Arc;

use codex_network_policy::Host;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::connection::{Connection, Io};
use crate::error::{TlsFailure, UpstreamError};
use crate::roots::TrustRoots;

/// The HTTP versions that are offered to an origin (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpOffer {
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2, else HTTP/1.1.
    Http2OrHttp1,
    /// HTTP/2 only.
    Http2,
}

/// What a handshake is for, beside the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To speak HTTP of one of these versions.
    Speak(HttpOffer),
    /// To see the certificate and nothing else. Only this one says whether the name is sent.
    Look { name_sent: bool },
}

/// A TLS client whose trust roots are read at the first use.
#[derive(Debug)]
pub(super) struct Verifier {
    roots: TrustRoots,
    configs: OnceCell<Configs>,
}

/// One configuration for each purpose; they share roots and sessions.
#[derive(Debug)]
struct Configs {
    http1: Arc<ClientConfig>,
    http2_or_http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    look: Arc<ClientConfig>,
    look_unnamed: Arc<ClientConfig>,
}

impl Verifier {
    pub(super) fn new(roots: TrustRoots) -> Self {
        Self {
            roots,
            configs: OnceCell::new(),
        }
    }

    /// Performs the handshake as a client of `host`. The caller limits the time.
    pub(super) async fn handshake(
        &self,
        connection: Connection,
        host: &Host,
        purpose: Purpose,
    ) -> Result<Connection, UpstreamError> {
        let configs = self.configs.get_or_try_init(|| load(&self.roots)).await?;
        let config = match purpose {
            Purpose::Speak(HttpOffer::Http1) => &configs.http1,
            Purpose::Speak(HttpOffer::Http2OrHttp1) => &configs.http2_or_http1,
            Purpose::Speak(HttpOffer::Http2) => &configs.http2,
            Purpose::Look { name_sent: true } => &configs.look,
            Purpose::Look { name_sent: false } => &configs.look_unnamed,
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let name = server_name(host)?;
        let peer = connection.peer_address();
        let io = match connection.into_tcp() {
            Ok(stream) => {
                let stream = connector.connect(name, stream).await;
                Io::Tls(Box::new(stream.map_err(UpstreamError::tls)?))
            }
            Err(connection) => {
                let stream = connector.connect(name, *connection).await;
                Io::Nested(Box::new(stream.map_err(UpstreamError::tls)?))
            }
        };
        Ok(Connection::new(io, peer))
    }
}

fn server_name(host: &Host) -> Result<ServerName<'static>, UpstreamError> {
    match host {
        Host::Address(literal) => Ok(ServerName::from(literal.address())),
        Host::Name(name) => ServerName::try_from(name.as_str().to_owned())
            .map_err(|error| UpstreamError::Tls(TlsFailure::WrongName, io::Error::other(error))),
    }
}

/// Reads the trust roots, which touches many files, away from the tasks that serve.
async fn load(roots: &TrustRoots) -> Result<Configs, UpstreamError> {
    let roots = roots.clone();
    let store = tokio::task::spawn_blocking(move || {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.load());
        store
    });
    let store = store.await.map_err(io::Error::other);
    let store = store.and_then(|store| {
        if store.is_empty() {
            let hint = "this machine has no trust roots (see SSL_CERT_FILE)";
            return Err(io::Error::other(hint));
        }
        Ok(store)
    });
    let configs = store.and_then(Configs::new);
    configs.map_err(|error| UpstreamError::Tls(TlsFailure::NoTrustRoots, error))
}

impl Configs {
    fn new(roots: RootCertStore) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let http1 = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let with = |protocols: &[&[u8]]| {
            let mut config = http1.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            config
        };
        // Looked at afresh each time: a session that goes on shows no certificate.
        let mut look = with(&[b"h2", b"http/1.1"]);
        look.resumption = Resumption::disabled();
        let mut look_unnamed = look.clone();
        look_unnamed.enable_sni = false;
        Ok(Self {
            http2_or_http1: Arc::new(with(&[b"h2", b"http/1.1"])),
            http2: Arc::new(with(&[b"h2"])),
            http1: Arc::new(with(&[b"http/1.1"])),
            look: Arc::new(look),
            look_unnamed: Arc::new(look_unnamed),
        })
    }
}
