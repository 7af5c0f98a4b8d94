//! The files that git tracks or would track, as text.
//!
//! Main type: `Tree`, a map from path to text. Binary files are left out; nothing is written.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Paths (with `/`, from the repository's root) and the texts of their files.
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads the working tree: files in the index, and new ones that are not ignored.
    pub(crate) fn read(root: &Path) -> io::Result<Self> {
        let listing = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root)
            .stdin(Stdio::null())
            .output()?;
        if !listing.status.success() {
            let said = String::from_utf8_lossy(&listing.stderr).trim().to_owned();
            return Err(io::Error::other(format!("git ls-files failed: {said}")));
        }
        let mut files = BTreeMap::new();
        for path in listing.stdout.split(|byte| *byte == 0) {
            let path = String::from_utf8_lossy(path).into_owned();
            // A file of the index that was deleted, a link or a submodule has no text to look at.
            if root.join(&path).is_file()
                && let Ok(text) = String::from_utf8(std::fs::read(root.join(&path))?)
            {
                files.insert(path, text);
            }
        }
        Ok(Self { files })
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self {
            files: files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether a file, or a directory with files in it, has this path.
    pub(crate) fn holds(&self, path: &str) -> bool {
        let directory = format!("{}/", path.trim_end_matches('/'));
        path.is_empty()
            || self.files.contains_key(path)
            || self.files.keys().any(|file| file.starts_with(&directory))
    }
}
