//! The proxy through its public names and real sockets: bytes in, bytes out, and the evidence that is left.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "tests are the clients and the origins, and fail by panicking"
)]

mod audit_events;
mod cli;
mod embed;
mod evidence;
mod explain;
mod harness;
mod http;
mod intercept;
mod load;
mod metrics;
mod names;
mod parity;
mod refusals;
mod regressions;
mod reload;
mod soak;
mod socks;
mod tunnels;
