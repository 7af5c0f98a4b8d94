//! The audit trail (SPEC section K): one `tracing` event per judgement, one per connection that says what proved its
//! identity, one for a client that does not trust us, and one for events that an exporter lost.
//!
//! This is the only file that emits them, so a new field is added here and nowhere else. They deliberately never
//! carry a URL, a path, a query, a header or the path of a socket.

use std::borrow::Cow;

use jiff::Timestamp;

use super::metadata::NetworkProxyAuditMetadata;
use super::outcome::{Connected, Facts, Outcome};
use super::text;

/// The target of every audit event, by which a subscriber tells them from log lines.
pub const AUDIT_TARGET: &str = "codex_otel.network_proxy";

/// The name of a judgement's event.
const POLICY_DECISION: &str = "codex.network_proxy.policy_decision";

/// The name of a connection's event.
const CONNECTION: &str = "codex.network_proxy.connection";

/// The name of the event of a client that does not trust us.
const DISTRUST: &str = "codex.network_proxy.ca_rejected";

/// The name of the event of an exporter that had to drop others.
const LOSS: &str = "codex.network_proxy.audit_loss";

/// Whether anybody reads the audit trail.
pub(crate) fn is_audited() -> bool {
    tracing::enabled!(target: AUDIT_TARGET, tracing::Level::INFO)
}

/// Emits the event of one judgement. Nothing is formatted where nobody listens.
pub(super) fn emit(facts: &Facts<'_>, outcome: &Outcome<'_>, session: &NetworkProxyAuditMetadata) {
    tracing::event!(
        target: AUDIT_TARGET,
        tracing::Level::INFO,
        {
            "event.name" = POLICY_DECISION,
            "event.timestamp" = %text::milliseconds(Timestamp::now()),
            "conversation.id" = session.conversation_id.as_deref(),
            "app.version" = session.app_version.as_deref(),
            "auth_mode" = session.auth_mode.as_deref(),
            "originator" = session.originator.as_deref(),
            "user.account_id" = session.user_account_id.as_deref(),
            "user.email" = session.user_email.as_deref(),
            "terminal.type" = session.terminal_type.as_deref(),
            "model" = session.model.as_deref(),
            "slug" = session.slug.as_deref(),
            "network.policy.scope" = outcome.scope.as_str(),
            "network.policy.decision" = outcome.decision.as_str(),
            "network.policy.source" = outcome.source.as_str(),
            "network.policy.reason" = outcome.reason_word(),
            "network.transport.protocol" = facts.protocol.as_str(),
            "server.address" = facts.host().as_ref(),
            "server.port" = u64::from(facts.port()),
            "http.request.method" = method(facts).as_ref(),
            "client.address" = client(facts).as_ref(),
            "network.policy.override" = outcome.overridden,
            "network.upstream" = outcome.via_parent.then_some("parent"),
            "tls.client.server_name" = facts.server_name,
        }
    );
}

/// Emits the event of one connection: the name that was asked for, the address that was dialled, the server name that
/// was seen, the certificate, the rule.
pub(super) fn emit_connection(facts: &Facts<'_>, connected: &Connected<'_>) {
    let server_name = connected.server_name.map(ToString::to_string);
    let certificate = connected.certificate.map(ToString::to_string);
    let address = connected.dialled.map(|address| address.ip().to_string());
    tracing::event!(
        target: AUDIT_TARGET,
        tracing::Level::INFO,
        {
            "event.name" = CONNECTION,
            "event.timestamp" = %text::milliseconds(Timestamp::now()),
            "network.transport.protocol" = facts.protocol.as_str(),
            "server.address" = facts.host().as_ref(),
            "server.port" = u64::from(facts.port()),
            "client.address" = client(facts).as_ref(),
            "network.peer.address" = address.as_deref(),
            "network.peer.port" = connected.dialled.map(|address| u64::from(address.port())),
            "network.upstream" = connected.via_parent.then_some("parent"),
            "tls.client.server_name" = server_name.as_deref(),
            "tls.client.encrypted_hello" = connected.encrypted_hello.then_some(true),
            "tls.server.hash.sha256" = certificate.as_deref(),
            "network.policy.rule" = connected.rule.or(connected.approved.then_some("decider")),
        }
    );
}

/// Emits the event of a client that ended a handshake with this alert.
pub(super) fn emit_distrust(facts: &Facts<'_>, alert: &str) {
    tracing::event!(
        target: AUDIT_TARGET,
        tracing::Level::INFO,
        {
            "event.name" = DISTRUST,
            "event.timestamp" = %text::milliseconds(Timestamp::now()),
            "network.transport.protocol" = facts.protocol.as_str(),
            "server.address" = facts.host().as_ref(),
            "server.port" = u64::from(facts.port()),
            "client.address" = client(facts).as_ref(),
            "tls.alert" = alert,
        }
    );
}

/// Emits the event of an exporter that has dropped `lost` events since it last said so. For exporters, when they have room
/// again.
pub fn record_audit_loss(exporter: &'static str, lost: u64) {
    tracing::event!(
        target: AUDIT_TARGET,
        tracing::Level::INFO,
        {
            "event.name" = LOSS,
            "event.timestamp" = %text::milliseconds(Timestamp::now()),
            "network.audit.exporter" = exporter,
            "network.audit.lost" = lost,
        }
    );
}

/// A method is a client's text, so it is escaped.
fn method<'a>(facts: &'a Facts<'_>) -> Cow<'a, str> {
    facts.method().map_or(Cow::Borrowed("none"), text::escaped)
}

fn client(facts: &Facts<'_>) -> Cow<'static, str> {
    match facts.client {
        Some(client) => Cow::Owned(text::socket_address(client)),
        None => Cow::Borrowed("unknown"),
    }
}
