//! `cargo xtask reproduce`: builds the release binary twice, in two places, and demands the same bytes.
//!
//! Main function: `run`. Each build has a copy of the tree and a build directory of its own below `target/reproduce`, so that a
//! path or a time that gets into the binary makes a difference. Same toolchain, same lock file, same machine: that another
//! machine builds the same is not proved here. Not part of `ci`, for it compiles everything twice.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::step::cargo;

const BINARY: &str = "codex-network-proxy";

/// Builds twice and compares.
pub(crate) fn run(root: &Path) -> bool {
    let place = root.join("target/reproduce");
    let names = ["one", "the-other-place"];
    // Both before the first build, for somebody may go on working meanwhile.
    for name in names {
        if let Err(why) = copy(root, &place.join(name).join("tree")) {
            println!("reproduce: {why}");
            return false;
        }
    }
    let mut sums = Vec::new();
    for name in names {
        match build(&place.join(name)) {
            Ok(sum) => {
                println!("{sum}  {name}");
                sums.push(sum);
            }
            Err(why) => {
                println!("reproduce: {why}");
                return false;
            }
        }
    }
    let same = sums.windows(2).all(|pair| pair[0] == pair[1]);
    println!(
        "reproduce: {}",
        if same {
            "both builds are the same"
        } else {
            "the builds differ"
        }
    );
    same
}

/// Builds the copy in this place, and returns the sum of the binary.
fn build(place: &Path) -> Result<String, String> {
    let tree = place.join("tree");
    let built = cargo(&tree)
        .args(["build", "--release", "--locked", "--package", BINARY])
        .args(["--bin", BINARY, "--target-dir"])
        .arg(place.join("build"))
        // What one has in the environment would be in one's own build only.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR")
        .env("CARGO_INCREMENTAL", "0")
        .status();
    if !built.is_ok_and(|status| status.success()) {
        return Err(format!("cannot build in {}", place.display()));
    }
    sum(&place.join("build/release").join(BINARY))
}

/// The files that git knows, as they are now.
fn copy(root: &Path, tree: &Path) -> Result<(), String> {
    let listed = Command::new("git")
        .current_dir(root)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .map_err(|error| format!("cannot run git: {error}"))?;
    let _ = std::fs::remove_dir_all(tree);
    for name in listed.stdout.split(|byte| *byte == 0) {
        let name = PathBuf::from(String::from_utf8_lossy(name).into_owned());
        let from = root.join(&name);
        // Inputs of fuzz targets are many and are not built.
        if !from.is_file() || name.starts_with("fuzz") {
            continue;
        }
        let to = tree.join(&name);
        let made = to.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::copy(&from, &to).map(drop))
            .map_err(|error| format!("cannot copy {}: {error}", name.display()))?;
    }
    Ok(())
}

fn sum(file: &Path) -> Result<String, String> {
    let output = Command::new("sha256sum")
        .arg(file)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run sha256sum: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let sum = text.split_whitespace().next().map(str::to_owned);
    sum.ok_or_else(|| format!("no sum of {}", file.display()))
}
