//! Finds the user's config file: `$CODEX_HOME`, or `.codex` in the home directory.
//!
//! Main types: [`Environment`], the few variables that the config depends on, and [`SystemFiles`], the paths that belong
//! to the machine; both are values, so that tests need not touch what is real. It does not read the files.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::ConfigError;

/// What the process environment says about where the config is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `CODEX_HOME`; empty counts as unset.
    pub codex_home: Option<OsString>,
    /// The user's home directory; empty counts as unset.
    pub home: Option<PathBuf>,
    /// Where the process works: whose project it is. Without it no project's files are read.
    pub working_directory: Option<PathBuf>,
    /// The files of the machine.
    pub system: SystemFiles,
}

/// The files of the machine, which no user writes. The default knows none of them.
///
/// They are constants of the platform and never read from the environment, for a variable would be a way around them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemFiles {
    /// The lowest layer, `config.toml`.
    pub config: Option<PathBuf>,
    /// The highest layer, `managed_config.toml`.
    pub managed: Option<PathBuf>,
    /// Whether, without such a path, that layer is in `CODEX_HOME`.
    pub managed_in_home: bool,
    /// The managed requirements, `requirements.toml`.
    pub requirements: Option<PathBuf>,
    /// A device profile. This build cannot read one, and refuses to run where one is.
    pub device_profile: Option<PathBuf>,
}

impl SystemFiles {
    /// Those of this platform.
    #[must_use]
    pub fn of_platform() -> Self {
        let directory = if cfg!(windows) {
            Path::new(r"C:\ProgramData\OpenAI\Codex")
        } else {
            Path::new("/etc/codex")
        };
        Self {
            config: Some(directory.join("config.toml")),
            managed: (!cfg!(windows)).then(|| directory.join("managed_config.toml")),
            managed_in_home: cfg!(windows),
            requirements: Some(directory.join("requirements.toml")),
            device_profile: cfg!(target_os = "macos")
                .then(|| PathBuf::from("/Library/Managed Preferences/com.openai.codex.plist")),
        }
    }
}

impl Environment {
    /// The environment of this process.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the config looks at the real environment"
    )]
    pub fn of_process() -> Self {
        Self {
            codex_home: std::env::var_os("CODEX_HOME"),
            home: std::env::home_dir(),
            working_directory: std::env::current_dir().ok(),
            system: SystemFiles::of_platform(),
        }
    }

    /// The path of the user's config file, whether or not there is one.
    ///
    /// # Errors
    /// `CODEX_HOME` names something that is not a directory, or there is neither `CODEX_HOME` nor a home directory.
    pub fn config_file(&self) -> Result<PathBuf, ConfigError> {
        Ok(self.codex_home()?.join("config.toml"))
    }

    /// The directory of everything that is the user's: `$CODEX_HOME`, which must exist, or `.codex` in the home directory.
    ///
    /// # Errors
    /// `CODEX_HOME` names something that is not a directory, or there is neither `CODEX_HOME` nor a home directory.
    pub fn codex_home(&self) -> Result<PathBuf, ConfigError> {
        if let Some(value) = self.codex_home.as_ref().filter(|value| !value.is_empty()) {
            return existing_directory(Path::new(value));
        }
        match self
            .home
            .as_ref()
            .filter(|home| !home.as_os_str().is_empty())
        {
            Some(home) => Ok(home.join(".codex")),
            None => Err(ConfigError::new("Could not find home directory")
                .expecting("set HOME or CODEX_HOME, or name a file with `--config`")),
        }
    }
}

/// A home that was named on purpose must be there: a misspelt one would silently mean "no rules of mine".
#[expect(
    clippy::disallowed_methods,
    reason = "CODEX_HOME is canonicalised, as Codex itself does"
)]
fn existing_directory(path: &Path) -> Result<PathBuf, ConfigError> {
    let shown = path.display();
    let error = |what: &str| {
        ConfigError::new(format!("CODEX_HOME points to \"{shown}\", but {what}"))
            .key_path("CODEX_HOME")
    };
    let metadata = std::fs::metadata(path).map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => error("that path does not exist"),
        _ => error(&format!("that path cannot be read: {cause}")).caused_by(cause),
    })?;
    if !metadata.is_dir() {
        return Err(error("that path is not a directory"));
    }
    std::fs::canonicalize(path)
        .map_err(|cause| error(&format!("that path cannot be resolved: {cause}")).caused_by(cause))
}
