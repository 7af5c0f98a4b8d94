//! The one table of metrics: name, kind, unit, labels and meaning.
//!
//! Main type: [`Metric`]. The text format, the OTLP export and `docs/metrics.md` are written from it, so that a metric cannot
//! be called one thing here and another there.

/// What a number means over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    One,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// The word in names of the text format.
    #[must_use]
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::One => None,
            Self::Bytes => Some("bytes"),
            Self::Seconds => Some("seconds"),
        }
    }

    /// The symbol of the Unified Code for Units of Measure, as OTLP has it.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Bytes => "By",
            Self::Seconds => "s",
        }
    }
}

/// One metric as people and collectors have to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The name, with dots, as OTLP has it.
    pub name: &'static str,
    /// What it means over time.
    pub kind: Kind,
    /// What it counts.
    pub unit: Unit,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means, in one sentence.
    pub meaning: &'static str,
}

impl Definition {
    /// The family's name in the text format: underscores, and the unit at the end. Samples of a counter have `_total` more.
    #[must_use]
    pub fn text_name(&self) -> String {
        let name = self.name.replace('.', "_");
        match self.unit.word() {
            Some(word) => format!("{name}_{word}"),
            None => name,
        }
    }
}

/// A metric of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`definition` holds the meaning of each")]
pub enum Metric {
    Build,
    Start,
    Decisions,
    DecisionDuration,
    Lookups,
    LookupDuration,
    Dials,
    DialDuration,
    ConnectionsAccepted,
    Connections,
    Tunnels,
    Associations,
    UpstreamConnections,
    UpstreamSent,
    UpstreamReceived,
    PoolConnections,
    PoolRequests,
    Leaves,
    LeavesKept,
    PolicyGeneration,
    Reloads,
    ReloadFailing,
    Exported,
    ExportDropped,
    ExportFailures,
    ExportWaiting,
}

impl Metric {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 26] = [
        Self::Build,
        Self::Start,
        Self::Decisions,
        Self::DecisionDuration,
        Self::Lookups,
        Self::LookupDuration,
        Self::Dials,
        Self::DialDuration,
        Self::ConnectionsAccepted,
        Self::Connections,
        Self::Tunnels,
        Self::Associations,
        Self::UpstreamConnections,
        Self::UpstreamSent,
        Self::UpstreamReceived,
        Self::PoolConnections,
        Self::PoolRequests,
        Self::Leaves,
        Self::LeavesKept,
        Self::PolicyGeneration,
        Self::Reloads,
        Self::ReloadFailing,
        Self::Exported,
        Self::ExportDropped,
        Self::ExportFailures,
        Self::ExportWaiting,
    ];

    /// The metric's row of the table.
    #[must_use]
    pub fn definition(self) -> Definition {
        DEFINITIONS[self as usize]
    }
}

const fn counter(
    name: &'static str,
    unit: Unit,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> Definition {
    define(name, Kind::Counter, unit, labels, meaning)
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> Definition {
    define(name, Kind::Gauge, Unit::One, labels, meaning)
}

const fn duration(name: &'static str, meaning: &'static str) -> Definition {
    define(name, Kind::Histogram, Unit::Seconds, &[], meaning)
}

const fn define(
    name: &'static str,
    kind: Kind,
    unit: Unit,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> Definition {
    Definition {
        name,
        kind,
        unit,
        labels,
        meaning,
    }
}

/// In the order of the variants.
const DEFINITIONS: [Definition; Metric::ALL.len()] = [
    gauge(
        "codex.network_proxy.build",
        &["version"],
        "1, with the version of the proxy",
    ),
    define(
        "codex.network_proxy.start_time",
        Kind::Gauge,
        Unit::Seconds,
        &[],
        "when the proxy was built, in seconds since 1970-01-01 UTC",
    ),
    counter(
        "codex.network_proxy.decisions",
        Unit::One,
        &["door", "decision", "reason"],
        "judgements, one for each audit event of a decision; `reason` is `decider` for all words that a decider makes up",
    ),
    duration(
        "codex.network_proxy.decision.duration",
        "how long judgements took that may wait, a decider's and the resolver's time included",
    ),
    counter(
        "codex.network_proxy.lookups",
        Unit::One,
        &["result"],
        "questions to the resolver; what is answered from memory is none",
    ),
    duration(
        "codex.network_proxy.lookup.duration",
        "how long the resolver took",
    ),
    counter(
        "codex.network_proxy.dials",
        Unit::One,
        &["result"],
        "attempts to open a TCP connection, over all addresses of a target",
    ),
    duration(
        "codex.network_proxy.dial.duration",
        "how long opening a TCP connection took, where it succeeded",
    ),
    counter(
        "codex.network_proxy.connections.accepted",
        Unit::One,
        &["listener"],
        "connections of clients that were accepted",
    ),
    gauge(
        "codex.network_proxy.connections",
        &["listener"],
        "connections of clients that are open",
    ),
    gauge(
        "codex.network_proxy.tunnels",
        &["door"],
        "tunnels that are open; `http` are upgraded connections",
    ),
    gauge(
        "codex.network_proxy.associations",
        &[],
        "UDP associations that are open",
    ),
    gauge(
        "codex.network_proxy.upstream.connections",
        &["door"],
        "connections to origins and parents that are open, by the door of the access that opened them",
    ),
    counter(
        "codex.network_proxy.upstream.sent",
        Unit::Bytes,
        &["door"],
        "bytes to origins, inside of TLS where the proxy speaks it",
    ),
    counter(
        "codex.network_proxy.upstream.received",
        Unit::Bytes,
        &["door"],
        "bytes from origins, inside of TLS where the proxy speaks it",
    ),
    gauge(
        "codex.network_proxy.pool.connections",
        &[],
        "connections to origins that are kept for the next request",
    ),
    counter(
        "codex.network_proxy.pool.requests",
        Unit::One,
        &["result"],
        "requests, by whether a kept connection served them (`reused`) or one was opened (`opened`)",
    ),
    counter(
        "codex.network_proxy.leaves",
        Unit::One,
        &["result"],
        "certificates for clients of opened tunnels, by whether one was `signed` or `reused`",
    ),
    gauge(
        "codex.network_proxy.leaves.kept",
        &[],
        "hosts whose certificate is kept",
    ),
    gauge(
        "codex.network_proxy.policy.generation",
        &[],
        "which policy is in force, counted from 1 at start",
    ),
    counter(
        "codex.network_proxy.reloads",
        Unit::One,
        &["result"],
        "changes of the config files, by whether they could be taken up (`good`) or not (`failed`)",
    ),
    gauge(
        "codex.network_proxy.reload.failing",
        &[],
        "1 while the config files are broken and the last good policy is in force",
    ),
    counter(
        "codex.network_proxy.exporter.exported",
        Unit::One,
        &["exporter"],
        "audit events that were written or sent; for `otlp_metrics`, collections of metrics",
    ),
    counter(
        "codex.network_proxy.exporter.dropped",
        Unit::One,
        &["exporter"],
        "audit events that were lost, for want of room in the queue or because the collector refused them for good",
    ),
    counter(
        "codex.network_proxy.exporter.failures",
        Unit::One,
        &["exporter"],
        "attempts to write or send that failed; most are repeated",
    ),
    gauge(
        "codex.network_proxy.exporter.waiting",
        &["exporter"],
        "audit events that wait to be written or sent",
    ),
];
