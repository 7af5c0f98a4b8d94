//! The command line that a program around the library may take over: one without arguments.
//!
//! Main type: [`Args`], under the name that existing users know. The binary of this package does not use it; its own
//! command line is in `cli.rs`.

/// Parses a command line without arguments; knows `--help`.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "codex-network-proxy", about = "Codex network sandbox proxy")]
pub struct Args {}
