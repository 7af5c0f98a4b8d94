//! Why an access was refused, in the words that clients, events and history show.
//!
//! [`Reason`] is the closed set of reasons with the wire word, header value and message of each; [`Source`], [`Scope`]
//! and [`Decision`] are the other words of an outcome. These words live here and nowhere else.
//!
//! How a refusal is put into bytes (status codes, bodies, SOCKS replies) is for the doors to say.

use alloc::sync::Arc;
use core::fmt;

use serde::{Deserialize, Serialize};

/// Why an access is refused. Match it without a wildcard, so that a new reason cannot be forgotten anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The host is not on the allowlist.
    NotAllowed,
    /// The target is local, private or otherwise not public.
    NotAllowedLocal,
    /// The host is on the denylist.
    Denied,
    /// The mode does not allow the method.
    MethodNotAllowed,
    /// The mode allows the tunnel only when it can be looked into.
    MitmRequired,
    /// The proxy is switched off.
    ProxyDisabled,
    /// Unix sockets do not work on this platform.
    UnixSocketUnsupported,
    /// The name was permitted but could not be resolved.
    DnsLookupFailed(LookupFailure),
    /// Inside a permitted tunnel the client asks, in its TLS, for another name than was permitted, or for one that
    /// cannot be read.
    ServerNameMismatch,
    /// Inside a permitted tunnel the client hides which name it asks for.
    EncryptedHello,
    /// The origin of a permitted tunnel does not prove that it is the one that was asked for.
    OriginNotVerified,
    /// The audit log that the policy requires cannot be written.
    AuditUnavailable,
    /// The client left before the judgement was complete.
    Cancelled,
    /// A decider refused without a word of its own, or with an unusable one.
    PolicyDenied,
    /// A decider refused with a word of its own.
    Invented(InventedReason),
}

impl Reason {
    /// The reason that a decider gave as text.
    ///
    /// Empty or unreadable text becomes [`Reason::PolicyDenied`], so that nothing a decider says can forge a log line.
    pub fn from_decider(text: &str) -> Reason {
        match text {
            "not_allowed" => Reason::NotAllowed,
            "not_allowed_local" => Reason::NotAllowedLocal,
            "denied" => Reason::Denied,
            "method_not_allowed" => Reason::MethodNotAllowed,
            "mitm_required" => Reason::MitmRequired,
            "policy_denied" => Reason::PolicyDenied,
            word => InventedReason::parse(word).map_or(Reason::PolicyDenied, Reason::Invented),
        }
    }

    /// The word on wires, in events and in history.
    pub fn as_str(&self) -> &str {
        match self {
            Reason::NotAllowed => "not_allowed",
            Reason::NotAllowedLocal => "not_allowed_local",
            Reason::Denied => "denied",
            Reason::MethodNotAllowed => "method_not_allowed",
            Reason::MitmRequired => "mitm_required",
            Reason::ProxyDisabled => "proxy_disabled",
            Reason::UnixSocketUnsupported => "unix_socket_unsupported",
            Reason::DnsLookupFailed(
                LookupFailure::Failed | LookupFailure::TimedOut | LookupFailure::Empty,
            ) => "dns_lookup_failed",
            Reason::ServerNameMismatch => "server_name_mismatch",
            Reason::EncryptedHello => "encrypted_client_hello",
            Reason::OriginNotVerified => "origin_not_verified",
            Reason::AuditUnavailable => "audit_unavailable",
            Reason::Cancelled => "cancelled",
            Reason::PolicyDenied => "policy_denied",
            Reason::Invented(word) => word.as_str(),
        }
    }

    /// The word where the set of words has to be closed: whatever a decider makes up is `decider`.
    pub fn stable_word(&self) -> &str {
        match self {
            Reason::Invented(_) => "decider",
            Reason::NotAllowed
            | Reason::NotAllowedLocal
            | Reason::Denied
            | Reason::MethodNotAllowed
            | Reason::MitmRequired
            | Reason::ProxyDisabled
            | Reason::UnixSocketUnsupported
            | Reason::DnsLookupFailed(_)
            | Reason::ServerNameMismatch
            | Reason::EncryptedHello
            | Reason::OriginNotVerified
            | Reason::AuditUnavailable
            | Reason::Cancelled
            | Reason::PolicyDenied => self.as_str(),
        }
    }

