//! Upstream connections that wait for their next request.
//!
//! [`Pool`] is keyed by the permit: never shared across targets, TLS, ways out or generations of the policy. It
//! deliberately dials nothing; a connection comes in after an exchange and leaves for the next one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use codex_network_gate::Permit;
use codex_network_policy::Target;
use tokio::time::Instant;

use super::line::Line;

/// What two requests must share to share a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    target: Target,
    tls: bool,
    via_parent: bool,
    generation: u64,
}

impl Key {
    pub(super) fn of(permit: &Permit) -> Self {
        Self {
            target: permit.target().clone(),
            tls: permit.is_tls(),
            via_parent: permit.is_via_parent(),
            generation: permit.generation(),
        }
    }
}

/// The idle connections of one proxy, bounded in number and age.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Idle>,
    most: usize,
    longest: Duration,
}

#[derive(Debug, Default)]
struct Idle {
    lines: HashMap<Key, Vec<(Line, Instant)>>,
    count: usize,
}

impl Pool {
    pub(super) fn new(most: usize, longest: Duration) -> Self {
        Self {
            idle: Mutex::default(),
            most,
            longest,
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection for `key` that has been idle for the shortest time, and that time.
    pub(super) fn take(&self, key: &Key) -> Option<(Line, Duration)> {
        let mut idle = self.idle();
        loop {
            // An emptied entry stays until the next sweep: its connection is likely to come back.
            let (line, since) = idle.lines.get_mut(key)?.pop()?;
            idle.count -= 1;
            let rested = since.elapsed();
            if !line.sender.is_closed() && rested < self.longest {
                return Some((line, rested));
            }
        }
    }

    fn put(&self, key: Key, line: Line) {
        // A socket's connection has no address by which a later permit could admit it.
        if line.sender.is_closed() || (line.peer.is_none() && !key.via_parent) {
            return;
        }
        let mut idle = self.idle();
        if idle.count >= self.most {
            idle.sweep(self.longest);
        }
        if idle.count < self.most {
            idle.count += 1;
            idle.lines
                .entry(key)
                .or_default()
                .push((line, Instant::now()));
        }
    }

    /// Closes what has been idle for too long, or was closed by its origin.
    pub(super) fn sweep(&self) {
        self.idle().sweep(self.longest);
    }
}

impl Idle {
    fn sweep(&mut self, longest: Duration) {
        self.lines.retain(|_, lines| {
            lines.retain(|(line, since)| !line.sender.is_closed() && since.elapsed() < longest);
            !lines.is_empty()
        });
        self.count = self.lines.values().map(Vec::len).sum();
    }
}

/// Gives a connection back when the answer that it carries has been read to its end.
#[derive(Debug)]
pub(super) struct GiveBack {
    pool: Arc<Pool>,
    key: Key,
    line: Line,
}

impl GiveBack {
    pub(super) fn new(pool: Arc<Pool>, key: Key, line: Line) -> Self {
        Self { pool, key, line }
    }

    pub(super) fn give_back(self) {
        self.pool.put(self.key, self.line);
    }
}
