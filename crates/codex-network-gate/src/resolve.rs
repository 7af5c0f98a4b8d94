//! Names to addresses, and socket paths to real paths.
//!
//! [`Resolver`] is the seam: the system's resolver in the product, a scripted one in tests. [`Lookups`] puts
//! a limit, coalescing of equal questions and a reuse of a few seconds around it. Nothing here judges: it is
//! the gate that asks, only for names that policy permits, and that judges the answer.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use codex_network_policy::{LookupFailure, SocketPath};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::limits::Limits;
use crate::meter::GateMeters;

/// How many answers are remembered at most; a flood of names costs look-ups, not memory.
const REMEMBERED_NAMES: usize = 1_024;

/// Asks somebody for the addresses of a name.
#[async_trait]
pub trait Resolver: Send + Sync + std::fmt::Debug + 'static {
    /// The addresses of `name`, a canonical host name, in the order in which they should be tried.
    ///
    /// # Errors
    /// Whatever the resolver reports. The gate makes a refusal of it.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver: `nsswitch.conf`, `/etc/hosts`, split DNS and mDNS keep working.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the resolver that the gate asks"
    )]
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let addresses = tokio::net::lookup_host((name, 0)).await?;
        Ok(addresses.map(|address| address.ip()).collect())
    }
}

/// What a name resolved to. Never an empty list.
pub(crate) type LookupAnswer = Result<Arc<[IpAddr]>, LookupFailure>;

/// A [`Resolver`] within limits.
#[derive(Debug)]
pub(crate) struct Lookups {
    resolver: Arc<dyn Resolver>,
    slots: Arc<Semaphore>,
    limits: Arc<Limits>,
    meters: Arc<GateMeters>,
    known: Arc<Mutex<HashMap<Box<str>, Known>>>,
}

/// A question under way or an answer that is still fresh.
#[derive(Clone, Debug)]
struct Known {
    answer: watch::Receiver<Option<LookupAnswer>>,
    asked: Instant,
}

impl Lookups {
    pub(crate) fn new(
        resolver: Arc<dyn Resolver>,
        limits: Arc<Limits>,
        meters: Arc<GateMeters>,
    ) -> Self {
        Self {
            resolver,
            slots: Arc::new(Semaphore::new(limits.lookups)),
            limits,
            meters,
            known: Arc::default(),
        }
    }

    /// The addresses of `name`. Equal questions that overlap are asked once.
    pub(crate) async fn addresses(&self, name: &str) -> LookupAnswer {
        let mut answer = self.question(name);
        match answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or(Err(LookupFailure::Failed)),
            // The task that asks has died, which only a panicking resolver can bring about.
            Err(_) => Err(LookupFailure::Failed),
        }
    }

    fn question(&self, name: &str) -> watch::Receiver<Option<LookupAnswer>> {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.get(name)
            && self.is_usable(entry, now)
        {
            return entry.answer.clone();
        }
        if known.len() >= REMEMBERED_NAMES {
            known.retain(|_, entry| self.is_usable(entry, now));
            if known.len() >= REMEMBERED_NAMES {
                known.clear();
            }
        }
        let (sender, answer) = watch::channel(None);
        known.insert(
            name.into(),
            Known {
                answer: answer.clone(),
                asked: now,
            },
        );
        let asked = ask(
            Arc::clone(&self.resolver),
            Arc::clone(&self.slots),
            Arc::clone(&self.limits),
            name.into(),
        );
        let meters = Arc::clone(&self.meters);
        // A task of its own, so that a client that hangs up takes no answer away from the others who wait for it.
        tokio::spawn(async move {
            let result = asked.await;
            meters.looked_up(&result, now.elapsed());
            sender.send_replace(Some(result));
        });
        answer
    }

    /// A question under way is joined, a fresh yes is reused; a failure is never remembered.
    fn is_usable(&self, entry: &Known, now: Instant) -> bool {
        match &*entry.answer.borrow() {
            None => entry.answer.has_changed().is_ok(),
            Some(Ok(_)) => now.duration_since(entry.asked) < self.limits.lookup_reuse,
            Some(Err(_)) => false,
        }
    }
}

