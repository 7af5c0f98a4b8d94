//! `codex-network-proxy policy`: adds, removes and lists entries of the user's config file.
//!
//! Comes in: a host pattern or a socket, and a profile. Goes out: the file with one line more or less, its comments and its
//! order kept. The new text is checked as a whole, limits included, before it takes the old one's place at once.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use codex_network_policy::{HostPattern, SocketPath};
use codex_network_proxy::config::{Environment, LoadedConfig, Overrides, UnixSockets};
use serde_json::{Value, json};

use super::failure::Failure;
use super::output::Output;

mod edit;

use edit::{Edit, Entry, List};

const EXAMPLES: &str = "\
Examples:
  codex-network-proxy policy add '*.example.com'
  codex-network-proxy policy add ads.example.com --deny
  codex-network-proxy policy add unix:/run/docker.sock --profile ci
  codex-network-proxy policy remove '*.example.com'
  codex-network-proxy policy list --json

Running proxies take the change up by themselves. Exit codes: 0 done, or nothing to do; 1 there is no such entry, or the
file cannot be written; 2 the entry or the configuration cannot be used, and the file is as it was.";

/// Add, remove or list entries of your config file; comments and order stay
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a host pattern, or unix:/path
    Add {
        #[arg(value_name = "ENTRY")]
        entry: String,

        /// Deny it instead
        #[arg(long)]
        deny: bool,

        #[command(flatten)]
        place: Place,
    },
    /// Remove it from every list of the profile
    Remove {
        #[arg(value_name = "ENTRY")]
        entry: String,

        #[command(flatten)]
        place: Place,
    },
    /// Show the entries of the file, each with its line
    List {
        #[command(flatten)]
        place: Place,

        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
}

/// Which profile of which file.
#[derive(Debug, Args)]
struct Place {
    /// This file instead of $CODEX_HOME/config.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// This profile instead of the one that `default_permissions` names
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

pub(super) fn run(
    arguments: &Arguments,
    environment: &Environment,
    sockets: UnixSockets,
) -> Result<Output, Failure> {
    match &arguments.command {
        Command::Add { entry, deny, place } => {
            let file = Target::find(place, environment, sockets)?;
            let list = if *deny { List::Denied } else { List::Allowed };
            file.add(&parse(entry, *deny)?, list)
        }
        Command::Remove { entry, place } => {
            let file = Target::find(place, environment, sockets)?;
            file.remove(&parse(entry, false)?)
        }
        Command::List { place, json } => Target::find(place, environment, sockets)?.list(*json),
    }
}

fn parse(text: &str, deny: bool) -> Result<Entry, Failure> {
    if let Some(path) = text.strip_prefix("unix:") {
        if deny {
            return Err(Failure::Usage(
                "a socket is refused unless it is listed; remove it instead of denying it"
                    .to_owned(),
            ));
        }
        let path = SocketPath::parse(path).map_err(|error| {
            Failure::Usage(format!("invalid entry `{}`: {error}", text.escape_debug()))
        })?;
        return Ok(Entry::Socket(path));
    }
    HostPattern::parse(text.trim())
        .map(Entry::Host)
        .map_err(|error| Failure::Usage(error.to_string()))
}

/// The file that is edited.
struct Target<'a> {
    path: PathBuf,
    profile: Option<&'a str>,
    environment: &'a Environment,
    sockets: UnixSockets,
}

impl<'a> Target<'a> {
    fn find(
        place: &'a Place,
        environment: &'a Environment,
        sockets: UnixSockets,
    ) -> Result<Self, Failure> {
        let path = match &place.config {
            Some(path) => path.clone(),
            None => environment
                .config_file()
                .map_err(|error| Failure::Usage(error.to_string()))?,
        };
        Ok(Self {
            path,
            profile: place.profile.as_deref(),
            environment,
            sockets,
        })
    }

    fn load(&self, file: &Path) -> Result<LoadedConfig, String> {
        let overrides = Overrides {
            config_file: Some(file.to_owned()),
            profile: self.profile.map(str::to_owned),
            ..Overrides::default()
        };
        LoadedConfig::from_files(&overrides, self.environment, self.sockets)
            .map_err(|error| error.to_string())
    }

    fn add(&self, entry: &Entry, list: List) -> Result<Output, Failure> {
        let mut edit = self.edit()?;
        let profile = edit.profile(self.profile).map_err(Failure::Usage)?;
        if !edit.add(&profile, entry, list).map_err(Failure::Usage)? {
            return Ok(Output::default().note(format!("`{entry}` is there already")));
        }
        let config = self.replace(&edit)?;
        let mut output = Output::default().note(format!(
            "`{entry}` is {} by profile {profile:?} of {}",
            list.word(),
            self.path.display()
        ));
        for remark in config.review() {
            if remark.text.starts_with(&format!("`{entry}`")) {
                output = output.note(remark.text);
            }
        }
        if config.rules.pinned && list == List::Allowed {
            output =
                output.note("a managed allowlist is the only one, so this entry has no effect");
        }
        if let Some(why) = &config.disabled {
            output = output.note(format!("the proxy is disabled: {why}"));
        }
        Ok(output)
    }

