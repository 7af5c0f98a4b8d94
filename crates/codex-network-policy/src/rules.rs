//! What a configuration says, parsed.
//!
//! [`Rules`] is the main type: the switches, the two host lists and the unix sockets, every entry with its [`Origin`],
//! so that a refusal can name the line that decided. `Policy::compile` takes it in.
//!
//! Reading files and merging layers happens elsewhere; everything here is already free of syntax errors.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::request::{Mode, SocketPath};

mod list;
mod origin;
mod origins;

pub use list::{HostList, HostListIter, Rule};
pub use origin::Origin;

/// All that one generation of the policy is made from. The default is disabled and allows nothing.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Whether anything is let through at all.
    pub enabled: bool,
    /// How much of HTTP is let through.
    pub mode: Mode,
    /// Whether local, private and other non-public addresses are treated like public ones.
    pub allow_local_binding: bool,
    /// Whether the allowlist is final: what it does not name is refused, and no decider is asked or heeded.
    pub pinned: bool,
    /// Whether no parent proxy is used, though the environment names one.
    pub direct_only: bool,
    /// The hosts that may be reached. An empty list allows nothing.
    pub allowed: HostList,
    /// The hosts that may not be reached, whatever else is said.
    pub denied: HostList,
    /// The unix sockets that may be reached.
    pub sockets: SocketRules,
    /// What is done about the TLS inside of tunnels.
    pub tls: TlsRules,
    /// Whether everything is refused while no audit log can be written.
    pub requires_audit_log: bool,
    /// Whether a refused client is told no more than the reason: not the rule, and not what would permit the access.
    pub hides_details: bool,
}

/// What is said about TLS inside of tunnels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsRules {
    /// Which tunnels are opened.
    pub interception: Interception,
    /// What a hello with an encrypted part means.
    pub encrypted_hello: EncryptedHello,
    /// Whether a tunnel's bytes wait until the origin has shown a certificate for the name to the proxy itself.
    pub verify_origin: bool,
}

/// Which tunnels the proxy opens, to judge the requests inside of their TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interception {
    /// None: there is no authority to sign for them. The limited mode refuses tunnels.
    #[default]
    Unavailable,
    /// Those of the limited mode.
    WhenLimited,
    /// All that come by CONNECT, in every mode.
    Always,
}

/// What a ClientHello with an encrypted part (ECH, RFC 9849) means, whose real server name nobody between client and
/// origin can read. The outer name is compared either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncryptedHello {
    /// It passes: browsers send a random one with every connection, so that the real ones do not stand out.
    #[default]
    Allow,
    /// It is refused.
    Deny,
}

/// What is said about unix sockets.
#[derive(Clone, Debug, Default)]
pub struct SocketRules {
    /// Whether the platform has the unix door at all. A switch and no `cfg`, so that every platform tests the door.
    pub supported: bool,
    /// Whether every absolute path may be reached.
    pub allow_all: bool,
    /// The paths that may be reached.
    pub allowed: Vec<SocketRule>,
}

/// One entry of the list of unix sockets.
#[derive(Clone, Debug)]
pub struct SocketRule {
    /// The path as it is written, normalised.
    pub path: SocketPath,
    /// Where it is written.
    pub origin: Origin,
}
