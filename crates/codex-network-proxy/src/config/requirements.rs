//! The managed requirements: `[experimental_network]` of `requirements.toml`, and what it makes of a user's configuration.
//!
//! Main type: [`Requirements`]. Comes in: the table, and the user's [`Network`] with flags and all. Goes out: the network
//! with the requirements worked in, and the [`Constraints`] that hold from then on. It does not look for the file and does
//! not check the constraints.

use std::collections::BTreeMap;
use std::sync::Arc;

use codex_network_policy::{Constraints, Expansion, HostLimit, HostList, Origin, SocketRule};

use super::entry::{Entry, Table};
use super::error::ConfigError;
use super::keys::{NetworkKey, RequirementKey};
use super::network::{Network, add_host_rules, socket_rules, unknown_key};
use super::overrides::SandboxAccess;
use super::settings::Permission;
use super::written::{List, Written};

/// What somebody above the user requires. An absent value requires nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Requirements {
    /// The file that holds them.
    pub(super) source: Arc<str>,
    enabled: Option<bool>,
    http_port: Option<u16>,
    socks_port: Option<u16>,
    allow_upstream_proxy: Option<bool>,
    dangerously_allow_non_loopback_proxy: Option<bool>,
    dangerously_allow_all_unix_sockets: Option<bool>,
    allow_local_binding: Option<bool>,
    allowed: Option<HostList>,
    only_managed: bool,
    denied: Option<HostList>,
    sockets: Option<Vec<SocketRule>>,
    origins: BTreeMap<RequirementKey, Origin>,
}

/// The table that holds requirements, in any file that may.
pub(super) const TABLE: &str = "experimental_network";

impl Requirements {
    /// Reads the table of one source; `None` if it has none.
    pub(super) fn read(root: &Table<'_>) -> Result<Option<Self>, ConfigError> {
        let Some(entry) = root.entry(TABLE) else {
            return Ok(None);
        };
        let table = entry.table()?;
        let mut requirements = Self {
            source: root.file().map_or_else(Arc::default, |file| file.label()),
            ..Self::default()
        };
        let entries = table.entries();
        for entry in &entries {
            let key = RequirementKey::named(entry.key()).ok_or_else(|| {
                let known = RequirementKey::ALL.into_iter().map(RequirementKey::name);
                unknown_key(entry, known)
            })?;
            requirements.origins.insert(key, entry.origin());
            requirements.set(key, entry)?;
        }
        for entry in &entries {
            requirements.check_spelling(entry)?;
        }
        Ok(Some(requirements))
    }

    fn set(&mut self, key: RequirementKey, entry: &Entry<'_>) -> Result<(), ConfigError> {
        match key {
            RequirementKey::Enabled => self.enabled = Some(entry.boolean()?),
            RequirementKey::HttpPort => self.http_port = Some(entry.port()?),
            RequirementKey::SocksPort => self.socks_port = Some(entry.port()?),
            RequirementKey::AllowUpstreamProxy => {
                self.allow_upstream_proxy = Some(entry.boolean()?);
            }
            RequirementKey::DangerouslyAllowNonLoopbackProxy => {
                self.dangerously_allow_non_loopback_proxy = Some(entry.boolean()?);
            }
            RequirementKey::DangerouslyAllowAllUnixSockets => {
                self.dangerously_allow_all_unix_sockets = Some(entry.boolean()?);
            }
            RequirementKey::AllowLocalBinding => self.allow_local_binding = Some(entry.boolean()?),
            RequirementKey::AllowedDomains => {
                let rules = self.allowed.insert(HostList::default());
                add_host_rules(List::Allowed, entry, rules)?;
            }
            RequirementKey::ManagedAllowedDomainsOnly => self.only_managed = entry.boolean()?,
            RequirementKey::DeniedDomains => {
                let rules = self.denied.insert(HostList::default());
                add_host_rules(List::Denied, entry, rules)?;
            }
            RequirementKey::Domains => self.set_domains(entry)?,
            RequirementKey::AllowUnixSockets => self.sockets = Some(socket_rules(entry)?),
            RequirementKey::UnixSockets => self.set_sockets(entry)?,
        }
        Ok(())
    }

    fn set_domains(&mut self, entry: &Entry<'_>) -> Result<(), ConfigError> {
        for item in entry.table()?.entries() {
            let (list, rules) = match item.choice(&Permission::WORDS)? {
                Permission::Allow => (List::Allowed, &mut self.allowed),
                Permission::Deny => (List::Denied, &mut self.denied),
            };
            let rule = Written::InFile(item.key_text()).rule(list)?;
            rules.get_or_insert_default().push(rule);
        }
        Ok(())
    }

    /// A path that is denied is not on the list, and nothing else may be listed.
    fn set_sockets(&mut self, entry: &Entry<'_>) -> Result<(), ConfigError> {
        let mut sockets = Vec::new();
        for item in entry.table()?.entries() {
            let rule = Written::InFile(item.key_text()).socket_rule("network.unix_sockets")?;
            match item.choice(&Permission::WORDS)? {
                Permission::Allow => sockets.push(rule),
                Permission::Deny => {}
            }
        }
        self.sockets = Some(sockets);
        Ok(())
    }

