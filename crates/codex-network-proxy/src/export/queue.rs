//! Events that wait for an exporter.
//!
//! [`Queue`] has room for so many and never waits for more: what comes when it is full is counted and dropped. The exporter
//! is woken by the first event and by a full batch, not by each one, so that a busy proxy does not pay a wake-up a request.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::event::AuditEvent;
use crate::meters::ExporterMeters;

/// How many events that tell of losses have room beyond the capacity.
const TELLING: usize = 16;

/// A queue between the proxy and one exporter.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<VecDeque<Arc<AuditEvent>>>,
    capacity: usize,
    batch: usize,
    arrived: Notify,
    /// Events that were lost and not yet told of.
    untold: AtomicU64,
    pub(super) meters: Arc<ExporterMeters>,
}

impl Queue {
    pub(super) fn new(name: &'static str, capacity: usize, batch: usize) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            capacity,
            batch: batch.min(capacity),
            arrived: Notify::new(),
            untold: AtomicU64::new(0),
            meters: ExporterMeters::new(name),
        })
    }

    /// Takes an event, if there is room.
    pub(super) fn push(&self, event: Arc<AuditEvent>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // What tells of losses has room of its own: it is made when there is none.
        let room = if event.tells_of_losses() { TELLING } else { 0 };
        if waiting.len() >= self.capacity + room {
            drop(waiting);
            self.lose(1);
            return;
        }
        waiting.push_back(event);
        let length = waiting.len();
        self.meters.waiting.set(length);
        drop(waiting);
        if length == 1 || length == self.batch {
            self.arrived.notify_one();
        }
    }

    /// Counts events as lost.
    pub(super) fn lose(&self, count: u64) {
        self.meters.dropped.add(count);
        self.untold.fetch_add(count, Ordering::Relaxed);
    }

    /// How many were lost since this was last asked.
    pub(super) fn take_untold(&self) -> u64 {
        self.untold.swap(0, Ordering::Relaxed)
    }

    /// Whether events were lost since [`Queue::take_untold`].
    pub(super) fn has_untold(&self) -> bool {
        self.untold.load(Ordering::Relaxed) > 0
    }

    /// Waits until there is something.
    pub(super) async fn some(&self) {
        while self.len() == 0 {
            self.arrived.notified().await;
        }
    }

    /// Waits until there is a whole batch.
    pub(super) async fn full_batch(&self) {
        while self.len() < self.batch {
            self.arrived.notified().await;
        }
    }

    fn len(&self) -> usize {
        let waiting = self.waiting.lock();
        waiting.unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes the oldest events, a batch at most.
    pub(super) fn take(&self) -> Vec<Arc<AuditEvent>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.len().min(self.batch);
        let taken = waiting.drain(..count).collect();
        self.meters.waiting.set(waiting.len());
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Arc<AuditEvent> {
        Arc::new(AuditEvent::at(std::time::SystemTime::now(), 0))
    }

    #[tokio::test]
    async fn what_has_no_room_is_counted_and_told_once() {
        let queue = Queue::new("file", 2, 8);
        for _ in 0..5 {
            queue.push(event());
        }
        queue.some().await;
        queue.full_batch().await;
        assert_eq!(queue.take().len(), 2);
        assert_eq!(queue.meters.dropped.value(), 3);
        assert_eq!(queue.meters.waiting.value(), 0);
        assert_eq!(queue.take_untold(), 3);
        assert!(!queue.has_untold());
    }
}
