//! Limits on waiting that cost next to nothing as long as they are not reached.
//!
//! [`Deadline`] is moved with every request, the runtime's timer below it only when it fires: a timer that is made and
//! dropped with each request takes the lock of all timers twice. [`HeadTimer`] gives the HTTP library's server the same.
//! Neither says what is to happen at the limit.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A moment that may be moved often.
#[derive(Debug)]
pub(crate) struct Deadline {
    at: Instant,
    /// INVARIANT: ends no later than `at` once it has been polled.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// In `time` from now.
    pub(crate) fn after(time: Duration) -> Self {
        Self {
            at: Instant::now() + time,
            sleep: None,
        }
    }

    /// One of its own at the same moment.
    pub(crate) fn another(&self) -> Self {
        Self {
            at: self.at,
            sleep: None,
        }
    }

    /// Moves it to `time` from now.
    pub(crate) fn postpone(&mut self, time: Duration) {
        self.set(Instant::now() + time);
    }

    fn set(&mut self, at: Instant) {
        self.at = at;
    }

    /// Ready when the moment has come; it stays so until the deadline is moved.
    pub(crate) fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
    }
}

/// The library's timer for one downstream connection, which waits for one head at a time.
#[derive(Clone, Debug)]
pub(crate) struct HeadTimer(Arc<Mutex<Deadline>>);

impl HeadTimer {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Deadline::after(Duration::ZERO))))
    }
}

impl hyper::rt::Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HeadSleep {
            deadline: Arc::clone(&self.0),
            at: deadline.into(),
        })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

/// One wait for a head.
struct HeadSleep {
    deadline: Arc<Mutex<Deadline>>,
    at: Instant,
}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut deadline = self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        deadline.set(self.at);
        deadline.poll_passed(cx)
    }
}

impl hyper::rt::Sleep for HeadSleep {}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use hyper::rt::Timer as _;
    use tokio::time::{Instant, timeout};

    use super::{Deadline, HeadTimer};

    const SECOND: Duration = Duration::from_secs(1);

    async fn passes(deadline: &mut Deadline) -> Duration {
        let began = Instant::now();
        poll_fn(|cx| deadline.poll_passed(cx)).await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn passes_at_its_moment_wherever_it_is_moved() {
        let mut deadline = Deadline::after(10 * SECOND);
        assert_eq!(passes(&mut deadline).await.as_secs(), 10);
        deadline.postpone(5 * SECOND);
        assert_eq!(passes(&mut deadline).await.as_secs(), 5);
        // Later, while the timer below still runs for the earlier moment.
        deadline.postpone(10 * SECOND);
        let early = timeout(4 * SECOND, poll_fn(|cx| deadline.poll_passed(cx))).await;
        assert!(early.is_err());
        deadline.postpone(20 * SECOND);
        assert_eq!(passes(&mut deadline).await.as_secs(), 20);
        // And earlier.
        deadline.postpone(30 * SECOND);
        let early = timeout(SECOND, poll_fn(|cx| deadline.poll_passed(cx))).await;
        assert!(early.is_err());
        deadline.postpone(SECOND);
        assert_eq!(passes(&mut deadline).await.as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_wait_for_a_head_has_a_limit_of_its_own() {
        let timer = HeadTimer::new();
        let first = timeout(3 * SECOND, timer.sleep(10 * SECOND)).await;
        assert!(first.is_err());
        let began = Instant::now();
        timer.sleep(10 * SECOND).await;
        assert_eq!(began.elapsed().as_secs(), 10);
    }
}
