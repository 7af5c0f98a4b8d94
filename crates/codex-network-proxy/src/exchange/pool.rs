//! Upstream connections that wait for their next request.
//!
//! [`Pool`] is keyed by the permit: never shared across targets, TLS, ways out or generations of the policy. It
//! deliberately dials nothing; a connection comes in after an exchange and leaves for the next one. One of HTTP/2 comes in
//! at once and stays, for it serves many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use codex_network_gate::{HttpOffer, Permit};
use codex_network_policy::Target;
use tokio::time::Instant;

use super::line::Line;
use crate::meters::{Meters, PoolMeters};

/// How many exchanges share a connection of HTTP/2 at most. Origins allow a hundred and more.
const MOST_SHARERS: usize = 64;

/// What two requests must share to share a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    target: Target,
    /// The HTTP versions that were offered in TLS; none where there is no TLS.
    tls: Option<HttpOffer>,
    via_parent: bool,
    generation: u64,
}

impl Key {
    pub(super) fn of(permit: &Permit, offer: HttpOffer) -> Self {
        Self {
            target: permit.target().clone(),
            // What is inside of an opened tunnel is TLS of ours, although the tunnel itself was not asked for as that.
            tls: (permit.is_tls() || permit.is_intercepted()).then_some(offer),
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
    meters: Arc<Meters>,
}

#[derive(Debug, Default)]
struct Idle {
    lines: HashMap<Key, Vec<(Line, Instant)>>,
    count: usize,
}

impl Pool {
    pub(super) fn new(most: usize, longest: Duration, meters: Arc<Meters>) -> Self {
        Self {
            idle: Mutex::default(),
            most,
            longest,
            meters,
        }
    }

    pub(super) fn meters(&self) -> &PoolMeters {
        &self.meters.pool
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection for `key` that has been idle for the shortest time, and that time.
    pub(super) fn take(&self, key: &Key) -> Option<(Line, Duration)> {
        let mut idle = self.idle();
        let Idle { lines, count } = &mut *idle;
        // An emptied entry stays until the next sweep: its connection is likely to come back.
        let lines = lines.get_mut(key)?;
        let mut place = lines.len();
        while let Some(before) = place.checked_sub(1) {
            place = before;
            let (line, since) = &mut lines[place];
            let rested = since.elapsed();
            if line.is_closed() || rested >= self.longest {
                lines.remove(place);
                *count -= 1;
                continue;
            }
            if !line.is_http2() {
                let (line, _) = lines.remove(place);
                *count -= 1;
                self.meters.pool.kept.set(*count);
                return Some((line, rested));
            }
            // One that is full is left to those who are on it, so that they cannot keep others waiting.
            if let Some(shared) = line.share().filter(|_| line.users() < MOST_SHARERS) {
                line.proven = true;
                *since = Instant::now();
                return Some((shared, rested));
            }
        }
        None
    }

    /// What the kept connection for `key` speaks, if there is a live one that `admits` accepts.
    pub(super) fn peek(&self, key: &Key, admits: impl Fn(&Line) -> bool) -> Option<bool> {
        let idle = self.idle();
        let lines = idle.lines.get(key)?;
        let usable = |(line, since): &&(Line, Instant)| {
            !line.is_closed() && since.elapsed() < self.longest && admits(line)
        };
        lines
            .iter()
            .rev()
            .find(usable)
            .map(|(line, _)| line.is_http2())
    }

    pub(super) fn put(&self, key: Key, line: Line) {
        // A socket's connection has no address by which a later permit could admit it.
        if line.is_closed() || (line.peer.is_none() && !key.via_parent) {
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
            self.meters.pool.kept.set(idle.count);
        }
    }

    /// Closes what has been idle for too long, or was closed by its origin.
    pub(super) fn sweep(&self) {
        let mut idle = self.idle();
        idle.sweep(self.longest);
        self.meters.pool.kept.set(idle.count);
    }
}

impl Idle {
    fn sweep(&mut self, longest: Duration) {
        self.lines.retain(|_, lines| {
            lines.retain(|(line, since)| !line.is_closed() && since.elapsed() < longest);
            !lines.is_empty()
        });
        self.count = self.lines.values().map(Vec::len).sum();
    }
}

/// Gives a connection back when the answer that it carries has been read to its end. A hold on a shared one ends then.
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
        if !self.line.is_http2() {
            self.pool.put(self.key, self.line);
        }
    }
}
