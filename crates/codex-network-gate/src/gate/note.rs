//! What a person wants to read beside a refusal: the rule that decided and where it stands, or the line that
//! would permit the access.
//!
//! For the log; what a client may read of it is [`Note::for_client`], which names no file of the operator's.

use std::fmt;

use codex_network_policy::{
    LookupFailure, Policy, Protocol, Reason, RuleText, Source, Target, Verdict,
};

use super::access::Access;

/// The note to one refusal.
pub(super) struct Note<'a> {
    pub(super) policy: &'a Policy,
    pub(super) reason: &'a Reason,
    pub(super) source: Source,
    pub(super) verdict: Option<&'a Verdict>,
    pub(super) access: &'a Access<'a>,
    /// Whether the target is a listener of this proxy.
    pub(super) own_listener: bool,
}

/// A note without the places of rules.
pub(super) struct ForClient<'a>(&'a Note<'a>);

impl<'a> Note<'a> {
    /// The note as a client may read it.
    pub(super) fn for_client(&'a self) -> ForClient<'a> {
        ForClient(self)
    }

    /// Whether there is anything to say. The word of a decider is its own, whatever our rules mean by it; only that a
    /// host is not listed is as true as before.
    pub(super) fn is_some(&self) -> bool {
        match self.reason {
            Reason::NotAllowed => true,
            _ if self.source == Source::Decider => false,
            Reason::PolicyDenied => self.access.protocol == Protocol::Https,
            Reason::Cancelled | Reason::Invented(_) => false,
            Reason::NotAllowedLocal
            | Reason::Denied
            | Reason::MethodNotAllowed
            | Reason::MitmRequired
            | Reason::ProxyDisabled
            | Reason::UnixSocketUnsupported
            | Reason::ServerNameMismatch
            | Reason::EncryptedHello
            | Reason::OriginNotVerified
            | Reason::AuditUnavailable
            | Reason::DnsLookupFailed(_) => true,
        }
    }
}

impl fmt::Display for ForClient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(note) = self;
        let rule = note.verdict.and_then(|verdict| verdict.rule);
        match (note.reason, rule.map(|rule| note.policy.rule(rule))) {
            (
                Reason::Denied,
                Some(RuleText {
                    pattern: Some(pattern),
                    list,
                    ..
                }),
            ) => {
                write!(f, "denied by {list} `{pattern}`")
            }
            (_, _) => note.fmt(f),
        }
    }
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.reason, &self.access.target) {
            (Reason::NotAllowed, Target::Host { .. }) if self.policy.is_pinned() => {
                f.write_str("the allowlist is an administrator's and does not name it")
            }
            (Reason::NotAllowed, Target::Host { host, .. }) => {
                write!(f, "to allow it, add \"{host}\" to allowed_domains")
            }
            (Reason::NotAllowed, Target::Unix(_)) if self.own_listener => {
                f.write_str("it is a listener of this proxy, which is never a target")
            }
            // The path came in a header, so it may hold a secret and stays out of the log.
            (Reason::NotAllowed, Target::Unix(_)) => {
                f.write_str("to allow it, add its path to allow_unix_sockets")
            }
            (Reason::NotAllowedLocal, _) if self.own_listener => {
                f.write_str("it is a listener of this proxy, which is never a target")
            }
            (Reason::NotAllowedLocal, Target::Host { host, .. }) => match host.address() {
                Some(address) if self.policy.is_pinned() => {
                    f.write_str(codex_network_policy::AddressClass::of(address).as_str())
                }
                Some(address) => write!(
                    f,
                    "{}; to allow it, add \"{host}\" to allowed_domains",
                    codex_network_policy::AddressClass::of(address).as_str()
                ),
                None if host.is_localhost() && self.policy.is_pinned() => f.write_str("loopback"),
                None if host.is_localhost() => {
                    f.write_str("loopback; to allow it, add \"localhost\" to allowed_domains")
                }
                None => f.write_str("the name leads to an address that is not public"),
            },
            (Reason::Denied, _) => match self.verdict.and_then(|verdict| verdict.rule) {
                Some(rule) => {
                    let rule = self.policy.rule(rule);
                    write!(f, "denied by {rule}")
                }
                None => f.write_str("denied by a rule"),
            },
            (Reason::MethodNotAllowed, _) if self.access.method == Some("CONNECT") => {
                f.write_str("no tunnel is opened inside of a tunnel")
            }
            (Reason::MethodNotAllowed, _) => {
                f.write_str("mode = \"limited\" permits GET, HEAD and OPTIONS without upgrades, and no SOCKS5")
            }
            (Reason::MitmRequired, _) if self.policy.intercepts(self.access.protocol) => f.write_str(
                "mode = \"limited\" opens every tunnel, and what came in this one is not TLS",
            ),
            (Reason::MitmRequired, _) => f.write_str(
                "mode = \"limited\" permits no opaque tunnel; set mitm = true to have TLS opened, or mode = \"full\"",
            ),
            (Reason::ServerNameMismatch, Target::Host { host, .. }) => write!(
                f,
                "the tunnel was permitted for \"{host}\" and is for nothing else"
            ),
            (Reason::EncryptedHello, _) => f.write_str(
                "to allow it, set encrypted_client_hello = \"allow\"; it can hide another server name",
            ),
            (Reason::OriginNotVerified, _) => {
                f.write_str("verify_origin = true wants a valid certificate for the host")
            }
            (Reason::PolicyDenied, _) => {
                f.write_str("the request names another host than its tunnel")
            }
            (Reason::AuditUnavailable, _) => {
                f.write_str("require_audit_log = true wants an audit log that can be written")
            }
            (Reason::ProxyDisabled, _) => f.write_str("the configuration disables the proxy"),
            (Reason::UnixSocketUnsupported, _) => {
                f.write_str("unix sockets are served on macOS only")
            }
            (Reason::DnsLookupFailed(failure), _) => f.write_str(match failure {
                LookupFailure::Failed => "the name does not resolve",
                LookupFailure::TimedOut => "the resolver did not answer in time",
                LookupFailure::Empty => "the name has no address",
            }),
            (
                Reason::NotAllowedLocal
                | Reason::ServerNameMismatch
                | Reason::Cancelled
                | Reason::Invented(_),
                _,
            ) => Ok(()),
        }
    }
}
