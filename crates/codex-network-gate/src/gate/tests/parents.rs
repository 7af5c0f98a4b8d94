//! SPEC I: the operator's parent proxy.

use super::*;

const NAMES: &[(&str, &[&str])] = &[("private.test", &["93.184.215.14", "10.0.0.1"])];

async fn check(door: Protocol, target: &str, tls: bool, answer: &str, event: &str) {
    let world = Script {
        rules: Rules {
            ..rules(
                &["example.com", "*.test", "8.8.8.8", "127.0.0.1", "localhost"],
                &["denied.test"],
            )
        },
        names: NAMES,
        environment: &[
            ("HTTP_PROXY", "http://plain.parent:1"),
            ("HTTPS_PROXY", "http://secure.parent:2"),
            ("NO_PROXY", "direct.test,.absent-direct.test"),
        ],
        ..Script::default()
    }
    .build();
    let left = world
        .judge(Access {
            tls,
            ..access(door, target, usual_method(door))
        })
        .await;
    let row = format!("{target} by {door}, tls {tls}");
    assert_eq!(
        (left.answer.as_str(), left.events),
        (answer, vec![event.to_owned()]),
        "{row}"
    );
}

#[tokio::test]
async fn a_permitted_access_goes_to_its_parent() {
    let (plain, secure) = (
        "permit parent plain.parent:1",
        "permit parent secure.parent:2",
    );
    let event = "domain allow baseline_policy allow parent";
    for target in ["example.com", "8.8.8.8"] {
        check(Protocol::Http, target, false, plain, event).await;
        check(Protocol::Http, target, true, secure, event).await;
        check(Protocol::HttpsConnect, target, false, secure, event).await;
    }
    // A name that resolves only there is the parent's to resolve.
    check(Protocol::Http, "absent.test", false, plain, event).await;
    check(Protocol::HttpsConnect, "absent.test", false, secure, event).await;
}

#[tokio::test]
async fn a_parent_lifts_no_refusal() {
    let local = "deny baseline_policy not_allowed_local";
    for door in [Protocol::Http, Protocol::HttpsConnect] {
        let event = format!("domain {local}");
        check(door, "private.test", false, local, &event).await;
        check(door, "10.0.0.1", false, local, &event).await;
        let denied = "deny baseline_policy denied";
        check(
            door,
            "denied.test",
            false,
            denied,
            &format!("domain {denied}"),
        )
        .await;
        let unlisted = "deny baseline_policy not_allowed";
        check(
            door,
            "unlisted.org",
            false,
            unlisted,
            &format!("domain {unlisted}"),
        )
        .await;
    }
}

#[tokio::test]
async fn socks_and_what_is_local_or_exempt_leave_directly() {
    let allow = "domain allow baseline_policy allow";
    for door in [Protocol::Socks5Tcp, Protocol::Socks5Udp] {
        check(door, "example.com", false, "permit 93.184.215.14:80", allow).await;
    }
    for door in [Protocol::Http, Protocol::HttpsConnect] {
        check(door, "127.0.0.1", false, "permit 127.0.0.1:80", allow).await;
        check(
            door,
            "localhost",
            false,
            "permit 127.0.0.1:80,[::1]:80",
            allow,
        )
        .await;
    }
    // What leaves directly has to resolve here.
    let failed = "deny baseline_policy dns_lookup_failed";
    for target in ["direct.test", "a.absent-direct.test"] {
        check(
            Protocol::Http,
            target,
            false,
            failed,
            &format!("domain {failed}"),
        )
        .await;
    }
    check(
        Protocol::Socks5Tcp,
        "absent.test",
        false,
        failed,
        &format!("domain {failed}"),
    )
    .await;
}

#[tokio::test]
async fn a_policy_that_wants_no_parent_uses_none() {
    let script = || Script {
        rules: rules(&["example.com"], &[]),
        environment: &[("ALL_PROXY", "http://parent:1")],
        ..Script::default()
    };
    let direct = || Rules {
        direct_only: true,
        ..rules(&["example.com"], &[])
    };
    for door in [Protocol::Http, Protocol::HttpsConnect] {
        let ask = || access(door, "example.com", usual_method(door));
        let world = script().build();
        assert_eq!(world.judge(ask()).await.answer, "permit parent parent:1");
        // A tunnel through a parent ends where a new policy wants none.
        let permit = world.authorize(ask()).await.unwrap();
        world.gate.store().replace(Policy::compile(direct()));
        assert!(!world.gate.still_permits(&permit, usual_method(door), false));
        let answer = world.judge(ask()).await.answer;
        assert!(!answer.contains("parent"), "{answer}");
    }
}
