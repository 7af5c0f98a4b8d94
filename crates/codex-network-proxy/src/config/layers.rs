//! Finds and reads the files that together are one configuration.
//!
//! Main type: [`Layers`]. Comes in: the [`Environment`] and what the command line says. Goes out: the text of every layer
//! from the lowest to the highest (system, user, project, flags, legacy managed), that of the managed requirements, and
//! the state of every file that was looked at, for whoever watches them. What the layers say is not known here, but for
//! the few keys that decide whether a project's files are read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::entry::Table;
use super::error::ConfigError;
use super::file::SourceFile;
use super::home::Environment;
use super::overrides::Overrides;
use super::project;
use super::stamp::Stamp;

/// Where a layer stands and whom it belongs to. The order is that of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerKind {
    /// The machine's defaults, which are limits as well.
    System,
    /// The user's own file.
    User,
    /// A file of a trusted project.
    Project,
    /// `-c key=value`.
    Flag,
    /// The older file for managed settings, which are limits as well.
    Managed,
}

impl LayerKind {
    /// The word for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Project => "project",
            Self::Flag => "flag",
            Self::Managed => "managed",
        }
    }

    /// Whether what it says limits everybody else.
    pub(super) fn limits(self) -> bool {
        match self {
            Self::System | Self::Managed => true,
            Self::User | Self::Project | Self::Flag => false,
        }
    }
}

/// One layer as text.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) kind: LayerKind,
    pub(super) file: SourceFile,
}

/// All that a configuration is read from.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// The lowest first.
    pub(super) layers: Vec<Layer>,
    /// The file of managed requirements.
    pub(super) requirements: Option<SourceFile>,
    /// What the user should know about files that were left out.
    pub(super) warnings: Vec<String>,
}

/// The files that were looked at, in the state in which they were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looked(Vec<(PathBuf, Stamp)>);

impl Looked {
    /// The files, whether or not they are there.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|(path, _)| path.as_path())
    }

    /// Whether one of them is another now. `thorough` compares the content as well.
    pub(crate) fn is_outdated(&self, thorough: bool) -> bool {
        self.0
            .iter()
            .any(|(path, stamp)| stamp.is_outdated(path, thorough))
    }

    fn read(&mut self, path: &Path) -> Result<Option<SourceFile>, ConfigError> {
        let mut stamp = Stamp::Missing;
        let read = SourceFile::read(path, &mut stamp);
        self.0.push((path.to_owned(), stamp));
        read
    }
}

impl Layers {
    /// Reads the files. `looked` holds every file that was looked at, also where one cannot be read.
    pub(super) fn read(
        overrides: &Overrides,
        environment: &Environment,
        looked: &mut Looked,
    ) -> Result<Self, ConfigError> {
        let mut layers = Self::default();
        let system = &environment.system;
        if let Some(profile) = system
            .device_profile
            .as_deref()
            .filter(|path| path.exists())
        {
            // To go on without it would be to forget a limit that somebody set.
            return Err(ConfigError::new(format!(
                "a device profile manages Codex on this machine ({}), and this build cannot read it",
                profile.display()
            ))
            .expecting("write the same limits into requirements.toml, and remove the profile"));
        }
        let home = environment.codex_home();
        let managed = match (&system.managed, system.managed_in_home, &home) {
            (Some(path), _, _) => Some(path.clone()),
            (None, true, Ok(home)) => Some(home.join("managed_config.toml")),
            (None, _, _) => None,
        };
        if let Some(path) = &system.config {
            layers.add(LayerKind::System, looked.read(path)?);
        }
        match &overrides.config_file {
            Some(path) => match looked.read(path)? {
                Some(file) => layers.add(LayerKind::User, Some(file)),
                None => return Err(SourceFile::missing(path)),
            },
            None => layers.add(LayerKind::User, looked.read(&home?.join("config.toml"))?),
        }
        for written in &overrides.settings {
            layers.add(LayerKind::Flag, Some(SourceFile::from_flag(written)?));
        }
        if let Some(path) = &managed {
            layers.add(LayerKind::Managed, looked.read(path)?);
        }
        if let Some(path) = &system.requirements {
            layers.requirements = looked.read(path)?;
        }
        layers.add_project(environment, looked)?;
        Ok(layers)
    }

