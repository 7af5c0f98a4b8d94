//! What is counted: plain numbers that are cheap to change and are read when somebody asks.
//!
//! [`GateMeters`] is everything that a gate counts; [`Counter`], [`Gauge`] and [`Histogram`] are what it is made of. Each
//! change is one or two atomic additions: no lock, no allocation. They deliberately carry no host, no path and no client:
//! their labels are closed sets. Names, units and formats are for whoever shows them.

use std::sync::Arc;

use codex_network_policy::{LookupFailure, Protocol};

mod decisions;
mod doors;
mod histogram;
mod number;

pub use decisions::Decisions;
pub use doors::DOORS;
use doors::place;
pub use histogram::{BOUNDS, Histogram, Observed};
pub use number::{Counter, Gauge, Held};

/// What goes through the upstream connections of one door.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes to upstreams.
    pub sent: Counter,
    /// Bytes from upstreams.
    pub received: Counter,
    /// Upstream connections that are open.
    pub open: Gauge,
    /// Tunnels that are open.
    pub tunnels: Gauge,
}

/// How often something ended in which way.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// Well.
    pub good: Counter,
    /// With an error.
    pub failed: Counter,
    /// At a limit of time.
    pub timed_out: Counter,
}

/// Everything that a gate counts.
#[derive(Debug, Default)]
pub struct GateMeters {
    /// Judgements, by door, verdict and reason.
    pub decisions: Decisions,
    /// How long judgements that may wait took, the wait for a decider and a resolver included.
    pub decision_time: Histogram,
    /// Questions to the resolver.
    pub lookups: Outcomes,
    /// How long the resolver took.
    pub lookup_time: Histogram,
    /// Attempts to open a TCP connection, over all addresses of a target.
    pub dials: Outcomes,
    /// How long those took that succeeded.
    pub dial_time: Histogram,
    traffic: [Arc<Traffic>; DOORS.len()],
}

impl GateMeters {
    /// What goes through this door's upstream connections.
    #[must_use]
    pub fn traffic(&self, door: Protocol) -> &Arc<Traffic> {
        &self.traffic[place(door)]
    }

    /// Counts a question to the resolver.
    pub(crate) fn looked_up<T>(
        &self,
        answer: &Result<T, LookupFailure>,
        took: std::time::Duration,
    ) {
        self.lookup_time.observe(took);
        match answer {
            Ok(_) => &self.lookups.good,
            Err(LookupFailure::Failed | LookupFailure::Empty) => &self.lookups.failed,
            Err(LookupFailure::TimedOut) => &self.lookups.timed_out,
        }
        .increment();
    }
}

/// An upstream connection that is open, and what goes through it.
#[derive(Debug)]
pub(crate) struct Metered(Arc<Traffic>);

impl Metered {
    pub(crate) fn new(traffic: &Arc<Traffic>) -> Self {
        traffic.open.raise();
        Self(Arc::clone(traffic))
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.0.sent.add(bytes as u64);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.0.received.add(bytes as u64);
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.0.open.lower();
    }
}
