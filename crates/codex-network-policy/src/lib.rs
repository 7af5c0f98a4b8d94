//! Decides which network accesses are allowed, and can say why.
//!
//! Text becomes a [`Host`], a [`HostPattern`] or a [`SocketPath`] once, at the edge. What a configuration says becomes
//! [`Rules`], and these are compiled into a [`Policy`]. [`Policy::evaluate`] judges one [`AccessRequest`],
//! [`Policy::admit`] judges the addresses that a permitted name resolved to, and [`Trace`] tells which rule decided.
//!
//! Nothing here reads a file, a clock or the environment, opens a socket, or waits: the crate is `no_std`, so that such
//! code does not compile. Enforcing a verdict is the work of `codex-network-gate`.
//!
//! ```
//! use codex_network_policy::{AccessRequest, Host, HostPattern, Origin, Outcome, Policy, Protocol, Rule, Rules, Target};
//!
//! let allowed = Rule { pattern: HostPattern::parse("*.example.com")?, origin: Origin::flag("--allow") };
//! let policy = Policy::compile(Rules { enabled: true, allowed: vec![allowed].into(), ..Rules::default() });
//!
//! let target = Target::Host { host: Host::parse("API.example.com.")?, port: 443 };
//! let request = AccessRequest { protocol: Protocol::HttpsConnect, target: &target, method: Some("CONNECT"), upgrade: false };
//! assert_eq!(policy.evaluate(&request).outcome, Outcome::Allow);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![no_std]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod address;
pub mod constraints;
pub mod explain;
pub mod host;
pub mod pattern;
pub mod policy;
pub mod reason;
pub mod request;
pub mod rules;

pub use address::{AddressClass, AddressRange, Prefix, PrefixError};
pub use constraints::{Candidate, ConstraintError, Constraints, Expansion, HostLimit};
pub use explain::Trace;
pub use host::{Authority, Host, HostError, Literal, Name};
pub use pattern::{HostPattern, PatternError, PatternSet, PatternText, RuleId};
pub use policy::{Outcome, Policy, RuleList, RuleText, Step, Verdict};
pub use reason::{Decision, InventedReason, LookupFailure, Reason, Scope, Source};
pub use request::{AccessRequest, Mode, Protocol, SocketPath, SocketPathError, Target};
pub use rules::{
    EncryptedHello, HostList, HostListIter, Interception, Origin, Rule, Rules, SocketRule,
    SocketRules, TlsRules,
};
