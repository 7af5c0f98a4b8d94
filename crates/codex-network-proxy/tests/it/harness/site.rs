//! An origin that speaks HTTP of both versions inside of TLS, and clients of opened tunnels that do.
//!
//! Main types: [`Site`], which serves a page for each kind of answer and remembers what it was asked, and [`Browser`], a
//! client of one version.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;

use super::tls::{Certified, Client};
use super::{Origin, World, within};

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The parts of `/chunked`.
pub(crate) const PARTS: [&str; 3] = ["one", "two", "three"];

/// The size of `/large`, and of each of its pieces.
pub(crate) const LARGE: usize = 8 * 1024 * 1024;
const PIECE: usize = 64 * 1024;

/// What the origin was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) version: Version,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

/// A running origin.
pub(crate) struct Site {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Site {
    pub(crate) async fn start(certified: Certified) -> Self {
        let origin = Origin::start().await;
        let port = origin.port;
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let log = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            loop {
                let stream = origin.next_stream().await;
                let (certified, log) = (certified.clone(), Arc::clone(&log));
                tokio::spawn(async move {
                    let Ok(stream) = certified.accept_stream(stream).await else {
                        return;
                    };
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let service = service_fn(move |request| answer(Arc::clone(&log), request));
                    let io = TokioIo::new(stream);
                    if http2 {
                        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = server.serve_connection(io, service).await;
                    } else {
                        let server = hyper::server::conn::http1::Builder::new();
                        let _ = server.serve_connection(io, service).with_upgrades().await;
                    }
                });
            }
        });
        Self { port, asked, task }
    }

    /// What it was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

async fn answer(
    log: Arc<Mutex<Vec<Asked>>>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let host = match parts.uri.authority() {
        Some(authority) => authority.to_string(),
        None => parts.headers["host"].to_str().unwrap().to_owned(),
    };
    let path = parts.uri.path().to_owned();
    log.lock().unwrap().push(Asked {
        version: parts.version,
        method: parts.method.to_string(),
        host,
        path: path.clone(),
        headers: parts.headers.clone(),
    });
    Ok(match path.as_str() {
        "/chunked" => Response::new(frames(PARTS.map(|part| Frame::data(part.into())))),
        "/large" => {
            let piece = Bytes::from(vec![b'x'; PIECE]);
            Response::new(frames(
                std::iter::repeat_n(piece, LARGE / PIECE).map(Frame::data),
            ))
        }
        "/trailers" => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("42"));
            let body = frames([Frame::data("body".into()), Frame::trailers(trailers)]);
            let mut response = Response::new(body);
            let names = HeaderValue::from_static("x-sum");
            response.headers_mut().insert("trailer", names);
            response
        }
        // Says how much it got, and in the trailers which trailers.
        "/count" => {
            let got = body.collect().await.unwrap();
            let trailers = got.trailers().cloned().unwrap_or_default();
            let text = format!("{} bytes", got.to_bytes().len());
            Response::new(frames([
                Frame::data(text.into()),
                Frame::trailers(trailers),
            ]))
        }
        "/socket" => {
            tokio::spawn(async move {
                let upgraded = upgrade.await.unwrap();
                let mut stream = TokioIo::new(upgraded);
                let (mut from, mut to) = tokio::io::split(&mut stream);
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
            Response::builder()
                .status(101)
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
                .body(frames([]))
                .unwrap()
        }
        // The library would send the body all the same, over HTTP/2.
        _ if parts.method == http::Method::HEAD => Response::builder()
            .header("content-length", "5")
            .body(frames([]))
            .unwrap(),
        _ => Response::new(
            Full::new(Bytes::from_static(b"small"))
                .map_err(|never| match never {})
                .boxed_unsync(),
        ),
    })
}

/// A body of these frames.
pub(crate) fn frames<I>(frames: I) -> Body
where
    I: IntoIterator<Item = Frame<Bytes>>,
    I::IntoIter: Send + Unpin + 'static,
{
    struct Frames<I>(I);
    impl<I: Iterator<Item = Frame<Bytes>> + Unpin> http_body::Body for Frames<I> {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.next().map(Ok))
        }
    }
    Frames(frames.into_iter()).boxed_unsync()
}

/// A client of one version of HTTP inside of an opened tunnel.
pub(crate) enum Browser {
    Http1(hyper::client::conn::http1::SendRequest<Body>),
    Http2(hyper::client::conn::http2::SendRequest<Body>),
}

impl Browser {
    /// In a tunnel to this port of `origin.test`. It offers just this version.
    pub(crate) async fn open(world: &World, port: u16, version: Version) -> Self {
        let client = Client::speaking(if version == Version::HTTP_2 {
            &["h2"]
        } else {
            &["http/1.1"]
        });
        let stream = client.open(world, port).await.into_stream();
        let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let io = TokioIo::new(stream);
        if version == Version::HTTP_2 {
            assert_eq!(agreed.as_deref(), Some(&b"h2"[..]));
            let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
            let (sender, connection) = builder.handshake(io).await.unwrap();
            tokio::spawn(connection);
            Self::Http2(sender)
        } else {
            let builder = hyper::client::conn::http1::Builder::new();
            let (sender, connection) = builder.handshake(io).await.unwrap();
            tokio::spawn(connection.with_upgrades());
            Self::Http1(sender)
        }
    }

    /// Sends a request for this path of `origin.test` at this port.
    pub(crate) async fn ask(&mut self, port: u16, request: Request<Body>) -> Response<Incoming> {
        self.try_ask(port, request).await.unwrap()
    }

    pub(crate) async fn try_ask(
        &mut self,
        port: u16,
        mut request: Request<Body>,
    ) -> hyper::Result<Response<Incoming>> {
        let path = request.uri().path_and_query().unwrap().clone();
        match self {
            Self::Http1(sender) => {
                let host = HeaderValue::try_from(format!("origin.test:{port}")).unwrap();
                request.headers_mut().entry("host").or_insert(host);
                within("an answer", sender.send_request(request)).await
            }
            Self::Http2(sender) => {
                *request.uri_mut() = format!("https://origin.test:{port}{path}").parse().unwrap();
                within("an answer", sender.send_request(request)).await
            }
        }
    }

    /// Fetches a path.
    pub(crate) async fn get(&mut self, port: u16, path: &str) -> Response<Incoming> {
        let request = Request::get(path).header("te", "trailers");
        self.ask(port, request.body(frames([])).unwrap()).await
    }
}

/// The text of a body.
pub(crate) async fn text(body: Incoming) -> String {
    let body = within("a body", body.collect()).await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}
