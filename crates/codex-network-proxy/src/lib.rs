//! Placeholder until the first commit of this crate.

pub mod client_env;
pub mod config;
