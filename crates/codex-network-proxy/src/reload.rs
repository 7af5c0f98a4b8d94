//! Keeps the policy in step with its files while the proxy runs.
//!
//! Main type: [`Reload`], a task that the proxy's handle owns. Comes in: changes that the system reports, a look at the
//! files every now and then, and requests. Goes out: a policy compiled aside and put in force at once, the differences in
//! the log, and a [`PolicyStatus`] for whoever wants to know. Files that cannot be used change nothing: the last good
//! policy stays, and the log says so once. It does not decide what the files mean.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use codex_network_gate::Gate;
use codex_network_policy::{Interception, Policy, Rules};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::config::{Difference, LoadedConfig, Looked, Source};
use crate::meters::Meters;

mod watcher;

use watcher::Watcher;

/// How long writing may pause before the file counts as written.
const SETTLE: Duration = Duration::from_millis(20);
/// A file that is written to without end is read all the same after so many pauses.
const MOST_PAUSES: usize = 4;
/// How often the files are looked at while changes are reported besides.
const LOOK: Duration = Duration::from_millis(500);
/// And where nothing reports them.
const LOOK_ALONE: Duration = Duration::from_millis(100);
/// How often a file that could not be read, for want of descriptors perhaps, is tried again.
const RETRY: Duration = Duration::from_secs(2);

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
}

/// The task.
pub(crate) struct Reload {
    gate: Arc<Gate>,
    source: Arc<Source>,
    status: watch::Sender<PolicyStatus>,
    requests: Requests,
    interception: Interception,
    meters: Arc<Meters>,
    looked: Looked,
    watcher: Watcher,
    wake: Arc<Notify>,
}

/// What a look at the files came to.
enum Found {
    Same,
    /// Not what they were at the last look, and perhaps not yet what they are to be.
    Moving,
    Changed(Box<Changed>),
    Broken {
        message: String,
        /// Trying again may help, though the file stays as it is.
        unreadable: bool,
    },
}

/// What is to come into force.
struct Changed {
    config: LoadedConfig,
    policy: Policy,
    difference: Difference,
}

/// What to do after a look.
enum Next {
    /// Wait for a change.
    Wait,
    /// Look again, for other places are watched now.
    Again,
    /// Look again when the files have come to rest.
    Settle,
    /// Try again after a while, although the files stay as they are.
    Retry,
}

impl Reload {
    /// For a configuration that was read from files; `None` for one that was not.
    pub(crate) fn new(
        gate: Arc<Gate>,
        status: watch::Sender<PolicyStatus>,
        requests: Requests,
        interception: Interception,
        meters: Arc<Meters>,
    ) -> Option<Self> {
        let config = Arc::clone(&status.borrow().config);
        let source = Arc::clone(config.source()?);
        let wake: Arc<Notify> = Arc::default();
        Some(Self {
            gate,
            source,
            status,
            requests,
            interception,
            meters,
            looked: config.looked().clone(),
            watcher: Watcher::new(Arc::clone(&wake)),
            wake,
        })
    }

    /// Runs until `draining` says that the proxy ends.
    pub(crate) async fn run(mut self, draining: watch::Receiver<bool>) {
        tokio::select! {
            () = ended(draining) => {}
            () = self.keep_in_step() => {}
        }
    }

    async fn keep_in_step(&mut self) {
        let mut look = tokio::time::interval(LOOK_ALONE);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut retry_at = None;
        // The files may have changed between being read and being watched.
        let (mut thorough, mut forced) = (true, false);
        loop {
            let next = self.look(thorough, forced).await;
            match next {
                Next::Wait => retry_at = retry_at.filter(|_| !thorough && !forced),
                Next::Again => {
                    (thorough, forced) = (true, false);
                    continue;
                }
                Next::Settle => {
                    self.settle().await;
                    (thorough, forced) = (true, false);
                    continue;
                }
                Next::Retry => retry_at = Some(Instant::now() + RETRY),
            }
            look.reset_after(if self.watcher.hears_all() {
                LOOK
            } else {
                LOOK_ALONE
            });
            tokio::select! {
                () = self.requests.0.notified() => (thorough, forced) = (true, true),
                () = self.wake.notified() => {
                    self.settle().await;
                    (thorough, forced) = (true, false);
                }
                _ = look.tick() => {
                    let due = retry_at.is_some_and(|at| at <= Instant::now());
                    (thorough, forced) = (false, due);
                }
            }
        }
    }

