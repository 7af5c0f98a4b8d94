//! The history of refusals (SPEC section L): the newest ones, and how many there have been.
//!
//! Main type: [`History`], which all who share it see alike. An entry goes in, and out to whoever observes. Equal entries
//! are deliberately not merged.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::blocked_request::BlockedRequest;
use super::observer::{BlockedRequestObserver, Observing, Told};

/// An entry that the history has kept.
#[derive(Debug)]
pub(super) struct Kept {
    /// The entry, where somebody listens.
    spoken: Option<BlockedRequest>,
    total: u64,
    buffered: usize,
    told: Told,
}

impl Kept {
    /// Writes the two log lines of SPEC section L, and says what an observer misses.
    pub(super) fn tell(&self) {
        match self.told {
            Told::Queued | Told::Missed => {}
            Told::BeganToMiss => {
                tracing::warn!("an observer of refusals is too slow, and misses some");
            }
            Told::AfterMissing(missed) => {
                tracing::warn!(missed, "an observer of refusals has missed some");
            }
        }
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

/// The newest refusals, oldest first, and how many there have been. Clones are one history.
#[derive(Clone, Debug)]
pub struct History(Arc<Mutex<Ring>>);

/// Its lock is held for a push or a copy, never across a wait.
#[derive(Debug)]
struct Ring {
    entries: VecDeque<BlockedRequest>,
    most: usize,
    total: u64,
    observing: Option<Observing>,
}

impl History {
    /// Keeps at most so many entries.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Ring {
            entries: VecDeque::new(),
            most,
            total: 0,
            observing: None,
        })))
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `entry`. Says nothing: that is [`Kept::tell`]'s part, for what listens may be anybody's code.
    pub(super) fn push(&self, entry: BlockedRequest) -> Kept {
        let spoken = tracing::enabled!(tracing::Level::DEBUG).then(|| entry.clone());
        let mut ring = self.ring();
        ring.total = ring.total.saturating_add(1);
        // Under the lock, so that an observer hears of refusals in the order of the history.
        let told = match &mut ring.observing {
            Some(observing) => observing.tell(entry.clone()),
            None => Told::Queued,
        };
        ring.entries.push_back(entry);
        if ring.entries.len() > ring.most {
            ring.entries.pop_front();
        }
        Kept {
            spoken,
            total: ring.total,
            buffered: ring.entries.len(),
            told,
        }
    }

    /// Records a refusal that was made elsewhere, as if it were the gate's.
    pub fn record(&self, entry: BlockedRequest) {
        self.push(entry).tell();
    }

    /// Tells `observer` of each refusal from now on, instead of whoever was told before. It is called in the current
    /// runtime, or else in the first one in which a refusal is recorded.
    pub fn observe(&self, observer: Option<Arc<dyn BlockedRequestObserver>>) {
        let observing = observer.map(Observing::start);
        let before = std::mem::replace(&mut self.ring().observing, observing);
        drop(before);
    }

    /// Waits until the observer has taken notice of all that was refused before, at most for `limit`.
    pub async fn observed(&self, limit: Duration) {
        let told = self.ring().observing.as_mut().map(|it| it.told(limit));
        if let Some(told) = told {
            told.await;
        }
    }

    /// Keeps at most so many entries from now on.
    pub fn keep(&self, most: usize) {
        let mut ring = self.ring();
        ring.most = most;
        let surplus = ring.entries.len().saturating_sub(most);
        ring.entries.drain(..surplus);
    }

    /// A copy of the entries, oldest first.
    #[must_use]
    pub fn snapshot(&self) -> Vec<BlockedRequest> {
        self.ring().entries.iter().cloned().collect()
    }

    /// Takes the entries, oldest first. The total stays.
    #[must_use]
    pub fn drain(&self) -> Vec<BlockedRequest> {
        self.ring().entries.drain(..).collect()
    }

    /// How many refusals there have been.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.ring().total
    }
}
