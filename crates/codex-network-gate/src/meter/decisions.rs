//! How often the gate decided what, and why.
//!
//! [`Decisions`] has a counter for each door, verdict and reason. The sets are closed, so it is a table and not a map:
//! whatever words a decider makes up are counted as one.

use codex_network_policy::{Decision, LookupFailure, Protocol, Reason};

use super::doors::{DOORS, place};
use super::number::Counter;

const DECISIONS: [Decision; 3] = [Decision::Allow, Decision::Deny, Decision::Ask];

/// The words of the reasons, in the order of their columns.
const REASONS: [&str; 16] = [
    "allow",
    "not_allowed",
    "not_allowed_local",
    "denied",
    "method_not_allowed",
    "mitm_required",
    "proxy_disabled",
    "unix_socket_unsupported",
    "dns_lookup_failed",
    "server_name_mismatch",
    "encrypted_client_hello",
    "origin_not_verified",
    "audit_unavailable",
    "cancelled",
    "policy_denied",
    "decider",
];

/// Judgements by door, verdict and reason.
#[derive(Debug, Default)]
pub struct Decisions([[[Counter; REASONS.len()]; DECISIONS.len()]; DOORS.len()]);

impl Decisions {
    pub(crate) fn count(&self, door: Protocol, decision: Decision, reason: Option<&Reason>) {
        self.0[place(door)][row(decision)][column(reason)].increment();
    }

    /// All that have occurred: door, verdict, the word of the reason, and how often.
    pub fn occurred(&self) -> impl Iterator<Item = (Protocol, Decision, &'static str, u64)> + '_ {
        let doors = DOORS.into_iter().zip(&self.0);
        doors.flat_map(|(door, decisions)| {
            let decisions = DECISIONS.into_iter().zip(decisions);
            decisions.flat_map(move |(decision, reasons)| {
                let reasons = REASONS.into_iter().zip(reasons);
                reasons
                    .map(move |(reason, counter)| (door, decision, reason, counter.value()))
                    .filter(|(_, _, _, count)| *count > 0)
            })
        })
    }
}

fn row(decision: Decision) -> usize {
    match decision {
        Decision::Allow => 0,
        Decision::Deny => 1,
        Decision::Ask => 2,
    }
}

fn column(reason: Option<&Reason>) -> usize {
    match reason {
        None => 0,
        Some(Reason::NotAllowed) => 1,
        Some(Reason::NotAllowedLocal) => 2,
        Some(Reason::Denied) => 3,
        Some(Reason::MethodNotAllowed) => 4,
        Some(Reason::MitmRequired) => 5,
        Some(Reason::ProxyDisabled) => 6,
        Some(Reason::UnixSocketUnsupported) => 7,
        Some(Reason::DnsLookupFailed(
            LookupFailure::Failed | LookupFailure::TimedOut | LookupFailure::Empty,
        )) => 8,
        Some(Reason::ServerNameMismatch) => 9,
        Some(Reason::EncryptedHello) => 10,
        Some(Reason::OriginNotVerified) => 11,
        Some(Reason::AuditUnavailable) => 12,
        Some(Reason::Cancelled) => 13,
        Some(Reason::PolicyDenied) => 14,
        Some(Reason::Invented(_)) => 15,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_under_its_word() {
        let reasons = [
            Reason::NotAllowed,
            Reason::NotAllowedLocal,
            Reason::Denied,
            Reason::MethodNotAllowed,
            Reason::MitmRequired,
            Reason::ProxyDisabled,
            Reason::UnixSocketUnsupported,
            Reason::DnsLookupFailed(LookupFailure::Empty),
            Reason::ServerNameMismatch,
            Reason::EncryptedHello,
            Reason::OriginNotVerified,
            Reason::AuditUnavailable,
            Reason::Cancelled,
            Reason::PolicyDenied,
            Reason::from_decider("quota_used_up"),
        ];
        for (reason, word) in reasons.iter().zip(&REASONS[1..]) {
            assert_eq!(reason.stable_word(), *word);
            assert_eq!(REASONS[column(Some(reason))], *word);
        }
        assert_eq!(reasons.len() + 1, REASONS.len());
        assert_eq!(REASONS[column(None)], "allow");
    }

    #[test]
    fn only_what_has_occurred_is_told() {
        let decisions = Decisions::default();
        decisions.count(Protocol::Http, Decision::Allow, None);
        decisions.count(Protocol::Http, Decision::Allow, None);
        let asked = Reason::from_decider("a_word");
        decisions.count(Protocol::Socks5Udp, Decision::Ask, Some(&asked));
        let occurred: Vec<_> = decisions.occurred().collect();
        assert_eq!(
            occurred,
            [
                (Protocol::Http, Decision::Allow, "allow", 2),
                (Protocol::Socks5Udp, Decision::Ask, "decider", 1),
            ]
        );
    }
}
