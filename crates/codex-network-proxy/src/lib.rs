//! A local proxy that enforces a network policy on the programs that go through it.
//!
//! It listens for HTTP (forward requests and CONNECT) and SOCKS5, has every access judged by the
//! [gate](codex_network_gate), forwards what is permitted to exactly the addresses that were judged, and refuses
//! the rest with an answer that says why.
//!
//! ```
//! use codex_network_proxy::{NetworkDecision, NetworkPolicyRequest, NetworkProxy};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = codex_network_proxy::NetworkProxyConfig::default();
//! let proxy = NetworkProxy::builder()
//! #   .config(config)
//!     .http_addr("127.0.0.1:0".parse()?)
//!     .socks_addr("127.0.0.1:0".parse()?)
//!     .policy_decider(|request: NetworkPolicyRequest| async move {
//!         if request.host.ends_with(".example.com") {
//!             NetworkDecision::Allow
//!         } else {
//!             NetworkDecision::Deny { reason: "not_allowed".to_owned() }
//!         }
//!     })
//!     .build()
//!     .await?;
//! let handle = proxy.run().await?;
//! // ... point programs at proxy.http_addr() ...
//! handle.shutdown().await?;
//! # Ok(()) }
//! ```

#[cfg(feature = "cli")]
mod args;
pub mod authority;
pub mod client_env;
pub mod config;
mod deadline;
mod drain;
mod error;
mod exchange;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod hello;
mod in_force;
mod intercept;
mod listener;
mod meters;
pub mod metrics;
mod patience;
mod proxy;
mod relay;
mod reload;
mod shared;
mod spelling;
mod tunnel;
mod watch;

#[cfg(feature = "cli")]
pub use args::Args;
pub use authority::{AuthorityError, AuthorityFiles, CertificateAuthority};
pub use client_env::{
    ALL_PROXY_ENV_KEYS, ALLOW_LOCAL_BINDING_ENV_KEY, DEFAULT_NO_PROXY_VALUE, NO_PROXY_ENV_KEYS,
    PROXY_URL_ENV_KEYS, has_proxy_url_env_vars, proxy_url_env_value,
};
pub use codex_network_gate::{
    BlockedRequest, BlockedRequestArgs, BlockedRequestObserver, Limits, NetworkDecision,
    NetworkDecisionSource, NetworkPolicyDecider, NetworkPolicyDecision, NetworkPolicyRequest,
    NetworkPolicyRequestArgs, NetworkProtocol, NetworkProxyAuditMetadata, ParentProxies, Resolver,
    TrustRoots,
};
pub use config::{
    NetworkMode, NetworkProxyConfig, NetworkProxyConstraintError, NetworkProxyConstraints,
    NetworkProxySettings, PartialNetworkConfig, PartialNetworkProxyConfig,
    validate_policy_against_constraints,
};
pub use error::{Error, ErrorKind};
pub use in_force::PolicyStatus;
pub use metrics::{BearerToken, Metrics, MetricsEndpoint};
pub use proxy::builder::NetworkProxyBuilder;
pub use proxy::{NetworkProxy, NetworkProxyHandle};
pub use shared::{ConfigReloader, ConfigState, NetworkProxyState, build_config_state};
pub use spelling::{host_and_port_from_network_addr, normalize_host};

/// The README's example compiles as it is printed.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// And so do those of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
struct Guide;
