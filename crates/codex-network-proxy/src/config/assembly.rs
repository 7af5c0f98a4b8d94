//! Puts a configuration together: the selected profile, the flags above it, the requirements, the limits.
//!
//! Main function: [`from_documents`]. Comes in: the layers as TOML, and [`Overrides`]. Goes out: a [`LoadedConfig`]. The
//! order is what makes managed limits hold: whatever a user, a project or a flag says is worked in first, then the
//! requirements, and the limits are checked last and on the whole. It reads no file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use codex_network_policy::{Interception, Mode, Origin, Rules, SocketRules, TlsRules};

use super::entry::{self, Table};
use super::error::ConfigError;
use super::keys::NetworkKey;
use super::layers::{Documents, LayerKind, Looked};
use super::limits::{self, Limit, LimitKind};
use super::listen::{Listener, ListenerAddresses};
use super::loaded::LoadedConfig;
use super::network::Network;
use super::overrides::{Overrides, UnixSockets};
use super::profile::{self, Profile, Selected};
use super::requirements::{self, Requirements};
use super::settings::NetworkProxySettings;
use super::written::{List, Written};

/// What of a configuration is settled before it is put together.
#[derive(Default)]
struct Foundation<'a> {
    documents: Option<&'a Documents<'a>>,
    requirements: Option<Requirements>,
    limits: Vec<Limit>,
    warnings: Vec<String>,
}

/// Of files.
pub(super) fn from_documents(
    documents: &Documents<'_>,
    overrides: &Overrides,
    sockets: UnixSockets,
) -> Result<LoadedConfig, ConfigError> {
    let root = documents.root();
    let requirements = required(documents, &root)?;
    let selected = profile::select(&root, overrides.profile.as_deref())?;
    let mut network = Network::read(&selected.tables)?;
    // Who allows a host on the command line wants a proxy that runs. Only a network table can object to that: where it
    // leaves the proxy disabled, somebody who manages this file may have meant it.
    let asked_for = selected.tables.is_empty() && !overrides.allow.is_empty();
    if selected.profile == Profile::Default || asked_for {
        network.settings.enabled = true;
    }
    let mut warnings = documents.warnings.to_vec();
    warnings.extend(unread_feature(&root));
    warnings.extend(unread_requirements(documents, &root));
    let foundation = Foundation {
        documents: Some(documents),
        requirements,
        limits: limits::of_documents(documents, &root, &selected.tables)?,
        warnings,
    };
    let why = |network: &Network| why_disabled(&selected, network, &root, overrides);
    let mut config = assemble(network, foundation, why, overrides, sockets)?;
    config.file = user_file(documents);
    config.profile = Some(selected.profile);
    Ok(config)
}

/// Of the settings of an embedder.
pub(super) fn from_network(
    network: Network,
    overrides: &Overrides,
    sockets: UnixSockets,
) -> Result<LoadedConfig, ConfigError> {
    let why = |_: &Network| "`network.enabled` is false".to_owned();
    assemble(network, Foundation::default(), why, overrides, sockets)
}

/// The requirements file, or else the older managed file; never two of them mixed.
fn required(
    documents: &Documents<'_>,
    root: &Table<'_>,
) -> Result<Option<Requirements>, ConfigError> {
    if let Some(file) = documents.requirements {
        let document = file.parse()?;
        let table = Table::root(std::iter::once((file, &document)));
        if let Some(requirements) = Requirements::read(&table)? {
            return Ok(Some(requirements));
        }
    }
    let managed = documents
        .layers()
        .find(|layer| layer.kind == LayerKind::Managed);
    match managed.and_then(|layer| root.part_of(&layer.file)) {
        Some(part) => Requirements::read(&part),
        None => Ok(None),
    }
}

fn assemble(
    mut network: Network,
    foundation: Foundation<'_>,
    why_disabled: impl Fn(&Network) -> String,
    overrides: &Overrides,
    sockets: UnixSockets,
) -> Result<LoadedConfig, ConfigError> {
    let Foundation {
        documents,
        requirements,
        mut limits,
        mut warnings,
    } = foundation;
    network.add(List::Allowed, "--allow", &overrides.allow)?;
    network.add(List::Denied, "--deny", &overrides.deny)?;
    if let Some(mode) = overrides.mode {
        network.settings.mode = mode;
        let origin = Origin::flag("--mode");
        network.origins.insert(NetworkKey::Mode, origin);
    }
    if let Some(requirements) = &requirements {
        let constraints = requirements.apply(&mut network, overrides.access);
        limits.push(Limit {
            source: Arc::clone(&requirements.source),
            kind: LimitKind::Requirements,
            constraints,
        });
        if network.ignored > 0 {
            warnings.push(format!(
                "of the user's allowlist {} without effect: the managed list is the only one ({})",
                entries(network.ignored),
                requirements.pinned_at()
            ));
        }
    }
    let (settings, network) = network.into_settings();
    let disabled = (!settings.enabled).then(|| why_disabled(&network));
    let listeners = listeners(&settings, overrides, &mut warnings)?;
    warnings.extend(without_effect(&settings, sockets));
    if !settings.enabled {
        // Nothing listens and nothing is judged, so a warning about either would be wrong.
        warnings.clear();
    }
    let rules = rules(&settings, &network, sockets);
    for limit in &limits {
        limit
            .check(&settings, &rules)
            .map_err(|error| limit.refusal(error, &network, documents))?;
    }
    Ok(LoadedConfig {
        settings,
        rules,
        listeners,
        warnings,
        file: None,
        profile: None,
        disabled,
        layers: documents.map(Documents::summaries).unwrap_or_default(),
        requirements: requirements.map(|requirements| requirements.source),
        limits,
        origins: network.origins,
        looked: Looked::default(),
        source: None,
    })
}

