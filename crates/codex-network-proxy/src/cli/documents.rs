//! `codex-network-proxy completions` and `man`: what shells and people read about the command line.
//!
//! Comes in: the definition of the command line itself. Goes out: text made from it, so that neither can be out of date.

use anyhow::Context as _;
use clap::{Args, Command};

use super::failure::Failure;
use super::output::Output;

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  codex-network-proxy completions bash > ~/.local/share/bash-completion/completions/codex-network-proxy
  codex-network-proxy completions fish > ~/.config/fish/completions/codex-network-proxy.fish
  codex-network-proxy completions zsh > ~/.zfunc/_codex-network-proxy";

const MAN_EXAMPLES: &str = "\
Examples:
  codex-network-proxy man > ~/.local/share/man/man1/codex-network-proxy.1
  codex-network-proxy man run | man -l -";

/// Print the completions for a shell
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub(super) struct CompletionArguments {
    /// The shell
    shell: clap_complete::Shell,
}

/// Print a page of the manual
#[derive(Debug, Args)]
#[command(after_help = MAN_EXAMPLES)]
pub(super) struct ManArguments {
    /// The page of this command instead of the first one
    command: Option<String>,
}

pub(super) fn completions(
    arguments: &CompletionArguments,
    mut command: Command,
) -> Result<Output, Failure> {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, name, &mut text);
    as_text(text)
}

pub(super) fn man(arguments: &ManArguments, mut command: Command) -> Result<Output, Failure> {
    // Gives subcommands the names by which they are called.
    command.build();
    let page = match &arguments.command {
        None => command,
        Some(name) => {
            let found = command.find_subcommand(name).ok_or_else(|| {
                let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
                Failure::Usage(format!(
                    "there is no command `{}`: expected one of {}",
                    name.escape_debug(),
                    known.join(", ")
                ))
            })?;
            found.clone()
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page)
        .render(&mut text)
        .context("could not write the page")?;
    as_text(text)
}

fn as_text(text: Vec<u8>) -> Result<Output, Failure> {
    let text = String::from_utf8(text).context("the page is no text")?;
    Ok(Output::text(text))
}
