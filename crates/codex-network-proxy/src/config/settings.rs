//! The network settings as plain data: what an embedder gives, and what JSON holds.
//!
//! Main types: [`NetworkProxyConfig`], [`NetworkProxySettings`]. JSON is written as `{"network": {...}}` with arrays, and
//! read in that form and in the newer one without the wrapper and with the tables `domains` and `unix_sockets`. Patterns,
//! paths and addresses are text here; `rules` and `listen` judge them.

use std::collections::BTreeMap;

use codex_network_policy::{EncryptedHello, Mode, SocketPath};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where the HTTP listener is if nothing is said.
pub(super) const DEFAULT_PROXY_URL: &str = "http://127.0.0.1:3128";
/// Where the SOCKS5 listener is if nothing is said.
pub(super) const DEFAULT_SOCKS_URL: &str = "http://127.0.0.1:8081";

/// The settings of the proxy under the name that Codex gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NetworkProxyConfig {
    /// The settings under the one key that JSON has.
    pub network: NetworkProxySettings,
}

/// The keys of `[permissions.<profile>.network]`.
///
/// On its own it reads the arrays only; [`NetworkProxyConfig`] reads both spellings. An unknown field is an error: it could
/// be a limit that would not be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkProxySettings {
    /// Whether the proxy runs at all.
    pub enabled: bool,
    /// Where the HTTP listener is.
    pub proxy_url: String,
    /// Whether there is a SOCKS5 listener.
    pub enable_socks5: bool,
    /// Where the SOCKS5 listener is.
    pub socks_url: String,
    /// Whether the SOCKS5 listener offers UDP ASSOCIATE.
    pub enable_socks5_udp: bool,
    /// Whether a parent proxy from the environment is used.
    pub allow_upstream_proxy: bool,
    /// Whether the listeners may be reachable from other machines.
    pub dangerously_allow_non_loopback_proxy: bool,
    /// Whether every absolute path may be reached as a unix socket.
    pub dangerously_allow_all_unix_sockets: bool,
    /// Which requests are possible at all.
    pub mode: Mode,
    /// Host patterns that may be reached; empty allows nothing.
    pub allowed_domains: Vec<String>,
    /// Host patterns that may not be reached, whatever the allowlist says.
    pub denied_domains: Vec<String>,
    /// Paths of the unix sockets that may be reached.
    pub allow_unix_sockets: Vec<String>,
    /// Whether local and private addresses are reachable like any other.
    pub allow_local_binding: bool,
    /// Whether TLS is to be intercepted where the mode needs it.
    pub mitm: bool,
    /// Whether a ClientHello with an encrypted part, which may hide another server name, passes in a tunnel. Written
    /// only where it is not the default, for other readers of the form do not know the key.
    #[serde(skip_serializing_if = "is_default")]
    pub encrypted_client_hello: EncryptedHello,
    /// Whether the bytes of a tunnel wait until its origin has shown a valid certificate to the proxy itself.
    /// Written only where it is not the default.
    #[serde(skip_serializing_if = "is_default")]
    pub verify_origin: bool,
    /// Whether everything is refused while the audit log cannot be written. Written only where it is not the default.
    #[serde(skip_serializing_if = "is_default")]
    pub require_audit_log: bool,
    /// Whether a refused client is told no more than the reason. Written only where it is not the default.
    #[serde(skip_serializing_if = "is_default")]
    pub hide_refusal_details: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for NetworkProxySettings {
    fn default() -> Self {
        Self {
            enabled: false,
            proxy_url: DEFAULT_PROXY_URL.to_owned(),
            enable_socks5: true,
            socks_url: DEFAULT_SOCKS_URL.to_owned(),
            enable_socks5_udp: true,
            allow_upstream_proxy: true,
            dangerously_allow_non_loopback_proxy: false,
            dangerously_allow_all_unix_sockets: false,
            mode: Mode::default(),
            allowed_domains: Vec::new(),
            denied_domains: Vec::new(),
            allow_unix_sockets: Vec::new(),
            allow_local_binding: false,
            mitm: false,
            encrypted_client_hello: EncryptedHello::default(),
            verify_origin: false,
            require_audit_log: false,
            hide_refusal_details: false,
        }
    }
}

/// What a table of patterns or paths says about one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Permission {
    Allow,
    Deny,
}

impl Permission {
    pub(super) const WORDS: [(&str, Self); 2] = [("allow", Self::Allow), ("deny", Self::Deny)];
}

impl<'de> Deserialize<'de> for NetworkProxyConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut written = Map::deserialize(deserializer)?;
        if let Some(network) = written.remove("network") {
            written = Map::deserialize(network).map_err(D::Error::custom)?;
        }
        Ok(Self {
            network: either_form(written).map_err(D::Error::custom)?,
        })
    }
}

/// The settings in today's form are those of the seed with two tables more, and fields that mean nothing here.
fn either_form(mut written: Map<String, Value>) -> Result<NetworkProxySettings, serde_json::Error> {
    let domains = permissions(written.remove("domains"))?;
    let sockets = permissions(written.remove("unix_sockets"))?;
    // Hooks refuse requests, so a reader that drops one would widen the policy.
    let hooks = written.remove("mitm_hooks");
    if !hooks.is_none_or(|hooks| hooks.is_null() || hooks.as_array().is_some_and(Vec::is_empty)) {
        return Err(serde_json::Error::custom(
            "`mitm_hooks` are not in this build",
        ));
    }
    for grants_nothing in [
        "credential_broker",
        "dangerously_allow_plaintext_credential_injection",
    ] {
        written.remove(grants_nothing);
    }
    let mut settings = NetworkProxySettings::deserialize(Value::Object(written))?;
    for (pattern, permission) in domains {
        match permission {
            Permission::Allow => settings.allowed_domains.push(pattern),
            Permission::Deny => settings.denied_domains.push(pattern),
        }
    }
    let (allowed, cancelled): (Vec<_>, Vec<_>) = sockets
        .into_iter()
        .partition(|(_, permission)| *permission == Permission::Allow);
    settings
        .allow_unix_sockets
        .extend(allowed.into_iter().map(|(path, _)| path));
    settings
        .allow_unix_sockets
        .retain(|path| !cancelled.iter().any(|(other, _)| same_path(path, other)));
    Ok(settings)
}

fn permissions(written: Option<Value>) -> Result<BTreeMap<String, Permission>, serde_json::Error> {
    let permissions =
        Option::<BTreeMap<String, Permission>>::deserialize(written.unwrap_or_default())?;
    Ok(permissions.unwrap_or_default())
}

/// Whether two texts name one path; texts that are no paths are told apart by `rules`, not here.
fn same_path(one: &str, other: &str) -> bool {
    match (SocketPath::parse(one), SocketPath::parse(other)) {
        (Ok(one), Ok(other)) => one.as_str() == other.as_str(),
        (Ok(_), Err(_)) | (Err(_), Ok(_) | Err(_)) => one == other,
    }
}
