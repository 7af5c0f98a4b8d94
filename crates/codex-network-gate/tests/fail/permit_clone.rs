//! A permit is for one access: it cannot be kept aside and used again elsewhere.

use codex_network_gate::Permit;

fn copy(permit: &Permit) -> Permit {
    permit.clone()
}

fn main() {}
