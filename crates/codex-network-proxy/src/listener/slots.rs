//! How many connections, and how many associations, are served at once: in all, and for one client.
//!
//! Main type: [`Slots`]. Those of connections are shared by all listeners of a proxy. A listener waits for a free slot before
//! it accepts, so that what cannot be served waits in the system's queue and costs us nothing; a client that has its share
//! already is closed as soon as it is accepted, so that it costs one `accept` and leaves the others their slots. Programs of
//! this machine share the loopback address and cannot be told apart, so they have no share. Nothing is known here of what
//! is spoken.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How often the log tells of a limit that is reached again and again.
const PAUSE: Duration = Duration::from_secs(60);

/// The slots of one proxy for one kind of thing.
#[derive(Debug)]
pub(crate) struct Slots {
    /// What takes a slot, as the log calls it.
    what: &'static str,
    all: Arc<Semaphore>,
    limit: usize,
    limit_per_client: usize,
    /// How many each client has. Clients without any are not in it.
    taken: Mutex<HashMap<IpAddr, usize>>,
    full: Notice,
    closed: Notice,
}

/// A slot that nobody has yet.
#[derive(Debug)]
pub(crate) struct Free {
    slot: OwnedSemaphorePermit,
}

/// A slot for one connection. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    client: Option<IpAddr>,
    _slot: OwnedSemaphorePermit,
}

impl Slots {
    pub(crate) fn new(what: &'static str, limit: usize, limit_per_client: usize) -> Arc<Self> {
        Arc::new(Self {
            what,
            all: Arc::new(Semaphore::new(limit)),
            limit,
            limit_per_client,
            taken: Mutex::default(),
            full: Notice::default(),
            closed: Notice::default(),
        })
    }

    /// Waits for a slot.
    ///
    /// # Errors
    /// Never, as long as nobody closes the semaphore.
    pub(crate) async fn free(&self) -> io::Result<Free> {
        if let Some(free) = self.free_now() {
            return Ok(free);
        }
        let slot = Arc::clone(&self.all).acquire_owned().await;
        slot.map(|slot| Free { slot }).map_err(io::Error::other)
    }

    /// A slot, where there is one.
    pub(crate) fn free_now(&self) -> Option<Free> {
        if let Ok(slot) = Arc::clone(&self.all).try_acquire_owned() {
            return Some(Free { slot });
        }
        if let Some(times) = self.full.due() {
            tracing::warn!(
                what = self.what,
                limit = self.limit,
                times,
                "as many as may be are open; others wait or are refused until one ends"
            );
        }
        None
    }

    /// Gives a slot to a client that has not got its share yet.
    pub(crate) fn give(self: &Arc<Self>, free: Free, client: IpAddr) -> Option<Slot> {
        let client = share_of(client);
        if let Some(client) = client {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let count = taken.entry(client).or_default();
            if *count >= self.limit_per_client {
                drop(taken);
                if let Some(times) = self.closed.due() {
                    tracing::warn!(
                        what = self.what,
                        %client,
                        limit = self.limit_per_client,
                        times,
                        "a client has as many open as one may have; what it opens beyond is closed"
                    );
                }
                return None;
            }
            *count += 1;
        }
        Some(Slot {
            slots: Arc::clone(self),
            client,
            _slot: free.slot,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let taken = self.slots.taken.lock();
        let mut taken = taken.unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&client);
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or the network of an IPv6 address, for whoever has one has all of it.
fn share_of(client: IpAddr) -> Option<IpAddr> {
    match client.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V4(address) => Some(IpAddr::V4(address)),
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            Some(IpAddr::V6(Ipv6Addr::from_bits(network)))
        }
    }
}

/// Counts how often something happens, and lets it be told now and then.
#[derive(Debug, Default)]
struct Notice {
    times: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl Notice {
    /// How often it has happened, this time included, where it is time to tell.
    fn due(&self) -> Option<u64> {
        let times = self.times.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = told.is_none_or(|told| now.duration_since(told) >= PAUSE);
        due.then(|| {
            *told = Some(now);
            times
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(connections: usize, connections_per_client: usize) -> Arc<Slots> {
        Slots::new("connections", connections, connections_per_client)
    }

    async fn ask(slots: &Arc<Slots>, client: &str) -> Option<Slot> {
        let free = slots.free().await.unwrap();
        slots.give(free, client.parse().unwrap())
    }

    #[tokio::test]
    async fn a_client_gets_its_share_and_the_others_theirs() {
        let slots = slots(100, 2);
        let first = ask(&slots, "192.0.2.1").await;
        let second = ask(&slots, "::ffff:192.0.2.1").await;
        assert!(first.is_some() && second.is_some());
        assert!(ask(&slots, "192.0.2.1").await.is_none());
        assert!(ask(&slots, "192.0.2.2").await.is_some());
        // What it gives back it can have again, and nothing is remembered of whoever has left.
        drop(first);
        let third = ask(&slots, "192.0.2.1").await;
        assert!(third.is_some());
        drop((second, third));
        assert!(slots.taken.lock().unwrap().is_empty());
        assert_eq!(slots.all.available_permits(), 100);
    }

    #[tokio::test]
    async fn a_whole_network_of_ipv6_is_one_client() {
        let slots = slots(100, 1);
        let _one = ask(&slots, "2001:db8:1:2::1").await.unwrap();
        assert!(ask(&slots, "2001:db8:1:2:ffff::7").await.is_none());
        assert!(ask(&slots, "2001:db8:1:3::1").await.is_some());
    }

    #[tokio::test]
    async fn the_programs_of_this_machine_share_all_slots() {
        let slots = slots(3, 1);
        let mut held = Vec::new();
        for client in ["127.0.0.1", "127.0.0.1", "::1"] {
            held.push(ask(&slots, client).await.unwrap());
        }
        assert_eq!(slots.all.available_permits(), 0);
        assert!(slots.free_now().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_told_once_a_minute() {
        let notice = Notice::default();
        assert_eq!(notice.due(), Some(1));
        assert_eq!(notice.due(), None);
        tokio::time::advance(PAUSE).await;
        assert_eq!(notice.due(), Some(3));
    }
}
