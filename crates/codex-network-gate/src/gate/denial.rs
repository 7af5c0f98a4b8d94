//! The gate's no.
//!
//! [`Denial`] is an answer and no error: it says why, who decided, and what was asked for. It is recorded
//! already; a door only renders it.

use codex_network_policy::{Decision, Protocol, Reason, Source, Target};

use super::access::Access;
use super::help::Help;
use crate::evidence::UNIX_SOCKET_HOST;

/// A refused access. Made by the gate only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    reason: Reason,
    decision: Decision,
    source: Source,
    protocol: Protocol,
    host: String,
    port: u16,
    unix_socket: bool,
    help: Option<Help>,
}

impl Denial {
    pub(super) fn new(
        reason: Reason,
        decision: Decision,
        source: Source,
        access: &Access<'_>,
        help: Option<Help>,
    ) -> Self {
        let (host, port) = match &access.target {
            Target::Host { host, port } => (host.to_string(), *port),
            Target::Unix(_) => (UNIX_SOCKET_HOST.to_owned(), 0),
        };
        Self {
            reason,
            decision,
            source,
            protocol: access.protocol,
            host,
            port,
            unix_socket: matches!(access.target, Target::Unix(_)),
            help,
        }
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// `deny`, or `ask` where a person may approve.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.decision
    }

    /// Who decided.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// The door.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The normalised host (IPv6 without brackets), or `unix-socket`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 for a unix socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the client may be told beside the reason, unless the policy hides it.
    #[must_use]
    pub fn help(&self) -> Option<&Help> {
        self.help.as_ref()
    }

    /// Whether the target was a unix socket.
    #[must_use]
    pub fn is_unix_socket(&self) -> bool {
        self.unix_socket
    }
}
