//! The beginning of the end: how what serves learns that the proxy drains.
//!
//! [`began`] waits for it, [`unless_begun`] beside work that is polled often. What is to be done then is up to whoever waits.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};

use tokio::sync::watch;

/// Returns when draining began, or when nobody is left to say so.
pub(crate) async fn began(draining: &mut watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

/// Runs `work` until it has come to its end, or draining begins (`None`).
///
/// To wait for a word is dear beside a request, so it is asked for once: the task is woken by it, and looks then whether it
/// was that. INVARIANT: polled by one task from beginning to end.
pub(crate) async fn unless_begun<F: Future>(
    mut work: Pin<&mut F>,
    draining: &mut watch::Receiver<bool>,
) -> Option<F::Output> {
    let news = draining.clone();
    let mut began = pin!(began(draining));
    let mut waits = false;
    poll_fn(|cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if waits && !news.has_changed().unwrap_or(true) {
            return Poll::Pending;
        }
        waits = true;
        ready!(began.as_mut().poll(cx));
        Poll::Ready(None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::sync::{oneshot, watch};

    use super::unless_begun;

    #[tokio::test]
    async fn ends_with_the_work_or_with_the_word() {
        let (drain, mut draining) = watch::channel(false);
        let done = unless_begun(pin!(async { 1 }), &mut draining).await;
        assert_eq!(done, Some(1));

        let (polled, was_polled) = oneshot::channel();
        let waiting = tokio::spawn(async move {
            let work = async {
                let _ = polled.send(());
                std::future::pending::<()>().await;
            };
            unless_begun(pin!(work), &mut draining).await
        });
        was_polled.await.expect("the work is polled");
        drain.send_replace(true);
        assert_eq!(waiting.await.expect("no panic"), None);
    }

    #[tokio::test]
    async fn a_word_said_before_is_heard_at_once() {
        let (drain, mut draining) = watch::channel(false);
        drain.send_replace(true);
        let work = pin!(std::future::pending::<()>());
        assert_eq!(unless_begun(work, &mut draining).await, None);
        // Nobody is left to say it: the proxy is gone.
        let (drain, mut draining) = watch::channel(false);
        drop(drain);
        let work = pin!(std::future::pending::<()>());
        assert_eq!(unless_begun(work, &mut draining).await, None);
    }
}
