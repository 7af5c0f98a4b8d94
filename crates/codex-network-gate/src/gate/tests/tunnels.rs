//! What a change of policy does to what is open already.

use super::*;

/// Permits by `before`, then says whether `after` still permits.
async fn still(before: Script, after: Rules, access: Access<'_>) -> bool {
    let method = access.method.map(str::to_owned);
    let upgrade = access.upgrade;
    let world = before.build();
    let permit = world.authorize(access).await.unwrap();
    assert!(
        world
            .gate
            .still_permits(&permit, method.as_deref(), upgrade)
    );
    world.gate.store().replace(Policy::compile(after));
    world.names.take_asked();
    let still = world
        .gate
        .still_permits(&permit, method.as_deref(), upgrade);
    assert_eq!(
        world.names.take_asked(),
        [""; 0],
        "a tunnel is judged without a resolver"
    );
    still
}

#[tokio::test]
async fn a_tunnel_lives_as_long_as_the_policy_would_permit_it_anew() {
    let check = async |door: Protocol, after: Rules, expected: bool| {
        let before = Script {
            rules: rules(&["example.com"], &[]),
            ..Script::default()
        };
        let row = format!("{door} {after:?}");
        let still = still(
            before,
            after,
            access(door, "example.com:443", usual_method(door)),
        )
        .await;
        assert_eq!(still, expected, "{row}");
    };
    for door in DOORS {
        check(door, rules(&["example.com"], &[]), true).await;
        check(door, rules(&["**.example.com"], &["other.test"]), true).await;
        check(door, rules(&["*.example.com"], &[]), false).await;
        check(door, rules(&[], &[]), false).await;
        check(door, rules(&["example.com"], &["example.com"]), false).await;
        check(door, Rules::default(), false).await;
        let disabled = Rules {
            enabled: false,
            ..rules(&["example.com"], &[])
        };
        check(door, disabled, false).await;
        let limited = Rules {
            mode: Mode::Limited,
            ..rules(&["example.com"], &[])
        };
        check(door, limited, door == Protocol::Http).await;
    }
}

#[tokio::test]
async fn an_upgraded_connection_ends_with_full_mode() {
    let before = Script {
        rules: rules(&["example.com"], &[]),
        ..Script::default()
    };
    let limited = Rules {
        mode: Mode::Limited,
        ..rules(&["example.com"], &[])
    };
    let upgrade = Access {
        upgrade: true,
        ..access(Protocol::Http, "example.com", Some("GET"))
    };
    assert!(!still(before, limited, upgrade).await);
}

#[tokio::test]
async fn its_addresses_are_judged_anew() {
    let check = async |target: &str, after: Rules, expected: bool| {
        let before = Script {
            rules: Rules {
                allow_local_binding: true,
                ..rules(&["private.test", "10.0.0.1"], &[])
            },
            names: &[("private.test", &["10.0.0.1"])],
            ..Script::default()
        };
        let still = still(before, after, access(Protocol::Socks5Tcp, target, None)).await;
        assert_eq!(still, expected, "{target}");
    };
    check("private.test", rules(&["private.test"], &[]), false).await;
    check("10.0.0.1", rules(&["10.0.0.1"], &[]), true).await;
    check("10.0.0.1", rules(&["example.com"], &[]), false).await;
}

#[tokio::test]
async fn a_deciders_yes_stands_unless_the_rules_say_no() {
    let check = async |after: Rules, expected: bool| {
        let before = Script {
            rules: rules(&[], &[]),
            decision: Some(NetworkDecision::Allow),
            ..Script::default()
        };
        let still = still(
            before,
            after,
            access(Protocol::Socks5Tcp, "example.com", None),
        )
        .await;
        assert_eq!(still, expected);
    };
    check(rules(&[], &[]), true).await;
    check(rules(&["other.test"], &["other.test"]), true).await;
    check(rules(&["example.com"], &[]), true).await;
    check(rules(&[], &["example.com"]), false).await;
    check(Rules::default(), false).await;
}