    /// Codex refuses the two spellings of one thing beside each other, and so do we: neither could be called the limit.
    fn check_spelling(&self, entry: &Entry<'_>) -> Result<(), ConfigError> {
        use RequirementKey::{AllowUnixSockets, AllowedDomains, DeniedDomains};
        let set = |key: RequirementKey| self.origins.contains_key(&key);
        let legacy = match RequirementKey::named(entry.key()) {
            Some(RequirementKey::Domains) if set(AllowedDomains) || set(DeniedDomains) => {
                "`allowed_domains` or `denied_domains`"
            }
            Some(RequirementKey::UnixSockets) if set(AllowUnixSockets) => "`allow_unix_sockets`",
            Some(_) | None => return Ok(()),
        };
        Err(entry
            .key_error(format!(
                "`{TABLE}.{}` cannot be combined with legacy {legacy}",
                entry.key()
            ))
            .expecting("use one of the two"))
    }

    /// Works the requirements into a user's network, and says what holds from then on.
    pub(super) fn apply(&self, network: &mut Network, access: SandboxAccess) -> Constraints {
        let unset = !network.origins.contains_key(&NetworkKey::Enabled);
        let settings = &mut network.settings;
        // Whoever requires something of the proxy wants one that runs, unless a layer disables it by name.
        settings.enabled = self.enabled.unwrap_or(settings.enabled || unset);
        if self.enabled.is_some() {
            network.enabled_in = Some(TABLE.to_owned());
        }
        let switches = [
            (
                &mut settings.allow_upstream_proxy,
                self.allow_upstream_proxy,
            ),
            (
                &mut settings.dangerously_allow_non_loopback_proxy,
                self.dangerously_allow_non_loopback_proxy,
            ),
            (
                &mut settings.dangerously_allow_all_unix_sockets,
                self.dangerously_allow_all_unix_sockets,
            ),
            (&mut settings.allow_local_binding, self.allow_local_binding),
        ];
        for (switch, required) in switches {
            *switch = required.unwrap_or(*switch);
        }
        for (address, port) in [
            (&mut settings.proxy_url, self.http_port),
            (&mut settings.socks_url, self.socks_port),
        ] {
            if let Some(port) = port {
                *address = format!("http://127.0.0.1:{port}");
            }
        }
        self.apply_origins(network);
        if let Some(sockets) = &self.sockets {
            network.sockets.clone_from(sockets);
        }
        self.apply_lists(network, access)
    }

    /// Whoever asks where a key is set is led to the requirement.
    fn apply_origins(&self, network: &mut Network) {
        for (key, managed) in [
            (NetworkKey::Enabled, RequirementKey::Enabled),
            (NetworkKey::ProxyUrl, RequirementKey::HttpPort),
            (NetworkKey::SocksUrl, RequirementKey::SocksPort),
            (
                NetworkKey::AllowUpstreamProxy,
                RequirementKey::AllowUpstreamProxy,
            ),
            (
                NetworkKey::DangerouslyAllowNonLoopbackProxy,
                RequirementKey::DangerouslyAllowNonLoopbackProxy,
            ),
            (
                NetworkKey::DangerouslyAllowAllUnixSockets,
                RequirementKey::DangerouslyAllowAllUnixSockets,
            ),
            (
                NetworkKey::AllowLocalBinding,
                RequirementKey::AllowLocalBinding,
            ),
        ] {
            if let Some(origin) = self.origins.get(&managed) {
                network.origins.insert(key, origin.clone());
            }
        }
    }

    fn apply_lists(&self, network: &mut Network, access: SandboxAccess) -> Constraints {
        let full = access == SandboxAccess::Full;
        let pinned = self.only_managed || (full && self.allowed.is_some());
        let nothing = HostList::default();
        let managed_allowed = if self.only_managed {
            Some(self.allowed.as_ref().unwrap_or(&nothing))
        } else {
            self.allowed.as_ref()
        };
        network.pinned = pinned;
        network.ignored = merge(managed_allowed, &mut network.allowed, pinned);
        merge(self.denied.as_ref(), &mut network.denied, full);
        let limit = |managed: Option<&HostList>, closed| {
            managed.map(|rules| HostLimit {
                patterns: rules.iter().map(|rule| rule.pattern).collect(),
                expansion: if closed {
                    Expansion::Closed
                } else {
                    Expansion::Open
                },
            })
        };
        Constraints {
            enabled: self.enabled,
            mode: None,
            allow_upstream_proxy: self.allow_upstream_proxy,
            dangerously_allow_non_loopback_proxy: self.dangerously_allow_non_loopback_proxy,
            dangerously_allow_all_unix_sockets: self.dangerously_allow_all_unix_sockets,
            allow_local_binding: self.allow_local_binding,
            allowed: limit(managed_allowed, pinned),
            denied: limit(self.denied.as_ref(), full),
            sockets: self
                .sockets
                .as_ref()
                .map(|rules| rules.iter().map(|rule| rule.path.clone()).collect()),
        }
    }

    /// Where it is written that the managed allowlist is the only one, for whoever wonders about entries without effect.
    pub(super) fn pinned_at(&self) -> String {
        let keys = [
            RequirementKey::ManagedAllowedDomainsOnly,
            RequirementKey::AllowedDomains,
            RequirementKey::Domains,
        ];
        let origin = keys.iter().find_map(|key| self.origins.get(key));
        origin.map_or_else(|| self.source.to_string(), ToString::to_string)
    }
}

/// Puts the managed entries before the user's, or in their place. Returns how many of the user's have no effect.
fn merge(managed: Option<&HostList>, rules: &mut HostList, closed: bool) -> usize {
    let Some(managed) = managed else {
        return 0;
    };
    let own = std::mem::replace(rules, managed.clone());
    let added = own.iter().filter(|rule| !managed.contains(&rule.pattern));
    if closed {
        return added.count();
    }
    rules.extend(added);
    0
}
