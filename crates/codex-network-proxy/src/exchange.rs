//! Forwards one HTTP request under a [`Permit`] and returns the origin's answer.
//!
//! [`Exchange`] owns the upstream connections that are kept. It writes a request afresh from its parsed parts,
//! so that a client's own framing never reaches an origin, in the version of HTTP that the origin speaks. It deliberately
//! judges nothing and asks nobody: whoever calls it holds a permit.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use codex_network_gate::{
    Connection, Fingerprint, Gate, HttpOffer, Permit, Proof, TlsFailure, UpstreamError, chain,
};
use http::header::{AUTHORIZATION, UPGRADE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

mod arriving;
pub(crate) mod body;
mod failure;
pub(crate) mod headers;
mod line;
mod pool;
pub(crate) mod refusal;
mod request_body;
pub(crate) mod seen;
mod switched;

use crate::meters::Meters;
use body::{Body, ResponseBody};
pub(crate) use failure::ExchangeError;
use line::{Line, Unanswered};
use pool::{GiveBack, Pool, PoolKey, Shelf};
use refusal::Reader;
use request_body::Expectation;
pub(crate) use request_body::{Outgoing, RequestBody};
use seen::Seen;
pub(crate) use switched::{Switched, into_stream};

/// Forwards requests for all doors of one proxy.
#[derive(Debug)]
pub(crate) struct Exchange {
    gate: Arc<Gate>,
    pool: Arc<Pool>,
}

impl Exchange {
    pub(crate) fn new(gate: Arc<Gate>, meters: Arc<Meters>) -> Self {
        let limits = gate.limits();
        let pool = Pool::new(limits.pooled_connections, limits.pooled_idle, meters);
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

    /// Sends `request`, whose hop-by-hop fields are gone already, to the permit's target, and makes the answer one that can
    /// be passed on: the origin's, or our own about its failure. `upgrade` is what the client asks to switch to, `offer`
    /// are the HTTP versions to offer where TLS is ours; `reader` reads what is our own.
    pub(crate) async fn answer(
        &self,
        permit: &Permit,
        request: Outgoing,
        upgrade: Option<&HeaderValue>,
        offer: HttpOffer,
        reader: Reader,
    ) -> Answered {
        let answer = self
            .forward(permit, request, upgrade.is_some(), offer)
            .await;
        let (mut response, seen) = match answer {
            Ok(received) => received,
            Err(error) => {
                tracing::info!(target = %permit, error = %chain(&error), "upstream failed");
                return Answered::Response(refusal::upstream_failure(&error, reader));
            }
        };
        let of_http2 = response.version() == Version::HTTP_2;
        // The version belongs to the hop (RFC 9110 section 2.5): an old origin does not make us an old proxy.
        *response.version_mut() = Version::HTTP_11;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let stream = hyper::upgrade::on(&mut response);
            if !is_asked_for(upgrade, response.headers().get(UPGRADE)) {
                tracing::info!(target = %permit, "the origin switched protocols unasked");
                return Answered::Response(refusal::unexpected_answer(reader));
            }
            headers::clean_response(response.headers_mut(), seen, true, of_http2);
            return Answered::Switched(response, Switched(stream));
        }
        if !headers::is_plainly_framed(response.headers(), seen) {
            tracing::info!(target = %permit, "the origin's answer has a transfer coding that is not ours to undo");
            return Answered::Response(refusal::unexpected_answer(reader));
        }
        headers::clean_response(response.headers_mut(), seen, false, of_http2);
        Answered::Response(response)
    }

    /// Whether the origin of an opened tunnel is reached already, over a kept connection that its permit admits.
    pub(crate) fn is_reached(&self, tunnel: &Permit) -> bool {
        [HttpOffer::Http1, HttpOffer::Http2OrHttp1]
            .into_iter()
            .any(|offer| self.spoken(tunnel, offer).is_some())
    }

    /// Which version the origin of an opened tunnel speaks when it is offered these, as far as a kept connection tells.
    fn spoken(&self, tunnel: &Permit, offer: HttpOffer) -> Option<HttpVersion> {
        let admits = |line: &Line| is_admitted(line, tunnel);
        let http2 = self.pool.peek(&PoolKey::of(tunnel, offer), admits)?;
        Some(HttpVersion::of(http2))
    }

    /// Finds out what the origin of an opened tunnel speaks, and keeps the connection for the requests inside. `bare` was
    /// opened for the tunnel and has not said anything yet.
    pub(crate) async fn prepare(
        &self,
        tunnel: &Permit,
        bare: Option<Connection>,
        offer: HttpOffer,
    ) -> Result<Prepared, ExchangeError> {
        if let Some(version) = self.spoken(tunnel, offer) {
            return Ok(Prepared {
                version,
                dialled: bare.as_ref().and_then(Connection::peer_address),
                certificate: None,
            });
        }
        let upstream = self.gate.upstream();
        let bare = match bare {
            Some(bare) => bare,
            None => upstream.open(tunnel).await?,
        };
        let secured = match upstream.secure(tunnel, bare, offer).await {
            Err(error) if speaks_only_http2(&error, offer) => {
                let bare = upstream.open(tunnel).await?;
                upstream.secure(tunnel, bare, HttpOffer::Http2).await?
            }
            secured => secured?,
        };
        let prepared = Prepared {
            version: HttpVersion::of(secured.is_http2()),
            dialled: secured.peer_address(),
            certificate: secured.certificate(),
        };
        let line = self.line(tunnel, secured).await?;
        let shelf = self.pool.shelf(&PoolKey::of(tunnel, offer));
        self.pool.put(&shelf, line);
        Ok(prepared)
    }

    /// A kept connection that turns out to be closed is replaced by a new one, once, where the request can be
    /// sent again without doing anything twice.
    async fn forward(
        &self,
        permit: &Permit,
        mut request: Outgoing,
        upgrade: bool,
        offer: HttpOffer,
    ) -> Result<(Response<Body>, Seen), ExchangeError> {
        *request.version_mut() = Version::HTTP_11;
        let limits = self.gate.limits();
        let seen = Seen::of(request.headers());
        let expectation = Expectation::of(&mut request, seen);
        if let Some(expectation) = &expectation {
            let gate = expectation.gate(limits.expect_continue);
            request.body_mut().wait_for(gate);
        }
        let progress = request.body().progress();
        if permit.wants_absolute_form() {
            headers::set_absolute_form(&mut request, permit);
        }
        // Only HTTP/1.1 can be left by an upgrade.
        let offer = if upgrade { HttpOffer::Http1 } else { offer };
        let shelf = self.pool.shelf(&PoolKey::of(permit, offer));
        let shared =
            !upgrade && !headers::authenticates_connection(request.headers(), seen, &AUTHORIZATION);
        if shared && let Some((mut line, rested)) = self.kept(&shelf, permit).await {
            self.pool.meters().reused.increment();
            // Origins close connections after one answer, or that rest; those in use need no copy of the request.
            let in_use = line.proven && rested < AT_REST;
            line.proven = true;
            let again = if in_use { None } else { repeatable(&request) };
            match line
                .send(request, limits.response_head, progress.clone())
                .await
            {
                Ok(response) => {
                    return Ok(self.received(response, expectation, Some((shelf, line))));
                }
                Err(Unanswered {
                    unsent: Some(unsent),
                    ..
                }) => request = unsent,
                Err(Unanswered {
                    error,
                    unsent: None,
                }) => match again {
                    Some(again) if !error.is_timeout() => request = again,
                    Some(_) | None => return Err(error),
                },
            }
        }
        self.pool.meters().opened.increment();
        // Boxed, so that the many requests that open nothing do not carry the memory of it.
        let mut line = Box::pin(self.open(permit, offer)).await?;
        if shared && let Some(line) = line.share() {
            self.pool.put(&shelf, Box::new(line));
        }
        match line
            .send(request, limits.response_head, progress.clone())
            .await
        {
            Ok(response) => {
                let kept = shared.then_some((shelf, line));
                Ok(self.received(response, expectation, kept))
            }
            Err(Unanswered { error, .. }) => Err(error),
        }
    }

    /// A kept connection that is ready, over an address that this permit admits, and how long nobody has used it.
    async fn kept(&self, shelf: &Shelf, permit: &Permit) -> Option<(Box<Line>, Duration)> {
        loop {
            let (mut line, rested) = self.pool.take(shelf)?;
            // It may just have finished its last answer. One that is still busy is not worth waiting for.
            if is_admitted(&line, permit) && line.is_ready_within(READY_WAIT).await {
                return Some((line, rested));
            }
            // A shared one stays in the pool, and would be found again and again.
            if line.is_http2() {
                return None;
            }
        }
    }

    async fn open(&self, permit: &Permit, offer: HttpOffer) -> Result<Box<Line>, ExchangeError> {
        let upstream = self.gate.upstream();
        let connection = match upstream.open_for(permit, offer).await {
            Err(error) if speaks_only_http2(&error, offer) => {
                upstream.open_for(permit, HttpOffer::Http2).await?
            }
            opened => opened?,
        };
        self.gate.record_connection(
            permit,
            &Proof {
                dialled: connection.peer_address(),
                hello: None,
                certificate: connection.certificate(),
            },
        );
        self.line(permit, connection).await
    }

    async fn line(
        &self,
        permit: &Permit,
        connection: Connection,
    ) -> Result<Box<Line>, ExchangeError> {
        let peer = connection
            .peer_address()
            .filter(|_| !permit.is_via_parent());
        let line = Line::open(connection, peer, self.gate.limits()).await?;
        Ok(Box::new(line))
    }

    /// The answer as it goes on, and which fields it has.
    fn received(
        &self,
        response: Response<Incoming>,
        expectation: Option<Expectation>,
        kept: Option<(Arc<Shelf>, Box<Line>)>,
    ) -> (Response<Body>, Seen) {
        if let Some(expectation) = expectation {
            expectation.answered();
        }
        let idle = self.gate.limits().body_idle;
        let seen = Seen::of(response.headers());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return (response.map(|_| Body::empty()), seen);
        }
        let pool = Arc::clone(&self.pool);
        let kept = kept.filter(|_| {
            !headers::authenticates_connection(response.headers(), seen, &WWW_AUTHENTICATE)
        });
        let response = response.map(|incoming| {
            let give_back = kept.map(|(shelf, line)| GiveBack::new(pool, shelf, line));
            Body::upstream(ResponseBody::new(incoming, idle, give_back))
        });
        (response, seen)
    }
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Answered {
    Response(Response<Body>),
    /// The origin leaves HTTP, as the client asked for, with this answer.
    Switched(Response<Body>, Switched),
}

/// What was found out about the origin of an opened tunnel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prepared {
    pub(crate) version: HttpVersion,
    /// None where a kept connection told.
    pub(crate) dialled: Option<SocketAddr>,
    pub(crate) certificate: Option<Fingerprint>,
}

