//! SPEC D2: what a permitted host resolves to is judged, and what was judged is what the permit holds.

use super::*;

const LOCAL: (&str, &str) = (
    "deny baseline_policy not_allowed_local",
    "domain deny baseline_policy not_allowed_local",
);

/// Many names that lead somewhere, all of them allowed.
const NAMES: &[(&str, &[&str])] = &[
    (
        "public.test",
        &["93.184.215.14", "2606:4700::1", "93.184.215.14"],
    ),
    ("mapped.test", &["::ffff:93.184.215.14"]),
    ("empty.test", &[]),
    ("private.test", &["10.0.0.1"]),
    ("loopback.test", &["127.0.0.1"]),
    ("loopback6.test", &["::1"]),
    ("metadata.test", &["169.254.169.254"]),
    ("unspecified.test", &["0.0.0.0"]),
    ("mapped-private.test", &["::ffff:192.168.0.1"]),
    ("nat64-private.test", &["64:ff9b::10.0.0.1"]),
    ("teredo.test", &["2001::1"]),
    ("six-to-four.test", &["2002:7f00:1::"]),
    ("link-local.test", &["fe80::1"]),
    ("unique-local.test", &["fd00::1"]),
    (
        "first-bad.test",
        &["127.0.0.1", "93.184.215.14", "93.184.215.15"],
    ),
    (
        "last-bad.test",
        &["93.184.215.14", "93.184.215.15", "100.64.0.1"],
    ),
    ("mixed6.test", &["93.184.215.14", "fe80::1"]),
    ("localhost.evil.test", &["127.0.0.1"]),
];

fn script() -> Script {
    Script {
        rules: rules(&["*.test", "**.nip.io", "10.0.0.1.nip.io"], &[]),
        names: NAMES,
        ..Script::default()
    }
}

#[tokio::test]
async fn a_name_goes_where_all_its_addresses_may_be_dialled() {
    let allow = "domain allow baseline_policy allow";
    let both = "permit 93.184.215.14:80,[2606:4700::1]:80";
    check_doors(script, "public.test", both, allow, &["public.test"]).await;
    let mapped = "permit 93.184.215.14:80";
    check_doors(script, "Mapped.TEST.", mapped, allow, &["mapped.test"]).await;
}

#[tokio::test]
async fn one_address_that_is_not_public_refuses_the_name() {
    for (name, addresses) in NAMES {
        if matches!(*name, "public.test" | "mapped.test" | "empty.test") {
            continue;
        }
        assert!(!addresses.is_empty());
        check_doors(script, name, LOCAL.0, LOCAL.1, &[name]).await;
    }
}

#[tokio::test]
async fn an_exact_entry_does_not_open_a_name_that_leads_inward() {
    let exact = || Script {
        rules: rules(&["private.test"], &[]),
        ..script()
    };
    check_doors(exact, "private.test", LOCAL.0, LOCAL.1, &["private.test"]).await;
}

