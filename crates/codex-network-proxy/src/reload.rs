//! Keeps the policy in step with its files while the proxy runs.
//!
//! Main type: [`Reload`], a task that the proxy's handle owns. Comes in: changes that the system reports, a look at the
//! files every now and then, and requests. Goes out: a policy compiled aside and put in force at once, the differences in
//! the log, and the new status for whoever wants to know. Files that cannot be used change nothing: the last good
//! policy stays, and the log says so once. It does not decide what the files mean.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::config::{ConfigError, LoadedConfig, Looked, Source};
use crate::error::{Error, ErrorKind};
use crate::in_force::{Changed, InForce, Requests};

mod watcher;

use watcher::Watcher;

/// What the log calls the files.
const SOURCE: &str = "config layers";
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

/// The task.
pub(crate) struct Reload {
    in_force: Arc<InForce>,
    source: Arc<Source>,
    requests: Requests,
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
    pub(crate) fn new(in_force: Arc<InForce>, requests: Requests) -> Option<Self> {
        let config = in_force.config();
        let source = Arc::clone(config.source()?);
        let wake: Arc<Notify> = Arc::default();
        Some(Self {
            in_force,
            source,
            requests,
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
                () = self.requests.requested() => (thorough, forced) = (true, true),
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
        let in_force = Arc::clone(&self.in_force);
        let source = Arc::clone(&self.source);
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
                load(&source, &in_force, &mut looked)
            };
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
                self.in_force.put_in_force(*changed, SOURCE);
                next
            }
            Found::Broken {
                message,
                unreadable,
            } => {
                self.in_force.keep(SOURCE, message);
                if unreadable { Next::Retry } else { next }
            }
        }
    }
}

async fn ended(mut draining: watch::Receiver<bool>) {
    // The handle that could say more is gone, or has said it.
    let _ = draining.wait_for(|draining| *draining).await;
}

fn load(source: &Arc<Source>, in_force: &InForce, looked: &mut Looked) -> Found {
    match LoadedConfig::load(source, looked) {
        Ok(config) => Found::Changed(in_force.prepare(config)),
        Err(error) => Found::Broken {
            unreadable: error.is_unreadable(),
            message: error.summary(),
        },
    }
}

/// Reads the files again, changed or not, and puts in force what they say. Without files nothing happens.
///
/// # Errors
/// [`ErrorKind::Reload`] where they cannot be used; what is in force stays.
pub(crate) async fn force(in_force: &Arc<InForce>) -> Result<(), Error> {
    let config = in_force.config();
    let Some(source) = config.source().map(Arc::clone) else {
        return Ok(());
    };
    let compiling = Arc::clone(in_force);
    let read = tokio::task::spawn_blocking(move || {
        let config = LoadedConfig::load(&source, &mut Looked::default())?;
        Ok(compiling.prepare(config))
    });
    let read: Result<_, ConfigError> = read
        .await
        .map_err(|error| Error::new(ErrorKind::Task, "a reload was not made", error))?;
    match read {
        Ok(changed) => {
            in_force.put_in_force(*changed, SOURCE);
            Ok(())
        }
        Err(error) => {
            in_force.keep(SOURCE, error.summary());
            Err(Error::new(ErrorKind::Reload, error.to_string(), error))
        }
    }
}
