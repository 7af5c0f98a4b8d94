//! Managed limits in the words of embedders: plain data, and the check of a configuration against it.
//!
//! Main types: [`NetworkProxyConstraints`] and [`NetworkProxyConstraintError`], under the names that existing users know.
//! The check itself is the policy crate's, and the same that loading and live edits pass.

use std::fmt;
use std::sync::Arc;

use codex_network_policy::{
    Candidate, ConstraintError, Constraints, Expansion, HostLimit, HostPattern, Mode, Rule,
    SocketPath,
};

use super::network::Network;
use super::settings::{NetworkProxyConfig, NetworkProxySettings};
use super::written::{List, Written};

/// What a configuration may not exceed. An absent value limits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkProxyConstraints {
    /// `Some(false)`: the proxy cannot be enabled.
    pub enabled: Option<bool>,
    /// The most permissive mode.
    pub mode: Option<Mode>,
    /// `Some(false)`: a parent proxy cannot be used.
    pub allow_upstream_proxy: Option<bool>,
    /// `Some(false)`: listeners stay on this machine.
    pub dangerously_allow_non_loopback_proxy: Option<bool>,
    /// `Some(false)`: sockets have to be listed.
    pub dangerously_allow_all_unix_sockets: Option<bool>,
    /// The managed allowlist.
    pub allowed_domains: Option<Vec<String>>,
    /// Whether others may be added to it; `None`: only what it covers may be listed.
    pub allowlist_expansion_enabled: Option<bool>,
    /// The managed denylist.
    pub denied_domains: Option<Vec<String>>,
    /// Whether others may be added to it; `None` as `Some(true)`.
    pub denylist_expansion_enabled: Option<bool>,
    /// The only sockets that may be listed.
    pub allow_unix_sockets: Option<Vec<String>>,
    /// `Some(false)`: local addresses have to be listed.
    pub allow_local_binding: Option<bool>,
}

/// Why a configuration is beyond its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkProxyConstraintError {
    /// A value that is not allowed.
    InvalidValue {
        /// The key with its table: `network.allowed_domains`.
        field_name: &'static str,
        /// What was refused.
        candidate: String,
        /// What is allowed instead.
        allowed: String,
    },
}

impl fmt::Display for NetworkProxyConstraintError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::InvalidValue {
            field_name,
            candidate,
            allowed,
        } = self;
        write!(
            formatter,
            "invalid value for {field_name}: {candidate} (allowed {allowed})"
        )
    }
}

impl std::error::Error for NetworkProxyConstraintError {}

impl NetworkProxyConstraintError {
    /// The same error for a program whose errors are all of one type.
    #[must_use]
    pub fn into_anyhow(self) -> anyhow::Error {
        self.into()
    }
}

impl From<ConstraintError> for NetworkProxyConstraintError {
    fn from(error: ConstraintError) -> Self {
        Self::InvalidValue {
            field_name: error.field_name,
            candidate: error.candidate,
            allowed: error.allowed,
        }
    }
}

/// Whether a configuration stays inside its limits.
///
/// # Errors
/// The first limit that it breaks, or the first entry of either side that is no pattern and no path.
pub fn validate_policy_against_constraints(
    config: &NetworkProxyConfig,
    constraints: &NetworkProxyConstraints,
) -> Result<(), NetworkProxyConstraintError> {
    let settings = &config.network;
    let allowed = rules(List::Allowed, &settings.allowed_domains)?;
    let denied = rules(List::Denied, &settings.denied_domains)?;
    let sockets = Network::given(NetworkProxySettings {
        allow_unix_sockets: settings.allow_unix_sockets.clone(),
        ..NetworkProxySettings::default()
    });
    let sockets = sockets.map_err(|_| paths_error(&settings.allow_unix_sockets))?;
    constraints.compile()?.check(&Candidate {
        enabled: settings.enabled,
        mode: settings.mode,
        allow_upstream_proxy: settings.allow_upstream_proxy,
        dangerously_allow_non_loopback_proxy: settings.dangerously_allow_non_loopback_proxy,
        dangerously_allow_all_unix_sockets: settings.dangerously_allow_all_unix_sockets,
        allow_local_binding: settings.allow_local_binding,
        allowed: &allowed,
        denied: &denied,
        sockets: &sockets.sockets,
    })?;
    Ok(())
}

