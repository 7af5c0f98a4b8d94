//! Neither the target of a permit nor its way there can be changed.

use codex_network_gate::Permit;
use codex_network_policy::Target;

fn by_field(mut permit: Permit, target: Target) {
    permit.target = target;
}

fn by_reference(permit: Permit, target: Target) {
    *permit.target() = target;
}

fn by_route(mut permit: Permit) {
    permit.route = permit.route().clone();
}

fn main() {}
