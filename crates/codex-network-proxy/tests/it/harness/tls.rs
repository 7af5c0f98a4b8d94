//! TLS as a client speaks it.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Origin, Wire, World, within};

/// Who signs for the origins of a test.
pub(crate) struct Issuer(rcgen::Issuer<'static, KeyPair>, pub(crate) String);

impl Issuer {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self(rcgen::Issuer::new(params, key), pem)
    }

    /// What an origin of this name shows, speaking these protocols.
    pub(crate) fn certify(&self, name: &str, protocols: &[&str]) -> Certified {
        self.sign(
            CertificateParams::new([name.to_owned()]).unwrap(),
            protocols,
        )
    }

    pub(crate) fn sign(&self, params: CertificateParams, protocols: &[&str]) -> Certified {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Certified::new(certificate.der().clone(), &key, protocols)
    }
}

/// The TLS of an origin.
#[derive(Clone)]
pub(crate) struct Certified {
    pub(crate) certificate: CertificateDer<'static>,
    config: Arc<ServerConfig>,
}

impl Certified {
    pub(crate) fn new(
        certificate: CertificateDer<'static>,
        key: &KeyPair,
        protocols: &[&str],
    ) -> Self {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Self {
            certificate,
            config: Arc::new(config),
        }
    }

    /// Plays the server on a connection that has arrived.
    pub(crate) async fn accept(&self, wire: Wire) -> std::io::Result<TlsStream<TcpStream>> {
        self.accept_stream(wire.into_stream()).await
    }

    pub(crate) async fn accept_stream(
        &self,
        stream: TcpStream,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        within("a handshake", acceptor.accept(stream)).await
    }

    /// The next connection of this origin, as bytes inside of TLS.
    pub(crate) async fn next(&self, origin: &Origin) -> Wire<TlsStream<TcpStream>> {
        Wire::new(self.accept(origin.accept().await).await.unwrap())
    }
}

/// A client's side of an opened tunnel.
pub(crate) type Opened = Wire<tokio_rustls::client::TlsStream<TcpStream>>;

/// How a client of opened tunnels is set up.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// The server name that it sends and holds the certificate to.
    pub(crate) name: &'static str,
    /// Whether it sends the name at all.
    pub(crate) sends_name: bool,
    pub(crate) protocols: &'static [&'static str],
    pub(crate) trusts_proxy: bool,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            name: "origin.test",
            sends_name: true,
            protocols: &[],
            trusts_proxy: true,
        }
    }
}

impl Client {
    pub(crate) fn speaking(protocols: &'static [&'static str]) -> Self {
        Self {
            protocols,
            ..Self::default()
        }
    }

    /// Performs the handshake in a tunnel that has been accepted.
    pub(crate) async fn handshake(
        &self,
        world: &World,
        tunnel: Wire,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        if self.trusts_proxy {
            let pem = std::fs::read(world.home.path().join("proxy/ca.pem")).unwrap();
            roots
                .add(CertificateDer::from_pem_slice(&pem).unwrap())
                .unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = self
            .protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        config.enable_sni = self.sends_name;
        let name = ServerName::try_from(self.name).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        within("a handshake", connector.connect(name, tunnel.into_stream())).await
    }

    /// A CONNECT to this port of `origin.test`, and the client inside of it.
    pub(crate) async fn open(self, world: &World, port: u16) -> Opened {
        let tunnel = world.connected("origin.test", port).await;
        Wire::new(self.handshake(world, tunnel).await.unwrap())
    }
}

impl World {
    /// A client whose CONNECT has been accepted.
    pub(crate) async fn connected(&self, host: &str, port: u16) -> Wire {
        let mut client = self.http().await;
        client
            .send(format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n"))
            .await;
        let head = client.head().await;
        assert_eq!(head, "HTTP/1.1 200 OK\r\ndate: D\r\n\r\n");
        client
    }
}

/// The ClientHello of a client that wants this server.
pub(crate) fn client_hello(server: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let server = ServerName::try_from(server.to_owned()).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), server).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same with an extension more.
pub(crate) fn client_hello_with(server: &str, extension: u16, content: &[u8]) -> Vec<u8> {
    let mut bytes = client_hello(server);
    let length = u16::try_from(content.len()).unwrap();
    let more = [&extension.to_be_bytes()[..], &length.to_be_bytes(), content].concat();
    // A record of one message: version, random, session, suites, compression, extensions.
    let mut at = 5 + 4 + 2 + 32;
    at += 1 + usize::from(bytes[at]);
    at += 2 + usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    at += 1 + usize::from(bytes[at]);
    let add = |bytes: &mut Vec<u8>, at: usize| {
        let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let new = old + u16::try_from(more.len()).unwrap();
        bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
    };
    add(&mut bytes, at);
    add(&mut bytes, 3);
    add(&mut bytes, 7);
    bytes.splice(at + 2..at + 2, more);
    bytes
}

/// The message of one record in records of at most `size` bytes.
pub(crate) fn in_records(bytes: &[u8], size: usize) -> Vec<u8> {
    let records = bytes[5..].chunks(size).flat_map(|fragment| {
        let length = u16::try_from(fragment.len()).unwrap().to_be_bytes();
        [&bytes[..3], &length, fragment].concat()
    });
    records.collect()
}
