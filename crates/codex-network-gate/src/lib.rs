//! Enforces a [`codex_network_policy`]: judges every access, pins what was judged into a [`Permit`], leaves
//! the evidence, and opens what a permit names. The only crate of the proxy that opens outgoing sockets.
//!
//! An access goes to [`Gate::authorize`] and comes back as a [`Permit`] or a [`Denial`]. [`Upstream::open`]
//! takes a permit and nothing less. Listeners, HTTP, SOCKS5, configuration files and command lines are
//! deliberately elsewhere: a program with a proxy of its own can use the gate alone.
//!
//! ```
//! use codex_network_gate::{Access, Gate};
//! use codex_network_policy::{Host, Policy, Protocol, Rules, Target};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let gate = Gate::builder(Policy::compile(Rules { enabled: true, ..Rules::default() })).build();
//! let denial = gate
//!     .authorize(Access {
//!         protocol: Protocol::HttpsConnect,
//!         target: Target::Host { host: Host::parse("example.com")?, port: 443 },
//!         method: Some("CONNECT"),
//!         upgrade: false,
//!         tls: false,
//!         client: None,
//!     })
//!     .await
//!     .unwrap_err();
//! assert_eq!(denial.reason().as_str(), "not_allowed");
//! # Ok(()) }
//! ```

#![warn(missing_docs)]

mod builder;
mod decider;
mod error;
mod evidence;
mod fingerprint;
mod gate;
mod limits;
mod listeners;
mod meter;
mod permit;
mod resolve;
mod roots;
mod route;
#[cfg(target_os = "linux")]
mod splice;
mod store;
mod upstream;

pub use builder::GateBuilder;
pub use decider::{
    NetworkDecision, NetworkDecisionSource, NetworkPolicyDecider, NetworkPolicyDecision,
    NetworkPolicyRequest, NetworkPolicyRequestArgs, NetworkProtocol,
};
pub use error::{TlsFailure, UpstreamError, chain};
pub use evidence::{
    AUDIT_TARGET, AuditLogHealth, BlockedRequest, BlockedRequestArgs, BlockedRequestObserver,
    History, NetworkProxyAuditMetadata, record_audit_loss,
};
pub use fingerprint::Fingerprint;
pub use gate::{
    Access, Breach, ClientHello, Denial, Explained, Explanation, Gate, HelloName, Help,
    InnerRequest, LookUp, Proof,
};
pub use limits::Limits;
pub use meter::{
    BOUNDS, Counter, DOORS, Decisions, GateMeters, Gauge, Held, Histogram, Observed, Outcomes,
    Traffic,
};
pub use permit::Permit;
pub use resolve::{Resolver, SystemResolver};
pub use roots::TrustRoots;
pub use route::ParentProxies;
#[cfg(target_os = "linux")]
pub use splice::{Pipe, Socket};
pub use store::{PolicyStore, Snapshot};
pub use upstream::{Collector, Connection, Datagrams, HttpOffer, Upstream};
