//! The origins: HTTP, HTTPS and echo on every address of the namespace.
//!
//! Main type: [`Origins`]. Every request is answered with what the origin saw, first of all the address that was dialled,
//! and is kept as a [`Hit`]. Below `/files/` it serves a directory, and below `/git/` it runs `git http-backend`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;

mod certificates;
mod git;

use certificates::Certificates;
pub(crate) use certificates::{EXPIRED_ADDRESS, UNKNOWN_ISSUER_ADDRESS};

pub(crate) const ECHO_PORT: u16 = 7;

/// A request, or a connection to the echo, as an origin saw it.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    /// The address that was dialled.
    pub(crate) server: IpAddr,
    /// The `Host` field, or `echo`.
    pub(crate) host: String,
    pub(crate) path: String,
}

#[derive(Clone, Debug, Default)]
struct Hits(Arc<Mutex<Vec<Hit>>>);

impl Hits {
    fn add(&self, server: IpAddr, host: &str, path: &str) {
        let (host, path) = (host.to_owned(), path.to_owned());
        let mut hits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hits.push(Hit { server, host, path });
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
                None => serve(stream, site, server, false).await,
                Some(certificates) => {
                    let acceptor = TlsAcceptor::from(certificates.of(server));
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, site, server, true).await;
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

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    site: Site,
    server: IpAddr,
    is_tls: bool,
) {
    let service = service_fn(|request| site.answer(request, server, is_tls));
    // A client that goes away in the middle is no concern of an origin.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
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
        is_tls: bool,
    ) -> Result<Response<Full<Bytes>>> {
        let host = request.headers().get("host");
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or("");
        let host = host.to_owned();
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        self.hits.add(server, &host, path);
        let body = body.collect().await?.to_bytes();
        if path.starts_with("/git/") {
            return git::answer(&self.files, &head, body).await;
        }
        if let Some(file) = path.strip_prefix("/files/") {
            return Ok(self.file(file));
        }
        let seen = json!({
            "server": server.to_string(),
            "host": host,
            "method": head.method.as_str(),
            "path": path,
            "tls": is_tls,
            "bytes": body.len(),
        });
        let response = Response::builder().header("content-type", "application/json");
        Ok(response.body(Full::from(seen.to_string()))?)
    }

    fn file(&self, path: &str) -> Response<Full<Bytes>> {
        let mut path = self.files.join(path);
        let is_inside = path.components().all(|part| part != Component::ParentDir);
        if path.is_dir() {
            path.push("index.html");
        }
        match std::fs::read(&path) {
            Ok(content) if is_inside => {
                let mut response = Response::new(Full::from(content));
                if path
                    .extension()
                    .is_some_and(|extension| extension == "html")
                {
                    let html = HeaderValue::from_static("text/html");
                    response.headers_mut().insert(CONTENT_TYPE, html);
                }
                response
            }
            Ok(_) | Err(_) => {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        }
    }
}

async fn echo(listener: TcpListener, hits: Hits) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            continue;
        };
        if let Some(server) = server_address(&stream) {
            hits.add(server, "echo", "");
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
            hits.add(server, "echo", "");
        }
        let _ = socket.send_to(&buffer[..length], client).await;
    }
}