/// Asks the resolver once.
async fn ask(
    resolver: Arc<dyn Resolver>,
    slots: Arc<Semaphore>,
    limits: Arc<Limits>,
    name: Box<str>,
) -> LookupAnswer {
    let deadline = Instant::now() + limits.lookup;
    // Who waits for a slot in vain leaves the queue: a question that nobody waits for any more is never asked.
    match timeout_at(deadline, slots.acquire_owned()).await {
        Err(_) => Err(LookupFailure::TimedOut),
        Ok(Err(_)) => Err(LookupFailure::Failed),
        Ok(Ok(slot)) => {
            // The system's look-up cannot be cancelled: it keeps its slot until it really ends, so that a dead
            // resolver fills the slots and not the threads of the process.
            let lookup = tokio::spawn(async move {
                let _slot = slot;
                resolver.lookup(&name).await
            });
            match timeout_at(deadline, lookup).await {
                Err(_) => Err(LookupFailure::TimedOut),
                Ok(Err(_)) => Err(LookupFailure::Failed),
                Ok(Ok(Err(error))) if error.kind() == io::ErrorKind::TimedOut => {
                    Err(LookupFailure::TimedOut)
                }
                Ok(Ok(Err(_))) => Err(LookupFailure::Failed),
                Ok(Ok(Ok(addresses))) => canonical(addresses),
            }
        }
    }
}

/// Each address once, for the system answers once per socket type on some platforms, and an IPv4-mapped one as the
/// IPv4 address that it leads to, so that it is judged, recognised and dialled as that.
fn canonical(addresses: Vec<IpAddr>) -> LookupAnswer {
    let mut seen = std::collections::HashSet::new();
    let addresses: Vec<IpAddr> = addresses
        .into_iter()
        .map(|address| address.to_canonical())
        .filter(|address| seen.insert(*address))
        .collect();
    if addresses.is_empty() {
        Err(LookupFailure::Empty)
    } else {
        Ok(addresses.into())
    }
}

/// The address of a literal with a zone (`fe80::1%eth0`). The system turns the zone into an index; no query
/// leaves for a literal.
#[expect(
    clippy::disallowed_methods,
    reason = "numeric: only the zone is looked up, on this machine"
)]
pub(crate) async fn scoped_address(
    literal: &str,
    port: u16,
    limit: Duration,
) -> Option<SocketAddr> {
    let found = timeout(limit, tokio::net::lookup_host((literal, port)));
    found.await.ok()?.ok()?.next()
}

/// Whether `path`, all links followed, is one of these sockets, by its name or by a name that was linked to it. Where that
/// cannot be found out it is taken to be.
pub(crate) async fn is_one_of(path: PathBuf, sockets: Vec<PathBuf>, limit: Duration) -> bool {
    if sockets.is_empty() {
        return false;
    }
    let compared = tokio::task::spawn_blocking(move || {
        sockets
            .iter()
            .any(|socket| *socket == path || is_same_file(socket, &path))
    });
    !matches!(timeout(limit, compared).await, Ok(Ok(false)))
}

#[cfg(unix)]
fn is_same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (std::fs::metadata(one), std::fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        (Ok(_), Err(_)) | (Err(_), Ok(_) | Err(_)) => false,
    }
}

#[cfg(not(unix))]
fn is_same_file(_: &Path, _: &Path) -> bool {
    false
}

/// The path with every link followed, or `None` where nothing is there, or a file system does not answer.
pub(crate) async fn real_path(path: &SocketPath, limit: Duration) -> Option<PathBuf> {
    let path = PathBuf::from(path.as_str());
    #[expect(
        clippy::disallowed_methods,
        reason = "the path that is judged is the path that is dialled"
    )]
    let found = tokio::task::spawn_blocking(move || path.canonicalize());
    timeout(limit, found).await.ok()?.ok()?.ok()
}

#[cfg(test)]
mod tests;
