//! How much is logged, and how it looks: the flags, and the subscriber that heeds them.

use std::io::IsTerminal as _;

use clap::{ArgAction, Args, ValueEnum};
use codex_network_proxy::Exports;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::log::Log;

/// The flags of commands that serve.
#[derive(Debug, Args)]
pub(super) struct Verbosity {
    /// Say more: once for every access, twice for debugging
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// Say nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub(super) quiet: bool,

    /// How log lines on stderr look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Verbosity {
    /// Logs go to stderr, by default from `usual` on. `RUST_LOG` overrides `-v` and `-q`.
    /// Audit events go to `exports` whatever the log is told.
    pub(super) fn start(&self, usual: &str, log: Log, exports: &Exports) {
        let level = match (self.quiet, self.verbose) {
            (true, _) => "error",
            (false, 0) => usual,
            // Audit events tell the same as the log lines, in more words; they are for machines.
            (false, 1) if self.log_format == LogFormat::Text => "info,codex_otel=off",
            (false, 1) => "info",
            (false, _) => "debug",
        };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(move || log.clone())
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false);
        let subscriber = tracing_subscriber::registry().with(exports.layer());
        match self.log_format {
            LogFormat::Text => subscriber.with(lines.compact().with_filter(filter)).init(),
            LogFormat::Json => {
                let lines = lines.json().with_target(true);
                subscriber.with(lines.with_filter(filter)).init();
            }
        }
    }
}
