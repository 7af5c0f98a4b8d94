//! What comes of a configuration when it has been read.
//!
//! Main type: [`LoadedConfig`], ready to be built; [`Source`] is what it can be read from again. Values only: how they come
//! about is in `assembly`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use codex_network_policy::{ConstraintError, Origin, Rules};

use super::home::Environment;
use super::keys::NetworkKey;
use super::layers::{LayerKind, Looked};
use super::limits::Limit;
use super::listen::ListenerAddresses;
use super::overrides::{Overrides, UnixSockets};
use super::profile::Profile;
use super::settings::NetworkProxySettings;

/// The configuration of one proxy, ready to be built.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// The settings in effect, flags and requirements included.
    pub settings: NetworkProxySettings,
    /// What the policy is compiled from.
    pub rules: Rules,
    /// Where to listen, already kept on this machine.
    pub listeners: ListenerAddresses,
    /// Sentences for the user; none if the proxy does not run.
    pub warnings: Vec<String>,
    /// The user's file, or the one that was named instead, if there was one.
    pub file: Option<PathBuf>,
    /// Which profile governs. A config that was given as data has none.
    pub profile: Option<Profile>,
    /// Why the proxy does not run: a sentence that names the key and the file.
    pub disabled: Option<String>,
    /// The layers that were read, the lowest first.
    pub layers: Vec<(LayerKind, Arc<str>)>,
    /// The file whose requirements hold.
    pub requirements: Option<Arc<str>>,
    /// What no later change may exceed.
    pub limits: Vec<Limit>,
    /// Where each key is set that anything sets.
    pub origins: BTreeMap<NetworkKey, Origin>,
    /// The state of every file that was looked at.
    pub(super) looked: Looked,
    /// From what it can be read again.
    pub(super) source: Option<Arc<Source>>,
}

/// All that a configuration is read from, so that it can be read again.
#[derive(Debug)]
pub(crate) struct Source {
    pub(super) overrides: Overrides,
    pub(super) environment: Environment,
    pub(super) sockets: UnixSockets,
}

impl LoadedConfig {
    /// Whether other settings and rules in the place of these would stay inside the managed limits.
    ///
    /// # Errors
    /// The first limit that they break.
    pub fn check_limits(
        &self,
        settings: &NetworkProxySettings,
        rules: &Rules,
    ) -> Result<(), ConstraintError> {
        self.limits
            .iter()
            .try_for_each(|limit| limit.check(settings, rules))
    }

    /// Where it listens when an embedder asks for these addresses, which are kept on this machine as any other.
    pub(crate) fn listeners_at(
        &self,
        overrides: &Overrides,
        warnings: &mut Vec<String>,
    ) -> ListenerAddresses {
        if overrides.http_addr.is_none() && overrides.socks_addr.is_none() {
            return self.listeners;
        }
        let ListenerAddresses { http, socks } = self.listeners;
        let asked_for = ListenerAddresses {
            http: overrides.http_addr.unwrap_or(http),
            socks: socks.map(|socks| overrides.socks_addr.unwrap_or(socks)),
        };
        let mut clamping = Vec::new();
        let listeners = asked_for.clamped(&self.settings, &mut clamping);
        // What was asked for when the configuration was loaded has been told of already.
        clamping.retain(|warning| !self.warnings.contains(warning));
        warnings.extend(clamping);
        listeners
    }

    /// The state of the files that it was read from.
    pub(crate) fn looked(&self) -> &Looked {
        &self.looked
    }

    /// From what it can be read again, if it was read from files.
    pub(crate) fn source(&self) -> Option<&Arc<Source>> {
        self.source.as_ref()
    }
}