/// The version of HTTP that is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    Http1,
    Http2,
}

impl HttpVersion {
    fn of(http2: bool) -> Self {
        if http2 { Self::Http2 } else { Self::Http1 }
    }
}

/// Whether this permit allows the address that a line leads to.
fn is_admitted(line: &Line, permit: &Permit) -> bool {
    match line.peer {
        Some(peer) => permit.addresses().any(|address| address == peer),
        None => permit.is_via_parent(),
    }
}

/// Whether an origin that was offered HTTP/1.1 alone speaks only HTTP/2.
fn speaks_only_http2(error: &UpstreamError, offer: HttpOffer) -> bool {
    offer == HttpOffer::Http1 && error.tls_failure() == Some(TlsFailure::NoCommonProtocol)
}

/// Whether the origin switched to one of the protocols that the client offered.
fn is_asked_for(asked: Option<&HeaderValue>, answered: Option<&HeaderValue>) -> bool {
    let (Some(asked), Some(answered)) = (asked, answered) else {
        return false;
    };
    let (Ok(asked), Ok(answered)) = (asked.to_str(), answered.to_str()) else {
        return false;
    };
    asked
        .split(',')
        .any(|asked| asked.trim().eq_ignore_ascii_case(answered.trim()))
}

/// After how long without use an origin may be about to close a connection.
const AT_REST: Duration = Duration::from_millis(500);

/// How long a kept connection may take to become ready after its last answer.
const READY_WAIT: Duration = Duration::from_millis(20);

/// A copy of a request that can safely be sent twice (RFC 9110 section 9.2.2), for an origin that closes a kept
/// connection at the moment we use it.
fn repeatable(request: &Request<RequestBody>) -> Option<Outgoing> {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if !(safe && request.body().is_empty()) {
        return None;
    }
    let mut copy = Box::new(Request::new(RequestBody::none()));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}
