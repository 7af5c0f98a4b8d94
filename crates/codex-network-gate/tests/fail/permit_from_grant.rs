//! What the gate makes permits from is the gate's own.

use codex_network_gate::Permit;
use codex_network_gate::permit::Grant;

fn forge(grant: Grant) -> Permit {
    Permit::from_grant(grant)
}

fn default() -> Permit {
    Permit::default()
}

fn main() {}
