//! `codex-network-proxy status`: which proxies of this user run, their doors, and where their policy came from.
//!
//! Comes in: the records that running proxies keep. Goes out: text or JSON. What dead proxies left behind is removed.

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::Args;
use codex_network_proxy::config::Environment;
use serde_json::json;

use super::failure::Failure;
use super::output::Output;
use super::running::{self, Running};

const EXAMPLES: &str = "\
Examples:
  codex-network-proxy status
  codex-network-proxy status --json | jq -r '.[].http'

Exit codes: 0 at least one proxy runs, 1 none does, 2 the Codex home cannot be used.";

/// Show the proxies of this user that run, and where their policies came from
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Print a JSON array, empty where none runs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<Output, Failure> {
    let running = all(environment)?;
    let code = u8::from(running.is_empty());
    if arguments.json {
        return Ok(Output::json(&json!(running)).code(code));
    }
    if running.is_empty() {
        return Ok(Output::default()
            .note("no proxy of this user runs")
            .code(code));
    }
    let texts: Vec<String> = running.iter().map(as_text).collect();
    Ok(Output::text(texts.join("\n")))
}

/// The proxies that run, by their numbers.
pub(super) fn all(environment: &Environment) -> Result<Vec<Running>, Failure> {
    let home = environment
        .codex_home()
        .map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(running::list(&home).context("could not read the records of running proxies")?)
}

fn as_text(running: &Running) -> String {
    let Running {
        pid,
        command,
        started,
        http,
        socks,
        policy,
        ..
    } = running;
    let socks = socks.map_or_else(String::new, |socks| format!(", socks5h://{socks}"));
    let state = if policy.enabled {
        format!("enabled, mode {}", policy.mode)
    } else {
        "disabled: every request is refused".to_owned()
    };
    let mut text = format!(
        "process {pid} ({command}) since {started}\n  doors    http://{http}{socks}\n  policy   {}\n           {state}; last changed {}\n",
        policy.origin, policy.since
    );
    for file in &policy.files {
        let _ = writeln!(text, "  file     {file}");
    }
    for warning in &policy.warnings {
        let _ = writeln!(text, "  warning  {warning}");
    }
    if let Some(failure) = &policy.failure {
        let _ = writeln!(text, "  not in force: {failure}");
    }
    text
}
