//! Which config files of a project count: from its root down to the working directory, if the user trusts it.
//!
//! Main function: [`candidates`]. Comes in: the user's own layers and the working directory. Goes out: the files that may
//! be read, whether or not they exist, each with whether it is trusted. It reads none of them.

use std::path::{Path, PathBuf};

use super::entry::Table;
use super::error::ConfigError;

/// A file that a project may have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) file: PathBuf,
    pub(super) trusted: bool,
}

/// The files from the project's root, the lowest layer, down to `directory`.
pub(super) fn candidates(
    root: &Table<'_>,
    directory: &Path,
) -> Result<Vec<Candidate>, ConfigError> {
    let markers = markers(root)?;
    let project = ancestor_with(directory, &markers).unwrap_or(directory);
    let repository = ancestor_with(directory, &[".git".to_owned()]);
    let trusted = trusted(root)?;
    let mut directories: Vec<&Path> = directory
        .ancestors()
        .take_while(|ancestor| ancestor.starts_with(project))
        .collect();
    directories.reverse();
    let trusts = |path: &Path| trusted.iter().any(|known| same_directory(known, path));
    let whole = trusts(project) || repository.is_some_and(trusts);
    let candidates = directories.into_iter().map(|directory| Candidate {
        file: directory.join(".codex").join("config.toml"),
        trusted: whole || trusts(directory),
    });
    Ok(candidates.collect())
}

fn markers(root: &Table<'_>) -> Result<Vec<String>, ConfigError> {
    match root.entry("project_root_markers") {
        Some(entry) => {
            let texts = entry.texts()?;
            texts.map(|text| Ok(text?.as_str().to_owned())).collect()
        }
        None => Ok(vec![".git".to_owned()]),
    }
}

fn ancestor_with<'a>(directory: &'a Path, markers: &[String]) -> Option<&'a Path> {
    directory
        .ancestors()
        .find(|ancestor| markers.iter().any(|marker| ancestor.join(marker).exists()))
}

/// The paths of `[projects]` that are trusted. Codex keeps other keys there, which are not looked at.
fn trusted(root: &Table<'_>) -> Result<Vec<PathBuf>, ConfigError> {
    let Some(projects) = root.entry("projects") else {
        return Ok(Vec::new());
    };
    let mut trusted = Vec::new();
    for entry in projects.table()?.entries() {
        let Some(level) = entry.table()?.entry("trust_level") else {
            continue;
        };
        if level.text()?.as_str() == "trusted" {
            trusted.push(PathBuf::from(entry.key()));
        }
    }
    Ok(trusted)
}

/// Compared as text, and with links followed: Codex writes down either.
#[expect(
    clippy::disallowed_methods,
    reason = "trust is given to a directory, and a link to it is the same directory"
)]
fn same_directory(known: &Path, path: &Path) -> bool {
    if known == path {
        return true;
    }
    match (known.canonicalize(), path.canonicalize()) {
        (Ok(known), Ok(path)) => known == path,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
    }
}
