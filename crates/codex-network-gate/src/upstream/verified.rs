//! Which origins have shown a valid certificate to the proxy itself, and when (`verify_origin`).
//!
//! [`Verified`] remembers what a handshake of our own with a name at an address came to, for a few minutes, and lets
//! everybody who asks at the same time wait for the same handshake. It deliberately dials nothing: the handshake is its
//! caller's.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use codex_network_policy::Host;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::error::UpstreamError;
use crate::fingerprint::Fingerprint;

/// How long a certificate that was valid is taken for it.
const GOOD_FOR: Duration = Duration::from_secs(300);

/// How long a failure stands before the origin is looked at again.
const BAD_FOR: Duration = Duration::from_secs(10);

/// How many origins are remembered.
const KEPT: usize = 4_096;

/// A name as it is sent (or not), and where it is served.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) name: Host,
    pub(super) name_sent: bool,
    /// None behind a parent proxy.
    pub(super) address: Option<SocketAddr>,
    pub(super) port: u16,
}

/// What a handshake came to.
pub(super) type Finding = Result<Fingerprint, Arc<UpstreamError>>;

type Entry = Arc<OnceCell<(Finding, Instant)>>;

/// The origins that were looked at.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<HashMap<Origin, Entry>>);

impl Verified {
    /// What is known of `origin`, or what `look` finds out.
    pub(super) async fn find(
        &self,
        origin: Origin,
        look: impl Future<Output = Result<Fingerprint, UpstreamError>>,
    ) -> Finding {
        let entry = self.entry(origin);
        // Who stops waiting leaves the handshake to the next one.
        let found = entry.get_or_init(async || (look.await.map_err(Arc::new), Instant::now()));
        found.await.0.clone()
    }

    fn entry(&self, origin: Origin) -> Entry {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(&origin).filter(|entry| is_fresh(entry)) {
            return Arc::clone(entry);
        }
        if entries.len() >= KEPT {
            entries.retain(|_, entry| is_fresh(entry));
        }
        let entry = Entry::default();
        // Where they are all fresh the new one is looked at and not remembered.
        if entries.len() < KEPT {
            entries.insert(origin, Arc::clone(&entry));
        }
        entry
    }
}

fn is_fresh(entry: &Entry) -> bool {
    match entry.get() {
        None => true,
        Some((finding, at)) => {
            let good_for = if finding.is_ok() { GOOD_FOR } else { BAD_FOR };
            at.elapsed() < good_for
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::TlsFailure;

    fn origin(port: u16) -> Origin {
        Origin {
            name: Host::parse("example.com").unwrap(),
            name_sent: true,
            address: None,
            port,
        }
    }

    /// Looks unless something is known, and says whether it did.
    async fn looks(verified: &Verified, port: u16, good: bool) -> bool {
        let looked = AtomicUsize::new(0);
        let look = async {
            looked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            if good {
                Ok(Fingerprint::of(b""))
            } else {
                let error = std::io::Error::other("bad");
                Err(UpstreamError::Tls(TlsFailure::Expired, error))
            }
        };
        assert_eq!(verified.find(origin(port), look).await.is_ok(), good);
        looked.load(Ordering::Relaxed) == 1
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_found_stands_for_a_while() {
        let verified = Verified::default();
        assert!(looks(&verified, 1, true).await);
        assert!(looks(&verified, 2, false).await, "each origin by itself");
        assert!(!looks(&verified, 1, true).await);
        assert!(!looks(&verified, 2, false).await);
        tokio::time::advance(BAD_FOR).await;
        assert!(!looks(&verified, 1, true).await);
        assert!(looks(&verified, 2, false).await);
        tokio::time::advance(GOOD_FOR).await;
        assert!(looks(&verified, 1, true).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_together_waits_together() {
        let verified = Verified::default();
        let (one, other) = tokio::join!(looks(&verified, 1, true), looks(&verified, 1, true));
        assert_eq!((one, other), (true, false));
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_leaves_the_handshake_to_the_next() {
        let verified = Verified::default();
        {
            let silent = verified.find(origin(1), std::future::pending());
            let waited = tokio::time::timeout(Duration::from_secs(1), silent).await;
            assert!(waited.is_err());
        }
        assert!(looks(&verified, 1, true).await);
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_an_end_to_what_is_remembered() {
        let verified = Verified::default();
        for port in 0..u16::try_from(KEPT).unwrap() {
            assert!(looks(&verified, port, true).await);
        }
        assert!(looks(&verified, u16::MAX, true).await);
        assert!(looks(&verified, u16::MAX, true).await, "there was no room");
        assert!(!looks(&verified, 0, true).await);
        tokio::time::advance(GOOD_FOR).await;
        assert!(looks(&verified, u16::MAX, true).await);
        assert!(!looks(&verified, u16::MAX, true).await);
    }
}
