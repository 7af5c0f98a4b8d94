//! Which directories to watch, so that a change of a file is heard wherever on its way it happens.
//!
//! Main type: [`Surroundings`]. Comes in: the paths of files, there or not. Goes out: the directories whose entries lead to
//! them (through links, and as far up as something exists), and the names in them that matter. It watches nothing.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Links beyond this many lead in a circle.
const MOST_LINKS: usize = 16;

/// What lies around some files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// Directories that exist.
    pub(crate) directories: BTreeSet<PathBuf>,
    /// The names of entries in them through which a file can change.
    pub(crate) names: BTreeSet<OsString>,
}

impl Surroundings {
    /// Of all of these files.
    pub(crate) fn of<'a>(paths: impl Iterator<Item = &'a Path>) -> Self {
        let mut around = Self::default();
        for path in paths {
            around.add(path);
        }
        around
    }

    /// A link can be pointed elsewhere, its target can be replaced, and so can a directory on the way.
    fn add(&mut self, path: &Path) {
        let Ok(mut path) = std::path::absolute(path) else {
            return;
        };
        for _ in 0..MOST_LINKS {
            self.add_entry(&path);
            for ancestor in path.ancestors().skip(1) {
                if ancestor.is_symlink() {
                    self.add_entry(ancestor);
                }
            }
            match (std::fs::read_link(&path), path.parent()) {
                (Ok(target), Some(parent)) => path = parent.join(target),
                (Ok(_) | Err(_), _) => break,
            }
        }
    }

    /// Watches where the entry is, or where the first missing directory on its way would appear.
    fn add_entry(&mut self, path: &Path) {
        let mut entry = path;
        while let Some(directory) = entry.parent() {
            self.names.extend(entry.file_name().map(OsStr::to_owned));
            if directory.is_dir() {
                self.directories.insert(directory.to_owned());
                return;
            }
            entry = directory;
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn around(path: &Path, root: &Path) -> (Vec<String>, Vec<String>) {
        let around = Surroundings::of(std::iter::once(path));
        let directories = around.directories.iter().map(|directory| {
            let inside = directory.strip_prefix(root).unwrap();
            inside.display().to_string()
        });
        let names = around.names.iter().map(|name| name.display().to_string());
        (directories.collect(), names.collect())
    }

    #[test]
    fn every_place_where_a_file_can_change_is_heard() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path();
        // As a cluster mounts configuration: a link to a link to a directory that is replaced as a whole.
        fs::create_dir_all(root.join("etc/..1")).unwrap();
        fs::write(root.join("etc/..1/config.toml"), "").unwrap();
        symlink("..1", root.join("etc/..data")).unwrap();
        symlink("..data/config.toml", root.join("etc/config.toml")).unwrap();
        assert_eq!(
            around(&root.join("etc/config.toml"), root),
            (
                vec!["etc".to_owned(), "etc/..data".to_owned()],
                vec!["..data".to_owned(), "config.toml".to_owned()]
            )
        );
        // What is not there can appear.
        assert_eq!(
            around(&root.join("etc/a/b/c"), root),
            (
                vec!["etc".to_owned()],
                vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]
            )
        );
        symlink("circle", root.join("circle")).unwrap();
        assert_eq!(
            around(&root.join("circle"), root),
            (vec![String::new()], vec!["circle".to_owned()])
        );
    }
}
