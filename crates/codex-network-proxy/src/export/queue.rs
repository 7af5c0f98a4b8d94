//! Events that wait for an exporter.
//!
//! [`Queue`] has room for so many and never waits for more: what comes when it is full is counted and dropped. Events are kept as
//! they are to be sent, one behind the other in [`Batch`]es. The exporter is woken by the first event and by a full batch, not by
//! each one, so that a busy proxy does not pay a wake-up a request.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tracing::Event;

use super::event::{self, Write};
use crate::meters::ExporterMeters;

/// How many events that tell of losses have room beyond the capacity.
const TELLING: usize = 16;

/// A queue between the proxy and one exporter.
#[derive(Debug)]
pub(super) struct Queue {
    write: Write,
    waiting: Mutex<Waiting>,
    capacity: usize,
    batch: usize,
    arrived: Notify,
    /// Events that were lost and not yet told of.
    untold: AtomicU64,
    pub(super) meters: Arc<ExporterMeters>,
}

/// Events, written down.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) events: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Full ones, but for the last.
    batches: VecDeque<Batch>,
    events: usize,
    /// The memory of a batch that is gone.
    spare: Vec<u8>,
}

impl Queue {
    pub(super) fn new(
        name: &'static str,
        capacity: usize,
        batch: usize,
        write: Write,
    ) -> Arc<Self> {
        Arc::new(Self {
            write,
            waiting: Mutex::default(),
            capacity,
            batch: batch.min(capacity),
            arrived: Notify::new(),
            untold: AtomicU64::new(0),
            meters: ExporterMeters::new(name),
        })
    }

    /// Takes an event, if there is room.
    pub(super) fn push(&self, event: &Event<'_>) {
        // Before the lock: a value may be anybody's code, and slow.
        let bytes = (self.write)(event);
        let mut waiting = self.lock();
        // What tells of losses has room of its own: it is made when there is none.
        if waiting.events >= self.capacity
            && (waiting.events >= self.capacity + TELLING || !event::tells_of_losses(event))
        {
            drop(waiting);
            self.lose(1);
            return;
        }
        waiting.push(&bytes, self.batch);
        let events = waiting.events;
        self.meters.waiting.set(events);
        drop(waiting);
        if events == 1 || events == self.batch {
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

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lock().events
    }

    /// Takes the oldest events, a batch at most. Empty where there are none.
    pub(super) fn take(&self) -> Batch {
        let mut waiting = self.lock();
        let taken = waiting.batches.pop_front().unwrap_or_default();
        waiting.events -= taken.events;
        self.meters.waiting.set(waiting.events);
        taken
    }

    /// Gives the memory of a batch back.
    pub(super) fn give_back(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        self.lock().spare = bytes;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, bytes: &[u8], most: usize) {
        self.events += 1;
        match self.batches.back_mut() {
            Some(last) if last.events < most => {
                last.bytes.extend_from_slice(bytes);
                last.events += 1;
            }
            Some(_) | None => {
                let mut first = std::mem::take(&mut self.spare);
                first.extend_from_slice(bytes);
                self.batches.push_back(Batch {
                    bytes: first,
                    events: 1,
                });
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::layer::AuditLayer;
    use super::*;

    /// Runs this with the queue in the place of an exporter.
    pub(in super::super) fn heard(queue: &Arc<Queue>, tell: impl FnOnce()) {
        let layer = AuditLayer::of(Arc::from([Arc::clone(queue)]));
        with_default(tracing_subscriber::registry().with(layer), tell);
    }

    fn tell(number: u64) {
        tracing::info!(target: codex_network_gate::AUDIT_TARGET, number);
    }

    #[tokio::test]
    async fn what_has_no_room_is_counted_and_told_once() {
        let queue = Queue::new("file", 2, 8, |_| vec![b'e']);
        heard(&queue, || (0..5).for_each(tell));
        queue.some().await;
        queue.full_batch().await;
        assert_eq!(queue.take().events, 2);
        assert_eq!(queue.meters.dropped.value(), 3);
        assert_eq!(queue.meters.waiting.value(), 0);
        assert_eq!(queue.take_untold(), 3);
        assert!(!queue.has_untold());
    }

    #[test]
    fn what_tells_of_losses_has_room_of_its_own() {
        let queue = Queue::new("file", 1, 1, |_| vec![b'e']);
        heard(&queue, || {
            tell(1);
            codex_network_gate::record_audit_loss("file", 7);
            tell(2);
        });
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.meters.dropped.value(), 1);
    }

    #[test]
    fn events_leave_in_their_order_a_batch_at_a_time() {
        let queue = Queue::new("file", 100, 2, |event| {
            let mut number = Vec::new();
            event.record(
                &mut |_: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                    number = format!("{value:?}").into_bytes();
                },
            );
            number
        });
        heard(&queue, || (1..=5).for_each(tell));
        let mut taken = Vec::new();
        loop {
            let batch = queue.take();
            if batch.events == 0 {
                break;
            }
            taken.push((
                String::from_utf8(batch.bytes.clone()).unwrap(),
                batch.events,
            ));
            queue.give_back(batch.bytes);
        }
        let expected = [("12", 2), ("34", 2), ("5", 1)];
        assert_eq!(
            taken,
            expected.map(|(text, events)| (text.to_owned(), events))
        );
        heard(&queue, || tell(6));
        assert_eq!(queue.take().bytes, b"6");
    }
}
