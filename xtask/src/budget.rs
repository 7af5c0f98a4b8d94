//! The budgets: how many crates an embedder and the binary draw in, and how large the binary is.
//!
//! Going over one is a decision: raise the number here in the commit that needs it, and say why there. Time is reported
//! by the step that builds.

use std::collections::BTreeSet;
use std::path::Path;

use crate::step::cargo;

const LIBRARY_CRATES: usize = 130;
const BINARY_CRATES: usize = 190;
const BINARY_BYTES: u64 = 12 * 1024 * 1024;

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
    // This program stands in `<target>/debug`, so the release binary is next door, wherever the target directory is.
    let built = std::env::current_exe().ok().and_then(|own| {
        let release = own.parent()?.parent()?.join("release");
        std::fs::metadata(release.join(format!("{PACKAGE}{}", std::env::consts::EXE_SUFFIX))).ok()
    });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_counts_once_however_often_it_is_printed() {
        let listing = "proxy v0.1.0 (/somewhere)\nsyn v2.0.1 (proc-macro)\nsyn v2.0.1 (proc-macro) (*)\nsyn v3.0.0\n\n";
        assert_eq!(distinct(listing), 3);
    }
}
