//! Settings that come as data: JSON in both forms, and from an embedder.

use serde_json::{Value, json};

use super::*;

fn read(json: Value) -> Result<NetworkProxySettings, String> {
    serde_json::from_value::<NetworkProxyConfig>(json)
        .map(|config| config.network)
        .map_err(|error| error.to_string())
}

fn load(settings: NetworkProxySettings) -> Result<LoadedConfig, ConfigError> {
    let config = NetworkProxyConfig { network: settings };
    LoadedConfig::from_config(config, &Overrides::default(), UnixSockets::Unsupported)
}

#[test]
fn the_seed_form_is_written_and_read() {
    let expected = json!({ "network": {
        "enabled": false,
        "proxy_url": "http://127.0.0.1:3128",
        "enable_socks5": true,
        "socks_url": "http://127.0.0.1:8081",
        "enable_socks5_udp": true,
        "allow_upstream_proxy": true,
        "dangerously_allow_non_loopback_proxy": false,
        "dangerously_allow_all_unix_sockets": false,
        "mode": "full",
        "allowed_domains": [],
        "denied_domains": [],
        "allow_unix_sockets": [],
        "allow_local_binding": false,
        "mitm": false,
    }});
    let written = serde_json::to_value(NetworkProxyConfig::default()).unwrap();
    assert_eq!(written, expected);
    assert_eq!(read(written), Ok(NetworkProxySettings::default()));
    assert_eq!(read(json!({})), Ok(NetworkProxySettings::default()));
    // Keys of our own are written only where they say something.
    let ours = json!({ "network": { "encrypted_client_hello": "deny", "verify_origin": true, "hide_refusal_details": true } });
    let written: NetworkProxyConfig = serde_json::from_value(ours.clone()).unwrap();
    let written = serde_json::to_value(written).unwrap();
    for key in [
        "encrypted_client_hello",
        "verify_origin",
        "hide_refusal_details",
    ] {
        assert_eq!(written["network"][key], ours["network"][key]);
    }
    assert_eq!(
        read(json!({ "network": {} })),
        Ok(NetworkProxySettings::default())
    );
}

#[test]
fn todays_form_is_read() {
    let settings = read(json!({
        "enabled": true,
        "mode": "limited",
        "allowed_domains": ["a.com"],
        "domains": { "b.com": "allow", "a.com": "deny" },
        "allow_unix_sockets": ["/run/./a"],
        "unix_sockets": { "/run/a": "deny", "/run/b": "allow" },
        "mitm_hooks": [],
        "credential_broker": null,
        "dangerously_allow_plaintext_credential_injection": false,
    }));
    let expected = NetworkProxySettings {
        enabled: true,
        mode: NetworkMode::Limited,
        allowed_domains: vec!["a.com".to_owned(), "b.com".to_owned()],
        denied_domains: vec!["a.com".to_owned()],
        allow_unix_sockets: vec!["/run/b".to_owned()],
        ..NetworkProxySettings::default()
    };
    assert_eq!(settings, Ok(expected));
}

#[test]
fn json_that_could_hide_a_limit_is_refused() {
    let refused = |json: Value, part: &str| {
        let error = read(json).unwrap_err();
        assert!(error.contains(part), "{error}");
    };
    refused(
        json!({ "denyed_domains": ["a.com"] }),
        "unknown field `denyed_domains`",
    );
    refused(
        json!({ "network": { "denyed_domains": ["a.com"] } }),
        "unknown field `denyed_domains`",
    );
    refused(
        json!({ "mitm_hooks": [{}] }),
        "`mitm_hooks` are not in this build",
    );
    refused(
        json!({ "domains": { "a.com": "maybe" } }),
        "unknown variant `maybe`",
    );
    refused(json!({ "mode": "Full" }), "unknown variant `Full`");
    refused(json!({ "network": true }), "invalid type: boolean");
    refused(json!({ "enabled": 1 }), "invalid type: integer");
}

#[test]
fn every_key_of_the_settings_is_a_key_of_the_table() {
    let settings = serde_json::to_value(NetworkProxySettings::default()).unwrap();
    for key in settings.as_object().unwrap().keys() {
        let text = format!("default_permissions = \"p\"\n[permissions.p.network]\n{key} = 7\n");
        let error = load_text(&text, &Overrides::default(), UnixSockets::Supported).unwrap_err();
        assert!(error.message().starts_with("invalid type for"), "{error}");
        assert_eq!(
            error.key(),
            Some(format!("permissions.p.network.{key}").as_str())
        );
    }
}

#[test]
fn settings_of_an_embedder_become_rules() {
    let settings = NetworkProxySettings {
        enabled: true,
        allowed_domains: vec!["Example.com".to_owned()],
        allow_unix_sockets: vec!["/run/a".to_owned()],
        ..NetworkProxySettings::default()
    };
    let overrides = Overrides {
        deny: vec!["b.com".to_owned()],
        ..Overrides::default()
    };
    let config = NetworkProxyConfig {
        network: settings.clone(),
    };
    let loaded = LoadedConfig::from_config(config, &overrides, UnixSockets::Supported).unwrap();
    assert_eq!(
        loaded.full_settings(),
        NetworkProxySettings {
            allowed_domains: vec!["example.com".to_owned()],
            denied_domains: vec!["b.com".to_owned()],
            ..settings
        }
    );
    let rules: Vec<String> = (loaded.rules.allowed.iter().chain(&loaded.rules.denied))
        .map(|rule| format!("{} ({})", rule.pattern, rule.origin))
        .collect();
    assert_eq!(
        rules,
        ["example.com (network.allowed_domains)", "b.com (--deny)"]
    );
    assert_eq!(
        loaded.rules.sockets.allowed[0].origin.to_string(),
        "network.allow_unix_sockets"
    );
    assert_eq!(
        (loaded.file, loaded.profile, loaded.disabled),
        (None, None, None)
    );
}

#[test]
fn settings_of_an_embedder_that_are_off_say_so() {
    let loaded = load(NetworkProxySettings::default()).unwrap();
    assert_eq!(
        loaded.disabled.as_deref(),
        Some("`network.enabled` is false")
    );
}

#[test]
fn mistakes_of_an_embedder_name_the_field() {
    let refused = |change: fn(&mut NetworkProxySettings), expected: &str| {
        let mut settings = NetworkProxySettings::default();
        change(&mut settings);
        assert_eq!(load(settings).unwrap_err().to_string(), expected);
    };
    refused(
        |settings| settings.denied_domains.push("*".to_owned()),
        "invalid value for network.denied_domains: * (allowed exact hosts or scoped wildcards like *.example.com or \
         **.example.com): it would match every host",
    );
    refused(
        |settings| settings.allow_unix_sockets = vec!["/a".to_owned(), "b".to_owned()],
        "invalid network.allow_unix_sockets[1]: b: expected an absolute path",
    );
    refused(
        |settings| settings.socks_url = " ".to_owned(),
        "invalid network.socks_url:  : missing host in network proxy address:  ",
    );
}
