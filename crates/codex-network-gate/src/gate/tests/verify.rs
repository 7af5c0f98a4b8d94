//! `verify_origin`: our own look at what a tunnel leads to.

use std::net::Ipv4Addr;

use codex_network_policy::TlsRules;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{Fingerprint, TrustRoots};

/// An issuer, and its certificate in PEM.
fn issuer() -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

/// An origin on this machine.
struct Server {
    port: u16,
    /// How many connections it has accepted.
    accepted: Arc<AtomicUsize>,
    /// The server name that each client has sent.
    named: tokio::sync::mpsc::UnboundedReceiver<Option<String>>,
    certificate: Fingerprint,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves a certificate for these names.
    async fn start(names: &[&str], expired: bool, issuer: &Issuer<'static, KeyPair>) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if expired {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&accepted);
        let (names, named) = tokio::sync::mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                if let Ok(stream) = acceptor.accept(stream).await {
                    let name = stream.get_ref().1.server_name().map(str::to_owned);
                    names.send(name).unwrap();
                }
            }
        });
        Self {
            port,
            accepted,
            named,
            certificate: Fingerprint::of(certificate.der()),
            task,
        }
    }

    /// The server name that the next client has sent.
    async fn name(&mut self) -> Option<String> {
        self.named.recv().await.unwrap()
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// A world that verifies, and a tunnel to this target.
async fn verifying(roots: &str, target: &str, verify_origin: bool) -> (World, Permit) {
    let script = Script {
        rules: Rules {
            allow_local_binding: true,
            tls: TlsRules {
                verify_origin,
                ..TlsRules::default()
            },
            ..rules(&["origin.test", "127.0.0.1"], &[])
        },
        names: &[("origin.test", &["127.0.0.1"])],
        roots: TrustRoots::from_pem(roots.as_bytes()).unwrap(),
        ..Script::default()
    };
    let world = script.build();
    let permit = world
        .authorize(access(Protocol::HttpsConnect, target, Some("CONNECT")))
        .await
        .unwrap();
    (world, permit)
}

/// Looks at the origin of a tunnel for a client that sends this name.
async fn verify(
    world: &World,
    permit: &Permit,
    name: Option<&str>,
) -> Result<Option<Fingerprint>, Reason> {
    let hello = ClientHello {
        server_name: name.map_or(HelloName::Absent, |name| {
            HelloName::Host(Host::parse(name).unwrap())
        }),
        encrypted: false,
    };
    let dialled = permit.addresses().next();
    let found = world.gate.verify_origin(permit, dialled, &hello).await;
    found.map_err(|denial| denial.reason().clone())
}

#[tokio::test]
async fn a_valid_certificate_is_seen_once_and_remembered() {
    let (issuer, roots) = issuer();
    let mut server = Server::start(&["origin.test"], false, &issuer).await;
    let target = format!("origin.test:{}", server.port);
    let (world, permit) = verifying(&roots, &target, true).await;
    let expected = Ok(Some(server.certificate));
    let (one, other) = tokio::join!(
        verify(&world, &permit, Some("origin.test")),
        verify(&world, &permit, Some("origin.test"))
    );
    assert_eq!((one, other), (expected.clone(), expected.clone()));
    assert_eq!(verify(&world, &permit, Some("origin.test")).await, expected);
    assert_eq!(server.accepted(), 1);
    assert_eq!(server.name().await.as_deref(), Some("origin.test"));
}

#[tokio::test]
async fn nothing_is_looked_at_unless_it_is_asked_for() {
    let (issuer, roots) = issuer();
    let server = Server::start(&["origin.test"], false, &issuer).await;
    let target = format!("origin.test:{}", server.port);
    let (world, permit) = verifying(&roots, &target, false).await;
    assert_eq!(verify(&world, &permit, Some("origin.test")).await, Ok(None));
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn a_name_that_is_not_validly_served_is_refused() {
    let (good, roots) = issuer();
    let (stranger, _) = issuer();
    for (names, expired, issuer) in [
        (["other.test"], false, &good),
        (["origin.test"], true, &good),
        (["origin.test"], false, &stranger),
    ] {
        let server = Server::start(&names, expired, issuer).await;
        let target = format!("origin.test:{}", server.port);
        let (world, permit) = verifying(&roots, &target, true).await;
        let (capture, _guard) = Capture::start();
        let found = verify(&world, &permit, Some("origin.test")).await;
        assert_eq!(found, Err(Reason::OriginNotVerified));
        let left = world.left(String::new(), &capture);
        assert_eq!(
            left.events,
            ["domain deny baseline_policy origin_not_verified"]
        );
        assert_eq!(
            left.history,
            ["http-connect deny baseline_policy origin_not_verified -"]
        );
    }
}

#[tokio::test]
async fn an_origin_that_cannot_be_looked_at_is_refused() {
    let (_, roots) = issuer();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (world, permit) = verifying(&roots, &format!("origin.test:{port}"), true).await;
    let not_tls = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 no TLS here\r\n")
            .await
            .unwrap();
    };
    let (found, ()) = tokio::join!(verify(&world, &permit, Some("origin.test")), not_tls);
    assert_eq!(found, Err(Reason::OriginNotVerified));
    drop(listener);
    let found = verify(&world, &permit, None).await;
    assert_eq!(found, Err(Reason::OriginNotVerified));
}

#[tokio::test]
async fn an_address_is_verified_by_what_its_client_asks_for() {
    let (issuer, roots) = issuer();
    let mut server = Server::start(&["origin.test", "127.0.0.1"], false, &issuer).await;
    let target = format!("127.0.0.1:{}", server.port);
    let (world, permit) = verifying(&roots, &target, true).await;
    let expected = Ok(Some(server.certificate));
    assert_eq!(verify(&world, &permit, None).await, expected);
    assert_eq!(server.name().await, None);
    assert_eq!(verify(&world, &permit, Some("origin.test")).await, expected);
    assert_eq!(
        verify(&world, &permit, Some("other.test")).await,
        Err(Reason::OriginNotVerified)
    );
}

#[tokio::test]
async fn a_client_that_sends_no_name_has_none_sent_for_it() {
    let (issuer, roots) = issuer();
    let mut server = Server::start(&["origin.test"], false, &issuer).await;
    let target = format!("origin.test:{}", server.port);
    let (world, permit) = verifying(&roots, &target, true).await;
    let expected = Ok(Some(server.certificate));
    assert_eq!(verify(&world, &permit, None).await, expected);
    assert_eq!(server.name().await, None);
}
