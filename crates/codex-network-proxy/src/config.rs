//! What the proxy shall do, as its user wrote it down: the config file, the profile in it, and the flags above it.
//!
//! Main type: [`LoadedConfig`]. Comes in: the user's `config.toml` (or the settings of an embedder), [`Overrides`] and
//! [`Environment`]. Goes out: rules in which each knows its file and line, addresses to listen on, warnings, and for a
//! mistake a [`ConfigError`] that shows the line. It judges no access, opens no socket and prints nothing.

mod entry;
mod error;
mod file;
mod home;
mod listen;
mod network;
mod profile;
mod settings;
mod written;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use codex_network_policy::{Interception, Rules, SocketRules, TlsRules};

pub use codex_network_policy::Mode as NetworkMode;
pub use error::ConfigError;
pub use home::Environment;
pub use listen::ListenerAddresses;
pub use profile::Profile;
pub use settings::{NetworkProxyConfig, NetworkProxySettings};

use entry::Table;
use file::SourceFile;
use listen::Listener;
use network::Network;
use profile::Selected;
use written::{List, Written};

/// The configuration of one proxy, ready to be built.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// The settings in effect, flags included.
    pub settings: NetworkProxySettings,
    /// What the policy is compiled from.
    pub rules: Rules,
    /// Where to listen, already kept on this machine.
    pub listeners: ListenerAddresses,
    /// Sentences for the user; none if the proxy does not run.
    pub warnings: Vec<String>,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// Which profile governs. A config that was given as data has none.
    pub profile: Option<Profile>,
    /// Why the proxy does not run: a sentence that names the key and the file.
    pub disabled: Option<String>,
}

/// What the command line or an embedder says on top of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// This file instead of the user's own; it must exist.
    pub config_file: Option<PathBuf>,
    /// This profile instead of `default_permissions`.
    pub profile: Option<String>,
    /// Patterns added to the allowlist.
    pub allow: Vec<String>,
    /// Patterns added to the denylist.
    pub deny: Vec<String>,
    /// This mode instead of the file's.
    pub mode: Option<NetworkMode>,
    /// The HTTP listener here; still kept on this machine unless the settings say otherwise.
    pub http_addr: Option<SocketAddr>,
    /// The SOCKS5 listener here; it does not bring one back that the settings leave out.
    pub socks_addr: Option<SocketAddr>,
}

/// Whether the platform lets the proxy lead to unix sockets. The caller says so, which lets every platform test both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnixSockets {
    /// macOS.
    Supported,
    /// Everywhere else: such requests are refused.
    Unsupported,
}

impl UnixSockets {
    /// What this platform lets the proxy do.
    #[must_use]
    pub fn of_platform() -> Self {
        if cfg!(target_os = "macos") {
            Self::Supported
        } else {
            Self::Unsupported
        }
    }
}

impl LoadedConfig {
    /// Reads the user's config file.
    ///
    /// Without any word about permissions in it, or without a file, the built-in default profile governs: the proxy runs
    /// and its lists are empty.
    ///
    /// # Errors
    /// The file cannot be read or holds a mistake, no profile can be selected, or an override is malformed.
    pub fn from_files(
        overrides: &Overrides,
        environment: &Environment,
        sockets: UnixSockets,
    ) -> Result<Self, ConfigError> {
        let file = match &overrides.config_file {
            Some(path) => match SourceFile::read(path)? {
                Some(file) => Some(file),
                None => return Err(SourceFile::missing(path)),
            },
            None => SourceFile::read(&environment.config_file()?)?,
        };
        Self::from_source(file.as_ref(), overrides, sockets)
    }

    /// Takes the settings of an embedder; no file is read. `config_file` and `profile` of the overrides play no part.
    ///
    /// # Errors
    /// A pattern, a path or an address is malformed.
    pub fn from_config(
        config: NetworkProxyConfig,
        overrides: &Overrides,
        sockets: UnixSockets,
    ) -> Result<Self, ConfigError> {
        let network = Network::given(config.network)?;
        let disabled = (!network.settings.enabled).then(|| "`network.enabled` is false".to_owned());
        Self::assemble(network, disabled, overrides, sockets, Vec::new())
    }

    fn from_source(
        file: Option<&SourceFile>,
        overrides: &Overrides,
        sockets: UnixSockets,
    ) -> Result<Self, ConfigError> {
        let document = file.map(SourceFile::parse).transpose()?;
        let root = file
            .zip(document.as_ref())
            .map(|(file, document)| Table::root(file, document));
        let selected = profile::select(root.as_ref(), overrides.profile.as_deref())?;
        let mut network = Network::read(&selected.tables)?;
        // Who allows a host on the command line wants a proxy that runs. Only a network table can object to that: where it
        // leaves the proxy disabled, somebody who manages this file may have meant it.
        let asked_for = selected.tables.is_empty() && !overrides.allow.is_empty();
        if selected.profile == Profile::Default || asked_for {
            network.settings.enabled = true;
        }
        let disabled =
            (!network.settings.enabled).then(|| why_disabled(&selected, &network, file, overrides));
        let unread = root.as_ref().and_then(unread_feature).into_iter().collect();
        let mut config = Self::assemble(network, disabled, overrides, sockets, unread)?;
        config.file = file.map(|file| file.path().to_owned());
        config.profile = Some(selected.profile);
        Ok(config)
    }

