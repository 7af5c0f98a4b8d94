//! The one place that records: every judgement leaves its audit event and is counted, every refusal leaves its history
//! entry and its log line.
//!
//! [`Evidence`] is told the outcome by the gate. Recording is synchronous and cannot fail, block or reload.
//! [`Pending`] is the guard of a judgement that has to wait: dropped before it is finished, because the client
//! hung up, it records `cancelled`. Nothing here decides, and nothing here knows a URL, a header or a body.

use std::sync::Arc;

use codex_network_policy::{Decision, Protocol, Reason, Scope, Source, Target};
use tokio::time::Instant;

use crate::meter::GateMeters;

mod blocked_request;
mod event;
mod health;
mod history;
mod metadata;
mod observer;
mod outcome;
mod text;

pub use blocked_request::{BlockedRequest, BlockedRequestArgs};
pub(crate) use event::is_audited;
pub use event::{AUDIT_TARGET, record_audit_loss};
pub use health::AuditLogHealth;
pub use history::History;
pub use metadata::NetworkProxyAuditMetadata;
pub use observer::BlockedRequestObserver;
pub(crate) use outcome::{Connected, Facts, Outcome, UNIX_SOCKET_HOST};

/// How many bytes the system keeps of a socket's path (`sun_path`).
const LONGEST_SOCKET_PATH: usize = 108;

/// Records outcomes; shared by all doors of one proxy.
#[derive(Debug)]
pub(crate) struct Evidence {
    history: History,
    metadata: NetworkProxyAuditMetadata,
    meters: Arc<GateMeters>,
}

impl Evidence {
    pub(crate) fn new(
        history: History,
        metadata: NetworkProxyAuditMetadata,
        meters: Arc<GateMeters>,
    ) -> Self {
        Self {
            history,
            metadata,
            meters,
        }
    }

    /// Records a judgement: always a count and an event, and for a refusal an entry in the history and a
    /// warning.
    pub(crate) fn record(&self, facts: &Facts<'_>, outcome: &Outcome<'_>) {
        let decisions = &self.meters.decisions;
        decisions.count(facts.protocol, outcome.decision, outcome.reason);
        // The history first: it is ours, while what listens to an event may be anybody's code, and panic.
        let kept = is_refusal(outcome).then(|| self.history.push(blocked_request(facts, outcome)));
        event::emit(facts, outcome, &self.metadata);
        match (outcome.decision, kept) {
            (Decision::Allow, _) => {
                tracing::info!(
                    door = facts.protocol.as_str(),
                    host = facts.host().escape_debug().to_string(),
                    port = facts.port(),
                    "allowed"
                );
            }
            (Decision::Deny | Decision::Ask, Some(kept)) => {
                self.warn(facts, outcome, "blocked");
                kept.tell();
            }
            (Decision::Deny | Decision::Ask, None) => self.warn(facts, outcome, "failed"),
        }
    }

    /// Records what proved the identity of a connection.
    pub(crate) fn record_connection(&self, facts: &Facts<'_>, connected: &Connected<'_>) {
        event::emit_connection(facts, connected);
    }

    /// Records that a client does not accept a certificate of ours. Nothing was refused by us, so there is no history entry.
    pub(crate) fn record_distrust(&self, facts: &Facts<'_>, alert: &str) {
        event::emit_distrust(facts, alert);
        tracing::warn!(
            host = ?facts.host(),
            port = facts.port(),
            alert,
            client = facts.client.map(tracing::field::display),
            note = "to trust it, see `codex-network-proxy ca trust`",
            "a client does not trust the proxy's certificate authority"
        );
    }

    fn warn(&self, facts: &Facts<'_>, outcome: &Outcome<'_>, what: &'static str) {
        // One line a refusal. Debug formatting escapes whatever a client put into a name or a method.
        tracing::warn!(
            host = ?facts.host(),
            port = facts.port(),
            reason = outcome.reason_word(),
            decision = outcome.decision.as_str(),
            door = facts.protocol.as_str(),
            method = facts.method().map(tracing::field::debug),
            client = facts.client.map(tracing::field::display),
            server_name = facts.server_name.map(tracing::field::debug),
            note = outcome.note.map(tracing::field::display),
            "{what}"
        );
    }

    /// Guards a judgement that is about to wait.
    pub(crate) fn begin<'a>(&'a self, facts: Facts<'a>) -> Pending<'a> {
        Pending {
            evidence: self,
            facts,
            began: Instant::now(),
            finished: false,
        }
    }

    /// The refusals.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }
}

/// A failing resolver is an upstream failure of a permitted name, and no refusal (SPEC D2).
fn is_refusal(outcome: &Outcome<'_>) -> bool {
    match outcome.decision {
        Decision::Allow => false,
        Decision::Deny | Decision::Ask => {
            !matches!(outcome.reason, Some(Reason::DnsLookupFailed(_)))
        }
    }
}

/// Cut where no socket's path goes on: a client may send as long a one as a request head can be.
fn clipped(path: &str) -> String {
    path[..path.floor_char_boundary(LONGEST_SOCKET_PATH)].to_owned()
}

fn blocked_request(facts: &Facts<'_>, outcome: &Outcome<'_>) -> BlockedRequest {
    let disabled = matches!(outcome.reason, Some(Reason::ProxyDisabled));
    let host = match facts.target {
        // The disabled proxy's history names the socket's path; the other unix refusals do not (SPEC E5).
        Target::Unix(path) if disabled => clipped(path.as_str()),
        Target::Unix(_) | Target::Host { .. } => facts.host().into_owned(),
    };
    let protocol = match facts.protocol {
        Protocol::HttpsConnect if disabled => facts.protocol.as_str(),
        Protocol::Http
        | Protocol::HttpsConnect
        | Protocol::Https
        | Protocol::Socks5Tcp
        | Protocol::Socks5Udp => facts.protocol.history_word(),
    };
    BlockedRequest::new(BlockedRequestArgs {
        host,
        reason: outcome.reason_word().to_owned(),
        client: facts.client.map(|client| client.to_string()),
        method: facts.method().map(str::to_owned),
        mode: outcome.mode,
        protocol: protocol.to_owned(),
        decision: Some(outcome.decision.as_str().to_owned()),
        source: Some(outcome.source.as_str().to_owned()),
        port: Some(facts.port()),
    })
}

/// A judgement under way. Finish it with [`Pending::record`]; dropped before, it records `cancelled`.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    evidence: &'a Evidence,
    facts: Facts<'a>,
    began: Instant,
    finished: bool,
}

impl Pending<'_> {
    /// Records an outcome. From here on a drop records nothing more: what else a judgement leaves, such as a mode
    /// guard's no behind the lists' yes, follows without a wait.
    pub(crate) fn record(&mut self, outcome: &Outcome<'_>) {
        if !self.finished {
            let took = self.began.elapsed();
            self.evidence.meters.decision_time.observe(took);
        }
        self.finished = true;
        self.evidence.record(&self.facts, outcome);
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.evidence.record(
                &self.facts,
                &Outcome {
                    decision: Decision::Deny,
                    scope: match self.facts.target {
                        Target::Host { .. } => Scope::Domain,
                        Target::Unix(_) => Scope::NonDomain,
                    },
                    source: Source::BaselinePolicy,
                    reason: Some(&Reason::Cancelled),
                    overridden: false,
                    via_parent: false,
                    mode: None,
                    note: None,
                },
            );
        }
    }
}

#[cfg(test)]
pub(crate) mod capture;
#[cfg(test)]
mod tests;
