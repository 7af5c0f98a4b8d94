//! An explanation is compared with what a live proxy answers on the wire, for many policies, targets and doors.

use std::sync::Arc;

use codex_network_gate::{Access, Explained, Gate, LookUp};
use codex_network_policy::{Host, Policy, Protocol, Reason, Target};
use codex_network_proxy::NetworkProxyConfig;
use codex_network_proxy::config::{LoadedConfig, Overrides, UnixSockets};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::harness::{Answer, CONNECT, Script, Setup, World, address, name};

const PATTERNS: [&str; 9] = [
    "a.test",
    "**.a.test",
    "*.b.test",
    "b.test",
    "absent.test",
    "private.test",
    "localhost",
    "127.0.0.1",
    "10.0.0.1",
];
const HOSTS: [&str; 10] = [
    "a.test",
    "x.a.test",
    "b.test",
    "x.b.test",
    "absent.test",
    "private.test",
    "localhost",
    "127.0.0.1",
    "10.0.0.1",
    "other.test",
];
const DOORS: [(Protocol, Option<&str>); 4] = [
    (Protocol::Http, Some("GET")),
    (Protocol::Http, Some("POST")),
    (Protocol::HttpsConnect, Some("CONNECT")),
    (Protocol::Socks5Tcp, None),
];
/// Names that resolve, all but one to this machine: a policy without `allow_local_binding` refuses them by address.
const NAMES: [(&str, &str); 5] = [
    ("a.test", "127.0.0.1"),
    ("x.a.test", "127.0.0.1"),
    ("b.test", "127.0.0.1"),
    ("x.b.test", "127.0.0.1"),
    ("private.test", "10.0.0.1"),
];
/// A port of this machine that nobody listens on, so that a permitted access fails at once.
const CLOSED: u16 = 9;

fn network() -> impl Strategy<Value = Value> {
    let lists = (subsequence(&PATTERNS, 0..6), subsequence(&PATTERNS, 0..3));
    let switches = (
        prop::bool::weighted(0.9),
        select(&["full", "full", "limited"]),
        any::<bool>(),
    );
    (lists, switches).prop_map(|((allowed, denied), (enabled, mode, local))| {
        json!({
            "enabled": enabled, "mode": mode, "allow_local_binding": local,
            "allowed_domains": allowed, "denied_domains": denied,
        })
    })
}

fn setup(network: &Value) -> Setup {
    let mut setup = Setup::new();
    for (key, value) in network.as_object().unwrap() {
        setup = setup.key(key, value.clone());
    }
    for (name, address) in NAMES {
        setup = setup.name(name, &[address]);
    }
    setup
}

/// A gate of its own for the same policy, as `explain` on the command line makes it.
fn gate(network: &Value) -> Gate {
    let config: NetworkProxyConfig = serde_json::from_value(json!({ "network": network })).unwrap();
    let loaded =
        LoadedConfig::from_config(config, &Overrides::default(), UnixSockets::Unsupported).unwrap();
    let script = Script::default();
    for (name, address) in NAMES {
        script.set(name, Answer::Addresses(vec![address.parse().unwrap()]));
    }
    Gate::builder(Policy::compile(loaded.rules))
        .resolver(Arc::new(script))
        .build()
}

/// What is said on the wire and what is explained, in the same few words.
async fn live(world: &World, door: Protocol, method: Option<&str>, host: &str) -> String {
    let method = method.unwrap_or_default();
    match door {
        Protocol::Http => {
            let answer = world
                .answer(format!("{method} http://{host}:{CLOSED}/ HTTP/1.1\r\n\r\n"))
                .await;
            in_words(&answer)
        }
        Protocol::HttpsConnect => {
            let answer = world
                .answer(format!("CONNECT {host}:{CLOSED} HTTP/1.1\r\n\r\n"))
                .await;
            in_words(&answer)
        }
        _ => {
            let target = match host.parse::<std::net::IpAddr>() {
                Ok(_) => address(host, CLOSED),
                Err(_) => name(host.as_bytes(), CLOSED),
            };
            let (_, reply) = world.socks_request(CONNECT, &target).await;
            match reply {
                2 => "refused".to_owned(),
                4 => "unresolved".to_owned(),
                _ => "permitted".to_owned(),
            }
        }
    }
}

fn in_words(answer: &str) -> String {
    let status = answer.get(9..12).unwrap_or_default();
    match status {
        "502" if answer.contains("could not resolve") => "unresolved",
        "502" => "permitted",
        "403" | "503" => "refused",
        other => other,
    }
    .to_owned()
}

fn explained(answer: &Explained) -> String {
    match answer {
        Explained::Permitted(_) => "permitted",
        Explained::Refused { reason, .. } => match reason {
            Reason::DnsLookupFailed(_) => "unresolved",
            _ => "refused",
        },
        other => panic!("no other answer is possible here: {other:?}"),
    }
    .to_owned()
}

#[tokio::test]
async fn it_agrees_with_live_answers() {
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..24 {
        let mut network = network().new_tree(&mut runner).unwrap().current();
        let gate = gate(&network);
        let enabled = network["enabled"] == true;
        // A proxy that begins disabled listens on nothing.
        network["enabled"] = json!(true);
        let world = setup(&network).start().await;
        for host in HOSTS {
            for (door, method) in DOORS {
                let access = Access {
                    protocol: door,
                    target: Target::Host {
                        host: Host::parse(host).unwrap(),
                        port: CLOSED,
                    },
                    method,
                    upgrade: false,
                    tls: false,
                    client: None,
                };
                let explanation = gate.explain(&access, LookUp::Permitted).await;
                let explained = explained(&explanation.answer);
                let live = if !enabled {
                    "refused".to_owned()
                } else if explained == "permitted" && ["10.0.0.1", "private.test"].contains(&host) {
                    // Nobody answers there, and the test would wait for it.
                    explained.clone()
                } else {
                    live(&world, door, method, host).await
                };
                assert_eq!(explained, live, "{door} {method:?} {host} {network}");
                *seen.entry(explained).or_insert(0) += 1;
            }
        }
    }
    assert!(
        seen.len() == 3 && seen.values().all(|count| *count > 10),
        "{seen:?}"
    );
}
