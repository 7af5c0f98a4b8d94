//! `codex-network-proxy init`: a config file to begin with.
//!
//! Goes out: `config.toml` in the Codex home, with profiles and comments, and never over a file that is there.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::anyhow;
use clap::Args;
use codex_network_proxy::config::Environment;

use super::failure::Failure;
use super::output::Output;

const EXAMPLES: &str = "\
Examples:
  codex-network-proxy init
      Write $CODEX_HOME/config.toml (by default ~/.codex/config.toml), unless it is there.
  codex-network-proxy init --print
      Show what would be written.

Exit codes: 0 written or printed, 1 there is a file already, 2 no place for it.";

/// Write a commented config file to begin with; never over one that is there
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Print it and write nothing
    #[arg(long)]
    print: bool,
}

/// What is written. It is a configuration that can be used, and allows next to nothing.
pub(super) const TEMPLATE: &str = include_str!("init/config.toml");

pub(super) fn run(arguments: &Arguments, environment: &Environment) -> Result<Output, Failure> {
    if arguments.print {
        return Ok(Output::text(TEMPLATE));
    }
    let path = environment
        .config_file()
        .map_err(|error| Failure::Usage(error.to_string()))?;
    match write_new(&path) {
        Ok(()) => Ok(Output::text(format!("{}\n", path.display()))
            .note("written; `codex-network-proxy check` shows what it amounts to")),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Failure::Other(anyhow!(
            "{} is there already and stays as it is; `init --print` shows what would have been written",
            path.display()
        ))),
        Err(error) => Err(Failure::Other(
            anyhow::Error::new(error).context(format!("could not write {}", path.display())),
        )),
    }
}

/// Fails where anything has this name, a link that leads nowhere included.
fn write_new(path: &Path) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut file = fs::File::create_new(path)?;
    file.write_all(TEMPLATE.as_bytes())?;
    file.sync_all()
}
