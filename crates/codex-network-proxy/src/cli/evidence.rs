//! Where the evidence of a proxy goes, besides its log: flags that `serve` and `run` share.
//!
//! Main type: [`EvidenceArguments`]. Goes out: a builder that knows of it. What is counted and recorded is not decided here.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use codex_network_proxy::{BearerToken, MetricsEndpoint, NetworkProxyBuilder};

use super::failure::Failure;
use super::log::Log;

/// Where metrics are served.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Evidence")]
pub(super) struct EvidenceArguments {
    /// Serve metrics on this unix socket, for its owner alone
    #[arg(long, value_name = "PATH")]
    metrics_socket: Option<PathBuf>,

    /// Serve metrics at this address, for who shows the token
    #[arg(long, value_name = "IP:PORT", requires = "metrics_token")]
    metrics_addr: Option<SocketAddr>,

    /// Answer `/healthz` and `/readyz` at this address, and nothing else, to whoever asks
    #[arg(long, value_name = "IP:PORT")]
    probe_addr: Option<SocketAddr>,

    /// The file that holds the token, one word of 16 characters or more
    #[arg(long, value_name = "FILE", requires = "metrics_addr")]
    metrics_token: Option<PathBuf>,
}

impl EvidenceArguments {
    /// The files that are read, and the directories in which some are made, for a process that gives up all others.
    #[cfg(target_os = "linux")]
    pub(super) fn paths(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let made = self.metrics_socket.iter().filter_map(|path| {
            let path = std::path::absolute(path).ok()?;
            Some(path.parent()?.to_owned())
        });
        (self.metrics_token.iter().cloned().collect(), made.collect())
    }

    /// Adds what the flags ask for.
    pub(super) fn apply(
        &self,
        mut builder: NetworkProxyBuilder,
        log: &Log,
    ) -> Result<NetworkProxyBuilder, Failure> {
        if let Some(path) = &self.metrics_socket {
            builder = builder.metrics_endpoint(MetricsEndpoint::UnixSocket(path.clone()));
        }
        if let Some(address) = self.probe_addr {
            builder = builder.metrics_endpoint(MetricsEndpoint::Probes(address));
        }
        if let (Some(address), Some(file)) = (self.metrics_addr, &self.metrics_token) {
            let token = BearerToken::from_file(file).map_err(|error| {
                let file = file.display();
                Failure::Usage(format!("the token in `{file}` cannot be used: {error}"))
            })?;
            if !address.ip().is_loopback() {
                log.say(&format!(
                    "metrics are served at {address}, where other machines may reach them; the token is sent unencrypted"
                ));
            }
            builder = builder.metrics_endpoint(MetricsEndpoint::Address(address, token));
        }
        Ok(builder)
    }
}
