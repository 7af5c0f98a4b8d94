//! Hears from the system that something has changed around the files.
//!
//! Main type: [`Watcher`]. Comes in: paths. Goes out: a wake-up for every report that names an entry through which one of
//! them can change. Reports are hints: whoever is woken looks at the files, and looks now and then without one.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::config::Surroundings;

/// Watches the surroundings of some files. The default watches nothing.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    system: Option<RecommendedWatcher>,
    names: Arc<Mutex<BTreeSet<OsString>>>,
    around: Surroundings,
    hears_all: bool,
}

impl Watcher {
    /// Wakes `wake`.
    pub(crate) fn new(wake: Arc<Notify>) -> Self {
        let names: Arc<Mutex<BTreeSet<OsString>>> = Arc::default();
        let known = Arc::clone(&names);
        let heard = move |event: notify::Result<Event>| {
            let names = known.lock().unwrap_or_else(PoisonError::into_inner);
            // A report that was lost may have been any.
            if event.is_err() || event.is_ok_and(|event| matters(&event, &names)) {
                wake.notify_one();
            }
        };
        let system = notify::recommended_watcher(heard);
        if let Err(error) = &system {
            tracing::debug!(%error, "changes of config files are not reported here; they are looked for");
        }
        Self {
            system: system.ok(),
            names,
            around: Surroundings::default(),
            hears_all: false,
        }
    }

    /// Whether everything that was asked for is watched.
    pub(crate) fn hears_all(&self) -> bool {
        self.hears_all
    }

    /// Whether what is watched is what lies around these files.
    pub(crate) fn is_around<'a>(&self, paths: impl Iterator<Item = &'a Path>) -> bool {
        self.system.is_none() || self.around == Surroundings::of(paths)
    }

    /// Watches around these files and no others.
    pub(crate) fn watch<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) {
        let around = Surroundings::of(paths);
        self.names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&around.names);
        let before = std::mem::replace(&mut self.around, around);
        let Some(system) = &mut self.system else {
            return;
        };
        // Anew, though the path is the same: the directory may be another.
        for directory in &before.directories {
            let _ = system.unwatch(directory);
        }
        self.hears_all = true;
        for directory in &self.around.directories {
            if let Err(error) = system.watch(directory, RecursiveMode::NonRecursive) {
                tracing::debug!(%error, "a directory of config files cannot be watched");
                self.hears_all = false;
            }
        }
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
