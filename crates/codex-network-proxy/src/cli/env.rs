//! `codex-network-proxy env`: what a shell or a tool needs in order to use a proxy that runs already.
//!
//! Comes in: the records of running proxies. Goes out: lines in the language of a shell or a tool. It sets nothing, and a
//! program that ignores these settings is not contained by them.

use std::fmt::Write as _;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use codex_network_proxy::client_env;
use codex_network_proxy::config::Environment;

use super::failure::Failure;
use super::output::Output;
use super::running::Running;
use super::shell::Shell;
use super::status;

const EXAMPLES: &str = "\
Examples:
  eval \"$(codex-network-proxy env)\"
  codex-network-proxy env --shell fish | source
  docker run --network host $(codex-network-proxy env --shell docker) IMAGE
  java $(codex-network-proxy env --shell jvm) -jar app.jar
  codex-network-proxy env --shell git >> .git/config

Exit codes: 0 printed, 1 no proxy runs, or several do and none is named, 2 the Codex home cannot be used.";

/// Print what lets a shell or a tool use a proxy that runs
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Whose language to speak
    #[arg(long, value_name = "SHELL", default_value_t = Language::of_platform())]
    shell: Language,

    /// The proxy with this process number; needed where several run
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Language {
    /// bash, zsh, dash and all others of the POSIX kind
    Sh,
    Fish,
    Powershell,
    /// NAME=value, for files that tools read
    Dotenv,
    /// Flags of `docker run`, for a container on the host's network
    Docker,
    /// System properties on java's command line
    Jvm,
    /// Lines of gradle.properties
    Gradle,
    /// Lines of .npmrc
    Npm,
    /// Lines of a git config file
    Git,
}

impl Language {
    fn of_platform() -> Self {
        match Shell::of_platform() {
            Shell::Sh => Self::Sh,
            Shell::Fish => Self::Fish,
            Shell::Pwsh => Self::Powershell,
        }
    }
}

impl std::fmt::Display for Language {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.to_possible_value() {
            Some(value) => formatter.write_str(value.get_name()),
            None => Ok(()),
        }
    }
}

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<Output, Failure> {
    let running = status::all(environment)?;
    let chosen = match arguments.pid {
        Some(pid) => running.iter().find(|running| running.pid == pid),
        None if running.len() > 1 => {
            let pids: Vec<String> = running.iter().map(|it| it.pid.to_string()).collect();
            return Err(Failure::Other(anyhow!(
                "{} proxies run; choose one with --pid: {}",
                pids.len(),
                pids.join(", ")
            )));
        }
        None => running.first(),
    };
    match (chosen, arguments.pid) {
        (Some(running), _) => Ok(Output::text(exports(running, arguments.shell))),
        (None, Some(pid)) => Err(Failure::Other(anyhow!(
            "no proxy of this user runs as process {pid}; `codex-network-proxy status` lists them"
        ))),
        (None, None) => Err(Failure::Other(anyhow!(
            "no proxy of this user runs; start one with `codex-network-proxy`, or a command with `codex-network-proxy run -- COMMAND`"
        ))),
    }
}

fn exports(running: &Running, language: Language) -> String {
    let variables = client_env::exports(
        running.http,
        running.socks,
        running.allow_local_binding,
        running.trust_bundle.as_deref(),
    );
    let each = |line: &dyn Fn(&str, &str) -> String| -> String {
        let lines = variables
            .iter()
            .map(|(name, value)| line(name, value) + "\n");
        lines.collect()
    };
    match language {
        Language::Sh => each(&|name, value| Shell::Sh.export(name, value)),
        Language::Fish => each(&|name, value| Shell::Fish.export(name, value)),
        Language::Powershell => each(&|name, value| Shell::Pwsh.export(name, value)),
        Language::Dotenv => each(&|name, value| format!("{name}={}", quoted(value))),
        Language::Docker => each(&|name, value| Shell::Sh.quote(&format!("--env={name}={value}"))),
        Language::Jvm => properties(running)
            .map(|(name, value)| format!("-D{name}={value}\n"))
            .collect(),
        Language::Gradle => properties(running)
            .map(|(name, value)| format!("systemProp.{name}={value}\n"))
            .collect(),
        Language::Npm => npm(running),
        Language::Git => git(running),
    }
}

/// Bare where every reader of such files agrees, else in double quotes.
fn quoted(value: &str) -> String {
    let plain = value
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || "_-./:,*[]".contains(letter));
    if plain {
        value.to_owned()
    } else {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// Java asks for `nonProxyHosts` by itself, and the default goes around the proxy for this machine.
fn properties(running: &Running) -> impl Iterator<Item = (&'static str, String)> {
    let (host, port) = (
        running.http.ip().to_string(),
        running.http.port().to_string(),
    );
    let around = if running.allow_local_binding {
        "localhost|127.*|[::1]"
    } else {
        ""
    };
    [
        ("http.proxyHost", host.clone()),
        ("http.proxyPort", port.clone()),
        ("https.proxyHost", host),
        ("https.proxyPort", port),
        ("http.nonProxyHosts", around.to_owned()),
    ]
    .into_iter()
}

fn npm(running: &Running) -> String {
    let http = running.http;
    let mut text = format!("proxy=http://{http}/\nhttps-proxy=http://{http}/\n");
    if let Some(bundle) = &running.trust_bundle {
        let _ = writeln!(text, "cafile={}", bundle.display());
    }
    text
}

fn git(running: &Running) -> String {
    let mut text = format!("[http]\n\tproxy = http://{}\n", running.http);
    if let Some(bundle) = &running.trust_bundle {
        let _ = writeln!(
            text,
            "\tsslCAInfo = {}",
            quoted(&bundle.display().to_string())
        );
    }
    if let Some(socks) = running.socks {
        let _ = writeln!(
            text,
            "[core]\n\tsshCommand = \"ssh -o ProxyCommand='nc -X 5 -x {socks} %h %p'\""
        );
    }
    text
}
