//! What the proxy shall do, as it is written down: the layers, the profile in them, the flags above them, and the limits
//! that managed files set.
//!
//! Main type: [`LoadedConfig`]. Comes in: the files that an [`Environment`] leads to (or the settings of an embedder) and
//! [`Overrides`]. Goes out: rules in which each knows its file and line, addresses to listen on, limits for later changes,
//! warnings, and for a mistake a [`ConfigError`] that shows the line. It judges no access, opens no socket and prints
//! nothing.

mod assembly;
mod constraints;
mod difference;
mod edit;
mod entry;
mod error;
mod file;
mod home;
mod keys;
mod layers;
mod limits;
mod listen;
mod loaded;
mod network;
mod overrides;
mod partial;
mod profile;
mod project;
mod requirements;
mod review;
mod settings;
mod stamp;
mod watched;
mod written;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use codex_network_policy::Mode as NetworkMode;
pub use constraints::{
    NetworkProxyConstraintError, NetworkProxyConstraints, validate_policy_against_constraints,
};
pub use error::ConfigError;
pub use home::{Environment, SystemFiles};
pub use keys::{Key, Kind, NetworkKey, RequirementKey};
pub use layers::LayerKind;
pub use limits::{Limit, LimitKind};
pub use listen::ListenerAddresses;
pub use loaded::LoadedConfig;
pub(crate) use loaded::Source;
pub use overrides::{Overrides, SandboxAccess, UnixSockets};
pub use partial::{PartialNetworkConfig, PartialNetworkProxyConfig};
pub use profile::Profile;
pub use review::Remark;
pub use settings::{NetworkProxyConfig, NetworkProxySettings};

pub(crate) use difference::Difference;
pub(crate) use edit::{Edit, EditError, Edited};
use layers::Layers;
pub(crate) use layers::Looked;
use network::Network;
pub(crate) use watched::Surroundings;

impl LoadedConfig {
    /// Reads the config files: the machine's, the user's, a trusted project's, and the managed requirements.
    ///
    /// Without any word about permissions in them, or without a file, the built-in default profile governs: the proxy
    /// runs and its lists are empty.
    ///
    /// # Errors
    /// A file cannot be read or holds a mistake, no profile can be selected, an override is malformed, or the whole is
    /// beyond a managed limit.
    pub fn from_files(
        overrides: &Overrides,
        environment: &Environment,
        sockets: UnixSockets,
    ) -> Result<Self, ConfigError> {
        let source = Source {
            overrides: overrides.clone(),
            environment: environment.clone(),
            sockets,
        };
        Self::load(&Arc::new(source), &mut Looked::default())
    }

    /// As [`LoadedConfig::from_files`]. `looked` holds every file that was looked at, also after an error.
    pub(crate) fn load(source: &Arc<Source>, looked: &mut Looked) -> Result<Self, ConfigError> {
        let (overrides, environment) = (&source.overrides, &source.environment);
        let layers = Layers::read(overrides, environment, looked)?;
        let documents = layers.parse()?;
        let project = Layers::read_project(&documents, environment, looked)?;
        let documents = documents.with_project(&project)?;
        let mut config = assembly::from_documents(&documents, overrides, source.sockets)?;
        config.looked = looked.clone();
        config.source = Some(Arc::clone(source));
        Ok(config)
    }

    /// As [`LoadedConfig::from_files`], of texts that stand for the files.
    #[cfg(fuzzing)]
    pub(crate) fn from_texts(
        texts: &[(LayerKind, &str)],
        requirements: Option<&str>,
        overrides: &Overrides,
        sockets: UnixSockets,
    ) -> Result<Self, ConfigError> {
        let layers = Layers::of_texts(texts, requirements, &overrides.settings)?;
        assembly::from_documents(&layers.parse()?, overrides, sockets)
    }

    /// Takes the settings of an embedder; no file is read. `config_file`, `settings` and `profile` of the overrides play
    /// no part.
    ///
    /// # Errors
    /// A pattern, a path or an address is malformed.
    pub fn from_config(
        config: NetworkProxyConfig,
        overrides: &Overrides,
        sockets: UnixSockets,
    ) -> Result<Self, ConfigError> {
        let network = Network::given(config.network)?;
        assembly::from_network(network, overrides, sockets)
    }
}
