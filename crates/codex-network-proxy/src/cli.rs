//! The command line: its arguments, its commands, its exit codes.
//!
//! Without a subcommand it serves, see [`serve`]; every subcommand is a file below. Exit codes: 0 after a clean end, 1 for
//! a failure such as a taken port, or for "no", 2 for a command line or a configuration that cannot be used; `run` ends
//! with the code of its command.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use codex_network_proxy::config::{Environment, Overrides, UnixSockets};

mod arguments;
mod ca;
mod check;
mod describe;
mod documents;
mod env;
mod evidence;
mod explain;
mod failure;
#[cfg(target_os = "linux")]
mod hardening;
#[cfg(unix)]
mod inherited;
mod init;
mod keep;
mod log;
mod open_files;
mod output;
mod policy;
mod run;
mod running;
mod runtime;
mod schema;
mod serve;
mod shell;
mod signals;
mod status;
mod verbosity;

#[cfg(test)]
mod tests;

use arguments::PolicyArguments;
use evidence::EvidenceArguments;
use failure::Failure;
use output::Output;
use verbosity::Verbosity;

const EXAMPLES: &str = "\
Examples:
  codex-network-proxy --allow example.com --allow '*.example.org'
      Permit these hosts and nothing else, whatever the configuration says besides.
  codex-network-proxy
      Do what $CODEX_HOME/config.toml says (by default ~/.codex/config.toml).
  codex-network-proxy --profile ci --mode limited
      Take [permissions.ci.network], and permit only GET, HEAD and OPTIONS.
  codex-network-proxy run --allow example.com -- curl https://example.com/
      Run one command with a proxy of its own, and learn which hosts it was refused.
  codex-network-proxy check
  codex-network-proxy explain https://example.com/
      Show the policy and where it comes from; ask what it says about a target.
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
    // As written, whatever else of a workspace wants of the parser.
    term_width = 0,
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
    Run(Box<run::Arguments>),
    Check(Box<check::Arguments>),
    Explain(Box<explain::Arguments>),
    Status(status::Arguments),
    Env(env::Arguments),
    Init(init::Arguments),
    Policy(policy::Arguments),
    Ca(ca::Arguments),
    Schema(schema::Arguments),
    Completions(documents::CompletionArguments),
    Man(documents::ManArguments),
}

/// What to do without a subcommand.
#[derive(Debug, Args)]
struct ServeArguments {
    #[command(flatten)]
    policy: PolicyArguments,

    /// Listen here for HTTP instead of what `proxy_url` says [default: 127.0.0.1:3128]
    #[arg(long, value_name = "IP:PORT")]
    http_addr: Option<SocketAddr>,

    /// Listen here for SOCKS5 instead of what `socks_url` says [default: 127.0.0.1:8081]
    #[arg(long, value_name = "IP:PORT")]
    socks_addr: Option<SocketAddr>,

    /// On SIGTERM go on accepting for this long, not ready by `/readyz`, before open connections are finished
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=3600))]
    drain_delay: u16,

    #[command(flatten)]
    evidence: EvidenceArguments,

    /// Give up what a proxy never needs, so that a defect is worth less: other files (Landlock), other programs and calls (seccomp)
    #[cfg(target_os = "linux")]
    #[arg(long)]
    harden: bool,

    #[command(flatten)]
    verbosity: Verbosity,
}

/// Parses the command line and runs it.
pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.command {
        None => run_serve(arguments.serve).map(|()| 0),
        Some(Command::Run(arguments)) => run::run(&arguments),
        Some(Command::Ca(arguments)) => ca::run(&arguments).map(|()| 0),
        Some(command) => answer(
            &command,
            &Environment::of_process(),
            UnixSockets::of_platform(),
        )
        .and_then(|output| {
            output.write().context("could not write to stdout")?;
            Ok(output.code)
        }),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
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

/// The commands that read, answer and end.
fn answer(
    command: &Command,
    environment: &Environment,
    sockets: UnixSockets,
) -> Result<Output, Failure> {
    match command {
        Command::Check(arguments) => check::run(arguments, environment, sockets),
        Command::Explain(arguments) => explain::run(arguments, environment, sockets),
        Command::Status(arguments) => status::run(arguments, environment),
        Command::Env(arguments) => env::run(arguments, environment),
        Command::Init(arguments) => init::run(arguments, environment),
        Command::Policy(arguments) => policy::run(arguments, environment, sockets),
        Command::Schema(arguments) => Ok(schema::run(arguments)),
        Command::Completions(arguments) => documents::completions(arguments, Arguments::command()),
        Command::Man(arguments) => documents::man(arguments, Arguments::command()),
        // They write while they run, and have been taken care of.
        Command::Run(_) | Command::Ca(_) => Ok(Output::default()),
    }
}

fn run_serve(arguments: ServeArguments) -> Result<(), Failure> {
    let overrides = Overrides {
        http_addr: arguments.http_addr,
        socks_addr: arguments.socks_addr,
        ..arguments.policy.overrides()
    };
    let serving = serve::Serving {
        evidence: arguments.evidence,
        #[cfg(target_os = "linux")]
        harden: arguments.harden,
        #[cfg(not(target_os = "linux"))]
        harden: false,
        drain_delay: Duration::from_secs(arguments.drain_delay.into()),
        verbosity: arguments.verbosity,
    };
    serve::run(&overrides, &serving)
}

/// Writes an error to stderr, in red where that is a terminal.
fn complain(message: &str) {
    let style = AnsiColor::Red.on_default().bold();
    let _ = writeln!(anstream::stderr(), "{style}error{style:#}: {message}");
}
