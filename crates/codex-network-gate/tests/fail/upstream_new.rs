//! Only a gate has an upstream, and only an upstream has connections.

use codex_network_gate::{Connection, Upstream};
use tokio::net::TcpStream;

fn new() {
    let _ = Upstream::new;
}

fn default() -> Upstream {
    Upstream::default()
}

fn copy(upstream: &Upstream) -> Upstream {
    upstream.clone()
}

fn wrap() {
    let _ = Connection::new;
}

fn unwrap(connection: Connection) -> TcpStream {
    connection.into_tcp().unwrap()
}

fn main() {}
