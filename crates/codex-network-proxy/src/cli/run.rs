//! `codex-network-proxy run -- COMMAND`: a proxy for one command.
//!
//! Starts on free ports, gives the child the variables that lead to the proxy, passes on the signals that only the wrapper
//! got, ends with the child's exit code, and says which refused hosts would need which line. It contains nobody: a program
//! that ignores proxy variables goes around it, and the first line on stderr says so.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitStatus;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use codex_network_policy::Host;
use codex_network_proxy::config::{Environment, LoadedConfig, Overrides, UnixSockets};
use codex_network_proxy::{BlockedRequest, Exports, NetworkProxy, client_env};

use super::arguments::PolicyArguments;
use super::evidence::EvidenceArguments;
use super::failure::Failure;
use super::keep::Keeper;
use super::log::Log;
use super::verbosity::Verbosity;
use super::{open_files, runtime};

mod passing;

use passing::Passing;

const EXAMPLES: &str = "\
Examples:
  codex-network-proxy run --allow example.com -- curl https://example.com/
  codex-network-proxy run --profile registries -- make
      At the end it prints the hosts that were refused, with the line that each would need.
  codex-network-proxy run -v -- sh -c 'git fetch && make'
      Log every access as well.

The exit code is the command's: 128 and the signal's number where a signal ended it, 126 where it cannot be started, 127
where it is not found; 1 and 2 are also those of the proxy, which says so. A program that ignores the proxy variables is
not contained: take its other ways out with your sandbox.";

/// Run a command with a proxy of its own on free ports
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    policy: PolicyArguments,

    #[command(flatten)]
    evidence: EvidenceArguments,

    #[command(flatten)]
    verbosity: Verbosity,

    /// The command and its arguments
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<OsString>,
}

/// What `env` and shells answer for a command that cannot be started, and for one that is not there.
const CANNOT_START: u8 = 126;
const NOT_FOUND: u8 = 127;

/// How long connections that outlive the command may go on.
const LAST_CONNECTIONS: std::time::Duration = std::time::Duration::from_millis(500);

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let log = Log::start().context("could not start the log")?;
    // Refusals are told at the end, all at once; between the lines of the command they would only disturb.
    let exports = arguments.evidence.start()?;
    arguments.verbosity.start("error", log.clone(), &exports);
    let environment = Environment::of_process();
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let overrides = Overrides {
        http_addr: Some(free),
        socks_addr: Some(free),
        ..arguments.policy.overrides()
    };
    let mut config = LoadedConfig::from_files(&overrides, &environment, UnixSockets::of_platform())
        .map_err(|error| Failure::Usage(error.to_string()))?;
    if let Some(why) = &config.disabled {
        // Without a proxy the command would reach everything, which nobody who wrote `run` can want.
        return Err(Failure::Usage(format!(
            "{why}; the command was not started"
        )));
    }
    if !config.settings.enable_socks5 {
        config
            .warnings
            .retain(|warning| !warning.contains("SOCKS5 address"));
    }
    let runtime = runtime::start()?;
    let ended = runtime.block_on(serve(config, &environment, arguments, &exports, &log));
    runtime.shutdown_background();
    EvidenceArguments::finish(&exports);
    log.flush_for_exit();
    ended
}

async fn serve(
    config: LoadedConfig,
    environment: &Environment,
    arguments: &Arguments,
    exports: &Arc<Exports>,
    log: &Log,
) -> Result<u8, Failure> {
    let quiet = arguments.verbosity.quiet;
    for warning in config.warnings.iter().filter(|_| !quiet) {
        log.say(&format!("warning: {warning}"));
    }
    let mut signals = Passing::new().context("could not listen for signals")?;
    let builder = NetworkProxy::builder()
        .loaded_config(config)
        .limits(open_files::limits());
    let builder = arguments.evidence.apply(builder, exports, log)?;
    let proxy = builder.build().await;
    let proxy = proxy.map_err(|error| Failure::Usage(error.to_string()))?;
    let handle = proxy.run().await.context("could not start the proxy")?;
    let mut keeper = Keeper::start("run", &proxy, &handle, environment).await;
    if !quiet {
        log.say("a program that ignores the proxy variables is not contained by this proxy");
    }
    let mut child = match spawn(&arguments.command, &proxy) {
        Ok(child) => child,
        Err((code, message)) => {
            log.say(&message);
            return Ok(code);
        }
    };
    let status = loop {
        tokio::select! {
            ended = child.wait() => break ended.context("could not wait for the command")?,
            signal = signals.next() => signals.pass(&signal, child.id()),
            () = keeper.keep() => {}
        }
    };
    // Its background processes, if there are any, lose the proxy with it.
    let _ = tokio::time::timeout(LAST_CONNECTIONS, handle.shutdown()).await;
    drop(keeper);
    if !quiet {
        let config = std::sync::Arc::clone(&proxy.policy_status().borrow().config);
        for line in refusals(&proxy.drain_blocked(), proxy.blocked_total(), &config) {
            log.say(&line);
        }
    }
    Ok(code(status))
}

