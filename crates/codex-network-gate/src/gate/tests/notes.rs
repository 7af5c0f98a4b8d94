//! What the log says beside a refusal.

use super::*;

fn http<'a>(target: &str, method: &'a str) -> Access<'a> {
    access(Protocol::Http, target, Some(method))
}

/// Holds the note of one refusal to its text.
async fn check(world: &World, access: Access<'_>, expected: &str) {
    let (capture, _guard) = Capture::start();
    world.authorize(access).await.unwrap_err();
    let lines = capture.take();
    let note = lines
        .iter()
        .flat_map(|line| &line.fields)
        .find_map(|(name, value)| (*name == "note").then_some(value.trim_start_matches('?')));
    assert_eq!(note.unwrap_or_default(), expected);
}

#[tokio::test]
async fn the_log_says_what_decided_or_what_would_allow() {
    let world = Script {
        rules: Rules {
            mode: Mode::Limited,
            ..rules(
                &[
                    "example.com",
                    "127.0.0.1",
                    "localhost",
                    "absent.test",
                    "empty.test",
                    "inward.test",
                ],
                &["*.denied.test"],
            )
        },
        names: &[("inward.test", &["10.0.0.1"]), ("empty.test", &[])],
        listeners: &["127.0.0.1:3128"],
        ..Script::default()
    }
    .build();
    check(
        &world,
        http("Unlisted.test", "GET"),
        "to allow it, add \"unlisted.test\" to allowed_domains",
    )
    .await;
    check(
        &world,
        http("a.denied.test", "GET"),
        "denied by denylist `*.denied.test` (--test)",
    )
    .await;
    check(
        &world,
        http("10.1.2.3", "GET"),
        "private; to allow it, add \"10.1.2.3\" to allowed_domains",
    )
    .await;
    check(
        &world,
        http("inward.test", "GET"),
        "the name leads to an address that is not public",
    )
    .await;
    for own in ["127.0.0.1:3128", "localhost:3128"] {
        check(
            &world,
            http(own, "GET"),
            "it is a listener of this proxy, which is never a target",
        )
        .await;
    }
    check(
        &world,
        http("example.com", "POST"),
        "mode = \"limited\" permits GET, HEAD and OPTIONS without upgrades, and no SOCKS5",
    )
    .await;
    check(
        &world,
        access(Protocol::HttpsConnect, "example.com", Some("CONNECT")),
        "mode = \"limited\" permits no opaque tunnel; set mitm = true to have TLS opened, or mode = \"full\"",
    )
    .await;
    check(
        &world,
        http("absent.test", "GET"),
        "the name does not resolve",
    )
    .await;
    check(&world, http("empty.test", "GET"), "the name has no address").await;
    let disabled = Script::default().build();
    check(
        &disabled,
        http("example.com", "GET"),
        "the configuration disables the proxy",
    )
    .await;
}

#[tokio::test]
async fn a_deciders_word_is_not_explained_by_our_rules() {
    for (word, note) in [
        ("denied", ""),
        ("not_allowed_local", ""),
        ("own_word", ""),
        (
            "not_allowed",
            "to allow it, add \"a.test\" to allowed_domains",
        ),
    ] {
        let world = Script {
            rules: rules(&[], &[]),
            decision: Some(NetworkDecision::deny(word)),
            ..Script::default()
        }
        .build();
        check(&world, http("a.test", "GET"), note).await;
    }
}

#[tokio::test]
async fn a_managed_allowlist_is_not_for_a_client_to_add_to() {
    let world = Script {
        rules: Rules {
            pinned: true,
            ..rules(&["example.com"], &[])
        },
        ..Script::default()
    }
    .build();
    for (target, words) in [
        (
            "unlisted.test",
            "the allowlist is an administrator's and does not name it",
        ),
        ("10.1.2.3", "private"),
        ("localhost", "loopback"),
    ] {
        let denial = world.authorize(http(target, "GET")).await.unwrap_err();
        let help = denial.help().unwrap();
        assert_eq!((help.words(), help.line()), (words, None), "{target}");
    }
}

#[tokio::test]
async fn a_client_is_told_the_line_that_would_permit() {
    let world = Script {
        rules: Rules {
            mode: Mode::Limited,
            ..rules(&["example.com"], &[])
        },
        listeners: &["127.0.0.1:3128"],
        ..Script::default()
    }
    .build();
    let connect = |target| access(Protocol::HttpsConnect, target, Some("CONNECT"));
    for (access, line) in [
        (
            http("a.test", "GET"),
            Some(r#"allowed_domains = ["a.test"]"#),
        ),
        (
            http("10.1.2.3", "GET"),
            Some(r#"allowed_domains = ["10.1.2.3"]"#),
        ),
        (http("metadata.goog", "GET"), None),
        (http("example.com", "POST"), None),
        (connect("example.com"), Some("mitm = true")),
    ] {
        let denial = world.authorize(access).await.unwrap_err();
        assert_eq!(denial.help().unwrap().line(), line);
    }
}
