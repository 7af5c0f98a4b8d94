use alloc::string::{String, ToString};
use alloc::vec;

use super::*;
use crate::pattern::HostPattern;
use crate::request::{Mode, Protocol, SocketPath};
use crate::rules::{Origin, Rule, Rules, SocketRules};

fn explain(rules: &Rules, protocol: Protocol, target: &Target) -> String {
    let policy = Policy::compile(rules.clone());
    let request = AccessRequest {
        protocol,
        target,
        method: Some("POST"),
        upgrade: false,
    };
    Trace::of(&policy, &request).to_string()
}

fn rules() -> Rules {
    let rule = |pattern: &str, line: u32| Rule {
        pattern: HostPattern::parse(pattern).unwrap(),
        origin: Origin {
            source: "config.toml".into(),
            line: line.try_into().ok(),
        },
    };
    Rules {
        enabled: true,
        denied: vec![rule("bad.example", 4)].into(),
        allowed: vec![rule("**.example", 5), rule("10.0.0.1", 6)].into(),
        ..Rules::default()
    }
}

fn host(text: &str) -> Target {
    Target::Host {
        host: Host::parse(text).unwrap(),
        port: 443,
    }
}

#[test]
fn an_explanation_names_every_check_and_the_rule_that_decided() {
    let check = |target: &str, expected: &str| {
        assert_eq!(
            explain(&rules(), Protocol::HttpsConnect, &host(target)),
            expected
        );
    };
    check(
        "api.example",
        "api.example:443: allowed\n  the proxy is enabled and the door is open\n  no rule of the denylist matches\n  \
         allowed by allowlist `**.example` (config.toml:5)\n  full mode lets it pass",
    );
    check(
        "bad.example",
        "bad.example:443: refused, denied\n  the proxy is enabled and the door is open\n  \
         denied by denylist `bad.example` (config.toml:4)",
    );
    check(
        "other.test",
        "other.test:443: refused unless approved, not_allowed\n  the proxy is enabled and the door is open\n  \
         no rule of the denylist matches\n  no rule of the allowlist matches",
    );
    check(
        "localhost",
        "localhost:443: refused, not_allowed_local\n  the proxy is enabled and the door is open\n  \
         no rule of the denylist matches\n  the name stands for a local service, and no rule without a star lists it",
    );
    check(
        "64:ff9b::192.168.1.1",
        "[64:ff9b::c0a8:101]:443: refused, not_allowed_local\n  the proxy is enabled and the door is open\n  \
         no rule of the denylist matches\n  \
         the address is not public (private: 192.168.0.0/16, Private-Use, RFC 1918), and no rule without a star lists it",
    );
    check(
        "10.0.0.1",
        "10.0.0.1:443: allowed\n  the proxy is enabled and the door is open\n  no rule of the denylist matches\n  \
         the address is not public (private: 10.0.0.0/8, Private-Use, RFC 1918), \
         but it is listed by allowlist `10.0.0.1` (config.toml:6)\n  \
         allowed by allowlist `10.0.0.1` (config.toml:6)\n  full mode lets it pass",
    );
}

#[test]
fn an_explanation_tells_a_closed_door_from_a_disabled_proxy() {
    let limited = Rules {
        mode: Mode::Limited,
        ..rules()
    };
    assert_eq!(
        explain(&limited, Protocol::Socks5Tcp, &host("api.example")),
        "api.example:443: refused, method_not_allowed\n  the door is closed in limited mode"
    );
    assert_eq!(
        explain(&Rules::default(), Protocol::Http, &host("api.example")),
        "api.example:443: refused, proxy_disabled\n  the proxy is disabled"
    );
}

#[test]
fn an_explanation_speaks_of_sockets_too() {
    let target = Target::Unix(SocketPath::parse("/run/a").unwrap());
    assert!(
        explain(&rules(), Protocol::Http, &target)
            .ends_with("\n  unix sockets are not supported here")
    );
    let sockets = SocketRules {
        supported: true,
        allow_all: true,
        ..SocketRules::default()
    };
    let rules = Rules { sockets, ..rules() };
    assert!(explain(&rules, Protocol::Http, &target).ends_with("\n  every unix socket is allowed"));
}

#[test]
fn a_trace_knows_the_class_of_an_address() {
    let policy = Policy::compile(rules());
    let target = host("169.254.169.254");
    let request = AccessRequest {
        protocol: Protocol::Http,
        target: &target,
        method: None,
        upgrade: false,
    };
    let trace = Trace::of(&policy, &request);
    assert_eq!(trace.address_class(), Some(AddressClass::CloudMetadata));
    assert_eq!(
        trace.address_range().map(|range| range.document),
        Some("vendor")
    );
    assert!(trace.rule().is_none());
    assert_eq!(
        trace.steps().last(),
        Some(&Step::LocalTarget { opened_by: None })
    );
}
