//! The command line: its arguments, its log, its exit codes.
//!
//! Without a subcommand it serves, see [`serve`]; [`ca`] is about the certificate authority. Exit codes: 0 after a clean end, 1 for a failure such as a taken
//! port, 2 for a command line or a configuration that cannot be used.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use codex_network_proxy::NetworkMode;
use codex_network_proxy::config::Overrides;
use tracing_subscriber::EnvFilter;

mod ca;
mod failure;
mod log;
mod serve;
mod shell;

use failure::Failure;
use log::Log;

const EXAMPLES: &str = "\
Examples:
  codex-network-proxy --allow example.com --allow '*.example.org'
      Permit these hosts and nothing else, whatever the configuration says besides.
  codex-network-proxy
      Do what $CODEX_HOME/config.toml says (by default ~/.codex/config.toml).
  codex-network-proxy --profile ci --mode limited
      Take [permissions.ci.network], and permit only GET, HEAD and OPTIONS.
  codex-network-proxy ca trust
      Show how clients come to trust the certificates of intercepted connections.
  curl -x http://127.0.0.1:3128 http://example.com/
  curl -x socks5h://127.0.0.1:8081 https://example.com/
      Send a request through it.

Patterns: example.com (that host), *.example.com (everything below it), **.example.com (both).
A denied host stays denied, whatever allows it. Local and private addresses need an entry of their own.";

/// Codex network sandbox proxy: lets programs reach the hosts that a policy permits, and nothing else.
#[derive(Debug, Parser)]
#[command(
    name = "codex-network-proxy",
    version,
    about,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    styles = Styles::styled().header(AnsiColor::Green.on_default().bold()).literal(AnsiColor::Cyan.on_default()),
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: ServeArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ca(ca::Arguments),
}

/// What to do without a subcommand.
#[derive(Debug, Args)]
struct ServeArguments {
    /// Read this file instead of $CODEX_HOME/config.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Set a key above all files, such as permissions.web.network.mode=limited; may be repeated
    #[arg(short = 'c', value_name = "KEY=VALUE")]
    settings: Vec<String>,

    /// Take [permissions.NAME.network] instead of what `default_permissions` names
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,

    /// Permit this host or pattern as well; may be repeated
    #[arg(long, value_name = "PATTERN")]
    allow: Vec<String>,

    /// Refuse this host or pattern, whatever permits it; may be repeated
    #[arg(long, value_name = "PATTERN")]
    deny: Vec<String>,

    /// `full` forwards everything that is permitted, `limited` only GET, HEAD and OPTIONS over HTTP
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,

    /// Listen here for HTTP instead of what `proxy_url` says [default: 127.0.0.1:3128]
    #[arg(long, value_name = "IP:PORT")]
    http_addr: Option<SocketAddr>,

    /// Listen here for SOCKS5 instead of what `socks_url` says [default: 127.0.0.1:8081]
    #[arg(long, value_name = "IP:PORT")]
    socks_addr: Option<SocketAddr>,

    /// Say more: once for every access, twice for debugging
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// Say nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,

    /// How log lines on stderr look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Full,
    Limited,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Parses the command line and runs it.
pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.command {
        Some(Command::Ca(arguments)) => ca::run(&arguments),
        None => run_serve(arguments.serve),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            complain(&message);
            ExitCode::from(2)
        }
        Err(Failure::Other(error)) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run_serve(arguments: ServeArguments) -> Result<(), Failure> {
    let log = Log::start().context("could not start the log")?;
    start_log(&arguments, log.clone());
    let quiet = arguments.quiet;
    let overrides = Overrides {
        config_file: arguments.config,
        settings: arguments.settings,
        profile: arguments.profile,
        allow: arguments.allow,
        deny: arguments.deny,
        mode: arguments.mode.map(|mode| match mode {
            Mode::Full => NetworkMode::Full,
            Mode::Limited => NetworkMode::Limited,
        }),
        http_addr: arguments.http_addr,
        socks_addr: arguments.socks_addr,
        ..Overrides::default()
    };
    let ended = serve::run(&overrides, quiet, &log);
    log.flush_for_exit();
    ended
}

/// Writes an error to stderr, in red where that is a terminal.
fn complain(message: &str) {
    let style = AnsiColor::Red.on_default().bold();
    let _ = writeln!(anstream::stderr(), "{style}error{style:#}: {message}");
}

/// Logs go to stderr: refusals and warnings by default. `RUST_LOG` overrides `-v` and `-q`.
fn start_log(arguments: &ServeArguments, log: Log) {
    let level = match (arguments.quiet, arguments.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        // Audit events tell the same as the log lines, in more words; they are for machines.
        (false, 1) if arguments.log_format == LogFormat::Text => "info,codex_otel=off",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt()
        .with_writer(move || log.clone())
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter)
        .with_target(false);
    match arguments.log_format {
        LogFormat::Text => log.compact().init(),
        LogFormat::Json => log.json().with_target(true).init(),
    }
}
