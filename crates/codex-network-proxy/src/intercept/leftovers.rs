//! What clients of HTTP/2 still send after their requests have been refused.
//!
//! [`Leftovers`] takes the bodies that nobody wants, and throws away what comes for a moment. A stream whose body is
//! dropped is reset at once (RFC 9113 section 8.1), and clients that are still sending then lose the answer that they
//! got: curl says `stream error` in place of the refusal. Nothing is kept or looked at.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The bodies that one connection's client still sends. Dropped with it; its streams bound their number, and their
/// windows what is held of them.
#[derive(Debug)]
pub(super) struct Leftovers {
    limit: Duration,
    discarding: Mutex<JoinSet<()>>,
}

impl Leftovers {
    /// What has not come to its end within `limit` is reset after all.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            discarding: Mutex::default(),
        }
    }

    /// Reads a body to its end, and drops it then.
    pub(super) fn discard(&self, mut body: Incoming) {
        if body.is_end_stream() {
            return;
        }
        let limit = self.limit;
        let mut discarding = self
            .discarding
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while discarding.try_join_next().is_some() {}
        discarding.spawn(async move {
            let rest = async { while let Some(Ok(_)) = body.frame().await {} };
            let _ = timeout(limit, rest).await;
        });
    }
}
