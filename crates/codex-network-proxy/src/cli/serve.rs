//! Serving: what the binary does without a subcommand.
//!
//! Loads the configuration, starts the proxy, says where it listens and what to export, and drains on SIGINT and
//! SIGTERM; SIGHUP reads the config files again.

use std::io::Write as _;

use anyhow::Context as _;
use codex_network_proxy::client_env;
use codex_network_proxy::config::{
    Environment, ListenerAddresses, LoadedConfig, Overrides, Profile, UnixSockets,
};
use codex_network_proxy::{ErrorKind, Limits, NetworkProxy, NetworkProxyHandle};

use super::failure::Failure;
use super::log::Log;
use super::shell::Shell;

pub(super) fn run(overrides: &Overrides, quiet: bool, log: &Log) -> Result<(), Failure> {
    let sockets = UnixSockets::of_platform();
    let config = LoadedConfig::from_files(overrides, &Environment::of_process(), sockets)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    if let Some(why) = &config.disabled {
        log.say(&format!("{why}; nothing to do"));
        return Ok(());
    }
    let limits = within_open_files(open_files());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")?;
    let served = runtime.block_on(serve(config, limits, quiet, log));
    // A look-up that the system is busy with cannot be cancelled: with a dead name server an operator would wait for it.
    runtime.shutdown_background();
    served
}

async fn serve(
    config: LoadedConfig,
    limits: Limits,
    quiet: bool,
    log: &Log,
) -> Result<(), Failure> {
    let nothing_allowed =
        config.profile == Some(Profile::Default) && config.rules.allowed.is_empty();
    let origin = origin(&config);
    let local = config.settings.allow_local_binding;
    let mut signals = Signals::new().context("could not listen for signals")?;
    let proxy = NetworkProxy::builder()
        .loaded_config(config)
        .limits(limits)
        .build()
        .await;
    let proxy = proxy.map_err(|error| Failure::Usage(error.to_string()))?;
    let handle = proxy.run().await.map_err(|error| match error.kind() {
        ErrorKind::Bind => Failure::Other(anyhow::Error::new(error).context(
            "could not listen; is another proxy running? Change `proxy_url` or `socks_url` in the \
             configuration, or pass --http-addr or --socks-addr",
        )),
        _ => Failure::Other(error.into()),
    })?;
    if let Some(addresses) = handle.addresses().filter(|_| !quiet) {
        greet(log, addresses, &origin, nothing_allowed);
        let exports =
            client_env::exports(addresses.http, addresses.socks, local, proxy.trust_bundle());
        print_exports(exports);
    }
    let signal = loop {
        match signals.next().await {
            Signal::Reload => handle.reload(),
            Signal::End(signal) => break signal,
        }
    };
    if !quiet {
        log.say(&format!(
            "{signal}: finishing open connections (send it again to stop at once)"
        ));
    }
    finish(handle, signals).await
}

/// Drains, or stops at once at the second signal.
async fn finish(handle: NetworkProxyHandle, mut signals: Signals) -> Result<(), Failure> {
    let again = async { while let Signal::Reload = signals.next().await {} };
    tokio::select! {
        ended = handle.shutdown() => ended.map_err(|error| Failure::Other(error.into())),
        () = again => Ok(()),
    }
}

fn origin(config: &LoadedConfig) -> String {
    match (&config.file, &config.profile) {
        (Some(file), Some(Profile::Named(profile) | Profile::BuiltIn(profile))) => {
            format!("profile {profile:?} of {}", file.display())
        }
        (Some(file), _) => format!("the built-in default; {} names no profile", file.display()),
        (None, _) => "the built-in default; there is no config.toml".to_owned(),
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

/// Descriptors for everything that is no connection: the runtime, the listeners, the resolver, trust roots.
const RESERVED_FILES: usize = 16;

/// The default limits, cut to what the open files suffice for. Clients that took every descriptor would leave none
/// to dial with, and nobody would be served.
fn within_open_files(files: usize) -> Limits {
    let defaults = Limits::default();
    let pooled = defaults.pooled_connections.min(files / 8);
    // Each connection needs a second descriptor for its upstream, an association three more.
    let connections = files.saturating_sub(pooled + RESERVED_FILES) / 2;
    let connections = defaults.connections.min(connections).max(1);
    Limits {
        pooled_connections: pooled,
        connections,
        associations: defaults.associations.min((connections / 4).max(1)),
        ..defaults
    }
}

/// How many files may be open, after asking for as many as there may be: a tunnel takes two descriptors, and the
/// usual soft limit of 1,024 is meant for programs that use `select`.
#[cfg(unix)]
fn open_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let mut files = current;
    if current != maximum {
        let raised = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        );
        match raised {
            Ok(()) => files = maximum,
            Err(error) => tracing::debug!(%error, "the limit of open files stays as it is"),
        }
    }
    files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    })
}

#[cfg(not(unix))]
fn open_files() -> usize {
    usize::MAX
}

/// What a signal asks for.
enum Signal {
    /// SIGHUP: read the config files again.
    Reload,
    /// End, with the name of the signal.
    End(&'static str),
}

/// The signals that a proxy heeds.
struct Signals {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.terminate.recv() => Signal::End("SIGTERM"),
            _ = self.interrupt.recv() => Signal::End("SIGINT"),
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::End("Ctrl-C"),
            // Without a console there is nothing to wait for; the process is ended from outside.
            Err(_) => std::future::pending().await,
        }
    }
}
