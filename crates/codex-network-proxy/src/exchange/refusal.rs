//! The proxy's own HTTP answers (SPEC section F1): refusals, client errors, upstream failures.
//!
//! The only place that turns a [`Denial`] or an error into an HTTP answer. It deliberately tells a client nothing
//! but the reason: no addresses, no system errors, nothing of the request.

use codex_network_gate::{Denial, UpstreamError};
use codex_network_policy::{LookupFailure, Reason};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::body::Body;
use super::failure::ExchangeError;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROXY_ERROR: HeaderName = HeaderName::from_static("x-proxy-error");

/// The door that a refusal leaves by; it decides between text and JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Forward,
    Connect,
    UnixSocket,
    /// Inside of an opened tunnel.
    Inside,
}

/// What is wrong with a request, in the words that the client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRequest {
    MissingHost,
    MissingAuthority,
    InvalidHost,
    InvalidHostHeader,
    HostMismatch,
    InvalidUnixSocketHeader,
    UnsupportedScheme,
    /// `Transfer-Encoding` that is not exactly `chunked` (RFC 9112 section 6.1).
    InvalidFraming,
    /// `Connection` names a field that must reach the origin.
    InvalidConnectionHeader,
}

impl BadRequest {
    fn as_str(self) -> &'static str {
        match self {
            Self::MissingHost => "missing host",
            Self::MissingAuthority => "missing authority",
            Self::InvalidHost => "invalid host",
            Self::InvalidHostHeader => "invalid Host header",
            Self::HostMismatch => "Host header does not match request target",
            Self::InvalidUnixSocketHeader => "invalid x-unix-socket header",
            Self::UnsupportedScheme => "unsupported scheme",
            Self::InvalidFraming => "invalid message framing",
            Self::InvalidConnectionHeader => "invalid Connection header",
        }
    }
}

/// The JSON body of a refusal (SPEC F2). The order of the fields is fixed.
#[derive(Serialize)]
struct Blocked<'a> {
    status: &'static str,
    host: &'a str,
    reason: &'a str,
    #[serde(flatten)]
    details: Option<Details<'a>>,
}

/// What the long form adds.
#[derive(Serialize)]
struct Details<'a> {
    decision: &'static str,
    source: &'static str,
    protocol: &'static str,
    port: u16,
    message: &'a str,
}

/// 400, and the connection is closed: what follows on it cannot be trusted.
pub(crate) fn bad_request(what: BadRequest) -> Response<Body> {
    let mut response = answer(
        StatusCode::BAD_REQUEST,
        TEXT,
        None,
        what.as_str().to_owned(),
    );
    close(&mut response);
    response
}

/// The gate's no.
pub(crate) fn denied(denial: &Denial, door: Door) -> Response<Body> {
    let reason = denial.reason();
    let mut response = match reason {
        Reason::ProxyDisabled => own(StatusCode::SERVICE_UNAVAILABLE, reason.message()),
        Reason::UnixSocketUnsupported => {
            own(StatusCode::NOT_IMPLEMENTED, "unix sockets unsupported")
        }
        Reason::DnsLookupFailed(failure) => {
            let status = match failure {
                LookupFailure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
                LookupFailure::Failed | LookupFailure::Empty => StatusCode::BAD_GATEWAY,
            };
            own(
                status,
                format!("upstream failure: could not resolve {}", denial.host()),
            )
        }
        Reason::NotAllowed
        | Reason::NotAllowedLocal
        | Reason::Denied
        | Reason::MethodNotAllowed
        | Reason::MitmRequired
        | Reason::ServerNameMismatch
        | Reason::EncryptedHello
        | Reason::OriginNotVerified
        | Reason::Cancelled
        | Reason::PolicyDenied
        | Reason::Invented(_) => blocked(denial, door),
    };
    match door {
        // What a client sends behind a refused CONNECT is not the next request (THREATS 18).
        Door::Connect => close(&mut response),
        Door::Forward | Door::UnixSocket | Door::Inside => {}
    }
    response
}

fn blocked(denial: &Denial, door: Door) -> Response<Body> {
    let reason = denial.reason();
    let header = reason.header().map(HeaderValue::from_static);
    match door {
        Door::Connect | Door::Inside => answer(
            StatusCode::FORBIDDEN,
            TEXT,
            header,
            reason.message().to_owned(),
        ),
        Door::Forward | Door::UnixSocket => {
            let body = Blocked {
                status: "blocked",
                host: denial.host(),
                reason: reason.as_str(),
                details: (door == Door::Forward).then(|| Details {
                    decision: denial.decision().as_str(),
                    source: denial.source().as_str(),
                    protocol: denial.protocol().as_str(),
                    port: denial.port(),
                    message: reason.message(),
                }),
            };
            let body = serde_json::to_string(&body).unwrap_or_default();
            answer(StatusCode::FORBIDDEN, JSON, header, body)
        }
    }
}

/// The origin failed: 502, or 504 where it was a limit of time.
pub(crate) fn upstream_failure(error: &ExchangeError, door: Door) -> Response<Body> {
    let status = if error.is_timeout() {
        StatusCode::GATEWAY_TIMEOUT
    } else {
        StatusCode::BAD_GATEWAY
    };
    let text = match door {
        Door::Forward | Door::Connect => "upstream failure",
        Door::UnixSocket => "unix socket proxy failed",
        Door::Inside => "mitm upstream error",
    };
    // How TLS failed is for the client to know: it cannot see the certificate itself.
    let text = match error.tls_failure() {
        Some(failure) => format!("{text}: {failure}"),
        None => text.to_owned(),
    };
    let mut response = own(status, text);
    if door == Door::Connect {
        close(&mut response);
    }
    response
}

/// A request inside of an opened tunnel that breaks its terms: it names another host, or asks for a tunnel of its own.
pub(crate) fn breach(denial: &Denial) -> Response<Body> {
    match denial.reason() {
        Reason::MethodNotAllowed => own(
            StatusCode::METHOD_NOT_ALLOWED,
            "CONNECT not supported inside MITM",
        ),
        Reason::NotAllowed
        | Reason::NotAllowedLocal
        | Reason::Denied
        | Reason::MitmRequired
        | Reason::ProxyDisabled
        | Reason::UnixSocketUnsupported
        | Reason::DnsLookupFailed(_)
        | Reason::ServerNameMismatch
        | Reason::EncryptedHello
        | Reason::OriginNotVerified
        | Reason::Cancelled
        | Reason::PolicyDenied
        | Reason::Invented(_) => own(StatusCode::BAD_REQUEST, "host mismatch"),
    }
}

/// The origin's answer is none that can be passed on.
pub(crate) fn unexpected_answer(door: Door) -> Response<Body> {
    let unreadable = UpstreamError::Protocol("unexpected answer");
    upstream_failure(&ExchangeError::Upstream(unreadable), door)
}

/// An accepted CONNECT: 200 with nothing but the date.
pub(crate) fn tunnel_accepted() -> Response<Body> {
    Response::new(Body::empty())
}

fn own(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    answer(status, TEXT, None, text.into())
}

fn answer(
    status: StatusCode,
    content_type: HeaderValue,
    error: Option<HeaderValue>,
    text: String,
) -> Response<Body> {
    let length = HeaderValue::from(text.len());
    let mut response = Response::new(Body::own(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    if let Some(error) = error {
        headers.insert(PROXY_ERROR, error);
    }
    headers.insert(CONTENT_LENGTH, length);
    response
}

fn close(response: &mut Response<Body>) {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
}
