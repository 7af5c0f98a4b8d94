//! The policy in force: one snapshot, its generation, and a signal when it changes.
//!
//! [`PolicyStore`] is read once per access, without waiting. It deliberately does not know where policies
//! come from or how they are compiled: whoever reloads compiles aside and hands over the result.

use std::sync::Arc;

use arc_swap::ArcSwap;
use codex_network_policy::Policy;
use tokio::sync::watch;

/// A policy and the number of its generation.
#[derive(Debug)]
pub struct Snapshot {
    /// The compiled rules.
    pub policy: Policy,
    /// Counts the policies of this store, from 1.
    pub generation: u64,
}

/// Holds the [`Snapshot`] in force.
#[derive(Debug)]
pub struct PolicyStore {
    current: ArcSwap<Snapshot>,
    changes: watch::Sender<u64>,
}

impl PolicyStore {
    /// Puts `policy` in force as generation 1.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            current: ArcSwap::from_pointee(Snapshot {
                policy,
                generation: 1,
            }),
            changes: watch::Sender::new(1),
        }
    }

    /// The snapshot in force. Judge a whole access by one of these.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts `policy` in force for every access that begins from now on, and wakes who watches for changes.
    /// Returns the new generation.
    pub fn replace(&self, policy: Policy) -> u64 {
        let mut generation = 0;
        // The store is inside the closure so that two replacements cannot end in the order of neither.
        self.changes.send_modify(|latest| {
            *latest += 1;
            generation = *latest;
            self.current
                .store(Arc::new(Snapshot { policy, generation }));
        });
        generation
    }

    /// A receiver that wakes at each change of generation.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests;