fn spawn(
    command: &[OsString],
    proxy: &NetworkProxy,
) -> Result<tokio::process::Child, (u8, String)> {
    let [program, arguments @ ..] = command else {
        return Err((NOT_FOUND, "there is no command".to_owned()));
    };
    let mut variables: HashMap<String, String> = HashMap::new();
    if let Some(own) = ssh_command() {
        variables.insert("GIT_SSH_COMMAND".to_owned(), own);
    }
    client_env::apply_to_env(
        &mut variables,
        proxy.http_addr(),
        proxy.socks_addr(),
        proxy.allow_local_binding(),
        proxy.trust_bundle(),
    );
    let mut child = tokio::process::Command::new(program);
    child.args(arguments).envs(variables);
    child.spawn().map_err(|error| {
        let code = if error.kind() == ErrorKind::NotFound {
            NOT_FOUND
        } else {
            CANNOT_START
        };
        let program = program.to_string_lossy();
        (
            code,
            format!("could not start `{}`: {error}", program.escape_debug()),
        )
    })
}

/// The user's own, which stays.
#[expect(
    clippy::disallowed_methods,
    reason = "the child gets this process's environment, and its own command is kept"
)]
fn ssh_command() -> Option<String> {
    std::env::var("GIT_SSH_COMMAND").ok()
}

#[cfg(unix)]
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code & 0xff).ok())
        .unwrap_or(1)
}

#[cfg(not(unix))]
fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or(1);
    // Windows has longer ones; what is no success shall stay none.
    u8::try_from(code).unwrap_or(1)
}

/// One line for each host that was refused, the most frequent first; nothing where nothing was.
fn refusals(blocked: &[BlockedRequest], total: u64, config: &LoadedConfig) -> Vec<String> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for request in blocked {
        *counts.entry((&request.host, &request.reason)).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut lines = Vec::new();
    if counts.is_empty() {
        return lines;
    }
    lines.push(format!(
        "{total} {} refused:",
        if total == 1 {
            "request was"
        } else {
            "requests were"
        }
    ));
    for ((host, reason), count) in counts {
        let times = if count == 1 {
            String::new()
        } else {
            format!(", {count} times")
        };
        let need = need(host, reason, config);
        lines.push(format!("  {} ({reason}{times}){need}", host.escape_debug()));
    }
    lines
}

/// What would permit it, as a line to write or a command to run.
fn need(host: &str, reason: &str, config: &LoadedConfig) -> String {
    let local = Host::parse(host).is_ok_and(|host| host.is_localhost() || host.address().is_some());
    match reason {
        "not_allowed" if config.rules.pinned => {
            let managed = config.requirements.as_deref().unwrap_or("managed config");
            format!(": only {managed} can allow it")
        }
        "not_allowed" if host == "unix-socket" => ": add its path to allow_unix_sockets".to_owned(),
        "not_allowed" => format!(": add \"{host}\" to allowed_domains, or pass --allow {host}"),
        "not_allowed_local" if local => {
            format!(": it is local, and needs an entry of its own: \"{host}\" in allowed_domains")
        }
        "not_allowed_local" => ": its name leads to a local or private address".to_owned(),
        "denied" => {
            let host = Host::parse(host).ok();
            let rule = host.and_then(|host| {
                let denied = &config.rules.denied;
                denied.get(denied.patterns().find(&host)?.index())
            });
            rule.map_or_else(String::new, |rule| {
                format!(": denied by \"{}\" ({})", rule.pattern, rule.origin)
            })
        }
        "method_not_allowed" => {
            ": limited mode permits GET, HEAD and OPTIONS; mode = \"full\" permits it".to_owned()
        }
        "mitm_required" => ": limited mode permits https only with mitm = true".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codex_network_proxy::{BlockedRequestArgs, NetworkProxyConfig};

    fn blocked(host: &str, reason: &str) -> BlockedRequest {
        BlockedRequest::new(BlockedRequestArgs {
            host: host.to_owned(),
            reason: reason.to_owned(),
            client: None,
            method: None,
            mode: None,
            protocol: "http".to_owned(),
            decision: None,
            source: None,
            port: Some(80),
        })
    }

    #[test]
    fn refusals_are_told_with_what_they_need() {
        let config: NetworkProxyConfig = serde_json::from_value(serde_json::json!({
            "enabled": true, "denied_domains": ["*.evil.test"],
        }))
        .unwrap();
        let config =
            LoadedConfig::from_config(config, &Overrides::default(), UnixSockets::Unsupported)
                .unwrap();
        let requests = [
            blocked("a.test", "not_allowed"),
            blocked("x.evil.test", "denied"),
            blocked("127.0.0.1", "not_allowed_local"),
            blocked("inward.test", "not_allowed_local"),
            blocked("a.test", "not_allowed"),
        ];
        assert_eq!(
            refusals(&requests, 5, &config),
            [
                "5 requests were refused:",
                "  a.test (not_allowed, 2 times): add \"a.test\" to allowed_domains, or pass --allow a.test",
                "  127.0.0.1 (not_allowed_local): it is local, and needs an entry of its own: \"127.0.0.1\" in allowed_domains",
                "  inward.test (not_allowed_local): its name leads to a local or private address",
                "  x.evil.test (denied): denied by \"*.evil.test\" (network.denied_domains)",
            ]
        );
        assert_eq!(refusals(&[], 0, &config), Vec::<String>::new());
    }
}
