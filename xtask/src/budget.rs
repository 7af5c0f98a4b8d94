//! The budgets: how many crates an embedder and the binary draw in, how large the binary is, and what it takes at rest.
//!
//! Going over one is a decision: raise the number here in the commit that needs it, and say why there. Time is reported
//! by the step that builds.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::step::cargo;

const LIBRARY_CRATES: usize = 130;
const BINARY_CRATES: usize = 190;
const BINARY_BYTES: u64 = 12 * 1024 * 1024;
/// PSS, with the built-in policy, before anybody has asked for anything.
const REST_KIB: u64 = 6 * 1024;

const PACKAGE: &str = "codex-network-proxy";

/// Prints the numbers of crates against their budgets.
pub(crate) fn crates(root: &Path) -> bool {
    let library = report(
        root,
        "library without default features",
        &["--no-default-features"],
        LIBRARY_CRATES,
    );
    let binary = report(root, "binary", &[], BINARY_CRATES);
    library && binary
}

fn report(root: &Path, what: &str, features: &[&str], budget: usize) -> bool {
    let arguments = [
        "tree",
        "--package",
        PACKAGE,
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let listing = match cargo(root).args(arguments).args(features).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        Ok(output) => {
            println!(
                "cargo tree failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
            return false;
        }
        Err(error) => {
            println!("cannot start cargo tree: {error}");
            return false;
        }
    };
    let count = distinct(&listing);
    println!("crates, {what}: {count} of at most {budget}");
    count <= budget
}

/// Packages in the output of `cargo tree`, each version once.
fn distinct(listing: &str) -> usize {
    let packages: BTreeSet<Vec<&str>> = listing
        .lines()
        .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>())
        .filter(|package| !package.is_empty())
        .collect();
    packages.len()
}

/// Prints the size of the release binary, which the step before has built, against its budget.
pub(crate) fn binary_size(_root: &Path) -> bool {
    let built = release_binary().and_then(|path| std::fs::metadata(path).ok());
    let Some(built) = built else {
        println!("the release binary is not where it should be");
        return false;
    };
    println!(
        "release binary: {} KiB of at most {} KiB",
        built.len() / 1024,
        BINARY_BYTES / 1024
    );
    built.len() <= BINARY_BYTES
}

/// Prints what memory the release binary takes at rest, against its budget.
pub(crate) fn memory_at_rest(root: &Path) -> bool {
    let home = root.join("target/at-rest");
    let started = release_binary().and_then(|path| {
        std::fs::create_dir_all(&home).ok()?;
        Command::new(path)
            .args(["--http-addr", "127.0.0.1:0", "--socks-addr", "127.0.0.1:0"])
            .env("CODEX_HOME", &home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()
    });
    let Some(mut child) = started else {
        println!("the release binary does not start");
        return false;
    };
    let kib = settled(&mut child);
    let _ = child.kill();
    let _ = child.wait();
    let Some(kib) = kib else {
        println!("memory at rest: this system does not say (no /proc/PID/smaps_rollup)");
        return !cfg!(target_os = "linux");
    };
    println!("memory at rest (PSS): {kib} KiB of at most {REST_KIB} KiB");
    kib <= REST_KIB
}

/// PSS in KiB, once it listens and does not grow any more.
fn settled(child: &mut Child) -> Option<u64> {
    let mut lines = BufReader::new(child.stderr.take()?).lines();
    while !lines.next()?.ok()?.contains("listening on") {}
    let mut last = 0;
    loop {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", child.id())).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        let kib = line.split_whitespace().next()?.parse().ok()?;
        if kib <= last {
            return Some(kib);
        }
        last = kib;
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// This program stands in `<target>/debug`, so the release binary is next door, wherever the target directory is.
fn release_binary() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let release = own.parent()?.parent()?.join("release");
    Some(release.join(format!("{PACKAGE}{}", std::env::consts::EXE_SUFFIX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_counts_once_however_often_it_is_printed() {
        let listing = "proxy v0.1.0 (/somewhere)\nsyn v2.0.1 (proc-macro)\nsyn v2.0.1 (proc-macro) (*)\nsyn v3.0.0\n\n";
        assert_eq!(distinct(listing), 3);
    }
}
