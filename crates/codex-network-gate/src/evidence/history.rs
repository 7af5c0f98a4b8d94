//! The history of refusals (SPEC section L): the newest 200, and how many there have been.
//!
//! [`BlockedRequest`] is the entry that an embedding program reads and shows. The history deliberately does not
//! merge equal entries, and never holds a URL or a header.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use codex_network_policy::Mode;
use jiff::Timestamp;
use serde::Serialize;

/// How many entries are kept.
const KEPT: usize = 200;

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

/// An entry that the history has kept.
#[derive(Debug)]
pub(super) struct Kept {
    /// The entry, where somebody listens.
    spoken: Option<BlockedRequest>,
    total: u64,
    buffered: usize,
}

impl Kept {
    /// Writes the two log lines of SPEC section L.
    pub(super) fn tell(&self) {
        let Some(entry) = &self.spoken else { return };
        let json = serde_json::to_string(entry).unwrap_or_default();
        tracing::debug!("CODEX_NETWORK_POLICY_VIOLATION {json}");
        tracing::debug!(
            "recorded blocked request telemetry (total={}, host={:?}, reason={}, decision={:?}, \
             source={:?}, protocol={}, port={:?}, buffered={})",
            self.total,
            entry.host,
            entry.reason,
            entry.decision,
            entry.source,
            entry.protocol,
            entry.port,
            self.buffered,
        );
    }
}

/// The ring of entries. Its lock is held for a push or a copy, never across a wait.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<BlockedRequest>,
    total: u64,
}

impl History {
    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `entry`. Says nothing: that is [`Kept::tell`]'s part, for what listens may be anybody's code.
    pub(super) fn push(&self, entry: BlockedRequest) -> Kept {
        let spoken = tracing::enabled!(tracing::Level::DEBUG).then(|| entry.clone());
        let mut ring = self.ring();
        ring.total = ring.total.saturating_add(1);
        if ring.entries.len() == KEPT {
            ring.entries.pop_front();
        }
        ring.entries.push_back(entry);
        Kept {
            spoken,
            total: ring.total,
            buffered: ring.entries.len(),
        }
    }

    pub(super) fn snapshot(&self) -> Vec<BlockedRequest> {
        self.ring().entries.iter().cloned().collect()
    }

    pub(super) fn drain(&self) -> Vec<BlockedRequest> {
        self.ring().entries.drain(..).collect()
    }

    pub(super) fn total(&self) -> u64 {
        self.ring().total
    }
}
