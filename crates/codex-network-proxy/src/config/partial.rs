//! The part of the network keys that managed limits speak of, each of them or none: what an embedder reads from a layer.
//!
//! Main types: [`PartialNetworkProxyConfig`] and [`PartialNetworkConfig`], plain data under the names that existing users
//! know. Other keys are passed over, for this is never all that a layer says. It judges no value; `constraints` does.

use codex_network_policy::Mode;
use serde::Deserialize;

use super::constraints::NetworkProxyConstraints;

/// The settings of one layer under the name that Codex gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PartialNetworkProxyConfig {
    /// The settings.
    pub network: PartialNetworkConfig,
}

/// What one layer says of the keys that can be limited. What is absent was not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PartialNetworkConfig {
    /// Whether the proxy runs at all.
    pub enabled: Option<bool>,
    /// Which requests are possible at all.
    pub mode: Option<Mode>,
    /// Whether a parent proxy from the environment is used.
    pub allow_upstream_proxy: Option<bool>,
    /// Whether the listeners may be reachable from other machines.
    pub dangerously_allow_non_loopback_proxy: Option<bool>,
    /// Whether every absolute path may be reached as a unix socket.
    pub dangerously_allow_all_unix_sockets: Option<bool>,
    /// Host patterns that may be reached.
    pub allowed_domains: Option<Vec<String>>,
    /// Host patterns that may not be reached.
    pub denied_domains: Option<Vec<String>>,
    /// Paths of the unix sockets that may be reached.
    pub allow_unix_sockets: Option<Vec<String>>,
    /// Whether local and private addresses are reachable like any other.
    pub allow_local_binding: Option<bool>,
}

/// A trusted layer is a limit for what others say.
impl From<PartialNetworkConfig> for NetworkProxyConstraints {
    fn from(layer: PartialNetworkConfig) -> Self {
        let PartialNetworkConfig {
            enabled,
            mode,
            allow_upstream_proxy,
            dangerously_allow_non_loopback_proxy,
            dangerously_allow_all_unix_sockets,
            allowed_domains,
            denied_domains,
            allow_unix_sockets,
            allow_local_binding,
        } = layer;
        Self {
            enabled,
            mode,
            allow_upstream_proxy,
            dangerously_allow_non_loopback_proxy,
            dangerously_allow_all_unix_sockets,
            allowed_domains,
            allowlist_expansion_enabled: None,
            denied_domains,
            denylist_expansion_enabled: None,
            allow_unix_sockets,
            allow_local_binding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_says_what_it_says_and_other_keys_are_passed_over() {
        let text = "[network]\nmode = \"limited\"\nallowed_domains = [\"a.test\"]\nproxy_url = \"http://127.0.0.1:1\"\n";
        let layer: PartialNetworkProxyConfig = toml::from_str(text).unwrap();
        let said = PartialNetworkConfig {
            mode: Some(Mode::Limited),
            allowed_domains: Some(vec!["a.test".to_owned()]),
            ..PartialNetworkConfig::default()
        };
        assert_eq!(layer.network, said);
        let limits = NetworkProxyConstraints::from(said);
        assert_eq!(limits.mode, Some(Mode::Limited));
        assert_eq!(limits.enabled, None);
        assert_eq!(
            toml::from_str("").ok(),
            Some(PartialNetworkProxyConfig::default())
        );
        assert!(toml::from_str::<PartialNetworkProxyConfig>("[network]\nenabled = 1\n").is_err());
    }
}
