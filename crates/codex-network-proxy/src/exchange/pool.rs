//! Upstream connections that wait for their next request.
//!
//! [`Pool`] is keyed by the permit: never shared across targets, TLS, ways out or generations of the policy. Each key has
//! a [`Shelf`], so that a request looks its key up once and waits for nobody who goes elsewhere. It deliberately dials
//! nothing; a connection comes in after an exchange and leaves for the next one. One of HTTP/2 comes in at once and
//! stays, for it serves many.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use codex_network_gate::{HttpOffer, Permit};
use codex_network_policy::{Host, Target};
use tokio::time::Instant;

use super::line::Line;
use crate::meters::{Meters, PoolMeters};

/// How many exchanges share a connection of HTTP/2 at most. Origins allow a hundred and more.
const MOST_SHARERS: usize = 64;

/// What two requests must share to share a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PoolKey {
    target: Target,
    /// The HTTP versions that were offered in TLS; none where there is no TLS.
    tls: Option<HttpOffer>,
    via_parent: bool,
    generation: u64,
}

impl PoolKey {
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

/// By the target alone, for hardly any two keys differ in the rest only, and each word that is hashed takes its time.
impl Hash for PoolKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.target {
            Target::Host { host, port } => {
                match host {
                    Host::Name(name) => state.write(name.as_str().as_bytes()),
                    Host::Address(literal) => match literal.address() {
                        IpAddr::V4(address) => state.write_u32(address.to_bits()),
                        IpAddr::V6(address) => state.write_u128(address.to_bits()),
                    },
                }
                state.write_u16(*port);
            }
            Target::Unix(path) => state.write(path.as_str().as_bytes()),
        }
    }
}

/// The idle connections of one proxy, bounded in number and age.
#[derive(Debug)]
pub(super) struct Pool {
    shelves: Mutex<HashMap<PoolKey, Arc<Shelf>>>,
    /// How many connections are on all shelves.
    count: AtomicUsize,
    most: usize,
    longest: Duration,
    meters: Arc<Meters>,
}

/// The idle connections of one key.
#[derive(Debug)]
pub(super) struct Shelf {
    lines: Mutex<Vec<(Box<Line>, Instant)>>,
    /// Whether they lead to a parent proxy.
    via_parent: bool,
}

impl Shelf {
    fn lines(&self) -> MutexGuard<'_, Vec<(Box<Line>, Instant)>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something is on it, or a request that is under way may yet bring a connection to it.
    fn is_needed(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || !self.lines().is_empty()
    }
}

impl Pool {
    pub(super) fn new(most: usize, longest: Duration, meters: Arc<Meters>) -> Self {
        Self {
            shelves: Mutex::default(),
            count: AtomicUsize::new(0),
            most,
            longest,
            meters,
        }
    }

    pub(super) fn meters(&self) -> &PoolMeters {
        &self.meters.pool
    }

    fn shelves(&self) -> MutexGuard<'_, HashMap<PoolKey, Arc<Shelf>>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of all connections for `key`.
    pub(super) fn shelf(&self, key: &PoolKey) -> Arc<Shelf> {
        let mut shelves = self.shelves();
        if let Some(shelf) = shelves.get(key) {
            return Arc::clone(shelf);
        }
        // Names that were asked for once leave an empty shelf behind, until the next sweep or until there are many.
        if shelves.len() > self.most.saturating_mul(2) {
            shelves.retain(|_, shelf| shelf.is_needed());
        }
        let shelf = Arc::new(Shelf {
            lines: Mutex::default(),
            via_parent: key.via_parent,
        });
        shelves.insert(key.clone(), Arc::clone(&shelf));
        shelf
    }

    /// The connection that has been idle for the shortest time, and that time.
    pub(super) fn take(&self, shelf: &Shelf) -> Option<(Box<Line>, Duration)> {
        let mut lines = shelf.lines();
        let mut place = lines.len();
        while let Some(before) = place.checked_sub(1) {
            place = before;
            let (line, since) = &mut lines[place];
            let rested = since.elapsed();
            if line.is_closed() || rested >= self.longest {
                lines.remove(place);
                self.forget(1);
                continue;
            }
            if !line.is_http2() {
                let (line, _) = lines.remove(place);
                self.forget(1);
                return Some((line, rested));
            }
            // One that is full is left to those who are on it, so that they cannot keep others waiting.
            if let Some(shared) = line.share().filter(|_| line.users() < MOST_SHARERS) {
                line.proven = true;
                *since = Instant::now();
                return Some((Box::new(shared), rested));
            }
        }
        None
    }

    /// What the kept connection for `key` speaks, if there is a live one that `admits` accepts.
    pub(super) fn peek(&self, key: &PoolKey, admits: impl Fn(&Line) -> bool) -> Option<bool> {
        let shelf = Arc::clone(self.shelves().get(key)?);
        let lines = shelf.lines();
        let usable = |(line, since): &&(Box<Line>, Instant)| {
            !line.is_closed() && since.elapsed() < self.longest && admits(line)
        };
        lines
            .iter()
            .rev()
            .find(usable)
            .map(|(line, _)| line.is_http2())
    }

    pub(super) fn put(&self, shelf: &Shelf, line: Box<Line>) {
        // A socket's connection has no address by which a later permit could admit it.
        if line.is_closed() || (line.peer.is_none() && !shelf.via_parent) {
            return;
        }
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        if before < self.most {
            self.meters.pool.kept.set(before + 1);
            shelf.lines().push((line, Instant::now()));
        } else {
            self.forget(1);
            // The next one may find room.
            self.sweep();
        }
    }

    /// Closes what has been idle for too long, or was closed by its origin.
    pub(super) fn sweep(&self) {
        let mut swept = 0;
        self.shelves().retain(|_, shelf| {
            let mut lines = shelf.lines();
            let before = lines.len();
            lines.retain(|(line, since)| !line.is_closed() && since.elapsed() < self.longest);
            swept += before - lines.len();
            drop(lines);
            shelf.is_needed()
        });
        self.forget(swept);
    }

    fn forget(&self, count: usize) {
        let before = self.count.fetch_sub(count, Ordering::Relaxed);
        self.meters.pool.kept.set(before.saturating_sub(count));
    }
}

/// Gives a connection back when the answer that it carries has been read to its end. A hold on a shared one ends then.
#[derive(Debug)]
pub(super) struct GiveBack {
    pool: Arc<Pool>,
    shelf: Arc<Shelf>,
    line: Box<Line>,
}

impl GiveBack {
    pub(super) fn new(pool: Arc<Pool>, shelf: Arc<Shelf>, line: Box<Line>) -> Self {
        Self { pool, shelf, line }
    }

    pub(super) fn give_back(self) {
        if !self.line.is_http2() {
            self.pool.put(&self.shelf, self.line);
        }
    }
}
