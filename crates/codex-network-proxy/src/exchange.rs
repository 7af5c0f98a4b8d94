//! Forwards one HTTP request under a [`Permit`] and returns the origin's answer.
//!
//! [`Exchange`] owns the upstream connections that are kept. It writes a request afresh from its parsed parts,
//! so that a client's own framing never reaches an origin. It deliberately judges nothing and knows no door:
//! whoever calls it holds a permit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use codex_network_gate::{Connection, Gate, Permit};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::time::timeout;

mod arriving;
pub(crate) mod body;
mod failure;
pub(crate) mod headers;
mod line;
mod pool;
pub(crate) mod refusal;
mod request_body;

use body::{Body, ResponseBody};
pub(crate) use failure::ExchangeError;
use line::Line;
use pool::{GiveBack, Key, Pool};
use request_body::{Expectation, RequestBody};

/// Forwards requests for all doors of one proxy.
#[derive(Debug)]
pub(crate) struct Exchange {
    gate: Arc<Gate>,
    pool: Arc<Pool>,
}

impl Exchange {
    pub(crate) fn new(gate: Arc<Gate>) -> Self {
        let limits = gate.limits();
        let pool = Pool::new(limits.pooled_connections, limits.pooled_idle);
        Self {
            gate,
            pool: Arc::new(pool),
        }
    }

    /// Closes upstream connections that nobody came for, until the future is dropped.
    pub(crate) async fn close_idle(&self) {
        let mut interval = tokio::time::interval(self.gate.limits().pooled_idle);
        loop {
            interval.tick().await;
            self.pool.sweep();
        }
    }

    /// Sends `request`, whose hop-by-hop fields are gone already, to the permit's target.
    ///
    /// A kept connection that turns out to be closed is replaced by a new one, once, where the request can be
    /// sent again without doing anything twice.
    pub(crate) async fn forward(
        &self,
        permit: &Permit,
        request: Request<Incoming>,
        upgrade: bool,
    ) -> Result<Response<Body>, ExchangeError> {
        let (mut parts, incoming) = request.into_parts();
        parts.version = Version::HTTP_11;
        let mut request = Request::from_parts(parts, ());
        let expectation = Expectation::of(&mut request);
        let progress = Arc::new(AtomicBool::new(false));
        let limits = self.gate.limits();
        let body = RequestBody::new(
            incoming,
            limits.body_idle,
            expectation
                .as_ref()
                .map(|expectation| expectation.gate(limits.expect_continue)),
            Arc::clone(&progress),
        );
        let mut request = request.map(|()| body);

        if permit.wants_absolute_form() {
            headers::set_absolute_form(&mut request, permit);
        }
        let key = Key::of(permit);
        let shared =
            !upgrade && !headers::authenticates_connection(request.headers(), &AUTHORIZATION);
        if shared && let Some((mut line, rested)) = self.kept(&key, permit).await {
            // Origins close connections after one answer, or that rest; those in use need no copy of the request.
            let in_use = line.proven && rested < AT_REST;
            line.proven = true;
            let again = if in_use { None } else { repeatable(&request) };
            match self.send(&mut line, request, &progress).await {
                Ok(response) => return Ok(self.answer(response, expectation, Some((key, line)))),
                Err(Failure {
                    unsent: Some(unsent),
                    ..
                }) => request = *unsent,
                Err(Failure {
                    error,
                    unsent: None,
                }) => match again {
                    Some(again) if !error.is_timeout() => request = again,
                    Some(_) | None => return Err(error),
                },
            }
        }
        let mut line = self.open(permit).await?;
        match self.send(&mut line, request, &progress).await {
            Ok(response) => {
                let kept = shared.then_some((key, line));
                Ok(self.answer(response, expectation, kept))
            }
            Err(Failure { error, .. }) => Err(error),
        }
    }

    /// A kept connection that is ready, over an address that this permit admits, and how long nobody has used it.
    async fn kept(&self, key: &Key, permit: &Permit) -> Option<(Line, Duration)> {
        loop {
            let (mut line, rested) = self.pool.take(key)?;
            let admitted = match line.peer {
                Some(peer) => permit.addresses().any(|address| address == peer),
                None => permit.is_via_parent(),
            };
            if !admitted {
                continue;
            }
            // It may just have finished its last answer. One that is still busy is not worth waiting for.
            if line.sender.is_ready()
                || matches!(timeout(READY_WAIT, line.sender.ready()).await, Ok(Ok(())))
            {
                return Some((line, rested));
            }
        }
    }

    async fn open(&self, permit: &Permit) -> Result<Line, ExchangeError> {
        let connection = self.gate.upstream().open(permit).await?;
        let peer = connection
            .peer_address()
            .filter(|_| !permit.is_via_parent());
        let sender = handshake(connection, self.gate.limits().request_head_bytes).await?;
        Ok(Line {
            sender,
            peer,
            proven: false,
        })
    }

    async fn send(
        &self,
        line: &mut Line,
        request: Request<RequestBody>,
        progress: &AtomicBool,
    ) -> Result<Response<Incoming>, Failure> {
        let limit = self.gate.limits().response_head;
        let mut sending = std::pin::pin!(line.sender.try_send_request(request));
        loop {
            match timeout(limit, sending.as_mut()).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(mut error)) => {
                    let unsent = error.take_message().map(Box::new);
                    return Err(Failure {
                        error: ExchangeError::Http(error.into_error()),
                        unsent,
                    });
                }
                // A long upload is no silence.
                Err(_) if progress.swap(false, Ordering::Relaxed) => {}
                Err(_) => {
                    return Err(Failure {
                        error: ExchangeError::Timeout,
                        unsent: None,
                    });
                }
            }
        }
    }

    fn answer(
        &self,
        mut response: Response<Incoming>,
        expectation: Option<Expectation>,
        kept: Option<(Key, Line)>,
    ) -> Response<Body> {
        if let Some(expectation) = expectation {
            expectation.answered();
        }
        // The version belongs to the hop (RFC 9110 section 2.5): an old origin does not make us an old proxy.
        *response.version_mut() = Version::HTTP_11;
        let idle = self.gate.limits().body_idle;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return response.map(|_| Body::empty());
        }
        let pool = Arc::clone(&self.pool);
        let kept = kept
            .filter(|_| !headers::authenticates_connection(response.headers(), &WWW_AUTHENTICATE));
        response.map(|incoming| {
            let give_back = kept.map(|(key, line)| GiveBack::new(pool, key, line));
            Body::upstream(ResponseBody::new(incoming, idle, give_back))
        })
    }
}

/// After how long without use an origin may be about to close a connection.
const AT_REST: Duration = Duration::from_millis(500);

/// How long a kept connection may take to become ready after its last answer.
const READY_WAIT: Duration = Duration::from_millis(20);

/// A failed attempt, with the request where not one byte of it was sent.
struct Failure {
    error: ExchangeError,
    unsent: Option<Box<Request<RequestBody>>>,
}

/// A copy of a request that can safely be sent twice (RFC 9110 section 9.2.2), for an origin that closes a kept
/// connection at the moment we use it.
fn repeatable(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if !(safe && request.body().is_empty()) {
        return None;
    }
    let mut copy = Request::new(RequestBody::none());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

async fn handshake(
    connection: Connection,
    head_bytes: usize,
) -> Result<SendRequest<RequestBody>, ExchangeError> {
    let (sender, connection) = hyper::client::conn::http1::Builder::new()
        .preserve_header_case(true)
        .max_header_size(head_bytes)
        .handshake(hyper_util::rt::TokioIo::new(connection))
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
