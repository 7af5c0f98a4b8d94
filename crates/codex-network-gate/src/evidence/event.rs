//! The audit event (SPEC section K): one `tracing` event per judgement.
//!
//! This is the only file that emits it, so a new field is added here and nowhere else. It deliberately never
//! carries a URL, a path, a query, a header or the path of a socket.

use std::fmt;

use jiff::Timestamp;

use super::outcome::{Facts, Outcome};

/// The name of the event.
const POLICY_DECISION: &str = "codex.network_proxy.policy_decision";

/// Emits the event of one judgement. Nothing is formatted where nobody listens.
pub(super) fn emit(facts: &Facts<'_>, outcome: &Outcome<'_>) {
    tracing::event!(
        target: "codex_otel.network_proxy",
        tracing::Level::INFO,
        {
            "event.name" = POLICY_DECISION,
            "event.timestamp" = %Milliseconds(Timestamp::now()),
            "network.policy.scope" = outcome.scope.as_str(),
            "network.policy.decision" = outcome.decision.as_str(),
            "network.policy.source" = outcome.source.as_str(),
            "network.policy.reason" = outcome.reason_word(),
            "network.transport.protocol" = facts.protocol.as_str(),
            "server.address" = facts.host().as_str(),
            "server.port" = u64::from(facts.port()),
            "http.request.method" = Method(facts.method()).to_string().as_str(),
            "client.address" = Client(facts).to_string().as_str(),
            "network.policy.override" = outcome.overridden,
            "network.upstream" = outcome.via_parent.then_some("parent"),
        }
    );
}

/// RFC 3339 in UTC with milliseconds, 24 characters.
struct Milliseconds(Timestamp);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

/// A method is a client's text, so it is escaped.
struct Method<'a>(Option<&'a str>);

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(method) => method.escape_debug().fmt(f),
            None => f.write_str("none"),
        }
    }
}

struct Client<'a>(&'a Facts<'a>);

impl fmt::Display for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.client {
            Some(client) => client.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}
