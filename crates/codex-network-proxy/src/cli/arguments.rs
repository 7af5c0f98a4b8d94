//! The flags that stand above the config files, the same for every command that reads them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use codex_network_proxy::NetworkMode;
use codex_network_proxy::config::Overrides;

/// Which policy is meant.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct PolicyArguments {
    /// Read this file instead of $CODEX_HOME/config.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Set a key above all files, such as permissions.web.network.mode=limited; may be repeated
    #[arg(short = 'c', value_name = "KEY=VALUE")]
    settings: Vec<String>,

    /// Take [permissions.NAME.network] instead of what `default_permissions` names
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,

    /// Permit this host or pattern as well; may be repeated
    #[arg(long, value_name = "PATTERN")]
    allow: Vec<String>,

    /// Refuse this host or pattern, whatever permits it; may be repeated
    #[arg(long, value_name = "PATTERN")]
    deny: Vec<String>,

    /// `full` forwards everything that is permitted, `limited` only GET, HEAD and OPTIONS
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Full,
    Limited,
}

impl PolicyArguments {
    pub(super) fn overrides(&self) -> Overrides {
        Overrides {
            config_file: self.config.clone(),
            settings: self.settings.clone(),
            profile: self.profile.clone(),
            allow: self.allow.clone(),
            deny: self.deny.clone(),
            mode: self.mode.map(|mode| match mode {
                Mode::Full => NetworkMode::Full,
                Mode::Limited => NetworkMode::Limited,
            }),
            ..Overrides::default()
        }
    }
}
