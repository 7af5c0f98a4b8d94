//! The binary: parses the command line and runs its subcommand.
//!
//! Everything that enforces is in the library; here is only what a person sees.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::run()
}
