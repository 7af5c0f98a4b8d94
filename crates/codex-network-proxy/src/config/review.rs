//! What a configuration says that its author may not have meant.
//!
//! Main function: [`LoadedConfig::review`]. Comes in: a configuration that is valid. Goes out: sentences about entries that
//! can never match, entries without effect, and entries that open more than a name. It changes nothing, and nothing here
//! is an error.

use codex_network_policy::{AddressClass, Host, HostPattern, Mode, Origin, Rule};

use super::keys::NetworkKey;
use super::loaded::LoadedConfig;

/// A sentence about an entry, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What is remarkable.
    pub text: String,
    /// Where it is written, if it is about one place.
    pub origin: Option<Origin>,
}

/// Nobody reads more of one kind.
const MOST: usize = 50;

impl LoadedConfig {
    /// Everything that is worth a second look, in the order of the lists.
    #[must_use]
    pub fn review(&self) -> Vec<Remark> {
        let mut remarks: Vec<Remark> = self.warnings.iter().map(|text| general(text)).collect();
        if self.disabled.is_some() {
            return remarks;
        }
        let denied = self.rules.denied.patterns();
        let shadowed = self.rules.allowed.iter().filter_map(|rule| {
            let by = denied.find_cover(&rule.pattern)?;
            let by = self.rules.denied.get(by.index())?;
            Some(about(
                &rule,
                format!(
                    "is never allowed: `{}` ({}) denies it",
                    by.pattern, by.origin
                ),
            ))
        });
        remarks.extend(shadowed.take(MOST));
        let lists = self.rules.allowed.iter().chain(&self.rules.denied);
        let never = lists
            .filter(|rule| can_match_nothing(&rule.pattern))
            .map(|rule| {
                about(
                    &rule,
                    "can never match: no name that long exists".to_owned(),
                )
            });
        remarks.extend(never.take(MOST));
        if !self.rules.allow_local_binding {
            let local = self
                .rules
                .allowed
                .iter()
                .filter_map(|rule| local_remark(&rule));
            remarks.extend(local.take(MOST));
        }
        remarks.extend(self.review_settings());
        remarks
    }

    fn review_settings(&self) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let settings = &self.settings;
        let mut remark = |key: NetworkKey, what: &str| {
            // Only what somebody wrote down can have been meant otherwise.
            if let Some(origin) = self.origins.get(&key) {
                remarks.push(Remark {
                    text: format!("`{}` {what}", key.name()),
                    origin: Some(origin.clone()),
                });
            }
        };
        if settings.mode == Mode::Limited && settings.enable_socks5 {
            remark(
                NetworkKey::EnableSocks5,
                "has no effect: limited mode refuses everything by SOCKS5",
            );
        }
        if settings.enable_socks5_udp && !settings.enable_socks5 {
            remark(
                NetworkKey::EnableSocks5Udp,
                "has no effect: `enable_socks5` is false",
            );
        }
        if settings.dangerously_allow_all_unix_sockets && !self.rules.sockets.allowed.is_empty() {
            remark(
                NetworkKey::AllowUnixSockets,
                "adds nothing: `dangerously_allow_all_unix_sockets` permits every socket",
            );
        }
        if self.rules.allow_local_binding {
            remark(
                NetworkKey::AllowLocalBinding,
                "lets every allowed name lead to local and private addresses",
            );
        }
        remarks
    }
}

fn general(text: &str) -> Remark {
    Remark {
        text: text.to_owned(),
        origin: None,
    }
}

fn about(rule: &Rule, what: String) -> Remark {
    Remark {
        text: format!("`{}` {what}", rule.pattern),
        origin: Some(rule.origin.clone()),
    }
}

/// A name below one that fills the length of a name already.
fn can_match_nothing(pattern: &HostPattern) -> bool {
    const LONGEST_NAME: usize = 253;
    let text = pattern.to_string();
    // The shortest name that `*.` or a whole-label star stands for has one letter where the star is.
    text.contains('*') && !text.starts_with("**.") && text.len() > LONGEST_NAME
}

/// What an entry opens besides public hosts, or fails to open.
fn local_remark(rule: &Rule) -> Option<Remark> {
    let text = rule.pattern.to_string();
    let plain = text.trim_start_matches("**.").trim_start_matches("*.");
    if !rule.pattern.is_exact() {
        let local = ["localhost"].contains(&plain) || plain.ends_with(".localhost");
        return local.then(|| {
            about(
                rule,
                "opens nothing: names under `localhost` are this machine, and only an entry without a star opens it"
                    .to_owned(),
            )
        });
    }
    let class = match Host::parse(&text).ok()? {
        host @ Host::Name(_) if host.is_localhost() => "loopback",
        Host::Name(_) => return None,
        Host::Address(literal) => match AddressClass::of(literal.address()) {
            class if class.is_public() => return None,
            class => class.as_str(),
        },
    };
    Some(about(rule, format!("unlocks a local address ({class})")))
}
