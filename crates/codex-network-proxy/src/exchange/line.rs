//! An upstream connection that speaks HTTP.
//!
//! [`Line`] is its sending half and where it leads; [`Line::open`] speaks the first words on a connection that somebody
//! else has opened. A request is written for HTTP/1.1 everywhere else; what HTTP/2 wants otherwise is done and undone here.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use codex_network_gate::{Connection, Limits};
use http::header::{CONNECTION, HOST, TE};
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::failure::ExchangeError;
use super::request_body::{Outgoing, Progress, RequestBody};
use crate::deadline::Deadline;

/// How many bytes may be under way to us on one stream, and on all streams of a connection. As much is buffered at most
/// where a client reads slowly.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;

/// The sending half of an upstream connection, and the address that it leads to (none for a parent's).
#[derive(Debug)]
pub(super) struct Line {
    sender: Sender,
    pub(super) peer: Option<SocketAddr>,
    /// Whether it has been used again after its first answer, so that its origin is known to keep connections.
    pub(super) proven: bool,
    /// Until when an answer is waited for, if one is.
    deadline: Deadline,
}

#[derive(Debug)]
enum Sender {
    /// One exchange at a time.
    Http1(http1::SendRequest<RequestBody>),
    /// Many exchanges at once, counted by their holds on the token.
    Http2(http2::SendRequest<RequestBody>, Arc<()>),
}

/// A failed attempt, with the request where not one byte of it was sent.
pub(super) struct Unanswered {
    pub(super) error: ExchangeError,
    pub(super) unsent: Option<Outgoing>,
}

/// Says that a client takes trailers, on its request's way to an origin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakesTrailers;

impl Line {
    /// Begins HTTP on a connection, in the version that was agreed on.
    pub(super) async fn open(
        connection: Connection,
        peer: Option<SocketAddr>,
        limits: &Limits,
    ) -> Result<Self, ExchangeError> {
        let sender = if connection.is_http2() {
            Sender::Http2(begin_http2(connection, limits).await?, Arc::default())
        } else {
            Sender::Http1(begin_http1(connection, limits).await?)
        };
        Ok(Self {
            sender,
            peer,
            proven: false,
            deadline: Deadline::after(limits.response_head),
        })
    }

    /// Another hold on the same connection, where several exchanges can share one.
    pub(super) fn share(&self) -> Option<Self> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::Http2(sender, token) => Some(Self {
                sender: Sender::Http2(sender.clone(), Arc::clone(token)),
                peer: self.peer,
                proven: self.proven,
                deadline: self.deadline.another(),
            }),
        }
    }

    /// How many exchanges are on it.
    pub(super) fn users(&self) -> usize {
        match &self.sender {
            Sender::Http1(_) => 0,
            // This one hold is of whoever asks.
            Sender::Http2(_, token) => Arc::strong_count(token).saturating_sub(1),
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        match &self.sender {
            Sender::Http1(_) => false,
            Sender::Http2(..) => true,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender, _) => sender.is_closed(),
        }
    }

    /// Whether it is, or within `patience` becomes, ready for a request.
    pub(super) async fn is_ready_within(&mut self, patience: Duration) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.is_ready()
                    || matches!(
                        tokio::time::timeout(patience, sender.ready()).await,
                        Ok(Ok(()))
                    )
            }
            Sender::Http2(sender, _) => !sender.is_closed(),
        }
    }

    /// Sends a request and waits for the head of its answer, until nothing has come back and nothing has gone out (a long
    /// upload is no silence) for `patience`.
    pub(super) async fn send(
        &mut self,
        request: Outgoing,
        patience: Duration,
        progress: Option<Progress>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let mut answer = pin!(self.sender.send(request));
        let deadline = &mut self.deadline;
        deadline.postpone(patience);
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            loop {
                ready!(deadline.poll_passed(cx));
                if !progress.as_ref().is_some_and(Progress::take) {
                    return Poll::Ready(Err(Unanswered {
                        error: ExchangeError::Timeout,
                        unsent: None,
                    }));
                }
                deadline.postpone(patience);
            }
        })
        .await
    }
}

impl Sender {
    async fn send(&mut self, mut request: Outgoing) -> Result<Response<Incoming>, Unanswered> {
        let mut error = match self {
            Self::Http1(sender) => {
                ask_for_trailers(&mut request);
                match sender.try_send_request(*request).await {
                    Ok(response) => return Ok(response),
                    Err(error) => error,
                }
            }
            Self::Http2(sender, _) => {
                write_for_http2(&mut request);
                match sender.try_send_request(*request).await {
                    Ok(response) => return Ok(response),
                    Err(error) => error,
                }
            }
        };
        let unsent = error.take_message().map(|mut request| {
            write_for_http1(&mut request);
            Box::new(request)
        });
        Err(Unanswered {
            error: ExchangeError::Http(error.into_error()),
            unsent,
        })
    }
}

/// Host and path in one (RFC 9113 section 8.3.1), and no field that belongs to a connection of HTTP/1.1.
fn write_for_http2(request: &mut Request<RequestBody>) {
    let host = request.headers().get(HOST);
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut parts = Parts::default();
    parts.scheme = Some(Scheme::HTTPS);
    parts.path_and_query = Some(path_of(request));
    parts.authority = authority;
    // Without a host there is no absolute form; such a request stays as it is, and the origin refuses it.
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
        request.headers_mut().remove(HOST);
    }
    *request.version_mut() = Version::HTTP_2;
    ask_for_trailers(request);
}

/// Trailers are asked for hop by hop (RFC 9110 section 10.1.4), and in HTTP/1.1 the field is announced as one of the hop's.
fn ask_for_trailers(request: &mut Request<RequestBody>) {
    let taken = request.extensions().get::<TakesTrailers>().is_some();
    // An upgrade announces its own, and ends what trailers could be of.
    if !taken || request.headers().contains_key(CONNECTION) {
        return;
    }
    let http1 = request.version() != Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if http1 {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Takes back what sending has changed.
fn write_for_http1(request: &mut Request<RequestBody>) {
    if request.headers_mut().remove(TE).is_some() && request.version() != Version::HTTP_2 {
        request.headers_mut().remove(CONNECTION);
    }
    if request.version() != Version::HTTP_2 {
        return;
    }
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = Uri::from(path_of(request));
    *request.version_mut() = Version::HTTP_11;
}

fn path_of(request: &Request<RequestBody>) -> PathAndQuery {
    let path = request.uri().path_and_query().cloned();
    path.unwrap_or(PathAndQuery::from_static("/"))
}

async fn begin_http1(
    connection: Connection,
    limits: &Limits,
) -> Result<http1::SendRequest<RequestBody>, ExchangeError> {
    let (sender, connection) = http1::Builder::new()
        .preserve_header_case(true)
        .max_header_size(limits.request_head_bytes)
        .handshake(TokioIo::new(connection))
        .await
        .map_err(ExchangeError::Http)?;
    // Ends by itself when its sender is dropped, its body has been read or abandoned, or the origin closes.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "an upstream connection ended");
        }
    });
    Ok(sender)
}

async fn begin_http2(
    connection: Connection,
    limits: &Limits,
) -> Result<http2::SendRequest<RequestBody>, ExchangeError> {
    let header_bytes = u32::try_from(limits.request_head_bytes).unwrap_or(u32::MAX);
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(header_bytes)
        .keep_alive_interval(limits.keepalive)
        .handshake(TokioIo::new(connection))
        .await
        .map_err(ExchangeError::Http)?;
    // Ends by itself when every hold on it is dropped and its streams have ended, or the origin closes.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an upstream connection ended");
        }
    });
    Ok(sender)
}
