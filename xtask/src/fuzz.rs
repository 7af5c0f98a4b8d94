//! `cargo xtask fuzz`: builds the targets of `fuzz/` with the pinned toolchain and runs them.
//!
//! Main function: `run`. libFuzzer needs coverage in the code under test, which is a pass of the compiler, not a feature of
//! its nightly versions; AddressSanitizer, which would need one, has nothing to find where `unsafe` is forbidden. So
//! neither a second toolchain nor cargo-fuzz is wanted, and both work as well (`fuzz/` has the layout of cargo-fuzz). What a
//! run finds new goes to `fuzz/work`, from where `minimise` takes what the committed corpus lacks.

use std::path::{Path, PathBuf};

use crate::step::cargo;

/// One file each in `fuzz/fuzz_targets`, and one directory each in `fuzz/corpus`.
pub(crate) const TARGETS: [&str; 11] = [
    "address",
    "config",
    "frames",
    "head",
    "hello",
    "host",
    "overrides",
    "pattern",
    "requirements",
    "socks",
    "target",
];

/// What libFuzzer wants to know of the code that it drives.
const COVERAGE: [&str; 7] = [
    "--cfg=fuzzing",
    "-Ccodegen-units=16",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// With the triple named, build scripts and macros are built without coverage.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

const SMOKE_SECONDS: u32 = 3;
const SECONDS: u32 = 600;

/// What a person asked for, as words behind `fuzz`; `None` where they make no sense.
pub(crate) fn run(root: &Path, words: &[&str]) -> Option<bool> {
    match words {
        ["smoke"] => Some(smoke(root)),
        ["minimise"] => Some(each(root, minimise)),
        [] => Some(each(root, |root, target| fuzz(root, target, SECONDS))),
        [target, rest @ ..] if TARGETS.contains(target) => {
            let seconds = match rest {
                [] => SECONDS,
                [seconds] => seconds.parse().ok()?,
                [_, _, ..] => return None,
            };
            Some(build(root) && fuzz(root, target, seconds))
        }
        [_, ..] => None,
    }
}

/// The committed inputs, and a few seconds of new ones for each target.
pub(crate) fn smoke(root: &Path) -> bool {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        println!("SKIPPED fuzz: the targets are built for Linux on x86-64 only");
        return true;
    }
    each(root, |root, target| fuzz(root, target, SMOKE_SECONDS))
}

fn each(root: &Path, act: impl Fn(&Path, &str) -> bool) -> bool {
    // All of them, so that one run shows everything that is wrong.
    build(root)
        && TARGETS
            .iter()
            .filter(|target| !act(root, target))
            .inspect(|target| println!("fuzz: `{target}` has found something"))
            .count()
            == 0
}

fn build(root: &Path) -> bool {
    let flags = COVERAGE.join("\u{1f}");
    let mut build = cargo(root);
    build
        .current_dir(root.join("fuzz"))
        .args(["build", "--release", "--locked", "--target", TRIPLE])
        // Flags in the environment would replace ours or be replaced by them, and mean the proxy's own build.
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags);
    build.status().is_ok_and(|status| status.success())
}

fn fuzz(root: &Path, target: &str, seconds: u32) -> bool {
    let (work, corpus) = places(root, target);
    let artifacts = root.join("fuzz/artifacts").join(target).join("");
    if std::fs::create_dir_all(&work).is_err() || std::fs::create_dir_all(&artifacts).is_err() {
        println!("fuzz: cannot make directories below fuzz/");
        return false;
    }
    println!("--> {target}, {seconds} s");
    start(
        root,
        target,
        &[
            work.display().to_string(),
            corpus.display().to_string(),
            format!("-max_total_time={seconds}"),
            format!("-artifact_prefix={}", artifacts.display()),
            // Whatever takes so long stands still, for no target waits on the real clock.
            "-timeout=20".to_owned(),
            "-rss_limit_mb=3000".to_owned(),
            "-verbosity=0".to_owned(),
            "-print_final_stats=1".to_owned(),
        ],
    )
}

/// Takes into the corpus what covers more than the corpus does.
fn minimise(root: &Path, target: &str) -> bool {
    let (work, corpus) = places(root, target);
    let _ = std::fs::create_dir_all(&work);
    start(
        root,
        target,
        &[
            "-merge=1".to_owned(),
            "-verbosity=0".to_owned(),
            corpus.display().to_string(),
            work.display().to_string(),
        ],
    )
}

fn start(root: &Path, target: &str, arguments: &[String]) -> bool {
    let program = root
        .join("fuzz/target")
        .join(TRIPLE)
        .join("release")
        .join(target);
    let status = std::process::Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn places(root: &Path, target: &str) -> (PathBuf, PathBuf) {
    let fuzz = root.join("fuzz");
    (
        fuzz.join("work").join(target),
        fuzz.join("corpus").join(target),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_its_file_and_its_corpus() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let names = |directory: &str| {
            let mut names: Vec<String> = std::fs::read_dir(root.join(directory))
                .unwrap()
                .map(|entry| {
                    let path = entry.unwrap().path();
                    path.file_stem().unwrap().to_string_lossy().into_owned()
                })
                .collect();
            names.sort();
            names
        };
        assert_eq!(names("fuzz_targets"), TARGETS);
        assert_eq!(names("corpus"), TARGETS);
    }

    #[test]
    fn words_that_make_no_sense_start_nothing() {
        for words in [&["nothing"][..], &["host", "soon"], &["host", "1", "2"]] {
            assert_eq!(run(Path::new("."), words), None);
        }
    }
}