    fn assemble(
        mut network: Network,
        disabled: Option<String>,
        overrides: &Overrides,
        sockets: UnixSockets,
        mut warnings: Vec<String>,
    ) -> Result<Self, ConfigError> {
        network.add(List::Allowed, "--allow", &overrides.allow)?;
        network.add(List::Denied, "--deny", &overrides.deny)?;
        let mut settings = network.settings;
        settings.mode = overrides.mode.unwrap_or(settings.mode);
        let listeners = listeners(&settings, overrides, &mut warnings)?;
        warnings.extend(without_effect(&settings, sockets));
        if !settings.enabled {
            // Nothing listens and nothing is judged, so a warning about either would be wrong.
            warnings.clear();
        }
        let rules = Rules {
            enabled: settings.enabled,
            mode: settings.mode,
            allow_local_binding: settings.allow_local_binding,
            allowed: network.allowed,
            denied: network.denied,
            sockets: SocketRules {
                supported: sockets == UnixSockets::Supported,
                allow_all: settings.dangerously_allow_all_unix_sockets,
                allowed: network.sockets,
            },
            tls: TlsRules {
                interception: if settings.mitm {
                    Interception::WhenLimited
                } else {
                    Interception::Unavailable
                },
                encrypted_hello: settings.encrypted_client_hello,
                verify_origin: settings.verify_origin,
            },
        };
        Ok(Self {
            settings,
            rules,
            listeners,
            warnings,
            file: None,
            profile: None,
            disabled,
        })
    }
}

fn listeners(
    settings: &NetworkProxySettings,
    overrides: &Overrides,
    warnings: &mut Vec<String>,
) -> Result<ListenerAddresses, ConfigError> {
    let mut address = |listener: Listener, written: &str, explicit: Option<SocketAddr>| {
        let by = Arc::from(listener.key());
        // Read even where a flag replaces it or nothing listens there: a mistake is told when it is made.
        let address = Written::Given {
            by: &by,
            text: written,
        }
        .address(listener)?;
        if explicit.is_none() {
            warnings.extend(address.warning(listener));
        }
        Ok(explicit.unwrap_or(address.socket))
    };
    let http = address(Listener::Http, &settings.proxy_url, overrides.http_addr)?;
    let socks = address(Listener::Socks5, &settings.socks_url, overrides.socks_addr)?;
    if let Some(unused) = overrides.socks_addr.filter(|_| !settings.enable_socks5) {
        warnings.push(format!(
            "the SOCKS5 address {unused} has no effect: `enable_socks5` is false"
        ));
    }
    let socks = settings.enable_socks5.then_some(socks);
    Ok(ListenerAddresses { http, socks }.clamped(settings, warnings))
}

/// Settings that this build or this platform cannot carry out.
fn without_effect(settings: &NetworkProxySettings, sockets: UnixSockets) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.mitm && settings.mode == NetworkMode::Full {
        warnings.push("`mitm = true` has no effect in full mode: tunnels are relayed unopened; it is for `mode = \"limited\"`".to_owned());
    }
    if settings.verify_origin && settings.mode == NetworkMode::Limited {
        warnings.push("`verify_origin = true` has no effect in limited mode: there is no unopened tunnel, and the proxy verifies every origin itself".to_owned());
    }
    let wants_sockets =
        settings.dangerously_allow_all_unix_sockets || !settings.allow_unix_sockets.is_empty();
    if wants_sockets && sockets == UnixSockets::Unsupported {
        warnings.push("allowUnixSockets and dangerouslyAllowAllUnixSockets are macOS-only; requests will be rejected on this platform".to_owned());
    }
    warnings
}

/// Codex can also enable its proxy by a feature flag, which is not read here; a user must not believe that it is.
fn unread_feature(root: &Table<'_>) -> Option<String> {
    let features = root
        .entry("features")
        .filter(|entry| entry.is_table())?
        .table()
        .ok()?;
    let feature = features.entry("network_proxy")?;
    if feature.boolean().is_ok_and(|on| !on) {
        return None;
    }
    Some(format!(
        "`features.network_proxy` ({}) has no effect in this build; use a [permissions.<profile>.network] table",
        feature.origin()
    ))
}

fn why_disabled(
    selected: &Selected<'_>,
    network: &Network,
    file: Option<&SourceFile>,
    overrides: &Overrides,
) -> String {
    let file = file.map_or_else(|| "the config".to_owned(), |file| file.label().to_string());
    let why = match (
        &selected.profile,
        &network.enabled_at,
        selected.tables.first(),
    ) {
        (_, Some((table, origin)), _) => format!(" in [{table}] of {origin}"),
        (_, None, Some(table)) => format!(" in [{}] of {file}", table.path()),
        (Profile::Named(name), None, None) => {
            let table = format!("permissions.{}.network", entry::quoted(name));
            format!(": {file} has no [{table}] table")
        }
        (Profile::BuiltIn(name), None, None) if overrides.profile.is_some() => {
            format!(": `--profile` selects the built-in profile `{name}`")
        }
        (Profile::BuiltIn(name), None, None) => {
            format!(": `default_permissions` in {file} selects the built-in profile `{name}`")
        }
        (Profile::SandboxMode, None, None) => {
            format!(": {file} sets `sandbox_mode` and no `default_permissions`")
        }
        (Profile::NoneDefined | Profile::Default, None, None) => {
            format!(": [permissions] of {file} holds no profile")
        }
    };
    format!("`enabled` is not true{why}")
}
