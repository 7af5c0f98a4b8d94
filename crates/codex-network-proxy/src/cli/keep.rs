//! Keeps the record of a running proxy up to date.
//!
//! Main type: [`Keeper`]. Comes in: the proxy, and its policy whenever it changes. Goes out: the file that `status` reads.
//! A record that cannot be written is told of and does not stop the proxy.

use std::time::SystemTime;

use codex_network_proxy::config::{Environment, LoadedConfig};
use codex_network_proxy::{NetworkProxy, NetworkProxyHandle, PolicyStatus};
use tokio::sync::watch;

use super::describe;
use super::running::{Policy, Record, Running};

/// Writes the record anew after each change. The record goes with the value.
#[derive(Debug)]
pub(super) struct Keeper {
    record: Option<Record>,
    running: Option<Running>,
    status: watch::Receiver<PolicyStatus>,
}

impl Keeper {
    /// Writes the first record of a proxy that listens.
    pub(super) async fn start(
        command: &str,
        proxy: &NetworkProxy,
        handle: &NetworkProxyHandle,
        environment: &Environment,
    ) -> Self {
        let mut status = proxy.policy_status();
        let policy = policy(&status.borrow_and_update());
        let running = handle.addresses().map(|addresses| Running {
            pid: std::process::id(),
            command: command.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: time(SystemTime::now()),
            http: addresses.http,
            socks: addresses.socks,
            allow_local_binding: proxy.allow_local_binding(),
            trust_bundle: proxy.trust_bundle().map(ToOwned::to_owned),
            policy,
        });
        let home = environment.codex_home().map_err(|error| error.to_string());
        let first = running.clone();
        let written = tokio::task::spawn_blocking(move || match (home, first) {
            (Ok(home), Some(running)) => {
                let record = Record::create(&home, &running);
                record.map(Some).map_err(|error| error.to_string())
            }
            (Err(error), Some(_)) => Err(error),
            (_, None) => Ok(None),
        });
        let record = match written.await {
            Ok(Ok(record)) => record,
            Ok(Err(error)) => {
                tracing::warn!("`status` will not show this proxy: {error}");
                None
            }
            Err(_) => None,
        };
        Self {
            record,
            running,
            status,
        }
    }

    /// Waits for the next change of policy and writes it down.
    pub(super) async fn keep(&mut self) {
        if self.status.changed().await.is_err() {
            // The proxy is gone, and nothing changes any more.
            std::future::pending::<()>().await;
        }
        let policy = policy(&self.status.borrow_and_update());
        let (Some(mut record), Some(running)) = (self.record.take(), &mut self.running) else {
            return;
        };
        running.policy = policy;
        let running = running.clone();
        let written = tokio::task::spawn_blocking(move || {
            let updated = record.update(&running);
            (record, updated)
        });
        if let Ok((record, updated)) = written.await {
            if let Err(error) = updated {
                tracing::warn!("`status` shows an older policy of this proxy: {error}");
            }
            self.record = Some(record);
        }
    }
}

fn policy(status: &PolicyStatus) -> Policy {
    let config: &LoadedConfig = &status.config;
    let files = config.layers.iter().map(|(_, label)| label.to_string());
    Policy {
        origin: describe::origin(config),
        files: files
            .chain(config.requirements.as_ref().map(ToString::to_string))
            .collect(),
        enabled: config.settings.enabled,
        mode: config.settings.mode.to_string(),
        since: time(status.since),
        failure: status.failure.clone(),
        warnings: config.warnings.clone(),
    }
}

/// RFC 3339, to the second.
fn time(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(
        |_| String::new(),
        |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}
