//! Reads the network table of a profile, with those of its parents below it: every key, its type, its meaning as data.
//!
//! Main type: [`Network`]. Comes in: tables, nearest first, each merged from its layers. Goes out: the settings, and the rules of both list spellings
//! with their places. It does not look at the command line and does not decide what follows from a setting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use codex_network_policy::{EncryptedHello, HostList, Mode, Origin, Rule, SocketRule};

use super::entry::{Entry, Table};
use super::error::{ConfigError, clip};
use super::keys::NetworkKey;
use super::listen::Listener;
use super::settings::{NetworkProxySettings, Permission};
use super::written::{List, Written};

/// The network tables of a profile, read.
#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) settings: NetworkProxySettings,
    /// The table that sets `enabled`, if anything sets it.
    pub(super) enabled_in: Option<String>,
    /// Where each key is set, if anything sets it.
    pub(super) origins: BTreeMap<NetworkKey, Origin>,
    pub(super) allowed: HostList,
    pub(super) denied: HostList,
    pub(super) sockets: Vec<SocketRule>,
    /// Whether the allowlist is final.
    pub(super) pinned: bool,
    /// How many entries of the user's allowlist have no effect because of that.
    pub(super) ignored: usize,
}

impl Network {
    /// A key of a nearer table hides the same key further away; the tables `domains` and `unix_sockets` are merged key by
    /// key instead, for that is what a table is for. Arrays and tables together are one list.
    pub(super) fn read(tables: &[Table<'_>]) -> Result<Self, ConfigError> {
        let mut network = Self::default();
        let mut patterns = BTreeSet::new();
        let mut paths = Paths::default();
        for table in tables {
            for entry in table.entries() {
                let key = key(&entry)?;
                let hidden = network.origins.contains_key(&key);
                match key {
                    NetworkKey::Domains => network.merge_domains(&entry, &mut patterns)?,
                    NetworkKey::UnixSockets => network.merge_sockets(&entry, &mut paths)?,
                    _ if hidden => continue,
                    _ => network.set(key, &entry)?,
                }
                network.origins.entry(key).or_insert_with(|| entry.origin());
            }
        }
        network
            .sockets
            .retain(|rule| !paths.cancelled.contains(rule.path.as_str()));
        Ok(network)
    }

    /// The settings of an embedder, whose rules come from no file.
    pub(super) fn given(settings: NetworkProxySettings) -> Result<Self, ConfigError> {
        let mut network = Self {
            settings,
            ..Self::default()
        };
        let allowed = std::mem::take(&mut network.settings.allowed_domains);
        let denied = std::mem::take(&mut network.settings.denied_domains);
        network.add(List::Allowed, List::Allowed.field(), &allowed)?;
        network.add(List::Denied, List::Denied.field(), &denied)?;
        let by = Arc::from("network.allow_unix_sockets");
        for (index, text) in network.settings.allow_unix_sockets.iter().enumerate() {
            let rule = Written::Given { by: &by, text }.socket_rule(&format!("{by}[{index}]"))?;
            network.sockets.push(rule);
        }
        Ok(network)
    }

    /// Adds patterns that a flag or an embedder gives.
    pub(super) fn add(
        &mut self,
        list: List,
        by: &str,
        patterns: &[String],
    ) -> Result<(), ConfigError> {
        let by = Arc::from(by);
        for pattern in patterns {
            let rule = Written::Given {
                by: &by,
                text: pattern,
            }
            .rule(list)?;
            self.push(list, rule);
        }
        Ok(())
    }

    /// `nearer` holds the patterns that nearer tables and higher layers have settled, in canonical form.
    fn merge_domains(
        &mut self,
        entry: &Entry<'_>,
        nearer: &mut BTreeSet<String>,
    ) -> Result<(), ConfigError> {
        for part in entry.table()?.parts() {
            let mut own = Vec::new();
            for item in part.entries() {
                let list = match item.choice(&Permission::WORDS)? {
                    Permission::Allow => List::Allowed,
                    Permission::Deny => List::Denied,
                };
                let rule = Written::InFile(item.key_text()).rule(list)?;
                let pattern = rule.pattern.to_string();
                if !nearer.contains(&pattern) {
                    self.push(list, rule);
                }
                own.push(pattern);
            }
            nearer.extend(own);
        }
        Ok(())
    }

    fn merge_sockets(&mut self, entry: &Entry<'_>, paths: &mut Paths) -> Result<(), ConfigError> {
        for part in entry.table()?.parts() {
            let mut own = Vec::new();
            for item in part.entries() {
                let permission = item.choice(&Permission::WORDS)?;
                let rule = Written::InFile(item.key_text()).socket_rule("network.unix_sockets")?;
                let path = rule.path.as_str().to_owned();
                if !paths.nearer.contains(&path) {
                    match permission {
                        Permission::Allow => self.sockets.push(rule),
                        Permission::Deny => {
                            paths.cancelled.insert(path.clone());
                        }
                    }
                }
                own.push(path);
            }
            paths.nearer.extend(own);
        }
        Ok(())
    }

    fn set(&mut self, key: NetworkKey, entry: &Entry<'_>) -> Result<(), ConfigError> {
        let settings = &mut self.settings;
        match key {
            NetworkKey::Enabled => {
                settings.enabled = entry.boolean()?;
                self.enabled_in = Some(entry.table_path().to_owned());
            }
            NetworkKey::ProxyUrl => settings.proxy_url = address(entry, Listener::Http)?,
            NetworkKey::EnableSocks5 => settings.enable_socks5 = entry.boolean()?,
            NetworkKey::SocksUrl => settings.socks_url = address(entry, Listener::Socks5)?,
            NetworkKey::EnableSocks5Udp => settings.enable_socks5_udp = entry.boolean()?,
            NetworkKey::AllowUpstreamProxy => settings.allow_upstream_proxy = entry.boolean()?,
            NetworkKey::DangerouslyAllowNonLoopbackProxy => {
                settings.dangerously_allow_non_loopback_proxy = entry.boolean()?;
            }
            NetworkKey::DangerouslyAllowAllUnixSockets => {
                settings.dangerously_allow_all_unix_sockets = entry.boolean()?;
            }
            NetworkKey::Mode => {
                settings.mode =
                    entry.choice(&[("full", Mode::Full), ("limited", Mode::Limited)])?;
            }
            NetworkKey::AllowedDomains => self.push_all(List::Allowed, entry)?,
            NetworkKey::DeniedDomains => self.push_all(List::Denied, entry)?,
            NetworkKey::AllowUnixSockets => self.sockets.extend(socket_rules(entry)?),
            NetworkKey::AllowLocalBinding => settings.allow_local_binding = entry.boolean()?,
            NetworkKey::Mitm if entry.is_table() => return Err(hooks(entry)),
            NetworkKey::Mitm => settings.mitm = entry.boolean()?,
            NetworkKey::EncryptedClientHello => {
                settings.encrypted_client_hello = entry.choice(&[
                    ("allow", EncryptedHello::Allow),
                    ("deny", EncryptedHello::Deny),
                ])?;
            }
            NetworkKey::VerifyOrigin => settings.verify_origin = entry.boolean()?,
            NetworkKey::RequireAuditLog => settings.require_audit_log = entry.boolean()?,
            NetworkKey::HideRefusalDetails => settings.hide_refusal_details = entry.boolean()?,
            // Tables are merged, which is done before this.
            NetworkKey::Domains | NetworkKey::UnixSockets => {}
        }
        Ok(())
    }

    /// The settings, with the list of sockets as it came to be. Those of hosts stay where they can be judged by.
    pub(super) fn into_settings(mut self) -> (NetworkProxySettings, Self) {
        let mut settings = std::mem::take(&mut self.settings);
        let paths = self
            .sockets
            .iter()
            .map(|rule| rule.path.as_str().to_owned());
        settings.allow_unix_sockets = paths.collect();
        (settings, self)
    }

    fn push_all(&mut self, list: List, entry: &Entry<'_>) -> Result<(), ConfigError> {
        match list {
            List::Allowed => add_host_rules(list, entry, &mut self.allowed),
            List::Denied => add_host_rules(list, entry, &mut self.denied),
        }
    }

    fn push(&mut self, list: List, rule: Rule) {
        match list {
            List::Allowed => self.allowed.push(rule),
            List::Denied => self.denied.push(rule),
        }
    }
}

fn key(entry: &Entry<'_>) -> Result<NetworkKey, ConfigError> {
    let name = entry.key();
    NetworkKey::named(name)
        .ok_or_else(|| unknown_key(entry, NetworkKey::ALL.into_iter().map(NetworkKey::name)))
}

/// An unknown key may be a limit that would not be kept, so it is never passed over.
pub(super) fn unknown_key<'k>(
    entry: &Entry<'_>,
    known: impl IntoIterator<Item = &'k str>,
) -> ConfigError {
    let name = entry.key();
    let table = clip(entry.table_path());
    entry
        .key_error(format!("unknown key `{}` in [{table}]", clip(name)))
        .found(name)
        .nearest(name, known)
}

