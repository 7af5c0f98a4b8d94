//! Selects the permissions profile that governs the network, and follows `extends` to its parents.
//!
//! Main type: [`Selected`]. Comes in: the root of the config and perhaps a name from the command line. Goes out: which
//! profile it is and its network tables, or why there is none. It does not read the keys of those tables.

use std::collections::BTreeSet;

use super::entry::{Entry, Table, Text, quoted};
use super::error::{ConfigError, clip};
use super::file::SourceFile;

/// Which profile governs the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// No file says anything about permissions: the proxy runs and nothing is on its lists.
    Default,
    /// A profile of the config file.
    Named(String),
    /// `:workspace` or another name that Codex itself defines. It leaves the network proxy disabled.
    BuiltIn(String),
    /// `sandbox_mode` is set and no profile is selected, so there is no profile that could enable the proxy.
    SandboxMode,
    /// There is a `[permissions]` table with no profile in it.
    NoneDefined,
}

/// The selected profile with its network tables: its own first, then those of its parents.
#[derive(Debug)]
pub(super) struct Selected<'a> {
    pub(super) profile: Profile,
    pub(super) tables: Vec<Table<'a>>,
}

/// The name of a profile and who asks for it.
enum Wanted<'a> {
    Config(Text<'a>),
    CommandLine {
        name: &'a str,
        file: Option<&'a SourceFile>,
    },
}

const BUILT_IN: [&str; 3] = [":workspace", ":read-only", ":danger-full-access"];

/// `root` is empty if there is no config file.
pub(super) fn select<'a>(
    root: &Table<'a>,
    flag: Option<&'a str>,
) -> Result<Selected<'a>, ConfigError> {
    let permissions = root
        .entry("permissions")
        .map(|entry| entry.table())
        .transpose()?;
    let wanted = match (flag, root.entry("default_permissions")) {
        (Some(name), _) => Some(Wanted::CommandLine {
            name,
            file: root.file(),
        }),
        (None, Some(entry)) => Some(Wanted::Config(entry.text()?)),
        (None, None) => None,
    };
    let Some(wanted) = wanted else {
        return unselected(root, permissions.as_ref()).map(|profile| Selected {
            profile,
            tables: Vec::new(),
        });
    };
    let name = wanted.name();
    if name.starts_with(':') {
        return match BUILT_IN.contains(&name) {
            true => Ok(Selected {
                profile: Profile::BuiltIn(name.to_owned()),
                tables: Vec::new(),
            }),
            false => Err(wanted.error("refers to unknown built-in profile", BUILT_IN)),
        };
    }
    let Some(permissions) = permissions else {
        return Err(wanted.requires_permissions());
    };
    let Some(profile) = permissions.entry(name) else {
        return Err(wanted.error("refers to undefined profile", permissions.keys()));
    };
    Ok(Selected {
        profile: Profile::Named(name.to_owned()),
        tables: network_tables(&permissions, profile)?,
    })
}

/// The network tables of the profile that one layer selects by itself, as far as that layer defines them.
///
/// For limits: they hold whichever profile the other layers select, and a mistake in the chain is told elsewhere.
pub(super) fn own_tables<'a>(layer: &Table<'a>) -> Result<Vec<Table<'a>>, ConfigError> {
    let mut tables = Vec::new();
    let mut seen = BTreeSet::new();
    let permissions = layer.entry("permissions").map(|entry| entry.table());
    let (Some(permissions), Some(name)) =
        (permissions.transpose()?, layer.entry("default_permissions"))
    else {
        return Ok(tables);
    };
    let mut next = permissions.entry(name.text()?.as_str());
    while let Some(profile) = next.take_if(|profile| seen.insert(profile.key())) {
        let profile = profile.table()?;
        if let Some(network) = profile.entry("network") {
            tables.push(network.table()?);
        }
        if let Some(parent) = profile.entry("extends") {
            next = permissions.entry(parent.text()?.as_str());
        }
    }
    Ok(tables)
}

fn unselected(root: &Table<'_>, permissions: Option<&Table<'_>>) -> Result<Profile, ConfigError> {
    let Some(permissions) = permissions else {
        return Ok(Profile::Default);
    };
    let Some(first) = permissions.entries().into_iter().next() else {
        return Ok(Profile::NoneDefined);
    };
    if root.entry("sandbox_mode").is_some() {
        return Ok(Profile::SandboxMode);
    }
    Err(first
        .key_error("config defines `[permissions]` profiles but does not set `default_permissions`")
        .expecting(format!(
            "put `default_permissions = {:?}` above the first table to use this one",
            clip(first.key())
        )))
}

/// The network tables of the profile and of its parents, nearest first.
fn network_tables<'a>(
    permissions: &Table<'a>,
    profile: Entry<'a>,
) -> Result<Vec<Table<'a>>, ConfigError> {
    let mut tables = Vec::new();
    let mut names = vec![profile.key()];
    let mut seen = BTreeSet::from([profile.key()]);
    let mut profile = profile.table()?;
    loop {
        if let Some(network) = profile.entry("network") {
            tables.push(network.table()?);
        }
        let Some(extends) = profile.entry("extends") else {
            return Ok(tables);
        };
        let parent = extends.text()?;
        // What Codex itself defines says nothing about the network.
        if BUILT_IN.contains(&parent.as_str()) {
            return Ok(tables);
        }
        let child = names.last().copied().unwrap_or_default();
        let Some(entry) = permissions.entry(parent.as_str()) else {
            let message = format!(
                "permissions profile `{}` extends undefined profile `{}`",
                clip(child),
                clip(parent.as_str())
            );
            return Err(parent
                .error(message)
                .nearest(parent.as_str(), permissions.keys()));
        };
        let repeated = !seen.insert(entry.key());
        names.push(entry.key());
        if repeated {
            let cycle = names.iter().skip_while(|name| **name != entry.key());
            let cycle = cycle
                .map(|name| clip(name))
                .collect::<Vec<_>>()
                .join(" -> ");
            return Err(parent.error(format!(
                "permissions profile inheritance cycle detected: {cycle}"
            )));
        }
        profile = entry.table()?;
    }
}

impl<'a> Wanted<'a> {
    fn name(&self) -> &'a str {
        match self {
            Self::Config(text) => text.as_str(),
            Self::CommandLine { name, .. } => name,
        }
    }

    /// Points at the name in the file, or tells which file a flag does not fit.
    fn refused(&self, what: &str) -> ConfigError {
        match self {
            Self::Config(text) => text
                .error(format!("default_permissions {what}"))
                .key_path("default_permissions"),
            Self::CommandLine { name, file } => {
                let error = ConfigError::new(format!("--profile {what}"))
                    .key_path("--profile")
                    .found(*name);
                match file {
                    Some(file) => error.in_file(file.label()),
                    None => error,
                }
            }
        }
    }

    fn error<'k>(&self, what: &str, known: impl IntoIterator<Item = &'k str>) -> ConfigError {
        let name = self.name();
        self.refused(&format!("{what} `{}`", clip(name)))
            .nearest(name, known)
    }

    fn requires_permissions(&self) -> ConfigError {
        let what = match self {
            Self::Config(_) | Self::CommandLine { file: Some(_), .. } => {
                "requires a `[permissions]` table"
            }
            Self::CommandLine { file: None, .. } => {
                "requires a config file with a `[permissions]` table"
            }
        };
        let table = format!("permissions.{}.network", quoted(&clip(self.name())));
        self.refused(what)
            .expecting(format!("define the profile in `[{table}]`"))
    }
}
