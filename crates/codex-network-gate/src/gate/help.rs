//! What a refused client is told beside the reason.
//!
//! [`Help`] holds the sentence and the line of a configuration that would permit the access, where there is one and the
//! policy does not hide them. It never names a file of the operator's: that is for the log.

use codex_network_policy::{Reason, Source, Target};

use super::note::Note;

/// The words behind a refusal, for whoever was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Help {
    words: String,
    line: Option<String>,
}

impl Help {
    /// What may be told about a refusal, if anything.
    pub(super) fn of(note: &Note<'_>) -> Option<Self> {
        if note.policy.hides_details() || !note.is_some() {
            return None;
        }
        Some(Self {
            words: note.for_client().to_string(),
            line: line(note),
        })
    }

    /// The rule that decided, or what would permit the access, in words.
    #[must_use]
    pub fn words(&self) -> &str {
        &self.words
    }

    /// The line of a network table that would permit the access.
    #[must_use]
    pub fn line(&self) -> Option<&str> {
        self.line.as_deref()
    }
}

fn line(note: &Note<'_>) -> Option<String> {
    match (note.reason, &note.access.target) {
        (Reason::NotAllowed, Target::Host { host, .. }) if !note.policy.is_pinned() => {
            Some(format!("allowed_domains = [\"{host}\"]"))
        }
        (Reason::NotAllowedLocal, Target::Host { host, .. })
            if (host.address().is_some() || host.is_localhost())
                && !note.own_listener
                && !note.policy.is_pinned() =>
        {
            Some(format!("allowed_domains = [\"{host}\"]"))
        }
        (Reason::MitmRequired, _)
            if note.source == Source::ModeGuard
                && !note.policy.intercepts(note.access.protocol) =>
        {
            Some("mitm = true".to_owned())
        }
        (Reason::EncryptedHello, _) => Some("encrypted_client_hello = \"allow\"".to_owned()),
        (
            Reason::NotAllowed
            | Reason::NotAllowedLocal
            | Reason::Denied
            | Reason::MethodNotAllowed
            | Reason::MitmRequired
            | Reason::ProxyDisabled
            | Reason::UnixSocketUnsupported
            | Reason::DnsLookupFailed(_)
            | Reason::ServerNameMismatch
            | Reason::OriginNotVerified
            | Reason::AuditUnavailable
            | Reason::Cancelled
            | Reason::PolicyDenied
            | Reason::Invented(_),
            _,
        ) => None,
    }
}