impl NetworkProxyConstraints {
    /// The limits with their lists parsed.
    pub(crate) fn compile(&self) -> Result<Constraints, NetworkProxyConstraintError> {
        let limit = |list,
                     texts: &Option<Vec<String>>,
                     expansion: Option<bool>|
         -> Result<Option<HostLimit>, NetworkProxyConstraintError> {
            let Some(texts) = texts else {
                return Ok(None);
            };
            let patterns: Vec<HostPattern> = rules(list, texts)?
                .into_iter()
                .map(|rule| rule.pattern)
                .collect();
            let expansion = match expansion {
                Some(true) => Expansion::Open,
                Some(false) => Expansion::Closed,
                None => Expansion::Unset,
            };
            Ok(Some(HostLimit {
                patterns,
                expansion,
            }))
        };
        let sockets = self.allow_unix_sockets.as_ref().map(|paths| {
            let parsed: Result<Vec<SocketPath>, _> =
                paths.iter().map(|path| SocketPath::parse(path)).collect();
            parsed.map_err(|_| paths_error(paths))
        });
        Ok(Constraints {
            enabled: self.enabled,
            mode: self.mode,
            allow_upstream_proxy: self.allow_upstream_proxy,
            dangerously_allow_non_loopback_proxy: self.dangerously_allow_non_loopback_proxy,
            dangerously_allow_all_unix_sockets: self.dangerously_allow_all_unix_sockets,
            allow_local_binding: self.allow_local_binding,
            allowed: limit(
                List::Allowed,
                &self.allowed_domains,
                self.allowlist_expansion_enabled,
            )?,
            denied: limit(
                List::Denied,
                &self.denied_domains,
                self.denylist_expansion_enabled,
            )?,
            sockets: sockets.transpose()?,
        })
    }
}

fn rules(list: List, texts: &[String]) -> Result<Vec<Rule>, NetworkProxyConstraintError> {
    let by: Arc<str> = Arc::from(list.field());
    texts
        .iter()
        .map(|text| {
            Written::Given { by: &by, text }.rule(list).map_err(|_| {
                NetworkProxyConstraintError::InvalidValue {
                    field_name: list.field(),
                    candidate: text.clone(),
                    allowed: "exact hosts or scoped wildcards like *.example.com or **.example.com"
                        .to_owned(),
                }
            })
        })
        .collect()
}

fn paths_error(paths: &[String]) -> NetworkProxyConstraintError {
    NetworkProxyConstraintError::InvalidValue {
        field_name: "network.allow_unix_sockets",
        candidate: format!("{paths:?}"),
        allowed: "absolute paths".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        settings: NetworkProxySettings,
        constraints: &NetworkProxyConstraints,
        expected: Result<(), &str>,
    ) {
        let config = NetworkProxyConfig { network: settings };
        let found = validate_policy_against_constraints(&config, constraints);
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn a_configuration_is_checked_under_the_names_of_old() {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let settings = |allowed: &[&str]| NetworkProxySettings {
            enabled: true,
            allowed_domains: owned(allowed),
            ..NetworkProxySettings::default()
        };
        let unlimited = NetworkProxyConstraints::default();
        check(settings(&["a.com"]), &unlimited, Ok(()));
        check(
            settings(&["a.com", "*"]),
            &unlimited,
            Err(
                "invalid value for network.allowed_domains: * (allowed exact hosts or scoped wildcards like *.example.com or **.example.com)",
            ),
        );
        let managed = NetworkProxyConstraints {
            allowed_domains: Some(owned(&["*.a.com"])),
            ..unlimited.clone()
        };
        check(settings(&["x.a.com"]), &managed, Ok(()));
        check(
            settings(&["a.com"]),
            &managed,
            Err(
                "invalid value for network.allowed_domains: [\"a.com\"] (allowed subset of managed allowed_domains)",
            ),
        );
        let open = NetworkProxyConstraints {
            allowlist_expansion_enabled: Some(true),
            ..managed.clone()
        };
        check(settings(&["b.com", "*.A.com"]), &open, Ok(()));
        check(
            settings(&["b.com"]),
            &open,
            Err(
                "invalid value for network.allowed_domains: missing managed allowed_domains entries (allowed [\"*.a.com\"])",
            ),
        );
        let disabled = NetworkProxyConstraints {
            enabled: Some(false),
            allow_unix_sockets: Some(owned(&["/run/a"])),
            ..unlimited
        };
        check(
            settings(&[]),
            &disabled,
            Err(
                "invalid value for network.enabled: true (allowed false (disabled by managed config))",
            ),
        );
        let sockets = NetworkProxySettings {
            allow_unix_sockets: owned(&["/run/b"]),
            ..NetworkProxySettings::default()
        };
        check(
            sockets,
            &disabled,
            Err(
                "invalid value for network.allow_unix_sockets: [\"/run/b\"] (allowed subset of managed allow_unix_sockets)",
            ),
        );
    }
}
