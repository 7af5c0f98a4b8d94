//! The product: its binary, started as a user starts it.
//!
//! Main type: [`Proxy`]. It is configured by a `config.toml` in a `CODEX_HOME` of its own and by flags; what it tells is
//! read as a program would read it: the exports from stdout, and the audit events and warnings from its log in JSON on
//! stderr.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::command::bare_environment;

const PATIENCE: Duration = Duration::from_secs(10);

/// How a proxy is started.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) name: &'a str,
    pub(crate) config: &'a str,
    pub(crate) arguments: &'a [&'a str],
    /// Whom it trusts as an issuer of certificates.
    pub(crate) authority: &'a Path,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) http: SocketAddr,
    pub(crate) socks: SocketAddr,
    /// What it told a person to export.
    pub(crate) exports: BTreeMap<String, String>,
    /// Its `CODEX_HOME`.
    pub(crate) home: PathBuf,
    log: watch::Receiver<Log>,
    child: Child,
}

/// What it has logged so far.
#[derive(Debug, Default)]
struct Log {
    events: Vec<Value>,
    warnings: Vec<Value>,
}

impl Proxy {
    pub(crate) async fn start(directory: &Path, plan: &Plan<'_>) -> Result<Self> {
        let home = directory.join(plan.name);
        std::fs::create_dir(&home).context("cannot make a directory")?;
        std::fs::write(home.join("config.toml"), plan.config).context("cannot write")?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_codex-network-proxy"))
            .args(["-v", "--log-format", "json"])
            .args(plan.arguments)
            .env_clear()
            .envs(bare_environment())
            .env("HOME", &home)
            .env("CODEX_HOME", &home)
            .env("SSL_CERT_FILE", plan.authority)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the proxy")?;
        let stdout = child.stdout.take().context("no stdout")?;
        let stderr = child.stderr.take().context("no stderr")?;
        let (sender, log) = watch::channel(Log::default());
        tokio::spawn(read_log(stderr, sender));
        let exports = timeout(PATIENCE, read_exports(stdout))
            .await
            .with_context(|| format!("the proxy `{}` does not start", plan.name))?;
        let exports = exports.with_context(|| format!("the proxy `{}` ended", plan.name))?;
        Ok(Self {
            http: address(&exports, "http_proxy", "http://")?,
            socks: address(&exports, "all_proxy", "socks5h://")?,
            exports,
            home,
            log,
            child,
        })
    }

    /// Waits for the audit event about the client connection from this address, by this protocol, that has this reason.
    pub(crate) async fn wait_for_event(
        &self,
        client: SocketAddr,
        protocol: &str,
        reason: &str,
    ) -> Result<Value> {
        let client = client.to_string();
        // Two listeners may see one client address at the same time.
        let about = |event: &&Value| {
            event["client.address"] == client.as_str()
                && event["network.transport.protocol"] == protocol
        };
        let fits = |event: &Value| about(&event) && event["network.policy.reason"] == reason;
        match self.wait_for(fits).await {
            Ok(event) => Ok(event),
            Err(_) => {
                let log = self.log.borrow();
                let others: Vec<&Value> = log.events.iter().filter(about).collect();
                bail!("no audit event says `{reason}`; of this client: {others:?}")
            }
        }
    }

    /// Waits for an audit event.
    pub(crate) async fn wait_for(&self, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let find = |log: &Log| log.events.iter().find(|event| fits(event)).cloned();
        let mut log = self.log.clone();
        let found = log.wait_for(|log| find(log).is_some());
        let log = timeout(PATIENCE, found).await.context("no such event")??;
        find(&log).context("the event is gone")
    }

    /// The warnings about this host so far that have this message.
    pub(crate) fn warnings(&self, message: &str, host: &str) -> Vec<Value> {
        let log = self.log.borrow();
        let fields = log.warnings.iter().map(|warning| &warning["fields"]);
        // The host is written as a literal of the log.
        let host = format!("{host:?}");
        let fits =
            |fields: &&Value| fields["message"] == message && fields["host"] == host.as_str();
        fields.filter(fits).cloned().collect()
    }

    /// Asks the process to end, as an operator does, and waits for it.
    pub(crate) async fn terminate(mut self, limit: Duration) -> Result<ExitStatus> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        let id = id.and_then(rustix::process::Pid::from_raw);
        let id = id.context("the proxy has ended by itself")?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        let ended = timeout(limit, self.child.wait()).await;
        Ok(ended.with_context(|| format!("the proxy did not end within {limit:?}"))??)
    }
}

/// Reads up to the last line that it prints when it starts.
async fn read_exports(stdout: ChildStdout) -> Result<BTreeMap<String, String>> {
    let mut lines = BufReader::new(stdout).lines();
    let mut exports = BTreeMap::new();
    while !exports.contains_key("no_proxy") {
        let line = lines.next_line().await?.context("nothing more to read")?;
        let export = line.strip_prefix("export ").context("no export")?;
        let (name, value) = export.split_once('=').context("no value")?;
        // No value has a quote in it.
        exports.insert(name.to_owned(), value.trim_matches('\'').to_owned());
    }
    Ok(exports)
}

fn address(exports: &BTreeMap<String, String>, name: &str, scheme: &str) -> Result<SocketAddr> {
    let url = exports.get(name).map_or("", String::as_str);
    let address = url
        .strip_prefix(scheme)
        .with_context(|| format!("{name}: `{url}`"))?;
    let address: SocketAddr = address.parse()?;
    // A listener on every address is asked on the loopback.
    Ok(if address.ip().is_unspecified() {
        SocketAddr::from(([127, 0, 0, 1], address.port()))
    } else {
        address
    })
}

/// Keeps the audit events and the warnings, and passes on what is no JSON and no greeting.
async fn read_log(stderr: ChildStderr, log: watch::Sender<Log>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str::<Value>(&line) {
            Ok(mut entry) if entry["target"] == "codex_otel.network_proxy" => {
                let event = entry["fields"].take();
                log.send_modify(|log| log.events.push(event));
            }
            Ok(entry) if entry["level"] == "WARN" => {
                log.send_modify(|log| log.warnings.push(entry));
            }
            Ok(_) => {}
            Err(_) if line.starts_with("codex-network-proxy: ") => {}
            Err(_) => eprintln!("proxy: {line}"),
        }
    }
}
