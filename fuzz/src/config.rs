//! The user's file: whatever it holds, it is a configuration or a mistake with a place.

use codex_network_policy::Policy;
use codex_network_proxy::config::{LayerKind, LoadedConfig, NetworkMode, Overrides};
use codex_network_proxy::fuzzing::load_config;

/// The whole input is the user's `config.toml`.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    match load_config(&[(LayerKind::User, text)], None, &Overrides::default()) {
        Ok(config) => sound(&config),
        Err(error) => {
            let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
            let line = error.line().map_or(1, |line| line as usize);
            assert!((1..=lines + 1).contains(&line), "line {line} of {lines}");
            let shown = error.to_string();
            let control = |character: char| character.is_control() && character != '\n';
            assert!(!shown.contains(control), "{shown:?}");
        }
    }
}

/// What holds of every configuration that is accepted.
pub(crate) fn sound(config: &LoadedConfig) {
    assert_eq!(config.disabled.is_none(), config.rules.enabled);
    let settings = &config.settings;
    let listeners = [Some(config.listeners.http), config.listeners.socks];
    let sockets =
        !settings.allow_unix_sockets.is_empty() || settings.dangerously_allow_all_unix_sockets;
    for address in listeners.into_iter().flatten() {
        let open = settings.dangerously_allow_non_loopback_proxy && !sockets;
        assert!(open || address.ip().is_loopback(), "listens on {address}");
    }
    for rule in config.rules.allowed.iter().chain(&config.rules.denied) {
        let text = rule.pattern.to_string();
        // Something is left when the stars and dots are gone: no pattern means everything.
        assert!(
            text.contains(|letter: char| letter != '*' && letter != '.'),
            "{text}"
        );
    }
    assert_eq!(
        config.rules.mode == NetworkMode::Limited,
        settings.mode == NetworkMode::Limited
    );
    let policy = Policy::compile(config.rules.clone());
    assert_eq!(policy.enabled(), config.rules.enabled);
}