fn entries(count: usize) -> String {
    match count {
        1 => "1 entry is".to_owned(),
        count => format!("{count} entries are"),
    }
}

fn rules(settings: &NetworkProxySettings, network: &Network, sockets: UnixSockets) -> Rules {
    Rules {
        enabled: settings.enabled,
        mode: settings.mode,
        allow_local_binding: settings.allow_local_binding,
        pinned: network.pinned,
        direct_only: !settings.allow_upstream_proxy,
        allowed: network.allowed.clone(),
        denied: network.denied.clone(),
        sockets: SocketRules {
            supported: sockets == UnixSockets::Supported,
            allow_all: settings.dangerously_allow_all_unix_sockets,
            allowed: network.sockets.clone(),
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
        requires_audit_log: settings.require_audit_log,
        hides_details: settings.hide_refusal_details,
    }
}

fn user_file(documents: &Documents<'_>) -> Option<PathBuf> {
    documents
        .layers()
        .find(|layer| layer.kind == LayerKind::User)
        .map(|layer| layer.file.path().to_owned())
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
    if settings.mitm && settings.mode == Mode::Full {
        warnings.push("`mitm = true` has no effect in full mode: tunnels are relayed unopened; it is for `mode = \"limited\"`".to_owned());
    }
    if settings.verify_origin && settings.mode == Mode::Limited {
        warnings.push("`verify_origin = true` has no effect in limited mode: there is no unopened tunnel, and the proxy verifies every origin itself".to_owned());
    }
    let wants_sockets =
        settings.dangerously_allow_all_unix_sockets || !settings.allow_unix_sockets.is_empty();
    if wants_sockets && sockets == UnixSockets::Unsupported {
        warnings.push("allowUnixSockets and dangerouslyAllowAllUnixSockets are macOS-only; requests will be rejected on this platform".to_owned());
    }
    warnings
}

/// Requirements count where only the machine's owner can write; a user must not believe that these do.
fn unread_requirements(documents: &Documents<'_>, root: &Table<'_>) -> Vec<String> {
    let others = documents
        .layers()
        .filter(|layer| layer.kind != LayerKind::Managed);
    others
        .filter_map(|layer| root.part_of(&layer.file)?.entry(requirements::TABLE))
        .map(|entry| {
            format!(
                "`{}` ({}) has no effect: requirements are read from requirements.toml",
                requirements::TABLE,
                entry.origin()
            )
        })
        .collect()
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
    root: &Table<'_>,
    overrides: &Overrides,
) -> String {
    if let Some(origin) = network.origins.get(&NetworkKey::Enabled) {
        let table = match &network.enabled_in {
            Some(table) => format!(" in [{table}] of {origin}"),
            None => format!(": {origin} requires it"),
        };
        return format!("`enabled` is not true{table}");
    }
    let file = root
        .entry("default_permissions")
        .map(|entry| entry.origin().source)
        .or_else(|| root.file().map(|file| file.label()))
        .unwrap_or_else(|| Arc::from("the config"));
    let why = match (&selected.profile, selected.tables.first()) {
        (_, Some(table)) => {
            let file = table.file().map_or(file, |file| file.label());
            format!(" in [{}] of {file}", table.path())
        }
        (Profile::Named(name), None) => {
            let table = format!("permissions.{}.network", entry::quoted(name));
            format!(": {file} has no [{table}] table")
        }
        (Profile::BuiltIn(name), None) if overrides.profile.is_some() => {
            format!(": `--profile` selects the built-in profile `{name}`")
        }
        (Profile::BuiltIn(name), None) => {
            format!(": `default_permissions` in {file} selects the built-in profile `{name}`")
        }
        (Profile::SandboxMode, None) => {
            format!(": {file} sets `sandbox_mode` and no `default_permissions`")
        }
        (Profile::NoneDefined | Profile::Default, None) => {
            format!(": [permissions] of {file} holds no profile")
        }
    };
    format!("`enabled` is not true{why}")
}
