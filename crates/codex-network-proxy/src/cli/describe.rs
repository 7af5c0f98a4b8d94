//! A loaded configuration in words: where it comes from, what a setting is, what a limit permits.
//!
//! Comes in: values of the library. Goes out: pieces of text that several commands show alike.

use codex_network_policy::{Constraints, EncryptedHello, Expansion, HostLimit, Mode};
use codex_network_proxy::NetworkProxySettings;
use codex_network_proxy::config::{LayerKind, Limit, LoadedConfig, NetworkKey, Profile};
use serde_json::{Value, json};

/// Which profile governs, and whose it is.
pub(super) fn origin(config: &LoadedConfig) -> String {
    let file = config.file.as_ref().map(|file| file.display().to_string());
    let file = file.or_else(|| {
        let highest = config.layers.iter().rev();
        let mut files = highest.filter(|(kind, _)| *kind != LayerKind::Flag);
        files.next().map(|(_, label)| label.to_string())
    });
    match (file, &config.profile) {
        (Some(file), Some(Profile::Named(profile) | Profile::BuiltIn(profile))) => {
            format!("profile {profile:?} of {file}")
        }
        (Some(file), _) => format!("the built-in default; {file} names no profile"),
        (None, Some(Profile::Named(profile) | Profile::BuiltIn(profile))) => {
            format!("profile {profile:?}")
        }
        (None, _) => "the built-in default; there is no config.toml".to_owned(),
    }
}

/// The profile's name, for scripts.
pub(super) fn profile(config: &LoadedConfig) -> Option<&str> {
    match config.profile.as_ref()? {
        Profile::Named(name) | Profile::BuiltIn(name) => Some(name),
        Profile::Default | Profile::SandboxMode | Profile::NoneDefined => None,
    }
}

/// A setting as TOML; `None` for lists, whose entries have lines of their own.
pub(super) fn setting(key: NetworkKey, settings: &NetworkProxySettings) -> Option<String> {
    setting_json(key, settings).map(|value| value.to_string())
}

/// A setting as JSON; `None` for lists.
pub(super) fn setting_json(key: NetworkKey, settings: &NetworkProxySettings) -> Option<Value> {
    Some(match key {
        NetworkKey::Enabled => json!(settings.enabled),
        NetworkKey::ProxyUrl => json!(settings.proxy_url),
        NetworkKey::EnableSocks5 => json!(settings.enable_socks5),
        NetworkKey::SocksUrl => json!(settings.socks_url),
        NetworkKey::EnableSocks5Udp => json!(settings.enable_socks5_udp),
        NetworkKey::AllowUpstreamProxy => json!(settings.allow_upstream_proxy),
        NetworkKey::DangerouslyAllowNonLoopbackProxy => {
            json!(settings.dangerously_allow_non_loopback_proxy)
        }
        NetworkKey::DangerouslyAllowAllUnixSockets => {
            json!(settings.dangerously_allow_all_unix_sockets)
        }
        NetworkKey::Mode => json!(settings.mode.as_str()),
        NetworkKey::AllowLocalBinding => json!(settings.allow_local_binding),
        NetworkKey::EncryptedClientHello => json!(match settings.encrypted_client_hello {
            EncryptedHello::Allow => "allow",
            EncryptedHello::Deny => "deny",
        }),
        NetworkKey::VerifyOrigin => json!(settings.verify_origin),
        NetworkKey::RequireAuditLog => json!(settings.require_audit_log),
        NetworkKey::HideRefusalDetails => json!(settings.hide_refusal_details),
        NetworkKey::Mitm => json!(settings.mitm),
        NetworkKey::AllowedDomains
        | NetworkKey::DeniedDomains
        | NetworkKey::Domains
        | NetworkKey::AllowUnixSockets
        | NetworkKey::UnixSockets => return None,
    })
}

/// What a limit permits, one line each.
pub(super) fn limit(limit: &Limit) -> Vec<String> {
    let Constraints {
        enabled,
        mode,
        allow_upstream_proxy,
        dangerously_allow_non_loopback_proxy,
        dangerously_allow_all_unix_sockets,
        allow_local_binding,
        allowed,
        denied,
        sockets,
    } = &limit.constraints;
    let mut lines = Vec::new();
    if *mode == Some(Mode::Limited) {
        lines.push("mode stays \"limited\"".to_owned());
    }
    for (key, value) in [
        (NetworkKey::Enabled, enabled),
        (NetworkKey::AllowUpstreamProxy, allow_upstream_proxy),
        (
            NetworkKey::DangerouslyAllowNonLoopbackProxy,
            dangerously_allow_non_loopback_proxy,
        ),
        (
            NetworkKey::DangerouslyAllowAllUnixSockets,
            dangerously_allow_all_unix_sockets,
        ),
        (NetworkKey::AllowLocalBinding, allow_local_binding),
    ] {
        if *value == Some(false) {
            lines.push(format!("{} stays false", key.name()));
        }
    }
    lines.extend(allowed.as_ref().map(allowlist));
    lines.extend(denied.as_ref().map(denylist));
    if let Some(sockets) = sockets {
        lines.push(match sockets.len() {
            0 => "unix sockets: none may be listed".to_owned(),
            count => format!("unix sockets: only the {count} managed may be listed"),
        });
    }
    if lines.is_empty() {
        lines.push("nothing that a user could exceed".to_owned());
    }
    lines
}

fn allowlist(limit: &HostLimit) -> String {
    let count = limit.patterns.len();
    match limit.expansion {
        Expansion::Open => format!("allowlist: holds the {count} managed, others may be added"),
        Expansion::Closed if count == 0 => "allowlist: stays empty".to_owned(),
        Expansion::Closed => format!("allowlist: the {count} managed and no others"),
        Expansion::Unset => format!("allowlist: only what the {count} managed cover"),
    }
}

fn denylist(limit: &HostLimit) -> String {
    let count = limit.patterns.len();
    match limit.expansion {
        Expansion::Open | Expansion::Unset => {
            format!("denylist: holds the {count} managed, others may be added")
        }
        Expansion::Closed => format!("denylist: the {count} managed and no others"),
    }
}
