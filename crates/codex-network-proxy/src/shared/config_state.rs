//! A configuration that an embedding program has built, ready to come into force.
//!
//! Main type: [`ConfigState`], opaque. Comes in: settings as data, and limits for them and for every later change. No file
//! is read but those of the certificate authority, and nothing is bound.

use std::sync::Arc;

use crate::config::{
    Environment, Limit, LimitKind, LoadedConfig, NetworkProxyConfig, NetworkProxyConstraints,
    Overrides, UnixSockets,
};
use crate::error::{Error, ErrorKind};
use crate::in_force::Signing;

/// A configuration that can come into force. Made by [`build_config_state`].
#[derive(Clone, Debug)]
pub struct ConfigState {
    config: LoadedConfig,
    signing: Option<Signing>,
}

/// Checks settings against limits, compiles what they say, and opens the certificate authority where they open TLS. The
/// limits hold for live edits too.
///
/// # Errors
/// [`ErrorKind::Config`] where a setting is malformed or beyond its limit; [`ErrorKind::Authority`] where TLS is to be
/// opened and there is no authority to sign for it.
pub fn build_config_state(
    config: NetworkProxyConfig,
    constraints: NetworkProxyConstraints,
) -> Result<ConfigState, Error> {
    let refused =
        |error: crate::config::ConfigError| Error::new(ErrorKind::Config, error.to_string(), error);
    let beyond = |error: crate::config::NetworkProxyConstraintError| {
        Error::new(
            ErrorKind::Config,
            format!("network proxy constraints: {error}"),
            error,
        )
    };
    let limit = Limit {
        source: Arc::from("the embedding program"),
        kind: LimitKind::Given,
        constraints: constraints.compile().map_err(beyond)?,
    };
    let sockets = UnixSockets::of_platform();
    let mut config =
        LoadedConfig::from_config(config, &Overrides::default(), sockets).map_err(refused)?;
    limit
        .check(&config.settings, &config.rules)
        .map_err(|error| beyond(error.into()))?;
    config.limits.push(limit);
    let signing = Signing::wanted_by(&config, &Environment::of_process())?;
    Ok(ConfigState { config, signing })
}

impl ConfigState {
    pub(super) fn into_parts(self) -> (LoadedConfig, Option<Signing>) {
        (self.config, self.signing)
    }
}
