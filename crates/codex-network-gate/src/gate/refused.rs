//! A no, from the rules to what is recorded of it.
//!
//! Main type: [`Refused`], which says why, who decided, and what there was before. It is made by whatever judges, and recorded
//! by the gate alone.

use codex_network_policy::{
    Decision, Outcome as Ruling, Protocol, Reason, Scope, Source, Target, Verdict,
};

use super::Access;

/// A no, before it is recorded.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: Reason,
    pub(super) decision: Decision,
    pub(super) source: Source,
    /// The rules' verdict, for the rule that decided.
    pub(super) verdict: Option<Verdict>,
    /// The lists (or the decider) allowed the host before the mode guard refused; that leaves its own event.
    pub(super) host_allowed: bool,
    /// The target is one of our own listeners.
    pub(super) own_listener: bool,
    /// A decider had lifted the allowlist's no before this one.
    pub(super) approved: bool,
}

impl Refused {
    pub(super) fn by_policy(reason: Reason, source: Source) -> Self {
        Self {
            reason,
            decision: Decision::Deny,
            source,
            verdict: None,
            host_allowed: false,
            own_listener: false,
            approved: false,
        }
    }
}

/// What the allowlist says to a host that it does not name.
pub(super) fn not_allowed() -> Refused {
    Refused::by_policy(Reason::NotAllowed, Source::BaselinePolicy)
}

/// What the rules' no comes to.
pub(super) fn refused_by_rules(access: &Access<'_>, verdict: Verdict) -> Refused {
    let reason = match &verdict.outcome {
        Ruling::Deny(reason) => reason.clone(),
        // Unsure means no.
        Ruling::Allow | Ruling::Unlisted => Reason::NotAllowed,
    };
    let source = rule_source(&reason, &access.target);
    let after_host = match access.protocol {
        Protocol::Http | Protocol::HttpsConnect | Protocol::Https => {
            matches!(access.target, Target::Host { .. })
        }
        // SOCKS5 refuses by mode before it looks at the host.
        Protocol::Socks5Tcp | Protocol::Socks5Udp => false,
    };
    Refused {
        host_allowed: after_host && source == Source::ModeGuard,
        decision: Decision::Deny,
        source,
        reason,
        verdict: Some(verdict),
        own_listener: false,
        approved: false,
    }
}

/// Who is said to have decided, for a refusal by the rules.
pub(super) fn rule_source(reason: &Reason, target: &Target) -> Source {
    match reason {
        Reason::MethodNotAllowed | Reason::MitmRequired => Source::ModeGuard,
        Reason::ProxyDisabled | Reason::UnixSocketUnsupported | Reason::AuditUnavailable => {
            Source::ProxyState
        }
        Reason::NotAllowed if matches!(target, Target::Unix(_)) => Source::ProxyState,
        Reason::NotAllowed
        | Reason::NotAllowedLocal
        | Reason::Denied
        | Reason::DnsLookupFailed(_)
        | Reason::ServerNameMismatch
        | Reason::EncryptedHello
        | Reason::OriginNotVerified
        | Reason::Cancelled
        | Reason::PolicyDenied
        | Reason::Invented(_) => Source::BaselinePolicy,
    }
}

/// Whether it was about the host, or about something else.
pub(super) fn scope(source: Source, reason: &Reason, target: &Target) -> Scope {
    match (source, target) {
        (Source::ModeGuard | Source::ProxyState, _) | (_, Target::Unix(_)) => Scope::NonDomain,
        (Source::BaselinePolicy | Source::Decider, Target::Host { .. }) => {
            debug_assert!(
                !matches!(reason, Reason::ProxyDisabled),
                "the proxy's state decides this"
            );
            Scope::Domain
        }
    }
}
