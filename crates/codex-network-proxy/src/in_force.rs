//! The configuration in force: what the gate judges by, who may replace it, and what is told of it.
//!
//! Main type: [`InForce`]. Comes in: configurations that were compiled aside, and [`Edit`](crate::config)s of the one in
//! force. Goes out: a policy that is in force at once, its [`PolicyStatus`], the log's lines. One change follows the other;
//! none can be half. It reads no file: that is `reload`'s part, or an embedder's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use codex_network_gate::PolicyStore;
use codex_network_policy::{Interception, Policy, Rules};
use tokio::sync::{Notify, watch};

use crate::config::{Difference, Edit, EditError, Edited, LoadedConfig};
use crate::error::{Error, ErrorKind};
use crate::meters::ReloadMeters;

mod signing;

pub(crate) use signing::Signing;

/// Which configuration is in force, and since when.
#[derive(Clone, Debug)]
pub struct PolicyStatus {
    /// The configuration.
    pub config: Arc<LoadedConfig>,
    /// When it came into force.
    pub since: SystemTime,
    /// Why the files as they are now are not in force, if they are not.
    pub failure: Option<String>,
}

/// Asks for a reload from anywhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<Notify>);

impl Requests {
    /// Reads the files again, changed or not.
    pub(crate) fn request(&self) {
        self.0.notify_one();
    }

    /// Waits for a request.
    pub(crate) async fn requested(&self) {
        self.0.notified().await;
    }
}

/// The configuration in force.
#[derive(Debug)]
pub(crate) struct InForce {
    store: Arc<PolicyStore>,
    status: watch::Sender<PolicyStatus>,
    /// How far TLS can be opened, whatever a configuration wants. Its lock is held for a change.
    interception: Mutex<Interception>,
    reloads: Arc<ReloadMeters>,
}

/// What is to come into force, compiled aside.
pub(crate) struct Changed {
    config: LoadedConfig,
    policy: Policy,
    /// How far TLS can be opened by that policy.
    interception: Interception,
    /// What was in force meanwhile, and what differs from it.
    before: Arc<LoadedConfig>,
    difference: Difference,
}

impl InForce {
    /// Puts the first configuration in force.
    pub(crate) fn new(config: LoadedConfig, interception: Interception) -> Self {
        let policy = compile(&config.rules, interception);
        Self {
            store: Arc::new(PolicyStore::new(policy)),
            status: watch::Sender::new(PolicyStatus {
                config: Arc::new(config),
                since: SystemTime::now(),
                failure: None,
            }),
            interception: Mutex::new(interception),
            reloads: Arc::default(),
        }
    }

    pub(crate) fn store(&self) -> &Arc<PolicyStore> {
        &self.store
    }

    pub(crate) fn config(&self) -> Arc<LoadedConfig> {
        Arc::clone(&self.status.borrow().config)
    }

    pub(crate) fn status(&self) -> watch::Receiver<PolicyStatus> {
        self.status.subscribe()
    }

    /// What came of reloads, for the metrics.
    pub(crate) fn reloads(&self) -> &Arc<ReloadMeters> {
        &self.reloads
    }

    fn changing(&self) -> MutexGuard<'_, Interception> {
        self.interception
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens TLS so far from now on.
    pub(crate) fn set_interception(&self, interception: Interception) {
        let mut changing = self.changing();
        if std::mem::replace(&mut *changing, interception) != interception {
            let policy = compile(&self.config().rules, interception);
            self.store.replace(policy);
        }
    }

    /// Compiles what is to come into force. It takes its time, and does not belong into a task.
    pub(crate) fn prepare(&self, config: LoadedConfig) -> Box<Changed> {
        let before = self.config();
        let interception = *self.changing();
        Box::new(Changed {
            difference: Difference::between(&before, &config),
            policy: compile(&config.rules, interception),
            interception,
            config,
            before,
        })
    }

    /// Puts a configuration in force that comes from `source`, and tells what has changed.
    pub(crate) fn put_in_force(&self, changed: Changed, source: &str) {
        let Changed {
            config,
            mut policy,
            interception,
            before,
            mut difference,
        } = changed;
        let config = Arc::new(config);
        let changing = self.changing();
        let replaced = self.config();
        if !Arc::ptr_eq(&replaced, &before) {
            // Somebody has edited meanwhile, and that edit is lost now, which the log is to say.
            difference = Difference::between(&replaced, &config);
        }
        if *changing != interception {
            policy = compile(&config.rules, *changing);
        }
        if difference.changes_policy() {
            self.store.replace(policy);
        }
        self.status.send_modify(|status| {
            if difference.changes_policy() {
                status.since = SystemTime::now();
            }
            status.config = Arc::clone(&config);
            status.failure = None;
        });
        drop(changing);
        for change in &difference.changes {
            tracing::info!("{change}");
        }
        if difference.untold > 0 {
            tracing::info!("{} more config entries changed", difference.untold);
        }
        for waiting in &difference.waiting {
            tracing::warn!("{waiting}");
        }
        let warnings = config.warnings.iter();
        for warning in warnings.filter(|it| !replaced.warnings.contains(it)) {
            tracing::warn!("{warning}");
        }
        self.reloads.taken_up.increment();
        self.reloads.failing.set(0);
        tracing::info!("reloaded config from {source}");
        // To free a hundred thousand entries takes longer than a request may wait.
        drop(tokio::task::spawn_blocking(move || {
            drop((before, replaced))
        }));
    }

    /// Keeps what is in force, for what `source` says cannot be used. Tells it once for each change: the same failure again
    /// is no news.
    pub(crate) fn keep(&self, source: &str, message: String) {
        let known = self.status.borrow().failure.as_ref() == Some(&message);
        if known {
            return;
        }
        self.reloads.failed.increment();
        self.reloads.failing.set(1);
        tracing::warn!("failed to reload config from {source}: {message}; keeping previous config");
        self.status
            .send_modify(|status| status.failure = Some(message));
    }

    /// Makes an edit, for every access that begins from now on.
    pub(crate) async fn edit(self: Arc<Self>, edit: Edit) -> Result<(), Error> {
        // A long list takes its time to compile.
        let edited = tokio::task::spawn_blocking(move || self.edit_now(&edit)).await;
        match edited {
            Ok(Ok(sentence)) => {
                if let Some(sentence) = sentence {
                    tracing::info!("{sentence}");
                }
                Ok(())
            }
            Ok(Err(error)) => {
                let kind = match error {
                    EditError::InvalidHost(_) => ErrorKind::Host,
                    EditError::Limited { .. } => ErrorKind::Limit,
                };
                Err(Error::new(kind, error.to_string(), error))
            }
            Err(error) => Err(Error::new(ErrorKind::Task, "an edit was not made", error)),
        }
    }

    fn edit_now(&self, edit: &Edit) -> Result<Option<String>, EditError> {
        let changing = self.changing();
        let Some(Edited { config, sentence }) = self.config().edited(edit)? else {
            return Ok(None);
        };
        self.store.replace(compile(&config.rules, *changing));
        self.status.send_modify(|status| {
            status.since = SystemTime::now();
            status.config = Arc::new(config);
        });
        Ok(Some(sentence))
    }
}

/// The authority is opened at start or not at all: without it a policy that wants TLS opened refuses what it cannot open.
fn compile(rules: &Rules, available: Interception) -> Policy {
    let mut rules = rules.clone();
    if rules.tls.interception != Interception::Unavailable {
        rules.tls.interception = available;
    }
    Policy::compile(rules)
}
