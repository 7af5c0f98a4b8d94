//! Which variables a child gets, and what is in them.

use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn applied(socks: Option<&str>, allow_local_binding: bool) -> HashMap<String, String> {
    let mut env = HashMap::from([("HTTP_PROXY".to_owned(), "http://other:1".to_owned())]);
    apply_to_env(
        &mut env,
        address("127.0.0.1:3128"),
        socks.map(address),
        allow_local_binding,
        None,
    );
    env
}

#[test]
fn a_child_reaches_every_door() {
    let env = applied(Some("127.0.0.1:8081"), false);
    for key in HTTP_KEYS {
        assert_eq!(env[*key], "http://127.0.0.1:3128", "{key}");
    }
    for key in ["ALL_PROXY", "all_proxy", "FTP_PROXY", "ftp_proxy"] {
        assert_eq!(env[key], "socks5h://127.0.0.1:8081", "{key}");
    }
    assert_eq!(env["ELECTRON_GET_USE_PROXY"], "true");
    assert_eq!(env["CODEX_NETWORK_PROXY_ACTIVE"], "1");
    assert_eq!(env["NODE_USE_ENV_PROXY"], "1");
    assert_eq!(
        env.contains_key("GIT_SSH_COMMAND"),
        cfg!(target_os = "macos")
    );
    let fixed = 4 + usize::from(cfg!(target_os = "macos"));
    assert_eq!(
        env.len(),
        HTTP_KEYS.len() + 4 + NO_PROXY_ENV_KEYS.len() + fixed
    );
}

#[test]
fn every_known_proxy_key_is_overwritten() {
    let env = applied(None, false);
    for key in PROXY_URL_ENV_KEYS {
        assert_eq!(env[*key], "http://127.0.0.1:3128", "{key}");
    }
}

#[test]
fn local_targets_go_around_only_where_they_are_allowed() {
    for (allowed, around, told) in [(true, DEFAULT_NO_PROXY_VALUE, "1"), (false, "", "0")] {
        let env = applied(None, allowed);
        for key in NO_PROXY_ENV_KEYS {
            assert_eq!(env[*key], around, "{key}");
        }
        assert_eq!(env[ALLOW_LOCAL_BINDING_ENV_KEY], told);
    }
}

#[test]
fn a_proxy_variable_is_found_in_both_spellings() {
    let env = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let both = env(&[
        ("HTTP_PROXY", ""),
        ("http_proxy", "http://a"),
        ("Https_Proxy", "http://b"),
    ]);
    assert_eq!(proxy_url_env_value(&both, "HTTP_PROXY"), Some(""));
    assert_eq!(proxy_url_env_value(&both, "HTTPS_PROXY"), None);
    assert!(
        !has_proxy_url_env_vars(&both),
        "the exact key hides the other, even when it is empty"
    );
    assert!(has_proxy_url_env_vars(&env(&[(
        "npm_config_proxy",
        "http://a"
    )])));
    assert!(!has_proxy_url_env_vars(&env(&[("HTTPS_PROXY", "  ")])));
    assert!(!has_proxy_url_env_vars(&env(&[("NO_PROXY", "a")])));
}

#[test]
fn exports_are_the_four_that_every_client_knows() {
    let exports = exports(
        address("[::1]:3128"),
        Some(address("127.0.0.1:8081")),
        false,
        None,
    );
    let lines: Vec<String> = exports
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(
        lines,
        [
            "HTTP_PROXY=http://[::1]:3128",
            "http_proxy=http://[::1]:3128",
            "HTTPS_PROXY=http://[::1]:3128",
            "https_proxy=http://[::1]:3128",
            "ALL_PROXY=socks5h://127.0.0.1:8081",
            "all_proxy=socks5h://127.0.0.1:8081",
            "NO_PROXY=",
            "no_proxy=",
        ]
    );
}

#[test]
fn what_a_child_trusts_is_set_only_where_there_is_a_bundle() {
    let bundle = Path::new("/home/a b/.codex/proxy/ca-bundle.pem");
    let mut env = applied(None, false);
    assert!(TRUST_ENV_KEYS.iter().all(|key| !env.contains_key(*key)));
    let before = env.len();
    let http = address("127.0.0.1:3128");
    apply_to_env(&mut env, http, None, false, Some(bundle));
    assert_eq!(env.len(), before + TRUST_ENV_KEYS.len());
    for key in TRUST_ENV_KEYS {
        assert_eq!(env[*key], "/home/a b/.codex/proxy/ca-bundle.pem", "{key}");
    }
    let exports = exports(http, None, false, Some(bundle));
    let names: Vec<_> = exports.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names[..9],
        [
            "SSL_CERT_FILE",
            "NODE_EXTRA_CA_CERTS",
            "npm_config_cafile",
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "GIT_SSL_CAINFO",
            "CARGO_HTTP_CAINFO",
            "PIP_CERT",
            "HTTP_PROXY",
        ]
    );
    assert_eq!(exports[0].1, "/home/a b/.codex/proxy/ca-bundle.pem");
}

#[cfg(unix)]
#[test]
fn a_bundle_whose_path_is_no_unicode_is_left_out() {
    use std::os::unix::ffi::OsStrExt as _;
    let bundle = Path::new(std::ffi::OsStr::from_bytes(b"/\xff/ca-bundle.pem"));
    let http = address("127.0.0.1:3128");
    let mut env = HashMap::new();
    apply_to_env(&mut env, http, None, false, Some(bundle));
    assert!(!env.contains_key("SSL_CERT_FILE"));
    assert_eq!(exports(http, None, false, Some(bundle))[0].0, "HTTP_PROXY");
}

#[test]
fn git_over_ssh_is_led_through_socks() {
    let command = git_ssh_command(address("127.0.0.1:8081"));
    assert_eq!(
        command,
        "ssh -o ProxyCommand='nc -X 5 -x 127.0.0.1:8081 %h %p'"
    );
}