/// Adds the rules of an array of patterns.
pub(super) fn add_host_rules(
    list: List,
    entry: &Entry<'_>,
    rules: &mut HostList,
) -> Result<(), ConfigError> {
    let texts = entry.texts()?;
    rules.reserve(texts.len());
    for text in texts {
        rules.push(Written::InFile(text?).rule(list)?);
    }
    Ok(())
}

/// The rules of an array of socket paths.
pub(super) fn socket_rules(entry: &Entry<'_>) -> Result<Vec<SocketRule>, ConfigError> {
    let numbered = entry.texts()?.enumerate();
    numbered
        .map(|(index, text)| {
            let field = format!("network.allow_unix_sockets[{index}]");
            Written::InFile(text?).socket_rule(&field)
        })
        .collect()
}

/// What the socket tables read so far say about paths.
#[derive(Debug, Default)]
struct Paths {
    nearer: BTreeSet<String>,
    cancelled: BTreeSet<String>,
}

/// Reads the address only to find a mistake while its place is known; whoever listens reads it again.
fn address(entry: &Entry<'_>, listener: Listener) -> Result<String, ConfigError> {
    let text = entry.text()?;
    let written = text.as_str().to_owned();
    Written::InFile(text).address(listener).map(|_| written)
}

/// Hooks refuse requests, so to read a config without them would be to allow more than it says.
fn hooks(entry: &Entry<'_>) -> ConfigError {
    let message = format!(
        "[{}] holds hooks for intercepted requests, and hooks are not in this build",
        entry.path()
    );
    entry
        .key_error(message)
        .expecting("remove the table, or set `mitm` to `true` or `false`")
}
