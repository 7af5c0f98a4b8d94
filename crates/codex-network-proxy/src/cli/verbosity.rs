//! How much is logged, and how it looks: the flags, and the subscriber that heeds them.

use std::io::IsTerminal as _;

use clap::{ArgAction, Args, ValueEnum};
use tracing_subscriber::EnvFilter;

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
    pub(super) fn start(&self, usual: &str, log: Log) {
        let level = match (self.quiet, self.verbose) {
            (true, _) => "error",
            (false, 0) => usual,
            // Audit events tell the same as the log lines, in more words; they are for machines.
            (false, 1) if self.log_format == LogFormat::Text => "info,codex_otel=off",
            (false, 1) => "info",
            (false, _) => "debug",
        };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
        let log = tracing_subscriber::fmt()
            .with_writer(move || log.clone())
            .with_ansi(std::io::stderr().is_terminal())
            .with_env_filter(filter)
            .with_target(false);
        match self.log_format {
            LogFormat::Text => log.compact().init(),
            LogFormat::Json => log.json().with_target(true).init(),
        }
    }
}
