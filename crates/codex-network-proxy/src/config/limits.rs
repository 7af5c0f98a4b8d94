//! The limits that hold for one configuration, with whoever set them, and the check that every change has to pass.
//!
//! Main type: [`Limit`]. Comes in: the layers that limit others, and what the requirements left. Goes out: limits, and for
//! a configuration beyond one of them an error that names the entry, its place and the source of the limit. Checked when a
//! configuration is loaded, when it is loaded again, and for every live edit.

use std::sync::Arc;

use codex_network_policy::{
    Candidate, ConstraintError, Constraints, Expansion, HostLimit, Rule, Rules,
};

use super::entry::Table;
use super::error::ConfigError;
use super::keys::NetworkKey;
use super::layers::Layers;
use super::network::Network;
use super::profile;
use super::settings::NetworkProxySettings;

/// Limits from one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The file that sets them.
    pub source: Arc<str>,
    /// What kind of file it is.
    pub kind: LimitKind,
    /// What they are.
    pub constraints: Constraints,
}

/// What kind of source a limit has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// A config layer of the machine: what it sets limits everybody else.
    Layer,
    /// Managed requirements.
    Requirements,
    /// The embedding program.
    Given,
}

impl Limit {
    /// Whether a configuration stays inside. A live edit asks this of what it would lead to.
    ///
    /// # Errors
    /// The first limit that it breaks.
    pub fn check(
        &self,
        settings: &NetworkProxySettings,
        rules: &Rules,
    ) -> Result<(), ConstraintError> {
        self.constraints.check(&Candidate {
            enabled: rules.enabled,
            mode: rules.mode,
            allow_upstream_proxy: settings.allow_upstream_proxy,
            dangerously_allow_non_loopback_proxy: settings.dangerously_allow_non_loopback_proxy,
            dangerously_allow_all_unix_sockets: rules.sockets.allow_all,
            allow_local_binding: rules.allow_local_binding,
            allowed: &rules.allowed,
            denied: &rules.denied,
            sockets: &rules.sockets.allowed,
        })
    }

    /// The error for a user: Codex's sentence, and where both sides of the conflict are written.
    pub(super) fn refusal(
        &self,
        error: ConstraintError,
        network: &Network,
        layers: Option<&Layers>,
    ) -> ConfigError {
        let message = match self.kind {
            LimitKind::Layer | LimitKind::Given => format!("network proxy constraints: {error}"),
            LimitKind::Requirements => format!(
                "failed to build managed network proxy from {}: network proxy constraints are invalid: {error}",
                self.source
            ),
        };
        let key = error.field_name.trim_start_matches("network.");
        let origin = error
            .origin
            .clone()
            .or_else(|| NetworkKey::named(key).and_then(|key| network.origins.get(&key).cloned()));
        let needle = error.entry.as_deref().or(Some(key));
        let placed = origin.as_ref().and_then(|origin| {
            let file = layers?.labelled(&origin.source)?;
            let line = origin.line.map_or(1, std::num::NonZero::get);
            Some(file.error_in_line(line, needle, &message))
        });
        let refused = placed.unwrap_or_else(|| match &origin {
            Some(origin) => ConfigError::new(format!("{message} (from {origin})")),
            None => ConfigError::new(&message),
        });
        refused
            .key_path(error.field_name)
            .found(error.candidate.clone())
            .expecting(format!("{} sets the limit", self.source))
            .caused_by(error)
    }
}

/// What the limiting layers say of the selected profile, and of the profile that each selects by itself.
///
/// The second, because a user who selects another profile would otherwise leave the limits of the first behind.
pub(super) fn of_layers<'a>(
    layers: &'a Layers,
    root: &Table<'a>,
    selected: &[Table<'a>],
) -> Result<Vec<Limit>, ConfigError> {
    let mut limits = Vec::new();
    for layer in layers.layers.iter().filter(|layer| layer.kind.limits()) {
        let own = |table: &Table<'a>| table.part_of(&layer.file);
        let of_selected: Vec<Table<'a>> = selected.iter().filter_map(own).collect();
        let of_itself = match own(root) {
            Some(root) => profile::own_tables(&root)?,
            None => Vec::new(),
        };
        for tables in [of_selected, of_itself] {
            let constraints = constraints(&Network::read(&tables)?);
            let limit = Limit {
                source: layer.file.label(),
                kind: LimitKind::Layer,
                constraints,
            };
            if !limit.constraints.is_empty() && !limits.contains(&limit) {
                limits.push(limit);
            }
        }
    }
    Ok(limits)
}

/// Everything that a layer sets, as a limit.
fn constraints(network: &Network) -> Constraints {
    let set = |key: NetworkKey| network.origins.contains_key(&key);
    let settings = &network.settings;
    let switch = |key, value| set(key).then_some(value);
    let hosts = |key, rules: &[Rule]| {
        (set(key) || !rules.is_empty()).then(|| HostLimit {
            patterns: rules.iter().map(|rule| rule.pattern.clone()).collect(),
            expansion: Expansion::Unset,
        })
    };
    Constraints {
        enabled: switch(NetworkKey::Enabled, settings.enabled),
        mode: set(NetworkKey::Mode).then_some(settings.mode),
        allow_upstream_proxy: switch(
            NetworkKey::AllowUpstreamProxy,
            settings.allow_upstream_proxy,
        ),
        dangerously_allow_non_loopback_proxy: switch(
            NetworkKey::DangerouslyAllowNonLoopbackProxy,
            settings.dangerously_allow_non_loopback_proxy,
        ),
        dangerously_allow_all_unix_sockets: switch(
            NetworkKey::DangerouslyAllowAllUnixSockets,
            settings.dangerously_allow_all_unix_sockets,
        ),
        allow_local_binding: switch(NetworkKey::AllowLocalBinding, settings.allow_local_binding),
        allowed: hosts(NetworkKey::AllowedDomains, &network.allowed),
        denied: hosts(NetworkKey::DeniedDomains, &network.denied),
        sockets: (set(NetworkKey::AllowUnixSockets) || !network.sockets.is_empty()).then(|| {
            let paths = network.sockets.iter().map(|rule| rule.path.clone());
            paths.collect()
        }),
    }
}
