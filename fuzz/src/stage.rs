//! A running proxy between a client of ours and origins of ours, on one thread and with a clock that does not wait.
//!
//! Main type: [`Stage`]. Time is tokio's paused clock: where nothing is left to do, it jumps to the next limit, so that a
//! head that never ends costs no waiting. What the origins saw is counted, for the checks.

use std::cell::{Cell, OnceCell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use codex_network_policy::Authority;
use codex_network_proxy::config::Environment;
use codex_network_proxy::{
    Limits, NetworkProxy, NetworkProxyConfig, NetworkProxyHandle, ParentProxies, Resolver,
    TrustRoots,
};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The one name that the policy permits.
pub(crate) const NAME: &str = "origin.test";
/// Longer than every limit of the proxy: whoever still waits then waits for ever.
const FOR_EVER: Duration = Duration::from_secs(5_000);
/// An origin puts it into every answer.
pub(crate) const MARK: &str = "x-of-origin";

/// A request as an origin has read it, whole.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) host: String,
}

pub(crate) struct Stage {
    runtime: Runtime,
    tasks: LocalSet,
    proxy: NetworkProxy,
    _handle: NetworkProxyHandle,
    _home: tempfile::TempDir,
    seen: Rc<RefCell<Vec<Seen>>>,
    /// Connections on which an origin could not read a request.
    confused: Rc<Cell<usize>>,
    port: u16,
    tls: TlsConnector,
}

#[derive(Debug)]
struct Local;

#[async_trait::async_trait]
impl Resolver for Local {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        assert_eq!(name, NAME, "a question about a name that is not permitted");
        Ok(vec![IpAddr::from([127, 0, 0, 1])])
    }
}

/// Runs `act` on the stage of this thread; `intercepting` opens tunnels and is read-only.
pub(crate) fn with<T>(intercepting: bool, act: impl FnOnce(&Stage) -> T) -> T {
    // Never dropped: a runtime that ends with its thread finds the thread's own storage gone.
    thread_local!(static STAGE: OnceCell<&'static Stage> = const { OnceCell::new() });
    STAGE.with(|stage| act(stage.get_or_init(|| Box::leak(Box::new(Stage::set(intercepting))))))
}

impl Stage {
    #[expect(clippy::expect_used, reason = "without a stage there is nothing to do")]
    fn set(intercepting: bool) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let tasks = LocalSet::new();
        let home = tempfile::tempdir().expect("a directory");
        let (seen, confused) = (Rc::default(), Rc::default());
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        let server = intercepting.then(|| server_config(&issuer));
        let start = async {
            // The fuzzer's `main` is not Rust's, which ignores the signal of a broken pipe. A handler does as well.
            let pipe = tokio::signal::unix::SignalKind::pipe();
            drop(tokio::signal::unix::signal(pipe));
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("an address").port();
            tokio::task::spawn_local(serve(
                listener,
                server,
                Rc::clone(&seen),
                Rc::clone(&confused),
            ));
            let mode = if intercepting { "limited" } else { "full" };
            let config: NetworkProxyConfig =
                serde_json::from_value(serde_json::json!({ "network": {
                "enabled": true, "mode": mode, "mitm": intercepting, "enable_socks5": false,
                "allowed_domains": [NAME], "allow_local_binding": true,
            } }))
                .expect("a configuration");
            let any: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 0));
            let proxy = NetworkProxy::builder()
                .config(config)
                .http_addr(any)
                .resolver(Arc::new(Local))
                .parent_proxies(ParentProxies::default())
                .trust_roots(TrustRoots::from_pem(root.as_bytes()).expect("a root"))
                .limits(Limits {
                    tunnel_idle: Some(Duration::from_secs(60)),
                    ..Limits::default()
                })
                .environment(Environment {
                    codex_home: Some(home.path().into()),
                    home: None,
                    ..Environment::default()
                })
                .build()
                .await
                .expect("a proxy");
            let handle = proxy.run().await.expect("a running proxy");
            (port, proxy, handle)
        };
        let (port, proxy, handle) = tasks.block_on(&runtime, start);
        let tls = client_config(&proxy);
        Self {
            runtime,
            tasks,
            proxy,
            _handle: handle,
            _home: home,
            seen,
            confused,
            port,
            tls,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.proxy.http_addr()
    }

    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.tasks.block_on(&self.runtime, work)
    }

    /// What the origins have seen since the last call, and how often they could not read it.
    pub(crate) fn seen(&self) -> (Vec<Seen>, usize) {
        (self.seen.take(), self.confused.take())
    }

    /// A client inside of an opened tunnel.
    pub(crate) async fn inside(&self) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + use<>> {
        let mut client = TcpStream::connect(self.address()).await?;
        client
            .write_all(format!("CONNECT {NAME}:{} HTTP/1.1\r\n\r\n", self.port).as_bytes())
            .await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await?);
        }
        assert!(
            head.starts_with(b"HTTP/1.1 200 "),
            "{}",
            String::from_utf8_lossy(&head)
        );
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        self.tls.connect(name, client).await
    }
}