    /// The value of `x-proxy-error`, where the reason has one.
    pub fn header(&self) -> Option<&'static str> {
        match self {
            Reason::NotAllowed | Reason::NotAllowedLocal => Some("blocked-by-allowlist"),
            Reason::Denied => Some("blocked-by-denylist"),
            Reason::MethodNotAllowed | Reason::MitmRequired => Some("blocked-by-method-policy"),
            Reason::ServerNameMismatch
            | Reason::EncryptedHello
            | Reason::OriginNotVerified
            | Reason::PolicyDenied
            | Reason::Invented(_) => Some("blocked-by-policy"),
            Reason::ProxyDisabled
            | Reason::UnixSocketUnsupported
            | Reason::DnsLookupFailed(_)
            | Reason::AuditUnavailable
            | Reason::Cancelled => None,
        }
    }

    /// The sentence for the person who reads the refusal.
    pub fn message(&self) -> &'static str {
        match self {
            Reason::NotAllowed => {
                "Codex blocked this request: domain not in allowlist (this is not a denylist block)."
            }
            Reason::NotAllowedLocal => {
                "Codex blocked this request: local/private addresses not allowed."
            }
            Reason::Denied => "Codex blocked this request: domain denied by policy.",
            Reason::MethodNotAllowed => {
                "Codex blocked this request: method not allowed in limited mode."
            }
            Reason::MitmRequired => "Codex blocked this request: MITM required for limited HTTPS.",
            Reason::ProxyDisabled | Reason::PolicyDenied | Reason::Invented(_) => {
                "Codex blocked this request by network policy."
            }
            Reason::UnixSocketUnsupported => "unix sockets unsupported",
            Reason::DnsLookupFailed(_) => "upstream failure: could not resolve the host",
            Reason::ServerNameMismatch => {
                "Codex blocked this request: TLS server name is not the permitted host."
            }
            Reason::EncryptedHello => {
                "Codex blocked this request: encrypted TLS server name not allowed."
            }
            Reason::OriginNotVerified => {
                "Codex blocked this request: the origin has no valid certificate for the host."
            }
            Reason::AuditUnavailable => {
                "Codex blocked this request: the audit log cannot be written."
            }
            Reason::Cancelled => "the client left before a decision",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// How a look-up failed. All three are `dns_lookup_failed` on the wire; the status code tells a time-out apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LookupFailure {
    /// The resolver answered with an error.
    Failed,
    /// No answer came in time.
    TimedOut,
    /// The answer held no address.
    Empty,
}

/// A word that a decider made up: one to 64 characters of `a-z`, `0-9` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InventedReason(Arc<str>);

impl InventedReason {
    fn parse(text: &str) -> Option<InventedReason> {
        let readable =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        ((1..=64).contains(&text.len()) && text.bytes().all(readable))
            .then(|| InventedReason(text.into()))
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The lists and the address rules.
    BaselinePolicy,
    /// The mode.
    ModeGuard,
    /// The proxy's own switches and the platform.
    ProxyState,
    /// The embedder's decider.
    Decider,
}

impl Source {
    /// The word in events, answers and history.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::BaselinePolicy => "baseline_policy",
            Source::ModeGuard => "mode_guard",
            Source::ProxyState => "proxy_state",
            Source::Decider => "decider",
        }
    }
}

/// What was decided about: the target's name or address, or something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The host lists, the address rules and the decider.
    Domain,
    /// Mode, switches and unix sockets.
    NonDomain,
}

impl Scope {
    /// The word in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Domain => "domain",
            Scope::NonDomain => "non_domain",
        }
    }
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Permitted.
    Allow,
    /// Refused.
    Deny,
    /// Refused, but a person may approve it.
    Ask,
}

impl Decision {
    /// The word in events, answers and history.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Allow => "allow",
            Decision::Deny => "deny",
            Decision::Ask => "ask",
        }
    }
}

#[cfg(test)]
mod tests;
