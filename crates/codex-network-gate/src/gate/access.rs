//! What a door brings to the gate.

use std::net::SocketAddr;

use codex_network_policy::{AccessRequest, Protocol, Target};

use crate::evidence::Facts;

/// An access as a door brings it to the gate.
#[derive(Debug)]
pub struct Access<'a> {
    /// The door.
    pub protocol: Protocol,
    /// What is to be reached.
    pub target: Target,
    /// The HTTP method; `None` for SOCKS5.
    pub method: Option<&'a str>,
    /// Whether the client asks to leave HTTP on this connection (`Upgrade`).
    pub upgrade: bool,
    /// Whether the proxy itself is to speak TLS with the origin (an `https://` request to the forward proxy).
    pub tls: bool,
    /// The client, for the evidence.
    pub client: Option<SocketAddr>,
}

impl Access<'_> {
    pub(super) fn request(&self) -> AccessRequest<'_> {
        AccessRequest {
            protocol: self.protocol,
            target: &self.target,
            method: self.method,
            upgrade: self.upgrade,
        }
    }

    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            protocol: self.protocol,
            target: &self.target,
            method: self.method,
            client: self.client,
            server_name: None,
        }
    }
}