/// Whether a `Host` field names the one origin that is permitted, in whatever spelling.
pub(crate) fn is_origin(host: &str, port: u16) -> bool {
    Authority::parse(host)
        .is_ok_and(|authority| authority.host.to_string() == NAME && authority.port == Some(port))
}

/// Sends, and reads all that comes back until the proxy closes the connection.
pub(crate) async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut answer = Vec::new();
    let send = async {
        // The proxy may have closed it already, with its reason on the way to us.
        let _ = writer.write_all(bytes).await;
        let _ = writer.flush().await;
        std::future::pending::<()>().await;
    };
    let receive = async {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..count]);
        }
    };
    let ended = timeout(FOR_EVER, async {
        tokio::select! {
            () = receive => {}
            () = send => {}
        }
    });
    assert!(ended.await.is_ok(), "a connection that never ends");
    answer
}

async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    seen: Rc<RefCell<Vec<Seen>>>,
    confused: Rc<Cell<usize>>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (tls, seen, confused) = (tls.clone(), Rc::clone(&seen), Rc::clone(&confused));
        tokio::task::spawn_local(async move {
            let ended = match tls {
                None => answer(stream, seen).await,
                Some(config) => match TlsAcceptor::from(config).accept(stream).await {
                    Ok(stream) => answer(stream, seen).await,
                    Err(_) => return,
                },
            };
            if ended.is_err_and(|error| error.is_parse()) {
                confused.set(confused.get() + 1);
            }
        });
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: Rc<RefCell<Vec<Seen>>>,
) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let host = request
                .headers()
                .get("host")
                .map(|host| host.as_bytes().to_vec());
            let request_seen = Seen {
                method: request.method().to_string(),
                host: String::from_utf8_lossy(&host.unwrap_or_default()).into_owned(),
            };
            let whole = request.into_body().collect().await.is_ok();
            if whole {
                seen.borrow_mut().push(request_seen);
            }
            Ok::<_, Infallible>(
                Response::builder()
                    .header(MARK, "1")
                    .body(Full::new(Bytes::from_static(b"ok")))
                    .unwrap_or_default(),
            )
        }
    });
    hyper::server::conn::http1::Builder::new()
        // The proxy takes a hundred, and puts `Host` before them where the client has left it out.
        .max_headers(128)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

#[expect(
    clippy::expect_used,
    reason = "without a certificate there is nothing to do"
)]
fn server_config(issuer: &Issuer<'_, KeyPair>) -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([NAME.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a pair");
    Arc::new(config)
}

#[expect(
    clippy::expect_used,
    reason = "without a client there is nothing to do"
)]
fn client_config(proxy: &NetworkProxy) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    if let Some(bundle) = proxy.trust_bundle() {
        let certificates = CertificateDer::pem_file_iter(bundle).expect("a bundle");
        roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}
