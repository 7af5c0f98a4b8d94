//! Serving: what the binary does without a subcommand.
//!
//! Loads the configuration, starts the proxy, says where it listens and what to export, and drains on SIGINT and
//! SIGTERM; SIGHUP reads the config files and opens the audit log again.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use codex_network_proxy::client_env;
use codex_network_proxy::config::{
    Environment, ListenerAddresses, LoadedConfig, Overrides, Profile, UnixSockets,
};
use codex_network_proxy::{ErrorKind, Exports, NetworkProxy, NetworkProxyHandle};

use super::evidence::EvidenceArguments;
use super::failure::Failure;
#[cfg(target_os = "linux")]
use super::hardening;
#[cfg(unix)]
use super::inherited;
use super::keep::Keeper;
use super::log::Log;
use super::shell::Shell;
use super::signals::{Signal, Signals};
use super::verbosity::Verbosity;
use super::{describe, open_files, runtime};

/// How to serve, beside what is configured.
pub(super) struct Serving {
    pub(super) evidence: EvidenceArguments,
    /// Whether to give up what a proxy never needs.
    pub(super) harden: bool,
    /// How long to go on accepting after SIGTERM.
    pub(super) drain_delay: Duration,
    pub(super) verbosity: Verbosity,
}

pub(super) fn run(overrides: &Overrides, serving: &Serving) -> Result<(), Failure> {
    // Everything up to the threads comes before the first of them: what is given up holds for those that come after.
    #[cfg(target_os = "linux")]
    let kept = hardening::give_up_privileges();
    let sockets = UnixSockets::of_platform();
    let environment = Environment::of_process();
    let config = LoadedConfig::from_files(overrides, &environment, sockets)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    #[cfg(target_os = "linux")]
    if serving.harden && config.disabled.is_none() {
        let (read, written) = serving.evidence.paths();
        hardening::confine_files(&config, &environment, &read, &written)
            .context("could not give up other files, as --harden asks for")?;
    }
    let log = Log::start().context("could not start the log")?;
    let exports = serving.evidence.start()?;
    serving.verbosity.start("warn", log.clone(), &exports);
    #[cfg(target_os = "linux")]
    kept.iter().for_each(|what| log.say(what));
    let ended = match &config.disabled {
        Some(why) => {
            log.say(&format!("{why}; nothing to do"));
            Ok(())
        }
        None => runtime::start()
            .map_err(Failure::Other)
            .and_then(|runtime| {
                let served = runtime.block_on(serve(config, &environment, serving, &exports, &log));
                // A look-up that the system is busy with cannot be cancelled: with a dead name server an operator would
                // wait for it.
                runtime.shutdown_background();
                served
            }),
    };
    EvidenceArguments::finish(&exports);
    log.flush_for_exit();
    ended
}

async fn serve(
    config: LoadedConfig,
    environment: &Environment,
    serving: &Serving,
    exports: &Arc<Exports>,
    log: &Log,
) -> Result<(), Failure> {
    let quiet = serving.verbosity.quiet;
    let nothing_allowed =
        config.profile == Some(Profile::Default) && config.rules.allowed.is_empty();
    let origin = describe::origin(&config);
    let local = config.settings.allow_local_binding;
    let mut signals = Signals::new().context("could not listen for signals")?;
    let builder = NetworkProxy::builder()
        .loaded_config(config)
        .limits(open_files::limits());
    #[cfg(unix)]
    let builder = inherited::hand_over(builder)?;
    let proxy = serving.evidence.apply(builder, exports, log)?.build().await;
    let proxy = proxy.map_err(|error| Failure::Usage(error.to_string()))?;
    let handle = proxy.run().await.map_err(|error| match error.kind() {
        ErrorKind::Bind => Failure::Other(anyhow::Error::new(error).context(
            "could not listen; is another proxy running? Change `proxy_url` or `socks_url` in the \
             configuration, or pass --http-addr or --socks-addr",
        )),
        _ => Failure::Other(error.into()),
    })?;
    #[cfg(target_os = "linux")]
    if serving.harden {
        hardening::confine_calls()
            .context("could not give up other calls, as --harden asks for")?;
    }
    if let Some(addresses) = handle.addresses().filter(|_| !quiet) {
        greet(log, addresses, &origin, nothing_allowed);
        let exports =
            client_env::exports(addresses.http, addresses.socks, local, proxy.trust_bundle());
        print_exports(exports);
    }
    let mut keeper = Keeper::start("serve", &proxy, &handle, environment).await;
    let signal = loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Reload => {
                    exports.reopen();
                    handle.reload();
                }
                Signal::End(signal) => break signal,
            },
            () = keeper.keep() => {}
        }
    };
    proxy.withdraw();
    if !serving.drain_delay.is_zero() && signal == "SIGTERM" {
        if !quiet {
            let seconds = serving.drain_delay.as_secs();
            log.say(&format!(
                "{signal}: not ready any more; accepting for {seconds} s yet (send it again to stop accepting)"
            ));
        }
        let again = async { while let Signal::Reload = signals.next().await {} };
        let _ = tokio::time::timeout(serving.drain_delay, again).await;
    }
    if !quiet {
        log.say(&format!(
            "{signal}: finishing open connections (send it again to stop at once)"
        ));
    }
    let finished = finish(handle, signals).await;
    drop(keeper);
    finished
}

/// Drains, or stops at once at the second signal.
async fn finish(handle: NetworkProxyHandle, mut signals: Signals) -> Result<(), Failure> {
    let again = async { while let Signal::Reload = signals.next().await {} };
    tokio::select! {
        ended = handle.shutdown() => ended.map_err(|error| Failure::Other(error.into())),
        () = again => Ok(()),
    }
}

/// Where it listens and by which policy, on stderr.
fn greet(log: &Log, addresses: &ListenerAddresses, origin: &str, nothing_allowed: bool) {
    let socks = match addresses.socks {
        Some(socks) => format!(", socks5h://{socks}"),
        None => String::new(),
    };
    log.say(&format!("listening on http://{}{socks}", addresses.http));
    log.say(&format!("policy: {origin}"));
    if nothing_allowed {
        log.say(
            "nothing is allowed yet. To allow a host, pass --allow example.com, or write into config.toml:",
        );
        log.say(
            "default_permissions = \"web\", and below [permissions.web.network]: enabled = true, \
             allowed_domains = [\"example.com\"]",
        );
    }
}

/// What a shell needs to use it, on stdout.
fn print_exports(exports: Vec<(&'static str, String)>) {
    let mut stdout = anstream::stdout();
    for (name, value) in exports {
        let _ = writeln!(stdout, "{}", Shell::Sh.export(name, &value));
    }
    let _ = stdout.flush();
}