#[tokio::test]
async fn a_deciders_yes_does_not_lift_the_addresses() {
    let unlisted = || Script {
        rules: rules(&[], &[]),
        decision: Some(NetworkDecision::Allow),
        ..script()
    };
    for name in ["private.test", "last-bad.test", "mapped-private.test"] {
        check_doors(unlisted, name, LOCAL.0, LOCAL.1, &[name]).await;
    }
    let failed = "deny baseline_policy dns_lookup_failed";
    let event = "domain deny baseline_policy dns_lookup_failed";
    check_doors(unlisted, "absent.test", failed, event, &["absent.test"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_without_an_answer_is_refused_as_an_upstream_failure() {
    let answer = "deny baseline_policy dns_lookup_failed";
    let event = "domain deny baseline_policy dns_lookup_failed";
    for (name, failure) in [
        ("absent.test", LookupFailure::Failed),
        ("empty.test", LookupFailure::Empty),
        ("stuck.test", LookupFailure::TimedOut),
    ] {
        check_doors(script, name, answer, event, &[name]).await;
        let denial = script()
            .build()
            .authorize(access(Protocol::Http, name, Some("GET")))
            .await
            .unwrap_err();
        assert_eq!(denial.reason(), &Reason::DnsLookupFailed(failure));
    }
}

#[tokio::test]
async fn localhost_and_literals_are_dialled_without_a_resolver() {
    let allow = "domain allow baseline_policy allow";
    let check = async |allowed: &'static [&str], target: &str, answer: &str, event: &str| {
        let script = || Script {
            rules: rules(allowed, &[]),
            // If it were asked, this resolver would send localhost elsewhere.
            names: &[("localhost", &["93.184.215.14"])],
            ..Script::default()
        };
        check_doors(script, target, answer, event, &[]).await;
    };
    let loopback = "permit 127.0.0.1:80,[::1]:80";
    check(&["localhost"], "LocalHost.", loopback, allow).await;
    check(&["127.0.0.1"], "localhost", LOCAL.0, LOCAL.1).await;
    check(&["localhost"], "127.0.0.1", LOCAL.0, LOCAL.1).await;
    check(&["127.0.0.1"], "127.0.0.1", "permit 127.0.0.1:80", allow).await;
    check(
        &["127.0.0.1"],
        "[::ffff:127.0.0.1]",
        "permit 127.0.0.1:80",
        allow,
    )
    .await;
    check(&["127.0.0.1"], "127.0.0.2", LOCAL.0, LOCAL.1).await;
    check(&["0:0:0:0:0:0:0:1"], "[::1]", "permit [::1]:80", allow).await;
    check(
        &["fe80::1%7"],
        "[fe80::1%7]",
        "permit [fe80::1%7]:80",
        allow,
    )
    .await;
    check(&["fe80::1%7"], "[fe80::1%8]", LOCAL.0, LOCAL.1).await;
    let failed = "deny baseline_policy dns_lookup_failed";
    let event = "domain deny baseline_policy dns_lookup_failed";
    check(&["fe80::1%nosuch0"], "[fe80::1%nosuch0]", failed, event).await;
}

#[tokio::test]
async fn local_binding_skips_the_check_of_addresses_only() {
    let allow = "domain allow baseline_policy allow";
    let local = || Script {
        rules: Rules {
            allow_local_binding: true,
            ..rules(&["*.test", "10.0.0.1"], &["denied.test"])
        },
        ..script()
    };
    check_doors(
        local,
        "private.test",
        "permit 10.0.0.1:80",
        allow,
        &["private.test"],
    )
    .await;
    check_doors(local, "10.0.0.1", "permit 10.0.0.1:80", allow, &[]).await;
    let no = "deny baseline_policy not_allowed";
    check_doors(
        local,
        "127.0.0.1",
        no,
        "domain deny baseline_policy not_allowed",
        &[],
    )
    .await;
    let denied = "deny baseline_policy denied";
    check_doors(
        local,
        "denied.test",
        denied,
        "domain deny baseline_policy denied",
        &[],
    )
    .await;
}

#[tokio::test]
async fn our_own_listeners_are_never_a_target() {
    const SPELLINGS: &[(&str, &[&str])] = &[
        ("inward.test", &["127.0.0.1"]),
        ("inward6.test", &["::1"]),
        ("mapped.test", &["::ffff:127.0.0.1"]),
        ("zero.test", &["0.0.0.0"]),
        ("mixed.test", &["93.184.215.14", "127.0.0.1"]),
    ];
    const HOSTS: [&str; 14] = [
        "localhost",
        "LOCALHOST.",
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "inward.test",
        "inward6.test",
        "mapped.test",
        "zero.test",
        "mixed.test",
    ];
    let allowed = [
        "localhost",
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "::",
        "::1",
        "*.test",
    ];
    for listeners in [
        &["127.0.0.1:3128", "127.0.0.1:8081"],
        &["0.0.0.0:3128", "0.0.0.0:8081"],
        &["[::1]:3128", "[::]:8081"],
    ] {
        let world = Script {
            rules: Rules {
                allow_local_binding: true,
                ..rules(&allowed, &[])
            },
            decision: Some(NetworkDecision::Allow),
            names: SPELLINGS,
            listeners,
            ..Script::default()
        }
        .build();
        for host in HOSTS {
            for door in DOORS {
                for (port, refused) in [(3128, true), (8081, true), (3129, false)] {
                    let row = access(door, &format!("{host}:{port}"), usual_method(door));
                    let left = world.judge(row).await;
                    let row = format!("{host}:{port} of {listeners:?} by {door}: {left:?}");
                    assert_eq!(left.answer == LOCAL.0, refused, "{row}");
                    assert_eq!(left.answer.starts_with("permit"), !refused, "{row}");
                    assert_eq!(left.history.len(), usize::from(refused), "{row}");
                    assert_eq!(left.events.len(), 1, "{row}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_name_is_never_resolved_before_it_is_permitted() {
    let world = Script {
        rules: rules(&["example.com"], &["denied.test"]),
        decision: Some(NetworkDecision::deny("no")),
        ..script()
    }
    .build();
    for target in [
        "denied.test",
        "unlisted.test",
        "10.0.0.1.nip.io",
        "localhost",
        "private.test",
    ] {
        for door in DOORS {
            let left = world.judge(access(door, target, usual_method(door))).await;
            assert_eq!(left.asked, [""; 0], "{target} by {door}");
        }
    }
}
