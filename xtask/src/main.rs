//! The developer's commands: `cargo xtask check | ci | tidy | api | fuzz | defences`.
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
mod budget;
mod ci;
mod defences;
mod fuzz;
mod step;
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
  fuzz    All targets of fuzz/, ten minutes each; `fuzz TARGET [SECONDS]` one of them; `fuzz smoke`
          the committed inputs and a few seconds each; `fuzz minimise` takes what was found into fuzz/corpus
  defences  Takes out one defence after the other and demands that its test fails; `defences ROW` one
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
        ["api"] => api::write(&root),
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
        ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        [] => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
        [command @ ("check" | "ci" | "tidy" | "api"), more, ..] => {
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
