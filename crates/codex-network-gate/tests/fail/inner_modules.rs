//! The parts of the gate cannot be had apart from it.

use codex_network_gate::evidence::Evidence;
use codex_network_gate::resolve::Lookups;
use codex_network_gate::route::Route;
use codex_network_gate::upstream::race;

fn main() {}
