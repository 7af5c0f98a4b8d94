use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use core::num::NonZeroU32;

use super::*;
use crate::pattern::HostPattern;
use crate::rules::{Origin, Rule, SocketRule};

fn rule(pattern: &str, source: &str, line: u32) -> Rule {
    let origin = Origin {
        source: source.into(),
        line: NonZeroU32::new(line),
    };
    Rule {
        pattern: HostPattern::parse(pattern).unwrap(),
        origin,
    }
}

fn policy() -> Policy {
    let origin = Origin {
        source: "/etc/a".into(),
        line: NonZeroU32::new(9),
    };
    Policy::compile(Rules {
        enabled: true,
        denied: vec![
            rule("*.bad.example", "/etc/a", 3),
            rule("10.0.0.1", "--deny", 0),
        ]
        .into(),
        allowed: vec![
            rule("**.example", "/etc/b", 7),
            rule("10.0.0.1", "/etc/a", 1),
        ]
        .into(),
        sockets: SocketRules {
            supported: true,
            allow_all: false,
            allowed: vec![SocketRule {
                path: SocketPath::parse("/run/a").unwrap(),
                origin,
            }],
        },
        ..Rules::default()
    })
}

#[test]
fn a_rule_tells_its_list_its_text_and_its_origin() {
    let policy = policy();
    let shown = [0, 1, 2, 3, 4].map(|index| policy.rule(RuleId::at(index)).to_string());
    assert_eq!(
        shown,
        [
            "denylist `*.bad.example` (/etc/a:3)",
            "denylist `10.0.0.1` (--deny)",
            "allowlist `**.example` (/etc/b:7)",
            "allowlist `10.0.0.1` (/etc/a:1)",
            "unix sockets `/run/a` (/etc/a:9)",
        ]
    );
    assert_eq!(
        policy.rule(RuleId::at(5)).to_string(),
        "unix sockets, unknown rule"
    );
}

#[test]
fn a_policy_is_shown_without_its_rules() {
    let shown = format!("{:?}", policy());
    assert!(shown.contains("denied: 2"), "{shown}");
    assert!(!shown.contains("example"), "{shown}");
}

#[test]
fn the_default_rules_let_nothing_through() {
    let policy = Policy::compile(Rules::default());
    for protocol in [
        Protocol::Http,
        Protocol::HttpsConnect,
        Protocol::Https,
        Protocol::Socks5Tcp,
        Protocol::Socks5Udp,
    ] {
        assert_eq!(policy.door(protocol), Err(Reason::ProxyDisabled));
    }
}

#[test]
fn limited_mode_closes_the_doors_that_show_no_method() {
    let policy = Policy::compile(Rules {
        enabled: true,
        mode: Mode::Limited,
        ..Rules::default()
    });
    assert_eq!(policy.door(Protocol::Http), Ok(()));
    assert_eq!(policy.door(Protocol::HttpsConnect), Ok(()));
    assert_eq!(
        policy.door(Protocol::Socks5Tcp),
        Err(Reason::MethodNotAllowed)
    );
    assert_eq!(
        policy.door(Protocol::Socks5Udp),
        Err(Reason::MethodNotAllowed)
    );
}
