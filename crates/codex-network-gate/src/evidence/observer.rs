//! Tells an embedding program of each refusal, without letting it hold one up.
//!
//! Main type: [`BlockedRequestObserver`]. Comes in: entries of the history, by a queue that never waits. Goes out: one call
//! after the other, in the order of the history, each a task of its own with a limit of time. An observer that panics
//! or hangs has missed that entry; one that is too slow for its queue misses the newest. It deliberately decides nothing.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::blocked_request::BlockedRequest;

/// How many refusals wait for an observer.
const QUEUED: usize = 1_024;

/// How long an observer may be busy with one refusal.
const LONGEST_CALL: Duration = Duration::from_secs(10);

/// Is told of each refusal, soon after it was recorded.
///
/// Implemented for closures `Fn(BlockedRequest) -> impl Future<Output = ()>` and for `Arc`s. The client's answer does not
/// wait for it. A call may take 10 seconds; 1,024 refusals wait for their turn, and what is more is missed, which the log
/// says. The history is complete either way.
#[async_trait]
pub trait BlockedRequestObserver: Send + Sync + 'static {
    /// Takes notice of one refusal.
    async fn on_blocked_request(&self, request: BlockedRequest);
}

#[async_trait]
impl<O: BlockedRequestObserver + ?Sized> BlockedRequestObserver for Arc<O> {
    async fn on_blocked_request(&self, request: BlockedRequest) {
        (**self).on_blocked_request(request).await;
    }
}

#[async_trait]
impl<F, Fut> BlockedRequestObserver for F
where
    F: Fn(BlockedRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    async fn on_blocked_request(&self, request: BlockedRequest) {
        self(request).await;
    }
}

/// What lies in the queue of an observer.
#[derive(Debug)]
enum Note {
    Refused(BlockedRequest),
    /// Says when everything before it has been told.
    Told(oneshot::Sender<()>),
}

/// The way to one observer.
pub(super) struct Observing {
    queue: mpsc::Sender<Note>,
    /// The other end of the queue, until there is a runtime to empty it in.
    idle: Option<(Arc<dyn BlockedRequestObserver>, mpsc::Receiver<Note>)>,
    missed: u64,
}

impl fmt::Debug for Observing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observing")
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

/// What came of an attempt to tell an observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Queued,
    /// It is the first one for which there was no room.
    BeganToMiss,
    Missed,
    /// There is room again, after so many were missed.
    AfterMissing(u64),
}

impl Observing {
    /// Starts to tell `observer`, in a task of the current runtime, or of the first one in which there is something to
    /// tell. The task ends by itself when nobody can tell it anything any more.
    pub(super) fn start(observer: Arc<dyn BlockedRequestObserver>) -> Self {
        let (queue, notes) = mpsc::channel(QUEUED);
        let mut observing = Self {
            queue,
            idle: Some((observer, notes)),
            missed: 0,
        };
        observing.wake();
        observing
    }

    fn wake(&mut self) {
        let runtime = Handle::try_current();
        if let Ok(runtime) = runtime
            && let Some((observer, notes)) = self.idle.take()
        {
            runtime.spawn(tell(observer, notes));
        }
    }

    /// Queues one entry, or counts it where there is no room. Never waits.
    pub(super) fn tell(&mut self, entry: BlockedRequest) -> Told {
        self.wake();
        match (self.queue.try_send(Note::Refused(entry)), self.missed) {
            (Ok(()), 0) => Told::Queued,
            (Ok(()), missed) => {
                self.missed = 0;
                Told::AfterMissing(missed)
            }
            (Err(_), 0) => {
                self.missed = 1;
                Told::BeganToMiss
            }
            (Err(_), missed) => {
                self.missed = missed.saturating_add(1);
                Told::Missed
            }
        }
    }

    /// Waits until everything that was queued before has been told, at most for `limit`.
    pub(super) fn told(&mut self, limit: Duration) -> impl Future<Output = ()> + use<> {
        self.wake();
        let queue = self.queue.clone();
        async move {
            let (tell, told) = oneshot::channel();
            let all = async {
                if queue.send(Note::Told(tell)).await.is_ok() {
                    // Where the task has gone, there is nothing to wait for.
                    let _ = told.await;
                }
            };
            if timeout(limit, all).await.is_err() {
                tracing::warn!("an observer of refusals did not take notice of all of them");
            }
        }
    }
}

async fn tell(observer: Arc<dyn BlockedRequestObserver>, mut notes: mpsc::Receiver<Note>) {
    while let Some(note) = notes.recv().await {
        match note {
            Note::Refused(entry) => call(&observer, entry).await,
            Note::Told(told) => {
                let _ = told.send(());
            }
        }
    }
}

async fn call(observer: &Arc<dyn BlockedRequestObserver>, entry: BlockedRequest) {
    let observer = Arc::clone(observer);
    // A task of its own, so that a panic in it is no panic here.
    let mut call = Call(tokio::spawn(async move {
        observer.on_blocked_request(entry).await;
    }));
    match timeout(LONGEST_CALL, &mut call.0).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => tracing::warn!("an observer of refusals failed"),
        Err(_) => tracing::warn!(
            limit_seconds = LONGEST_CALL.as_secs(),
            "an observer of refusals took too long; going on without it"
        ),
    }
}

struct Call(JoinHandle<()>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
