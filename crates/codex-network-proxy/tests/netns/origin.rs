//! The origins: HTTP, HTTPS and echo on every address of the namespace.
//!
//! Main type: [`Origins`]. Every request is answered with what the origin saw, first of all the address that was dialled,
//! and is kept as a [`Hit`]. The first part of a path may ask for something else: `chunked`, `large`, `trailers`, an
//! upgrade at `socket`, a directory below `files`, and `git http-backend` below `git`. Some addresses speak HTTP/2.

use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRAILER, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;

mod certificates;
pub(crate) mod content;
mod git;
mod handmade;

use certificates::Certificates;
pub(crate) use certificates::{
    BOTH_ADDRESS, EXPIRED_ADDRESS, HTTP1_ADDRESS, HTTP2_ADDRESS, UNKNOWN_ISSUER_ADDRESS,
};
use content::{Content, Taken};

pub(crate) const ECHO_PORT: u16 = 7;

/// Here HTTP is written by hand.
pub(crate) const HANDMADE_ADDRESS: &str = "151.101.2.4";

/// A request, or a connection to the echo, as an origin saw it.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    /// The address that was dialled.
    pub(crate) server: IpAddr,
    /// The `Host` field or `:authority`, or `echo`.
    pub(crate) host: String,
    pub(crate) method: String,
    pub(crate) path: String,
    /// Of HTTP, as in `HTTP/1.1`.
    pub(crate) version: String,
    /// How much has been taken of a large answer.
    pub(crate) taken: Taken,
}

impl Hit {
    /// A connection on which no HTTP is spoken.
    fn bare(server: IpAddr, host: &str) -> Self {
        Self {
            server,
            host: host.to_owned(),
            method: String::new(),
            path: String::new(),
            version: String::new(),
            taken: Taken::default(),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Hits(Arc<Mutex<Vec<Hit>>>);

impl Hits {
    fn add(&self, hit: Hit) {
        let mut hits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hits.push(hit);
    }
}

#[derive(Debug)]
pub(crate) struct Origins {
    hits: Hits,
    /// The certificate of the authority that signs for the origins, as a PEM file.
    pub(crate) authority: PathBuf,
    /// What `/files/` and `/git/` serve.
    pub(crate) files: PathBuf,
}

impl Origins {
    /// Certificates are for these names.
    pub(crate) async fn start(directory: &Path, names: Vec<String>) -> Result<Self> {
        let files = directory.join("files");
        std::fs::create_dir(&files).context("cannot make a directory")?;
        let certificates = Certificates::new(names)?;
        let authority = directory.join("authority.pem");
        std::fs::write(&authority, certificates.authority()).context("cannot write")?;
        let origins = Self {
            hits: Hits::default(),
            authority,
            files,
        };
        let site = Site {
            hits: origins.hits.clone(),
            files: origins.files.clone(),
        };
        tokio::spawn(listen(bind(80).await?, site.clone(), None));
        let certificates = Some(Arc::new(certificates));
        tokio::spawn(listen(bind(443).await?, site, certificates));
        tokio::spawn(echo(bind(ECHO_PORT).await?, origins.hits.clone()));
        for address in ["151.101.1.1", "10.1.2.3"] {
            let socket = UdpSocket::bind((address, ECHO_PORT)).await?;
            tokio::spawn(echo_datagrams(socket, origins.hits.clone()));
        }
        Ok(origins)
    }

    /// What reached the origins so far.
    pub(crate) fn hits(&self) -> Vec<Hit> {
        let hits = self.hits.0.lock().unwrap_or_else(PoisonError::into_inner);
        hits.clone()
    }

    /// Under which addresses this host was reached.
    pub(crate) fn servers(&self, host: &str) -> Vec<IpAddr> {
        let hits = self.hits();
        let servers = hits.iter().filter(|hit| hit.host == host);
        servers.map(|hit| hit.server).collect()
    }
}

/// Listens on every address of both families.
async fn bind(port: u16) -> Result<TcpListener> {
    TcpListener::bind(("::", port))
        .await
        .with_context(|| format!("cannot listen on port {port}"))
}

async fn listen(listener: TcpListener, site: Site, certificates: Option<Arc<Certificates>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (site, certificates) = (site.clone(), certificates.clone());
        tokio::spawn(async move {
            let Some(server) = server_address(&stream) else {
                return;
            };
            match certificates {
                None => serve(stream, site, server, Speech::Plain).await,
                Some(certificates) => {
                    let acceptor = TlsAcceptor::from(certificates.of(server));
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let speech = match stream.get_ref().1.alpn_protocol() {
                            Some(b"h2") => Speech::Http2,
                            _ => Speech::Http1,
                        };
                        serve(stream, site, server, speech).await;
                    }
                }
            }
        });
    }
}

fn server_address(stream: &TcpStream) -> Option<IpAddr> {
    let address = stream.local_addr().ok()?;
    Some(address.ip().to_canonical())
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    /// HTTP/1.1 without TLS.
    Plain,
    /// HTTP/1.1 in TLS.
    Http1,
    Http2,
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    site: Site,
    server: IpAddr,
    speech: Speech,
) {
    if server.to_string() == HANDMADE_ADDRESS {
        if let Ok(Some((method, path))) = handmade::answer(&mut stream).await {
            site.hits.add(Hit {
                method,
                path,
                version: "HTTP/1.1".to_owned(),
                ..Hit::bare(server, "handmade.allowed.example")
            });
        }
        return;
    }
    let service = service_fn(move |request| {
        let site = site.clone();
        async move { site.answer(request, server, speech).await }
    });
    let stream = TokioIo::new(stream);
    // A client that goes away in the middle is no concern of an origin.
    let _ = match speech {
        Speech::Plain | Speech::Http1 => {
            let server = hyper::server::conn::http1::Builder::new();
            server.serve_connection(stream, service).await
        }
        Speech::Http2 => {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server.serve_connection(stream, service).await
        }
    };
}

#[derive(Clone)]
struct Site {
    hits: Hits,
    files: PathBuf,
}

impl Site {
    async fn answer(
        &self,
        request: Request<Incoming>,
        server: IpAddr,
        speech: Speech,
    ) -> Result<Response<Content>> {
        let (head, body) = request.into_parts();
        let host = host(&head);
        let path = head.uri.path();
        let taken = Taken::default();
        self.hits.add(Hit {
            server,
            host: host.clone(),
            method: head.method.to_string(),
            path: path.to_owned(),
            version: format!("{:?}", head.version),
            taken: taken.clone(),
        });
        let body = body.collect().await?.to_bytes();
        let path_parts = path.trim_start_matches('/').split_once('/');
        let (kind, rest) = path_parts.unwrap_or((path, ""));
        let content = match kind {
            "git" => return git::answer(&self.files, &head, body).await,
            "files" => return Ok(self.file(rest)),
            "socket" if head.headers.contains_key(UPGRADE) => return switched(),
            "chunked" => Content::lines(),
            "large" => Content::large(taken),
            "trailers" => Content::trailed(),
            _ => {
                let seen = json!({
                    "server": server.to_string(),
                    "host": host,
                    "method": head.method.as_str(),
                    "path": path,
                    "version": format!("{:?}", head.version),
                    "fields": fields(&head),
                    "tls": speech != Speech::Plain,
                    "bytes": body.len(),
                });
                seen.to_string().into()
            }
        };
        let mut response = Response::new(content);
        if kind == "trailers" {
            let names = HeaderValue::from_static(content::TRAILER.0);
            response.headers_mut().insert(TRAILER, names);
        }
        if head.method == Method::HEAD {
            let length = response.body().size_hint().exact().unwrap_or(0);
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
            *response.body_mut() = Content::Whole(None);
        }
        Ok(response)
    }

