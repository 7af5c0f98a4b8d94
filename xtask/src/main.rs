//! The developer's commands: `cargo xtask check | ci | tidy | api | bench | fuzz | defences | soak | scale | layout | reproduce | sbom | vet`.
//!
//! What a person or a CI machine runs before a change lands. The commands are lists of steps (`ci.rs`); what the
//! compiler cannot hold, `tidy` holds; what other programs build on, `api` writes down. Nothing here ships, and nothing here
//! is needed to build or use the proxy.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program for developers"
)]

mod api;
mod bench;
mod budget;
mod ci;
mod defences;
mod fuzz;
mod layout;
mod reproduce;
mod scale;
mod soak;
mod step;
mod supply;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask <command>

Commands:
  check   Before every commit: format, clippy, unit tests (under a minute when warm)
  ci      What .ci/run and the workflow call: format, tidy, clippy, docs, all tests, the library
          without default features, the public interface, dependency bans, budgets, the release
          binary
  tidy    Floors between modules, counts that keep the gate the only way out, house indicators,
          machine paths, links between documents
  api     Writes docs/api/ anew: everything that other programs can name in the three crates
  bench   The proxy beside plain relays and the other proxies that are installed, written into
          docs/performance.md; `bench --rounds N`; `bench smoke` a short run; `bench --install-peers`
          gets the other proxies from Debian and PyPI
  fuzz    All targets of fuzz/, ten minutes each; `fuzz TARGET [SECONDS]` one of them; `fuzz smoke`
          the committed inputs and a few seconds each; `fuzz minimise` takes what was found into fuzz/corpus
  defences  Takes out one defence after the other and demands that its test fails; `defences ROW` one
  soak    Load and faults for ten minutes; `soak SECONDS [SEED]` for as long as you like
  layout  Finds out under valgrind what the binary runs, and writes the order in which it is linked
  reproduce  Builds the release binary twice in two places and demands the same bytes
  sbom    Writes what the binary is made of to target/sbom.cdx.json (CycloneDX)
  vet     Demands an entry in supply-chain/ for each library; `vet update` writes the missing ones as exemptions
  scale   Simulates the deployments of docs/scale.md from the costs in docs/performance.md
  help    This text

Exit codes: 0 all good, 1 a step failed, 2 bad usage.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = root();
    let done = match arguments.as_slice() {
        ["check"] => ci::check(&root),
        ["ci"] => ci::ci(&root),
        ["tidy"] => tidy::run(&root),
        ["scale"] => scale::run(&root),
        ["api"] => api::write(&root),
        ["bench", words @ ..] => match bench::run(&root, words) {
            Some(good) => good,
            None => {
                eprintln!(
                    "error: `bench` takes `--rounds N`, `--install-peers`, `smoke` or nothing\n\n{HELP}"
                );
                return ExitCode::from(2);
            }
        },
        ["defences"] => defences::run(&root, None),
        ["defences", row] => defences::run(&root, Some(row)),
        ["fuzz", words @ ..] => match fuzz::run(&root, words) {
            Some(good) => good,
            None => {
                let targets = fuzz::TARGETS.join(", ");
                eprintln!(
                    "error: `fuzz` takes `smoke`, `minimise`, or a target and seconds ({targets})\n\n{HELP}"
                );
                return ExitCode::from(2);
            }
        },
        ["layout"] => layout::run(&root),
        ["reproduce"] => reproduce::run(&root),
        ["sbom"] => supply::sbom(&root),
        ["vet"] => supply::vet(&root),
        ["vet", "update"] => supply::update(&root),
        ["soak", words @ ..] => match soak::run(&root, words) {
            Some(good) => good,
            None => {
                eprintln!("error: `soak` takes seconds and a seed, both numbers\n\n{HELP}");
                return ExitCode::from(2);
            }
        },
        ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        [] => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
        [
            command @ ("check" | "ci" | "tidy" | "api" | "scale" | "layout"),
            more,
            ..,
        ] => {
            eprintln!("error: `{command}` takes no arguments, found `{more}`\n\n{HELP}");
            return ExitCode::from(2);
        }
        [command, ..] => {
            eprintln!("error: unknown command `{command}`\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    if done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The repository's root, whatever directory the command was started in.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}
