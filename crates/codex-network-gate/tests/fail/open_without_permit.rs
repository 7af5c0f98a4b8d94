//! Nothing but a permit opens anything.

use std::net::SocketAddr;

use codex_network_gate::{Datagrams, Upstream};
use codex_network_policy::Target;

async fn open_target(upstream: &Upstream, target: &Target) {
    let _ = upstream.open(target).await;
}

async fn open_address(upstream: &Upstream, address: SocketAddr) {
    let _ = upstream.dial(&[address]).await;
}

async fn send_datagram(datagrams: &Datagrams, address: SocketAddr) {
    let _ = datagrams.send(&address, b"").await;
}

async fn send_from_socket(datagrams: &Datagrams, address: SocketAddr) {
    let _ = datagrams.ipv4.as_ref().unwrap().send_to(b"", address).await;
}

fn main() {}
