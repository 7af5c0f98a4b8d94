//! What ten thousand refusals cost, at their longest: the number that `Limits::history` and the documents state.
//!
//! A test binary of its own, for it looks at the memory of the whole process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;

use codex_network_gate::{Access, Gate, Limits};
use codex_network_policy::{Host, Policy, Protocol, Rules, Target};

const REFUSALS: usize = 10_000;
const STATED_MIB: usize = 16;

/// What the process holds in memory, in bytes.
fn resident() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = pages.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}

#[tokio::test]
async fn ten_thousand_refusals_take_at_most_what_is_stated() {
    if resident().is_none() {
        let why =
            "SKIPPED ten_thousand_refusals_take_at_most_what_is_stated: no /proc/self/statm\n";
        std::io::stderr().write_all(why.as_bytes()).unwrap();
        return;
    }
    let rules = Rules {
        enabled: true,
        ..Rules::default()
    };
    let limits = Limits {
        history: REFUSALS,
        ..Limits::default()
    };
    let gate = Gate::builder(Policy::compile(rules)).limits(limits).build();
    let label = "l".repeat(63);
    let longest_name = format!("{label}.{label}.{label}.{}", "l".repeat(61));
    let method = "M".repeat(100);
    let refuse = async |host: &str| {
        let judged = gate.authorize(Access {
            protocol: Protocol::Http,
            target: Target::Host {
                host: Host::parse(host).unwrap(),
                port: 65_535,
            },
            method: Some(&method),
            upgrade: false,
            tls: false,
            client: Some(
                "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
                    .parse()
                    .unwrap(),
            ),
        });
        judged.await.unwrap_err();
    };
    refuse("warm.test").await;
    let before = resident().unwrap();
    for _ in 0..2 * REFUSALS {
        refuse(&longest_name).await;
    }
    let grown = resident().unwrap().saturating_sub(before);
    assert_eq!(gate.history().snapshot().len(), REFUSALS);
    println!("{REFUSALS} refusals: {} KiB", grown / 1_024);
    assert!(grown <= STATED_MIB << 20, "{grown} bytes");
}
