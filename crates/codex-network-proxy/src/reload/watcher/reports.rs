//! What the system reports of directories, by way of `notify`.
//!
//! Main type: [`Reports`]. Comes in: directories and the names that matter. Goes out: a wake-up for each report about one
//! of them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// An open channel to the system. It closes with the value.
#[derive(Debug)]
pub(super) struct Reports(RecommendedWatcher);

impl Reports {
    /// `None` where the system reports nothing.
    pub(super) fn start(wake: Arc<Notify>, names: &Arc<Mutex<BTreeSet<OsString>>>) -> Option<Self> {
        let known = Arc::clone(names);
        let heard = move |event: notify::Result<Event>| {
            let names = known.lock().unwrap_or_else(PoisonError::into_inner);
            // A report that was lost may have been any.
            if event.is_err() || event.is_ok_and(|event| matters(&event, &names)) {
                wake.notify_one();
            }
        };
        match notify::recommended_watcher(heard) {
            Ok(watcher) => Some(Self(watcher)),
            Err(error) => {
                tracing::debug!(%error, "changes of config files are not reported here; they are looked for");
                None
            }
        }
    }

    /// Whether it is watched from now on.
    pub(super) fn watch(&mut self, directory: &Path) -> bool {
        let watched = self.0.watch(directory, RecursiveMode::NonRecursive);
        if let Err(error) = &watched {
            tracing::debug!(%error, "a directory of config files cannot be watched");
        }
        watched.is_ok()
    }

    pub(super) fn unwatch(&mut self, directory: &Path) {
        // It may be gone, and its watch with it.
        let _ = self.0.unwatch(directory);
    }
}

/// Whether a report may be about one of the names. That somebody reads is none; we do so ourselves.
fn matters(event: &Event, names: &BTreeSet<OsString>) -> bool {
    let writes = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    };
    let named = |path: &PathBuf| path.file_name().is_none_or(|name| names.contains(name));
    writes && (event.paths.is_empty() || event.need_rescan() || event.paths.iter().any(named))
}
