//! A denial that is shown is one that was recorded, so only the gate makes one.

use codex_network_gate::{Access, Denial};
use codex_network_policy::{Decision, Protocol, Reason, Source};

fn literal() -> Denial {
    Denial {
        reason: Reason::Denied,
        decision: Decision::Deny,
        source: Source::BaselinePolicy,
        protocol: Protocol::Http,
        host: String::new(),
        port: 80,
    }
}

fn new(access: &Access<'_>) -> Denial {
    Denial::new(Reason::Denied, Decision::Deny, Source::BaselinePolicy, access, None)
}

fn change(denial: &mut Denial) {
    denial.reason = Reason::NotAllowed;
}

fn main() {}
