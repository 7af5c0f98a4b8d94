//! Nor does the rest of another permit make one.

use codex_network_gate::Permit;

fn change(permit: Permit) -> Permit {
    Permit { ..permit }
}

fn main() {}
