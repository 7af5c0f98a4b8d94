//! Any order of events.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::judgement::HELD_BYTE_LIMIT;
use super::*;

/// What happens next to an association in the property below.
#[derive(Clone, Debug)]
enum Event {
    Client {
        stranger: bool,
        host: u8,
        size: usize,
    },
    Judged {
        host: u8,
        permitted: bool,
    },
    Upstream {
        host: u8,
    },
    Reload {
        stands: bool,
    },
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (prop::bool::weighted(0.1), 0..5_u8, 0..30_000_usize)
            .prop_map(|(stranger, host, size)| Event::Client { stranger, host, size }),
        3 => (0..5_u8, any::<bool>())
            .prop_map(|(host, permitted)| Event::Judged { host, permitted }),
        2 => (0..5_u8).prop_map(|host| Event::Upstream { host }),
        1 => any::<bool>().prop_map(|stands| Event::Reload { stands }),
    ]
}

proptest! {
    /// Whatever happens: only what the current policy has permitted is sent, each datagram at most
    /// once, replies come only from where something was sent, and what waits stays within its
    /// bounds.
    #[test]
    fn nothing_passes_unjudged(events in prop::collection::vec(any_event(), 0..80)) {
        let mut driver = driver();
        let (mut received, mut passed) = (0, 0);
        let mut permitted_at = HashMap::new();
        let mut asked = HashSet::new();
        for event in events {
            match event {
                Event::Client { stranger, host, size } => {
                    received += 1;
                    let from = if stranger { "127.0.0.9:5000" } else { CLIENT };
                    let bytes = datagram(&format!("192.0.2.{host}"), &vec![b'x'; size]);
                    let said = driver.raw(from, &bytes);
                    if said.starts_with("send") {
                        passed += 1;
                        prop_assert_eq!(permitted_at.get(&host), Some(&driver.generation));
                    } else if said.starts_with("judge") {
                        prop_assert!(asked.insert(host));
                        prop_assert_ne!(permitted_at.get(&host), Some(&driver.generation));
                    }
                    prop_assert!(!stranger || said == "dropped NotTheClient");
                }
                Event::Judged { host, permitted } => {
                    let ip = Ipv4Addr::new(192, 0, 2, host);
                    let finding = if permitted {
                        Finding::Permitted(Peers(vec![SocketAddr::from((ip, 53))]))
                    } else {
                        Finding::Refused
                    };
                    let judged = target(&ip.to_string());
                    let (generation, now) = (driver.generation, driver.now);
                    match driver.association.judged(&judged, finding, generation, now) {
                        Judged::Send { payloads, .. } => {
                            prop_assert!(permitted && asked.remove(&host));
                            passed += payloads.len();
                            permitted_at.insert(host, driver.generation);
                        }
                        Judged::JudgeAgain(_) => prop_assert!(asked.contains(&host)),
                        Judged::Nothing => {
                            prop_assert!(!permitted || !asked.contains(&host));
                            if asked.remove(&host) {
                                permitted_at.remove(&host);
                            }
                        }
                    }
                }
                Event::Upstream { host } => {
                    let passes = driver.upstream(&format!("192.0.2.{host}:53")).is_some();
                    prop_assert_eq!(passes, permitted_at.contains_key(&host));
                }
                Event::Reload { stands } => {
                    driver.generation += 1;
                    driver.association.policy_changed(driver.generation, |_, _| stands);
                    if !stands {
                        permitted_at.clear();
                    }
                }
            }
            let association = &driver.association;
            let held = association.targets.values().flat_map(|known| match &known.judgement {
                Judgement::UnderWay { held, .. } => held.as_slice(),
                Judgement::Ended { .. } => &[],
            });
            let bytes: usize = held.map(|payload| payload.len()).sum();
            prop_assert_eq!(association.waiting.bytes, bytes);
            prop_assert!(association.waiting.bytes <= HELD_BYTE_LIMIT);
            prop_assert_eq!(association.waiting.judgements, asked.len());
            prop_assert!(passed <= received);
        }
    }
}
