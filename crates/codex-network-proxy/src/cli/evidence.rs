//! Where the evidence of a proxy goes, besides its log: flags that `serve` and `run` share.
//!
//! Main type: [`EvidenceArguments`]. Goes out: a builder that knows of it. What is counted and recorded is not decided here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use codex_network_proxy::{
    BearerToken, Exports, MetricsEndpoint, NetworkProxyBuilder, OtlpSettings,
};

use super::failure::Failure;
use super::log::Log;

/// How long the last events may take at the end.
const LAST_EVENTS: Duration = Duration::from_secs(3);

/// Where audit events and metrics go.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Evidence")]
pub(super) struct EvidenceArguments {
    /// Append every audit event to this file, a JSON object a line
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,

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
        let made = self.metrics_socket.iter().chain(&self.audit_log);
        let made = made.filter_map(|path| {
            let path = std::path::absolute(path).ok()?;
            Some(path.parent()?.to_owned())
        });
        (self.metrics_token.iter().cloned().collect(), made.collect())
    }

    /// Starts what exports evidence: to the file, and to the collector that the standard variables of OpenTelemetry name.
    #[expect(
        clippy::disallowed_methods,
        reason = "the command line is where the environment is read"
    )]
    pub(super) fn start(&self) -> Result<Arc<Exports>, Failure> {
        let mut exports = Exports::builder();
        if let Some(path) = &self.audit_log {
            exports = exports.audit_log(path);
        }
        let settings = OtlpSettings::from_variables(|name| std::env::var(name).ok());
        if let Some(settings) = settings.map_err(|error| Failure::Usage(error.to_string()))? {
            exports = exports.otlp(settings);
        }
        exports.start().map_err(|error| {
            Failure::Usage(match &self.audit_log {
                Some(path) => {
                    format!("cannot write the audit log `{}`: {error}", path.display())
                }
                None => format!("cannot start the exporters: {error}"),
            })
        })
    }

    /// Lets what is on its way arrive.
    pub(super) fn finish(exports: &Exports) {
        exports.finish(LAST_EVENTS);
    }

    /// Adds what the flags ask for.
    pub(super) fn apply(
        &self,
        builder: NetworkProxyBuilder,
        exports: &Arc<Exports>,
        log: &Log,
    ) -> Result<NetworkProxyBuilder, Failure> {
        let mut builder = builder.exports(exports);
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
