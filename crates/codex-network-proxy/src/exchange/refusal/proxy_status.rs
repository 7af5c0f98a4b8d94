//! `Proxy-Status` (RFC 9209): what went wrong, in words that programs know.
//!
//! [`ErrorType`] is the registered word for a reason or an error of ours; [`field`] writes the field. Details are what the
//! refusal's help says; nothing else of a request or of the system goes in.

use std::fmt::Write as _;
use std::io::ErrorKind;

use codex_network_gate::{TlsFailure, UpstreamError};
use codex_network_policy::{LookupFailure, Reason};
use http::HeaderValue;

use super::super::failure::ExchangeError;

/// This proxy, in `Proxy-Status`.
const NAME: &str = "codex-network-proxy";

/// A proxy error type (RFC 9209 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ErrorType(&'static str);

impl ErrorType {
    /// The client's request cannot be understood.
    pub(super) const BAD_REQUEST: Self = Self("http_request_error");

    /// The gate's no.
    pub(super) fn of_reason(reason: &Reason) -> Self {
        Self(match reason {
            Reason::NotAllowedLocal => "destination_ip_prohibited",
            Reason::DnsLookupFailed(LookupFailure::TimedOut) => "dns_timeout",
            Reason::DnsLookupFailed(LookupFailure::Failed | LookupFailure::Empty) => "dns_error",
            Reason::OriginNotVerified => "tls_certificate_error",
            Reason::AuditUnavailable => "proxy_internal_error",
            Reason::NotAllowed
            | Reason::Denied
            | Reason::MethodNotAllowed
            | Reason::MitmRequired
            | Reason::ProxyDisabled
            | Reason::UnixSocketUnsupported
            | Reason::ServerNameMismatch
            | Reason::EncryptedHello
            | Reason::Cancelled
            | Reason::PolicyDenied
            | Reason::Invented(_) => "http_request_denied",
        })
    }

    /// An origin that failed.
    pub(super) fn of_failure(error: &ExchangeError) -> Self {
        Self(match error {
            ExchangeError::Upstream(error) => of_upstream(error),
            ExchangeError::Timeout => "http_response_timeout",
            ExchangeError::Http(error) if error.is_parse() || error.is_parse_too_large() => {
                "http_protocol_error"
            }
            ExchangeError::Http(_) => "connection_terminated",
        })
    }

    /// The word.
    pub(super) fn as_str(self) -> &'static str {
        self.0
    }
}

fn of_upstream(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::Timeout(_) => "connection_timeout",
        UpstreamError::Connect(error) => match error.kind() {
            ErrorKind::ConnectionRefused => "connection_refused",
            ErrorKind::TimedOut => "connection_timeout",
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                "destination_ip_unroutable"
            }
            _ => "destination_unavailable",
        },
        UpstreamError::Tls(failure, _) => match failure {
            TlsFailure::Expired
            | TlsFailure::NotYetValid
            | TlsFailure::WrongName
            | TlsFailure::Untrusted
            | TlsFailure::NoTrustRoots => "tls_certificate_error",
            TlsFailure::NoCommonProtocol | TlsFailure::Handshake => "tls_protocol_error",
        },
        UpstreamError::ParentRefused(_) => "destination_unavailable",
        UpstreamError::ParentLookup => "dns_error",
        UpstreamError::Protocol(_) => "http_protocol_error",
    }
}

/// The field's value. `details` may hold any text; what the field cannot carry is left out.
pub(super) fn field(error: ErrorType, details: &[&str]) -> HeaderValue {
    let mut value = format!("{NAME}; error={}", error.as_str());
    if !details.is_empty() {
        value.push_str("; details=\"");
        // A string of RFC 9651 section 3.3.3: printable ASCII, with two marks escaped.
        for letter in details.join("; ").chars() {
            match letter {
                '"' | '\\' => {
                    let _ = write!(value, "\\{letter}");
                }
                ' '..='~' => value.push(letter),
                _ => {}
            }
        }
        value.push('"');
    }
    HeaderValue::from_str(&value).unwrap_or_else(|_| HeaderValue::from_static(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_a_string_whatever_they_hold() {
        let denied = ErrorType("http_request_denied");
        assert_eq!(
            field(denied, &[]),
            "codex-network-proxy; error=http_request_denied"
        );
        assert_eq!(
            field(denied, &["say \"a\\b\"", "\r\nx: y\u{1b}[31mé"]),
            r#"codex-network-proxy; error=http_request_denied; details="say \"a\\b\"; x: y[31m""#
        );
    }
}
