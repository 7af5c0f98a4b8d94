//! Reads the network table of a profile, with those of its parents below it: every key, its type, its meaning as data.
//!
//! Main type: [`Network`]. Comes in: tables, nearest first. Goes out: the settings, and the rules of both list spellings
//! with their places. It does not look at the command line and does not decide what follows from a setting.

use std::collections::BTreeSet;
use std::sync::Arc;

use codex_network_policy::{EncryptedHello, Mode, Origin, Rule, SocketRule};

use super::entry::{Entry, Table};
use super::error::{ConfigError, clip};
use super::listen::Listener;
use super::settings::{NetworkProxySettings, Permission};
use super::written::{List, Written};

/// The network tables of a profile, read.
#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) settings: NetworkProxySettings,
    /// The table that sets `enabled` and where, if anything sets it.
    pub(super) enabled_at: Option<(String, Origin)>,
    pub(super) allowed: Vec<Rule>,
    pub(super) denied: Vec<Rule>,
    pub(super) sockets: Vec<SocketRule>,
}

impl Network {
    /// A key of a nearer table hides the same key further away; the tables `domains` and `unix_sockets` are merged key by
    /// key instead, for that is what a table is for. Arrays and tables together are one list.
    pub(super) fn read(tables: &[Table<'_>]) -> Result<Self, ConfigError> {
        let mut network = Self::default();
        let mut seen = BTreeSet::new();
        let mut patterns = BTreeSet::new();
        let mut paths = Paths::default();
        for table in tables {
            for entry in table.entries() {
                match entry.key() {
                    "domains" => network.merge_domains(&entry, &mut patterns)?,
                    "unix_sockets" => network.merge_sockets(&entry, &mut paths)?,
                    key if seen.insert(key) => network.set(&entry)?,
                    _hidden => {}
                }
            }
        }
        network
            .sockets
            .retain(|rule| !paths.cancelled.contains(rule.path.as_str()));
        network.settings.allow_unix_sockets = network
            .sockets
            .iter()
            .map(|rule| rule.path.as_str().to_owned())
            .collect();
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
            self.push(list, rule, pattern.clone());
        }
        Ok(())
    }

    /// `nearer` holds the patterns that nearer tables have settled, in canonical form.
    fn merge_domains(
        &mut self,
        entry: &Entry<'_>,
        nearer: &mut BTreeSet<String>,
    ) -> Result<(), ConfigError> {
        let mut own = Vec::new();
        for item in entry.table()?.entries() {
            let list = match item.choice(&Permission::WORDS)? {
                Permission::Allow => List::Allowed,
                Permission::Deny => List::Denied,
            };
            let rule = Written::InFile(item.key_text()).rule(list)?;
            let pattern = rule.pattern.to_string();
            if !nearer.contains(&pattern) {
                self.push(list, rule, item.key().to_owned());
            }
            own.push(pattern);
        }
        nearer.extend(own);
        Ok(())
    }

    fn merge_sockets(&mut self, entry: &Entry<'_>, paths: &mut Paths) -> Result<(), ConfigError> {
        let mut own = Vec::new();
        for item in entry.table()?.entries() {
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
        Ok(())
    }

    fn set(&mut self, entry: &Entry<'_>) -> Result<(), ConfigError> {
        let settings = &mut self.settings;
        match entry.key() {
            "enabled" => {
                settings.enabled = entry.boolean()?;
                self.enabled_at = Some((entry.table_path().to_owned(), entry.origin()));
            }
            "proxy_url" => settings.proxy_url = address(entry, Listener::Http)?,
            "enable_socks5" => settings.enable_socks5 = entry.boolean()?,
            "socks_url" => settings.socks_url = address(entry, Listener::Socks5)?,
            "enable_socks5_udp" => settings.enable_socks5_udp = entry.boolean()?,
            "allow_upstream_proxy" => settings.allow_upstream_proxy = entry.boolean()?,
            "dangerously_allow_non_loopback_proxy" => {
                settings.dangerously_allow_non_loopback_proxy = entry.boolean()?;
            }
            "dangerously_allow_all_unix_sockets" => {
                settings.dangerously_allow_all_unix_sockets = entry.boolean()?
            }
            "mode" => {
                settings.mode = entry.choice(&[("full", Mode::Full), ("limited", Mode::Limited)])?
            }
            "allowed_domains" => self.push_all(List::Allowed, entry)?,
            "denied_domains" => self.push_all(List::Denied, entry)?,
            "allow_unix_sockets" => {
                for (index, text) in entry.texts()?.into_iter().enumerate() {
                    let field = format!("network.allow_unix_sockets[{index}]");
                    self.sockets
                        .push(Written::InFile(text).socket_rule(&field)?);
                }
            }
            "allow_local_binding" => settings.allow_local_binding = entry.boolean()?,
            "mitm" if entry.is_table() => return Err(hooks(entry)),
            "mitm" => settings.mitm = entry.boolean()?,
            "encrypted_client_hello" => {
                settings.encrypted_client_hello = entry.choice(&[
                    ("allow", EncryptedHello::Allow),
                    ("deny", EncryptedHello::Deny),
                ])?
            }
            "verify_origin" => settings.verify_origin = entry.boolean()?,
            unknown => {
                let message = format!(
                    "unknown key `{}` in [{}]",
                    clip(unknown),
                    clip(entry.table_path())
                );
                return Err(entry
                    .key_error(message)
                    .found(unknown)
                    .nearest(unknown, KEYS));
            }
        }
        Ok(())
    }

    fn push_all(&mut self, list: List, entry: &Entry<'_>) -> Result<(), ConfigError> {
        for text in entry.texts()? {
            let written = text.as_str().to_owned();
            self.push(list, Written::InFile(text).rule(list)?, written);
        }
        Ok(())
    }

    fn push(&mut self, list: List, rule: Rule, written: String) {
        let (rules, texts) = match list {
            List::Allowed => (&mut self.allowed, &mut self.settings.allowed_domains),
            List::Denied => (&mut self.denied, &mut self.settings.denied_domains),
        };
        rules.push(rule);
        texts.push(written);
    }
}

/// The keys that a network table may have.
const KEYS: [&str; 18] = [
    "enabled",
    "proxy_url",
    "enable_socks5",
    "socks_url",
    "enable_socks5_udp",
    "allow_upstream_proxy",
    "dangerously_allow_non_loopback_proxy",
    "dangerously_allow_all_unix_sockets",
    "mode",
    "allowed_domains",
    "denied_domains",
    "allow_unix_sockets",
    "allow_local_binding",
    "mitm",
    "encrypted_client_hello",
    "verify_origin",
    "domains",
    "unix_sockets",
];

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
