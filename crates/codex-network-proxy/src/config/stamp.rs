//! What tells one state of a file from another: time, size, identity, and a hash of the content.
//!
//! Main type: [`Stamp`]. Comes in: an open file, or the failure to open it. Goes out: equal or not. The content counts as
//! well, because some file systems keep times of whole seconds and some editors restore them.

use std::fs::{File, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A million patterns fit; a device file or a log that was named by mistake does not fill the memory.
pub(super) const SIZE_LIMIT: u64 = 16 * 1024 * 1024;

/// A file as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// There is none.
    Missing,
    /// It could not be looked at.
    Unreadable(ErrorKind),
    /// What the file system says of it, and a hash of what it held if it was read.
    Present {
        facts: Facts,
        content: Option<u64>,
        /// When it was looked at.
        seen: SystemTime,
    },
}

/// What the file system says without reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    length: u64,
    modified: Option<SystemTime>,
    /// Device, number and time of change, where the platform has them. The last one cannot be set back.
    identity: Option<(u64, u64, i64, i64)>,
}

/// Within this time after a change another one may leave the same time stamp: FAT counts in steps of two seconds.
const COARSEST_CLOCK: Duration = Duration::from_secs(3);

impl Stamp {
    /// Of what was read from a file.
    pub(crate) fn read(metadata: &Metadata, content: &[u8]) -> Self {
        Self::Present {
            facts: Facts::of(metadata),
            content: Some(hash(content)),
            seen: SystemTime::now(),
        }
    }

    /// Of a file that was not read, or could not be.
    pub(crate) fn of(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Ok(metadata) => Self::Present {
                facts: Facts::of(&metadata),
                content: None,
                seen: SystemTime::now(),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Self::Missing,
            Err(error) => Self::Unreadable(error.kind()),
        }
    }

    /// Whether the file is another now. `thorough` reads it even where the file system says that nothing has changed.
    pub(crate) fn is_outdated(&self, path: &Path, thorough: bool) -> bool {
        let now = Self::of(path);
        match (self, &now) {
            (Self::Missing, Self::Missing) => false,
            (Self::Unreadable(before), Self::Unreadable(after)) => before != after,
            (
                Self::Present {
                    facts: before,
                    content,
                    seen,
                },
                Self::Present { facts: after, .. },
            ) => {
                before != after
                    || ((thorough || before.is_recent(*seen)) && content_differs(*content, path))
            }
            (Self::Missing | Self::Unreadable(_) | Self::Present { .. }, _) => true,
        }
    }
}

impl Facts {
    fn of(metadata: &Metadata) -> Self {
        Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            identity: identity(metadata),
        }
    }

    /// Whether the file was so young when it was looked at that a later change could carry the same time.
    fn is_recent(&self, seen: SystemTime) -> bool {
        let changed = match self.identity {
            Some((_, _, seconds, _)) => u64::try_from(seconds).ok().and_then(|seconds| {
                SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
            }),
            None => self.modified,
        };
        // A time in the future, or none: nothing is sure.
        changed.is_none_or(|changed| {
            seen.duration_since(changed)
                .map_or(true, |age| age < COARSEST_CLOCK)
        })
    }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Option<(u64, u64, i64, i64)> {
    use std::os::unix::fs::MetadataExt as _;
    Some((
        metadata.dev(),
        metadata.ino(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ))
}

#[cfg(not(unix))]
fn identity(_metadata: &Metadata) -> Option<(u64, u64, i64, i64)> {
    None
}

/// The bytes of a regular file within the limit, with what the file system said of it before.
pub(super) fn content(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // The limit holds for what is read, not for what the metadata said before.
    File::open(path)?
        .take(SIZE_LIMIT + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Unsure counts as different: to read once more costs little.
fn content_differs(before: Option<u64>, path: &Path) -> bool {
    match before {
        Some(before) => content(path).map_or(true, |content| hash(&content) != before),
        // It was no file that could be read, and nothing says that it has become one.
        None => false,
    }
}

fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system whose clock has not moved between two contents of one length.
    fn of_other_content(path: &Path, age: Duration) -> Stamp {
        let metadata = std::fs::metadata(path).unwrap();
        let seen = SystemTime::now() + age;
        match Stamp::read(&metadata, b"bbbb") {
            Stamp::Present { facts, content, .. } => Stamp::Present {
                facts,
                content,
                seen,
            },
            other => other,
        }
    }

    #[test]
    fn content_counts_where_the_clock_is_coarse() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        std::fs::write(&path, "aaaa").unwrap();
        let same = Stamp::read(&std::fs::metadata(&path).unwrap(), b"aaaa");
        assert!(!same.is_outdated(&path, true));
        // Looked at when it was young: the next write may bear the same time.
        assert!(of_other_content(&path, Duration::ZERO).is_outdated(&path, false));
        // Long settled: the file system would have told.
        let settled = of_other_content(&path, Duration::from_secs(60));
        assert!(!settled.is_outdated(&path, false));
        // Unless somebody reports that something has happened.
        assert!(settled.is_outdated(&path, true));
    }

    #[test]
    fn a_time_that_was_set_back_hides_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        std::fs::write(&path, "aaaa").unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        let before = Stamp::read(&metadata, b"aaaa");
        std::fs::write(&path, "bbbb").unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(metadata.modified().unwrap()).unwrap();
        assert!(before.is_outdated(&path, false));
    }

    #[test]
    fn appearing_vanishing_and_becoming_a_directory_are_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        assert!(!Stamp::of(&path).is_outdated(&path, true));
        let missing = Stamp::of(&path);
        std::fs::create_dir(&path).unwrap();
        assert!(missing.is_outdated(&path, false));
        let folder = Stamp::of(&path);
        assert!(!folder.is_outdated(&path, true));
        std::fs::remove_dir(&path).unwrap();
        assert!(folder.is_outdated(&path, false));
    }
}
