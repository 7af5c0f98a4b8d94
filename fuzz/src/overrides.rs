//! What the command line says above the files: `-c key=value`, lists, a profile, a mode.

use codex_network_policy::HostPattern;
use codex_network_proxy::config::{LayerKind, NetworkMode, Overrides};
use codex_network_proxy::fuzzing::load_config;

use crate::config::sound;

const FILE: &str = "
default_permissions = 'p'
[permissions.p.network]
enabled = true
allowed_domains = ['a.example']
[permissions.q.network]
enabled = true
";

/// Each line is a flag: its first byte says which, the rest is its value.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let mut overrides = Overrides::default();
    for line in text.split('\n').take(12) {
        let Some(kind) = line.chars().next() else {
            continue;
        };
        let value = line[kind.len_utf8()..].to_owned();
        match kind {
            'c' => overrides.settings.push(value),
            'a' => overrides.allow.push(value),
            'd' => overrides.deny.push(value),
            'p' => overrides.profile = Some(value),
            'm' => overrides.mode = Some(NetworkMode::Limited),
            'h' => overrides.http_addr = value.parse().ok(),
            's' => overrides.socks_addr = value.parse().ok(),
            _ => {}
        }
    }
    let Ok(config) = load_config(&[(LayerKind::User, FILE)], None, &overrides) else {
        return;
    };
    sound(&config);
    if overrides.mode.is_some() {
        assert_eq!(config.rules.mode, NetworkMode::Limited);
    }
    // What was denied on the command line is denied, however it is spelt and whatever else is said.
    for text in &overrides.deny {
        let Ok(pattern) = HostPattern::parse(text.trim()) else {
            panic!("{text:?} was accepted and is no pattern");
        };
        assert!(
            config
                .rules
                .denied
                .iter()
                .any(|rule| rule.pattern == pattern),
            "{text:?}"
        );
    }
}
