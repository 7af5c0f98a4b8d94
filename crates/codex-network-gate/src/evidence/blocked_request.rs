//! One refused access, as an embedding program reads and shows it.
//!
//! Main type: [`BlockedRequest`], plain data with the names and the JSON of SPEC section L. It deliberately never holds a
//! URL, a header or a body.

use codex_network_policy::Mode;
use jiff::Timestamp;
use serde::Serialize;

/// One refused access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockedRequest {
    /// The normalised host, or `unix-socket`.
    pub host: String,
    /// Why, as a word: `not_allowed`, `denied`, …
    pub reason: String,
    /// The client's `ip:port`, where it is known.
    pub client: Option<String>,
    /// The HTTP method, where there is one.
    pub method: Option<String>,
    /// The mode, where the mode is why.
    pub mode: Option<Mode>,
    /// The door: `http`, `http-connect`, `socks5`, `socks5-udp`.
    pub protocol: String,
    /// `deny` or `ask`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// Who decided: `baseline_policy`, `mode_guard`, `proxy_state`, `decider`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The port; 0 for a unix socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// When, in seconds since 1970-01-01 UTC.
    pub timestamp: i64,
}

/// The fields of a [`BlockedRequest`] but for its time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each field is the one of the same name in `BlockedRequest`"
)]
pub struct BlockedRequestArgs {
    pub host: String,
    pub reason: String,
    pub client: Option<String>,
    pub method: Option<String>,
    pub mode: Option<Mode>,
    pub protocol: String,
    pub decision: Option<String>,
    pub source: Option<String>,
    pub port: Option<u16>,
}

impl BlockedRequest {
    /// Builds an entry and stamps it with the time.
    #[must_use]
    pub fn new(args: BlockedRequestArgs) -> Self {
        Self {
            host: args.host,
            reason: args.reason,
            client: args.client,
            method: args.method,
            mode: args.mode,
            protocol: args.protocol,
            decision: args.decision,
            source: args.source,
            port: args.port,
            timestamp: Timestamp::now().as_second(),
        }
    }
}
