//! Hears from the system that something has changed around the files.
//!
//! Main type: [`Watcher`]. Comes in: paths. Goes out: a wake-up for every report that names an entry through which one of
//! them can change. Reports are hints: whoever is woken looks at the files, and looks now and then without one. Without the
//! feature `watch` nothing is ever heard.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::config::Surroundings;

#[cfg(feature = "watch")]
mod reports;

#[cfg(feature = "watch")]
use reports::Reports;

/// Without the feature there are none.
#[cfg(not(feature = "watch"))]
#[derive(Debug)]
enum Reports {}

/// The names of entries that matter, shared with whoever receives reports.
type Names = Arc<Mutex<BTreeSet<OsString>>>;

/// Watches the surroundings of some files. The default watches nothing.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    reports: Option<Reports>,
    names: Names,
    around: Surroundings,
    hears_all: bool,
}

impl Watcher {
    /// Wakes `wake`.
    pub(crate) fn new(wake: Arc<Notify>) -> Self {
        let names = Names::default();
        Self {
            reports: Reports::start(wake, &names),
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
        self.reports.is_none() || self.around == Surroundings::of(paths)
    }

    /// Watches around these files and no others.
    pub(crate) fn watch<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) {
        let Some(reports) = &mut self.reports else {
            return;
        };
        let around = Surroundings::of(paths);
        self.names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&around.names);
        let before = std::mem::replace(&mut self.around, around);
        // Anew, though the path is the same: the directory may be another.
        for directory in &before.directories {
            reports.unwatch(directory);
        }
        self.hears_all = true;
        for directory in &self.around.directories {
            self.hears_all &= reports.watch(directory);
        }
    }
}

#[cfg(not(feature = "watch"))]
impl Reports {
    fn start(_wake: Arc<Notify>, _names: &Names) -> Option<Self> {
        None
    }

    fn watch(&mut self, _directory: &Path) -> bool {
        match *self {}
    }

    fn unwatch(&mut self, _directory: &Path) {
        match *self {}
    }
}