    fn file(&self, path: &str) -> Response<Content> {
        let mut path = self.files.join(path);
        let is_inside = path.components().all(|part| part != Component::ParentDir);
        if path.is_dir() {
            path.push("index.html");
        }
        match std::fs::read(&path) {
            Ok(content) if is_inside => {
                let mut response = Response::new(Content::from(content));
                if let Some(kind) = content_type(&path) {
                    let kind = HeaderValue::from_static(kind);
                    response.headers_mut().insert(CONTENT_TYPE, kind);
                }
                response
            }
            Ok(_) | Err(_) => {
                let mut response = Response::new(Content::from(Vec::new()));
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        }
    }
}

/// In HTTP/2 the host stands beside the fields.
fn host(head: &Parts) -> String {
    let field = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = head.uri.authority().map(|authority| authority.as_str());
    field.or(authority).unwrap_or("").to_owned()
}

fn fields(head: &Parts) -> Value {
    let fields = head.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        (name.as_str().to_owned(), Value::from(value))
    });
    fields.collect()
}

fn content_type(path: &Path) -> Option<&'static str> {
    match path.extension()?.to_str()? {
        "html" => Some("text/html"),
        "css" => Some("text/css"),
        "js" => Some("text/javascript"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

/// As a WebSocket server agrees to leave HTTP. What would follow is of no interest here.
fn switched() -> Result<Response<Content>> {
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket");
    Ok(response.body(Content::from(Vec::new()))?)
}

async fn echo(listener: TcpListener, hits: Hits) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            continue;
        };
        if let Some(server) = server_address(&stream) {
            hits.add(Hit::bare(server, "echo"));
        }
        tokio::spawn(async move {
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
            // What comes after the end of a half-closed connection would be a defect of the relay.
            let _ = from.read(&mut [0]).await;
        });
    }
}

async fn echo_datagrams(socket: UdpSocket, hits: Hits) {
    let server = socket.local_addr().map(|address: SocketAddr| address.ip());
    let mut buffer = [0; 2048];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        if let Ok(server) = server {
            hits.add(Hit::bare(server, "echo"));
        }
        let _ = socket.send_to(&buffer[..length], client).await;
    }
}
