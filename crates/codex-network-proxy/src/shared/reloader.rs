//! Asks an embedding program for its next configuration.
//!
//! Main types: [`ConfigReloader`], which the program implements, and [`Polling`], a task that the proxy's handle owns. A
//! reloader is asked now and then, and before what the state is asked itself; what it answers comes into force at once.
//! One that panics, fails or hangs leaves in force what is. Nobody's request waits for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, timeout};

use super::ConfigState;
use crate::error::{Error, ErrorKind};
use crate::in_force::{InForce, Requests};

/// How often a reloader is asked.
const EVERY: Duration = Duration::from_millis(100);

/// How long it may take to answer.
const LONGEST_CALL: Duration = Duration::from_secs(10);

/// Knows where an embedding program's configuration comes from.
#[async_trait]
pub trait ConfigReloader: Send + Sync {
    /// What the log calls the place that it comes from.
    fn source_label(&self) -> String;

    /// The next configuration, if there is another one than at the last call.
    async fn maybe_reload(&self) -> anyhow::Result<Option<ConfigState>>;

    /// The configuration as it is now, changed or not.
    async fn reload_now(&self) -> anyhow::Result<ConfigState>;
}

/// Whether a reloader is asked for news or for everything.
#[derive(Clone, Copy, Debug)]
enum Asked {
    ForNews,
    Now,
}

/// A reloader, asked by one at a time, so that an older answer never follows a newer one.
#[derive(Clone)]
pub(super) struct Reloading {
    reloader: Arc<dyn ConfigReloader>,
    turn: Arc<Semaphore>,
}

impl fmt::Debug for Reloading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading").finish_non_exhaustive()
    }
}

impl Reloading {
    pub(super) fn new(reloader: Arc<dyn ConfigReloader>) -> Self {
        Self {
            reloader,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Puts in force what the reloader has, if it has anything new.
    pub(super) async fn refresh(&self, in_force: &Arc<InForce>) {
        // Whatever went wrong is in the log and in the status, and what is in force stays.
        let _ = self.ask(in_force, Asked::ForNews).await;
    }

    /// Puts in force what the reloader has.
    pub(super) async fn reload(&self, in_force: &Arc<InForce>) -> Result<(), Error> {
        self.ask(in_force, Asked::Now).await
    }

    async fn ask(&self, in_force: &Arc<InForce>, asked: Asked) -> Result<(), Error> {
        let this = self.clone();
        let in_force = Arc::clone(in_force);
        // A task that ends by itself and not with its caller, for an answer that was given must not be lost.
        let turn = tokio::spawn(async move { this.take_turn(in_force, asked).await });
        turn.await
            .map_err(|error| Error::new(ErrorKind::Task, "a reload was not made", error))?
    }

    async fn take_turn(self, in_force: Arc<InForce>, asked: Asked) -> Result<(), Error> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>, message: String| {
            in_force.keep(&self.label(), message.clone());
            Err(Error::new(ErrorKind::Reload, message, source))
        };
        let turn = timeout(2 * LONGEST_CALL, Arc::clone(&self.turn).acquire_owned()).await;
        let Ok(Ok(_turn)) = turn else {
            return failed(
                "another reload hangs".into(),
                "it did not answer in time".to_owned(),
            );
        };
        let reloader = Arc::clone(&self.reloader);
        // Once more a task, so that a panic of somebody else's is no panic here.
        let mut call = tokio::spawn(async move {
            match asked {
                Asked::ForNews => reloader.maybe_reload().await,
                Asked::Now => reloader.reload_now().await.map(Some),
            }
        });
        let state = match timeout(LONGEST_CALL, &mut call).await {
            Ok(Ok(Ok(None))) => return Ok(()),
            Ok(Ok(Ok(Some(state)))) => state,
            Ok(Ok(Err(error))) => {
                let message = format!("{error:#}");
                return failed(error.into(), message);
            }
            Ok(Err(error)) => return failed(error.into(), "the reloader failed".to_owned()),
            Err(elapsed) => {
                call.abort();
                return failed(elapsed.into(), "it did not answer in time".to_owned());
            }
        };
        let compiling = Arc::clone(&in_force);
        let changed = tokio::task::spawn_blocking(move || compiling.prepare(state.into_parts().0));
        match changed.await {
            Ok(changed) => {
                in_force.put_in_force(*changed, &self.label());
                Ok(())
            }
            Err(error) => failed(error.into(), "it could not be compiled".to_owned()),
        }
    }

    /// A label of somebody else's may panic too.
    fn label(&self) -> String {
        let label = std::panic::AssertUnwindSafe(|| self.reloader.source_label());
        std::panic::catch_unwind(label).unwrap_or_else(|_| "the embedding program".to_owned())
    }
}

/// Asks a state's reloader for as long as a proxy runs.
pub(crate) struct Polling {
    reloading: Reloading,
    in_force: Arc<InForce>,
    requests: Requests,
}

impl Polling {
    pub(super) fn new(reloading: Reloading, in_force: Arc<InForce>, requests: Requests) -> Self {
        Self {
            reloading,
            in_force,
            requests,
        }
    }

    /// Runs until `draining` says that the proxy ends.
    pub(crate) async fn run(self, mut draining: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = draining.wait_for(|draining| *draining) => return,
                () = self.requests.requested() => Asked::Now,
                _ = tick.tick() => Asked::ForNews,
            };
            tokio::select! {
                _ = draining.wait_for(|draining| *draining) => return,
                // Told of already, where it failed.
                _ = self.reloading.ask(&self.in_force, asked) => {}
            }
        }
    }
}
