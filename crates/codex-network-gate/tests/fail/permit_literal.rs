//! A permit has private fields, so no literal makes one.

use codex_network_gate::Permit;
use codex_network_policy::{Protocol, Target};

fn forge(target: Target) -> Permit {
    Permit { protocol: Protocol::Http, target }
}

fn main() {}