    /// Waits until nothing has been written for a moment. Half a file may be a policy too, and a wider one.
    async fn settle(&self) {
        for _ in 0..MOST_PAUSES {
            let more = tokio::time::timeout(SETTLE, self.wake.notified()).await;
            if more.is_err() {
                return;
            }
        }
    }

    /// Looks at the files, and puts in force what they say.
    async fn look(&mut self, thorough: bool, forced: bool) -> Next {
        let before = Arc::clone(&self.status.borrow().config);
        let source = Arc::clone(&self.source);
        let interception = self.interception;
        let mut looked = std::mem::take(&mut self.looked);
        let mut watcher = std::mem::take(&mut self.watcher);
        let work = tokio::task::spawn_blocking(move || {
            // Watched before they are looked at, so that no change falls between the two.
            if thorough {
                watcher.watch(looked.paths());
            }
            let found = if !forced && !looked.is_outdated(thorough) {
                Found::Same
            } else if !forced && !thorough {
                Found::Moving
            } else {
                looked = Looked::default();
                load(&source, &before, interception, &mut looked)
            };
            // What is in force stands in the files; a configuration of a million entries is dropped here and not there.
            drop(before);
            let moved = !watcher.is_around(looked.paths());
            if moved {
                watcher.watch(looked.paths());
            }
            (found, moved, looked, watcher)
        });
        let Ok((found, moved, looked, watcher)) = work.await else {
            // The runtime ends, or the reader panicked: the policy stays as it is.
            return Next::Wait;
        };
        (self.looked, self.watcher) = (looked, watcher);
        let next = if moved { Next::Again } else { Next::Wait };
        match found {
            Found::Same => next,
            Found::Moving => Next::Settle,
            Found::Changed(changed) => {
                self.put_in_force(*changed);
                next
            }
            Found::Broken {
                message,
                unreadable,
            } => {
                self.keep(message);
                if unreadable { Next::Retry } else { next }
            }
        }
    }

    fn put_in_force(&self, changed: Changed) {
        let Changed {
            config,
            policy,
            difference,
        } = changed;
        if difference.changes_policy() {
            self.gate.store().replace(policy);
        }
        for change in &difference.changes {
            tracing::info!("{change}");
        }
        if difference.untold > 0 {
            tracing::info!("{} more config entries changed", difference.untold);
        }
        for waiting in &difference.waiting {
            tracing::warn!("{waiting}");
        }
        self.meters.reloads.taken_up.increment();
        self.meters.reloads.failing.set(0);
        let config = Arc::new(config);
        let mut before = Arc::clone(&config);
        self.status.send_modify(|status| {
            if difference.changes_policy() {
                status.since = SystemTime::now();
            }
            before = std::mem::replace(&mut status.config, config);
            status.failure = None;
        });
        let after = Arc::clone(&self.status.borrow().config);
        for warning in after
            .warnings
            .iter()
            .filter(|it| !before.warnings.contains(it))
        {
            tracing::warn!("{warning}");
        }
        tracing::info!("reloaded config from config layers");
        // To free a hundred thousand entries takes longer than a request may wait.
        drop(tokio::task::spawn_blocking(move || drop(before)));
    }

    /// Once for each change: the same failure again is no news.
    fn keep(&self, message: String) {
        let known = self.status.borrow().failure.as_ref() == Some(&message);
        if known {
            return;
        }
        self.meters.reloads.failed.increment();
        self.meters.reloads.failing.set(1);
        tracing::warn!(
            "failed to reload config from config layers: {message}; keeping previous config"
        );
        self.status
            .send_modify(|status| status.failure = Some(message));
    }
}

async fn ended(mut draining: watch::Receiver<bool>) {
    // The handle that could say more is gone, or has said it.
    let _ = draining.wait_for(|draining| *draining).await;
}

/// The authority is opened at start or not at all: without it a policy that wants TLS opened refuses what it cannot open.
pub(crate) fn limit_interception(rules: &mut Rules, available: Interception) {
    if rules.tls.interception != Interception::Unavailable {
        rules.tls.interception = available;
    }
}

fn load(
    source: &Arc<Source>,
    before: &LoadedConfig,
    interception: Interception,
    looked: &mut Looked,
) -> Found {
    match LoadedConfig::load(source, looked) {
        Ok(config) => {
            let difference = Difference::between(before, &config);
            let mut rules = config.rules.clone();
            limit_interception(&mut rules, interception);
            Found::Changed(Box::new(Changed {
                policy: Policy::compile(rules),
                config,
                difference,
            }))
        }
        Err(error) => Found::Broken {
            unreadable: error.is_unreadable(),
            message: error.summary(),
        },
    }
}