    /// Takes texts for the files, in the order in which those of one kind count.
    #[cfg(fuzzing)]
    pub(super) fn of_texts(
        texts: &[(LayerKind, &str)],
        requirements: Option<&str>,
        settings: &[String],
    ) -> Result<Self, ConfigError> {
        let mut layers = Self::default();
        let path = |kind: LayerKind| {
            PathBuf::from(match kind {
                LayerKind::System => "/etc/codex/config.toml",
                LayerKind::User => "config.toml",
                LayerKind::Project => ".codex/config.toml",
                LayerKind::Flag => "-c",
                LayerKind::Managed => "/etc/codex/managed_config.toml",
            })
        };
        for (kind, text) in texts {
            let file = SourceFile::from_text(path(*kind), (*text).to_owned());
            layers.add(*kind, Some(file));
        }
        for written in settings {
            layers.add(LayerKind::Flag, Some(SourceFile::from_flag(written)?));
        }
        layers.requirements = requirements.map(|text| {
            SourceFile::from_text(
                PathBuf::from("/etc/codex/requirements.toml"),
                text.to_owned(),
            )
        });
        layers.layers.sort_by_key(|layer| layer.kind);
        Ok(layers)
    }

    fn add(&mut self, kind: LayerKind, file: Option<SourceFile>) {
        self.layers.extend(file.map(|file| Layer { kind, file }));
    }

    /// What the layers so far say about trust decides which files of the project are read. A project cannot vouch for
    /// itself.
    fn add_project(
        &mut self,
        environment: &Environment,
        looked: &mut Looked,
    ) -> Result<(), ConfigError> {
        let Some(directory) = &environment.working_directory else {
            return Ok(());
        };
        let candidates = {
            let documents = self.parse()?;
            project::candidates(&self.root(&documents), directory)?
        };
        let known: Vec<PathBuf> = looked.paths().map(Path::to_owned).collect();
        for candidate in candidates {
            // In the home directory this is the user's own file.
            if known.contains(&candidate.file) {
                continue;
            }
            if candidate.trusted {
                let file = looked.read(&candidate.file)?;
                self.add(LayerKind::Project, file);
            } else if candidate.file.exists() {
                self.warnings.push(format!(
                    "{} is not read: the project is not trusted (`[projects.{:?}] trust_level = \"trusted\"` in your config.toml would trust it)",
                    candidate.file.display(),
                    directory.display().to_string(),
                ));
            }
        }
        self.layers.sort_by_key(|layer| layer.kind);
        Ok(())
    }

    /// The TOML of every layer, in their order.
    pub(super) fn parse(&self) -> Result<Vec<DeTable<'_>>, ConfigError> {
        self.layers.iter().map(|layer| layer.file.parse()).collect()
    }

    /// All layers as one table.
    pub(super) fn root<'a>(&'a self, documents: &'a [DeTable<'a>]) -> Table<'a> {
        let files = self.layers.iter().map(|layer| &layer.file);
        Table::root(files.zip(documents).rev())
    }

    /// The file whose label an origin bears.
    pub(super) fn labelled(&self, label: &str) -> Option<&SourceFile> {
        self.layers
            .iter()
            .map(|layer| &layer.file)
            .chain(&self.requirements)
            .find(|file| *file.label() == *label)
    }

    /// The files that were read, for people.
    pub(super) fn summaries(&self) -> Vec<(LayerKind, Arc<str>)> {
        self.layers
            .iter()
            .map(|layer| (layer.kind, layer.file.label()))
            .collect()
    }
}