    fn remove(&self, entry: &Entry) -> Result<Output, Failure> {
        let mut edit = self.edit()?;
        let profile = edit.profile(self.profile).map_err(Failure::Usage)?;
        if !edit.remove(&profile, entry).map_err(Failure::Usage)? {
            return Err(Failure::Other(anyhow!(
                "profile {profile:?} of {} has no entry `{entry}`",
                self.path.display()
            )));
        }
        self.replace(&edit)?;
        Ok(Output::default().note(format!(
            "`{entry}` is removed from profile {profile:?} of {}",
            self.path.display()
        )))
    }

    fn list(&self, as_json: bool) -> Result<Output, Failure> {
        if !self.path.exists() {
            let output = if as_json {
                Output::json(&json!([]))
            } else {
                Output::default().note(format!("there is no {}", self.path.display()))
            };
            return Ok(output);
        }
        let config = self.load(&self.path).map_err(Failure::Usage)?;
        let label = self.path.display().to_string();
        let hosts = [
            ("allow", &config.rules.allowed),
            ("deny", &config.rules.denied),
        ];
        let hosts = hosts.into_iter().flat_map(|(word, rules)| {
            rules
                .iter()
                .map(move |rule| (word, rule.pattern.to_string(), rule.origin))
        });
        let sockets = config.rules.sockets.allowed.iter();
        let sockets =
            sockets.map(|rule| ("allow", format!("unix:{}", rule.path), rule.origin.clone()));
        let own: Vec<_> = hosts
            .chain(sockets)
            .filter(|(_, _, origin)| *origin.source == *label)
            .collect();
        if as_json {
            let entries = own.iter().map(|(word, entry, origin)| {
                json!({ "permission": word, "entry": entry, "line": origin.line })
            });
            return Ok(Output::json(&Value::Array(entries.collect())));
        }
        let lines = own.iter().map(|(word, entry, origin)| {
            let line = origin.line.map_or(0, std::num::NonZero::get);
            format!("{line:>5}  {word} {entry}\n")
        });
        Ok(Output::text(lines.collect::<String>()))
    }

    fn edit(&self) -> Result<Edit, Failure> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                let what = format!("could not read {}", self.path.display());
                return Err(Failure::Other(anyhow::Error::new(error).context(what)));
            }
        };
        match Edit::parse(&text) {
            Ok(edit) => Ok(edit),
            // The reader of configurations shows the place better.
            Err(error) => Err(Failure::Usage(self.load(&self.path).err().unwrap_or(error))),
        }
    }

    /// Writes the new text beside the file, checks it as a configuration, and puts it in the file's place.
    fn replace(&self, edit: &Edit) -> Result<LoadedConfig, Failure> {
        let path = real_path(&self.path);
        let directory = path.parent().unwrap_or_else(|| Path::new("."));
        let writing = || format!("could not write {}", self.path.display());
        fs::create_dir_all(directory).with_context(writing)?;
        let aside = directory.join(format!(".config.toml.{}.new", std::process::id()));
        let written = self.write_aside(&aside, &path, &edit.text());
        let checked = match written {
            Ok(()) => self
                .load(&aside)
                .map_err(|error| {
                    let shown = aside.display().to_string();
                    let error = error.replace(&shown, &self.path.display().to_string());
                    Failure::Usage(format!("{error}\nthe file is as it was"))
                })
                .and_then(|config| {
                    fs::rename(&aside, &path).with_context(writing)?;
                    // Once more for the places: they shall name the file, and not what was beside it.
                    Ok(self.load(&self.path).unwrap_or(config))
                }),
            Err(error) => Err(Failure::Other(anyhow::Error::new(error).context(writing()))),
        };
        if checked.is_err() {
            let _ = fs::remove_file(&aside);
        }
        checked
    }

    fn write_aside(&self, aside: &Path, path: &Path, text: &str) -> std::io::Result<()> {
        use std::io::Write as _;
        let mut file = fs::File::create_new(aside)?;
        if let Ok(metadata) = fs::metadata(path) {
            file.set_permissions(metadata.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }
}

/// A config file is often a link into a directory of dotfiles, and shall stay one.
#[expect(
    clippy::disallowed_methods,
    reason = "the file behind a link is replaced, and not the link"
)]
fn real_path(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
