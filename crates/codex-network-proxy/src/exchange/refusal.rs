//! The proxy's own HTTP answers (SPEC section F1): refusals, client errors, upstream failures.
//!
//! The only place that turns a [`Denial`] or an error into an HTTP answer: in the form of the specification, or as problem
//! details where the [`Reader`] asks for them, and always with `Proxy-Status`. It deliberately tells a client nothing but
//! the reason and what the gate's help says: no addresses, no system errors, nothing of the request.

use codex_network_gate::{Denial, UpstreamError};
use codex_network_policy::{LookupFailure, Reason};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::body::Body;
use super::failure::ExchangeError;

mod problem;
mod proxy_status;
mod reader;

use problem::Problem;
use proxy_status::ErrorType;
pub(crate) use reader::{Door, Reader};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const PROXY_ERROR: HeaderName = HeaderName::from_static("x-proxy-error");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

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
pub(crate) fn bad_request(what: BadRequest, reader: Reader) -> Response<Body> {
    let status = StatusCode::BAD_REQUEST;
    let error = ErrorType::BAD_REQUEST;
    let mut response = failure(status, error, what.as_str(), reader);
    close(&mut response);
    response
}

/// The gate's no.
pub(crate) fn denied(denial: &Denial, reader: Reader) -> Response<Body> {
    let reason = denial.reason();
    let mut response = match reason {
        Reason::ProxyDisabled | Reason::AuditUnavailable => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            refused(denial, status, None, reason.message(), reader)
        }
        Reason::UnixSocketUnsupported => {
            let status = StatusCode::NOT_IMPLEMENTED;
            refused(denial, status, None, reason.message(), reader)
        }
        Reason::DnsLookupFailed(failure) => {
            let status = match failure {
                LookupFailure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
                LookupFailure::Failed | LookupFailure::Empty => StatusCode::BAD_GATEWAY,
            };
            let text = format!("upstream failure: could not resolve {}", denial.host());
            refused(denial, status, None, &text, reader)
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
        | Reason::Invented(_) => {
            let header = reason.header().map(HeaderValue::from_static);
            refused(
                denial,
                StatusCode::FORBIDDEN,
                header,
                reason.message(),
                reader,
            )
        }
    };
    match reader.door {
        // What a client sends behind a refused CONNECT is not the next request (THREATS 18).
        Door::Connect => close(&mut response),
        Door::Forward | Door::UnixSocket | Door::Inside => {}
    }
    response
}

/// A no in the form that its door and its reader want. `text` is the whole body where the door has no JSON for it.
fn refused(
    denial: &Denial,
    status: StatusCode,
    header: Option<HeaderValue>,
    text: &str,
    reader: Reader,
) -> Response<Body> {
    let json = status == StatusCode::FORBIDDEN
        && match reader.door {
            Door::Connect | Door::Inside => false,
            Door::Forward | Door::UnixSocket => true,
        };
    let (content_type, body) = if reader.wants_problem {
        (PROBLEM, Problem::of_denial(denial, status, text).to_json())
    } else if json {
        (JSON, blocked(denial, reader.door))
    } else {
        (TEXT, text.to_owned())
    };
    let help = denial.help().map(codex_network_gate::Help::words);
    let details: Vec<&str> = help
        .map(|words| vec![denial.reason().as_str(), words])
        .unwrap_or_default();
    let status_field = proxy_status::field(ErrorType::of_reason(denial.reason()), &details);
    answer(status, content_type, header, status_field, body)
}

/// The JSON of SPEC F2.
fn blocked(denial: &Denial, door: Door) -> String {
    let reason = denial.reason();
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
    serde_json::to_string(&body).unwrap_or_default()
}

/// The origin failed: 502, or 504 where it was a limit of time.
pub(crate) fn upstream_failure(error: &ExchangeError, reader: Reader) -> Response<Body> {
    let status = if error.is_timeout() {
        StatusCode::GATEWAY_TIMEOUT
    } else {
        StatusCode::BAD_GATEWAY
    };
    let text = match reader.door {
        Door::Forward | Door::Connect => "upstream failure",
        Door::UnixSocket => "unix socket proxy failed",
        Door::Inside => "mitm upstream error",
    };
    // How TLS failed is for the client to know: it cannot see the certificate itself.
    let text = match error.tls_failure() {
        Some(failure) => format!("{text}: {failure}"),
        None => text.to_owned(),
    };
    let mut response = failure(status, ErrorType::of_failure(error), &text, reader);
    if reader.door == Door::Connect {
        close(&mut response);
    }
    response
}

/// A request inside of an opened tunnel that breaks its terms: it names another host, or asks for a tunnel of its own.
pub(crate) fn breach(denial: &Denial, reader: Reader) -> Response<Body> {
    let (status, text) = match denial.reason() {
        Reason::MethodNotAllowed => (
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
        | Reason::AuditUnavailable
        | Reason::Cancelled
        | Reason::PolicyDenied
        | Reason::Invented(_) => (StatusCode::BAD_REQUEST, "host mismatch"),
    };
    refused(denial, status, None, text, reader)
}

/// The origin's answer is none that can be passed on.
pub(crate) fn unexpected_answer(reader: Reader) -> Response<Body> {
    let unreadable = UpstreamError::Protocol("unexpected answer");
    upstream_failure(&ExchangeError::Upstream(unreadable), reader)
}

/// An accepted CONNECT: 200 with nothing but the date.
pub(crate) fn tunnel_accepted() -> Response<Body> {
    Response::new(Body::empty())
}

/// An answer about something else than the policy.
fn failure(status: StatusCode, error: ErrorType, text: &str, reader: Reader) -> Response<Body> {
    let (content_type, body) = if reader.wants_problem {
        let problem = Problem::of_failure(error.as_str(), status, text);
        (PROBLEM, problem.to_json())
    } else {
        (TEXT, text.to_owned())
    };
    let status_field = proxy_status::field(error, &[]);
    answer(status, content_type, None, status_field, body)
}

fn answer(
    status: StatusCode,
    content_type: HeaderValue,
    error: Option<HeaderValue>,
    status_field: HeaderValue,
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
    headers.insert(PROXY_STATUS, status_field);
    response
}

fn close(response: &mut Response<Body>) {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
}
