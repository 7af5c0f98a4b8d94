//! What has changed between two configurations, in the words of the log.
//!
//! Main type: [`Difference`]. Comes in: the configuration that was in force and the one that follows. Goes out: one
//! sentence for each entry and setting that differs, and one for each change that waits for a restart. It changes nothing.

use std::collections::BTreeSet;

use codex_network_policy::{EncryptedHello, HostList};

use super::keys::NetworkKey;
use super::loaded::LoadedConfig;

/// Lists of a hundred thousand entries are told in part.
const TOLD: usize = 100;

/// What the second of two configurations changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// What is in force from now on, one sentence each.
    pub(crate) changes: Vec<String>,
    /// How many more changes there are than sentences.
    pub(crate) untold: usize,
    /// What is not in force before the proxy is started again, one sentence each.
    pub(crate) waiting: Vec<String>,
}

impl LoadedConfig {
    /// The first key on which `other` differs in what a program cannot change while a proxy runs.
    pub(crate) fn settled_at_start(&self, other: &Self) -> Option<NetworkKey> {
        let (old, new) = (&self.settings, &other.settings);
        let differing = [
            (NetworkKey::Enabled, old.enabled != new.enabled),
            (NetworkKey::ProxyUrl, old.proxy_url != new.proxy_url),
            (NetworkKey::SocksUrl, old.socks_url != new.socks_url),
            (
                NetworkKey::EnableSocks5,
                old.enable_socks5 != new.enable_socks5,
            ),
            (
                NetworkKey::EnableSocks5Udp,
                old.enable_socks5_udp != new.enable_socks5_udp,
            ),
        ];
        let mut differing = differing.into_iter().filter(|(_, differs)| *differs);
        differing.next().map(|(key, _)| key)
    }
}

impl Difference {
    /// From `before` to `after`.
    pub(crate) fn between(before: &LoadedConfig, after: &LoadedConfig) -> Self {
        let mut difference = Self::default();
        difference.compare_hosts("allowlist", &before.rules.allowed, &after.rules.allowed);
        difference.compare_hosts("denylist", &before.rules.denied, &after.rules.denied);
        let paths = |config: &LoadedConfig| -> BTreeSet<String> {
            let rules = config.rules.sockets.allowed.iter();
            rules.map(|rule| rule.path.to_string()).collect()
        };
        difference.compare("unix sockets", &paths(before), &paths(after));
        difference.compare_settings(before, after);
        difference
    }

    /// Whether the policy is another.
    pub(crate) fn changes_policy(&self) -> bool {
        !self.changes.is_empty() || self.untold > 0
    }

    fn compare_hosts(&mut self, list: &str, before: &HostList, after: &HostList) {
        for rule in after.iter().filter(|rule| !before.contains(&rule.pattern)) {
            self.tell(|| format!("config entry added to {list}: {}", rule.pattern));
        }
        for rule in before.iter().filter(|rule| !after.contains(&rule.pattern)) {
            self.tell(|| format!("config entry removed from {list}: {}", rule.pattern));
        }
    }

    fn compare<T: Ord + std::fmt::Display>(
        &mut self,
        list: &str,
        before: &BTreeSet<T>,
        after: &BTreeSet<T>,
    ) {
        for entry in after.difference(before) {
            self.tell(|| format!("config entry added to {list}: {entry}"));
        }
        for entry in before.difference(after) {
            self.tell(|| format!("config entry removed from {list}: {entry}"));
        }
    }

    fn tell(&mut self, sentence: impl FnOnce() -> String) {
        if self.changes.len() < TOLD {
            self.changes.push(sentence());
        } else {
            self.untold += 1;
        }
    }

    fn compare_settings(&mut self, before: &LoadedConfig, after: &LoadedConfig) {
        let (old, new) = (&before.settings, &after.settings);
        let mut switch = |name: &str, old: bool, new: bool| {
            if old != new {
                self.tell(|| format!("config setting changed: {name} = {new}"));
            }
        };
        switch(NetworkKey::Enabled.name(), old.enabled, new.enabled);
        switch(
            NetworkKey::AllowUpstreamProxy.name(),
            old.allow_upstream_proxy,
            new.allow_upstream_proxy,
        );
        switch(
            NetworkKey::AllowLocalBinding.name(),
            old.allow_local_binding,
            new.allow_local_binding,
        );
        switch(
            NetworkKey::VerifyOrigin.name(),
            old.verify_origin,
            new.verify_origin,
        );
        switch(
            NetworkKey::RequireAuditLog.name(),
            old.require_audit_log,
            new.require_audit_log,
        );
        switch(
            NetworkKey::HideRefusalDetails.name(),
            old.hide_refusal_details,
            new.hide_refusal_details,
        );
        switch(
            NetworkKey::DangerouslyAllowAllUnixSockets.name(),
            old.dangerously_allow_all_unix_sockets,
            new.dangerously_allow_all_unix_sockets,
        );
        switch(
            "managed_allowed_domains_only",
            before.rules.pinned,
            after.rules.pinned,
        );
        if old.mode != new.mode {
            self.tell(|| format!("config setting changed: mode = {:?}", new.mode.as_str()));
        }
        if old.encrypted_client_hello != new.encrypted_client_hello {
            let word = match new.encrypted_client_hello {
                EncryptedHello::Allow => "allow",
                EncryptedHello::Deny => "deny",
            };
            self.tell(|| format!("config setting changed: encrypted_client_hello = {word:?}"));
        }
        let mut wait = |key: NetworkKey, differs: bool, shown: String| {
            if differs {
                self.waiting.push(format!(
                    "config setting changed: {} = {shown}; it takes effect when the proxy is started again",
                    key.name()
                ));
            }
        };
        let shown = |text: &str| format!("{text:?}");
        wait(
            NetworkKey::ProxyUrl,
            old.proxy_url != new.proxy_url,
            shown(&new.proxy_url),
        );
        wait(
            NetworkKey::SocksUrl,
            old.socks_url != new.socks_url,
            shown(&new.socks_url),
        );
        wait(
            NetworkKey::EnableSocks5,
            old.enable_socks5 != new.enable_socks5,
            new.enable_socks5.to_string(),
        );
        wait(
            NetworkKey::EnableSocks5Udp,
            old.enable_socks5_udp != new.enable_socks5_udp,
            new.enable_socks5_udp.to_string(),
        );
        wait(
            NetworkKey::DangerouslyAllowNonLoopbackProxy,
            old.dangerously_allow_non_loopback_proxy != new.dangerously_allow_non_loopback_proxy,
            new.dangerously_allow_non_loopback_proxy.to_string(),
        );
        wait(NetworkKey::Mitm, old.mitm != new.mitm, new.mitm.to_string());
    }
}
