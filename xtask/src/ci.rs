//! What `check` and `ci` run, in order.
//!
//! A list of steps and nothing else: how a step is run and reported is in `step.rs`. What `ci` runs has to pass on a new
//! machine with two cores and no standard input; installing things is the job of `.ci/run`.

use std::path::Path;

use crate::step::{Steps, cargo};
use crate::{api, bench, budget, fuzz, supply, tidy};

const CLIPPY: [&str; 6] = [
    "clippy",
    "--workspace",
    "--all-targets",
    "--",
    "-D",
    "warnings",
];
const FORMAT: [&str; 3] = ["fmt", "--all", "--check"];

/// What a person runs before every commit.
pub(crate) fn check(root: &Path) -> bool {
    let mut steps = Steps::new(root);
    steps.cargo("format", &FORMAT, &[]);
    steps.cargo("clippy", &CLIPPY, &[]);
    let tests = steps.tests("unit tests", &["test", "--workspace", "--lib", "--bins"]);
    let good = steps.finish();
    println!("{}", tests.closing_line());
    good
}

/// Everything. The closing line says how many tests ran, and how many could not run on this machine and why.
pub(crate) fn ci(root: &Path) -> bool {
    let mut steps = Steps::new(root);
    steps.cargo("format", &FORMAT, &[]);
    steps.check("tidy", tidy::run);
    steps.check("public interface", api::check);
    steps.cargo("clippy", &CLIPPY, &[]);
    steps.cargo(
        "documentation",
        &["doc", "--workspace", "--no-deps"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    );
    // As the README prints it.
    let tests = steps.tests("tests", &["test", "--workspace"]);
    let library = [
        "check",
        "--package",
        "codex-network-proxy",
        "--no-default-features",
        "--lib",
    ];
    steps.cargo("library without features", &library, &[]);
    steps.check("fuzz targets", fuzz::smoke);
    if has_cargo_deny(root) {
        steps.cargo(
            "dependencies",
            &[
                "deny",
                "--all-features",
                "check",
                "bans",
                "licenses",
                "sources",
            ],
            &[],
        );
    } else {
        println!(
            "==> dependencies: cargo-deny is not installed, so only the bans in tidy were checked"
        );
    }
    steps.check("dependencies on record", supply::vet);
    steps.check("bill of materials", supply::sbom);
    steps.check("budget of crates", budget::crates);
    let release = [
        "build",
        "--release",
        "--package",
        "codex-network-proxy",
        "--bin",
        "codex-network-proxy",
    ];
    if steps.cargo("release build", &release, &[]) {
        steps.check("size of the binary", budget::binary_size);
        steps.check("memory at rest", budget::memory_at_rest);
        steps.check("speed beside plain relays", bench::smoke);
    }
    let good = steps.finish();
    for skipped in &tests.skipped {
        println!("{skipped}");
    }
    println!("{}", tests.closing_line());
    good
}

fn has_cargo_deny(root: &Path) -> bool {
    cargo(root)
        .args(["deny", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}
