//! SPEC E1 to E3 and E6: which check decides, and what it leaves.

use super::*;

const ALLOW: &str = "domain allow baseline_policy allow";

#[tokio::test]
async fn the_lists_decide_at_every_door() {
    let check = async |allowed: &'static [&str],
                       denied: &'static [&str],
                       target: &str,
                       answer: &str,
                       event: &str| {
        let script = || Script {
            rules: rules(allowed, denied),
            // Would lift everything that it is asked about; no host here is only unlisted.
            decision: Some(NetworkDecision::Allow),
            ..Script::default()
        };
        let asked: &[&str] = if answer == "permit 93.184.215.14:80" && target == "example.com" {
            &["example.com"]
        } else {
            &[]
        };
        check_doors(script, target, answer, event, asked).await;
    };
    let (denied, local) = (
        "deny baseline_policy denied",
        "deny baseline_policy not_allowed_local",
    );
    let denied_event = "domain deny baseline_policy denied";
    let local_event = "domain deny baseline_policy not_allowed_local";
    check(
        &["example.com"],
        &[],
        "example.com",
        "permit 93.184.215.14:80",
        ALLOW,
    )
    .await;
    check(&["8.8.8.8"], &[], "8.8.8.8:53", "permit 8.8.8.8:53", ALLOW).await;
    // The denylist wins over everything, and nobody is asked.
    check(
        &["example.com"],
        &["**.example.com"],
        "example.com",
        denied,
        denied_event,
    )
    .await;
    check(&[], &["example.com"], "example.com", denied, denied_event).await;
    check(
        &["127.0.0.1"],
        &["127.0.0.1"],
        "127.0.0.1",
        denied,
        denied_event,
    )
    .await;
    // What is local by its text wins over not being listed; a wildcard does not open it.
    for target in [
        "localhost",
        "LOCALHOST.",
        "127.0.0.1",
        "127.9.9.9",
        "10.0.0.1",
        "0.0.0.0",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1%7]",
        "[64:ff9b::10.0.0.1]",
        "metadata.google.internal",
    ] {
        check(&[], &[], target, local, local_event).await;
        check(
            &["**.localhost", "example.com", "*.internal"],
            &[],
            target,
            local,
            local_event,
        )
        .await;
    }
}

#[tokio::test]
async fn an_unlisted_host_is_the_deciders() {
    let check = async |decision: Option<NetworkDecision>, answer: &str, event: &str| {
        let script = || Script {
            rules: rules(&["other.test"], &[]),
            decision: decision.clone(),
            ..Script::default()
        };
        let asked: &[&str] = if answer.starts_with("permit") {
            &["example.com"]
        } else {
            &[]
        };
        check_doors(script, "example.com", answer, event, asked).await;
    };
    let deny = NetworkDecision::deny;
    let no = "deny baseline_policy not_allowed";
    check(None, no, "domain deny baseline_policy not_allowed").await;
    let yes = "domain allow decider not_allowed override";
    check(Some(NetworkDecision::Allow), "permit 93.184.215.14:80", yes).await;
    for (said, heard) in [
        ("my_word", "my_word"),
        ("", "policy_denied"),
        ("Forged\r\n", "policy_denied"),
        ("not_allowed", "not_allowed"),
        ("denied", "denied"),
        ("method_not_allowed", "method_not_allowed"),
    ] {
        let answer = format!("deny decider {heard}");
        check(Some(deny(said)), &answer, &format!("domain {answer}")).await;
        let claimed = NetworkDecision::deny_with_source(said, Source::BaselinePolicy);
        check(Some(claimed), &answer, &format!("domain {answer}")).await;
        let answer = format!("ask decider {heard}");
        check(
            Some(NetworkDecision::ask(said)),
            &answer,
            &format!("domain {answer}"),
        )
        .await;
    }
}

#[tokio::test]
async fn the_decider_is_asked_once_and_only_about_what_is_unlisted() {
    let check = async |target: &str, method: &str, expected: usize| {
        let world = Script {
            rules: Rules {
                mode: Mode::Limited,
                ..rules(&["example.com"], &["denied.test"])
            },
            decision: Some(NetworkDecision::Allow),
            ..Script::default()
        }
        .build();
        world
            .judge(access(Protocol::Http, target, Some(method)))
            .await;
        assert_eq!(world.decided.load(Ordering::SeqCst), expected, "{target}");
    };
    check("example.com", "GET", 0).await;
    check("example.com", "POST", 0).await;
    check("denied.test", "GET", 0).await;
    check("127.0.0.1", "GET", 0).await;
    check("localhost", "GET", 0).await;
    check("unlisted.test", "GET", 1).await;
    check("unlisted.test", "POST", 1).await;
}

#[tokio::test]
async fn the_decider_hears_what_is_known() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let decider = {
        let heard = Arc::clone(&heard);
        move |request: NetworkPolicyRequest| {
            heard.lock().unwrap().push(request);
            std::future::ready(NetworkDecision::ask("x"))
        }
    };
    let gate = Gate::builder(Policy::compile(rules(&[], &[])))
        .decider(Some(Arc::new(decider)))
        .build();
    let connect = access(Protocol::HttpsConnect, "BÜCHER.test.:443", Some("CONNECT"));
    gate.authorize(connect).await.unwrap_err();
    let socks = Access {
        client: None,
        ..access(Protocol::Socks5Udp, "[2606:4700::1]:53", None)
    };
    gate.authorize(socks).await.unwrap_err();
    let expected = [
        NetworkPolicyRequest {
            protocol: NetworkProtocol::HttpsConnect,
            host: "xn--bcher-kva.test".to_owned(),
            port: 443,
            client_addr: Some("127.0.0.1:1234".to_owned()),
            method: Some("CONNECT".to_owned()),
            command: None,
            exec_policy_hint: None,
        },
        NetworkPolicyRequest {
            protocol: NetworkProtocol::Socks5Udp,
            host: "2606:4700::1".to_owned(),
            port: 53,
            client_addr: None,
            method: None,
            command: None,
            exec_policy_hint: None,
        },
    ];
    assert_eq!(*heard.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_disabled_proxy_refuses_everything_first() {
    let script = || Script {
        rules: Rules {
            enabled: false,
            mode: Mode::Limited,
            ..rules(&["example.com"], &["denied.test"])
        },
        decision: Some(NetworkDecision::Allow),
        ..Script::default()
    };
    for target in ["example.com", "denied.test", "127.0.0.1", "unlisted.test"] {
        for door in DOORS {
            let left = script()
                .build()
                .judge(access(door, target, Some("POST")))
                .await;
            // An HTTP door writes its audit word into the history here (SPEC section 0).
            let word = match door {
                Protocol::Http | Protocol::HttpsConnect => door.as_str(),
                Protocol::Https => unreachable!("a tunnel of a disabled proxy"),
                Protocol::Socks5Tcp | Protocol::Socks5Udp => door.history_word(),
            };
            let expected = Left {
                answer: "deny proxy_state proxy_disabled".to_owned(),
                events: vec!["non_domain deny proxy_state proxy_disabled".to_owned()],
                history: vec![format!("{word} deny proxy_state proxy_disabled -")],
                asked: vec![],
            };
            assert_eq!(left, expected, "{target} by {door}");
        }
    }
}

/// One row: a limited proxy that allows `example.com` and denies `denied.test`.
async fn check_limited(
    decision: Option<NetworkDecision>,
    access: Access<'_>,
    answer: &str,
    events: &[&str],
    history: &[&str],
) {
    let row = format!("{access:?}");
    let script = Script {
        rules: Rules {
            mode: Mode::Limited,
            ..rules(&["example.com"], &["denied.test"])
        },
        decision,
        ..Script::default()
    };
    let left = script.build().judge(access).await;
    let asked: &[&str] = if answer.starts_with("permit") {
        &["example.com"]
    } else {
        &[]
    };
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let expected = Left {
        answer: answer.to_owned(),
        events: owned(events),
        history: owned(history),
        asked: owned(asked),
    };
    assert_eq!(left, expected, "{row}");
}

#[tokio::test]
async fn at_http_doors_the_mode_comes_after_the_host() {
    let http = |target, method| access(Protocol::Http, target, Some(method));
    let connect = |target| access(Protocol::HttpsConnect, target, Some("CONNECT"));
    for method in ["GET", "HEAD", "OPTIONS"] {
        let row = http("example.com", method);
        check_limited(None, row, "permit 93.184.215.14:80", &[ALLOW], &[]).await;
    }
    let guard = "deny mode_guard method_not_allowed";
    let guard_events = [ALLOW, "non_domain deny mode_guard method_not_allowed"];
    let guard_entry = ["http deny mode_guard method_not_allowed limited"];
    for method in ["POST", "PUT", "DELETE", "TRACE", "PATCH", "get", "G", ""] {
        let row = http("example.com", method);
        check_limited(None, row, guard, &guard_events, &guard_entry).await;
    }
    let upgrade = Access {
        upgrade: true,
        ..http("example.com", "GET")
    };
    check_limited(None, upgrade, guard, &guard_events, &guard_entry).await;
    check_limited(
        None,
        connect("example.com:443"),
        "deny mode_guard mitm_required",
        &[ALLOW, "non_domain deny mode_guard mitm_required"],
        &["http-connect deny mode_guard mitm_required limited"],
    )
    .await;
    // A decider's yes is told as such before the mode's no.
    check_limited(
        Some(NetworkDecision::Allow),
        http("unlisted.test", "POST"),
        guard,
        &[
            "domain allow decider not_allowed override",
            "non_domain deny mode_guard method_not_allowed",
        ],
        &guard_entry,
    )
    .await;
    // The host's own refusal comes first, with a forbidden method too.
    for (target, reason) in [
        ("unlisted.test", "not_allowed"),
        ("denied.test", "denied"),
        ("127.0.0.1", "not_allowed_local"),
    ] {
        let answer = format!("deny baseline_policy {reason}");
        let event = format!("domain {answer}");
        let entry = format!("http {answer} -");
        check_limited(None, http(target, "POST"), &answer, &[&event], &[&entry]).await;
        let entry = format!("http-connect {answer} -");
        check_limited(None, connect(target), &answer, &[&event], &[&entry]).await;
    }
}

#[tokio::test]
async fn at_socks_doors_the_mode_comes_before_the_host() {
    for door in [Protocol::Socks5Tcp, Protocol::Socks5Udp] {
        for target in ["example.com", "unlisted.test", "denied.test", "127.0.0.1"] {
            let entry = format!(
                "{} deny mode_guard method_not_allowed limited",
                door.history_word()
            );
            check_limited(
                Some(NetworkDecision::Allow),
                access(door, target, None),
                "deny mode_guard method_not_allowed",
                &["non_domain deny mode_guard method_not_allowed"],
                &[&entry],
            )
            .await;
        }
    }
}

#[tokio::test]
async fn an_association_is_judged_before_it_has_a_target() {
    let check = |rules: Rules, expected: Option<(&str, &str, &str)>| {
        let world = Script {
            rules,
            ..Script::default()
        }
        .build();
        let (capture, _guard) = Capture::start();
        let announced = access(Protocol::Socks5Udp, "0.0.0.0:0", None);
        let answer = world.gate.authorize_association(&announced);
        let answer = answer.map_err(|denial| denial.reason().to_string());
        let left = world.left(String::new(), &capture);
        assert_eq!(answer.err().as_deref(), expected.map(|(reason, ..)| reason));
        let (event, entry) = expected.map(|(_, event, entry)| (event, entry)).unzip();
        assert_eq!(left.events, Vec::from_iter(event));
        assert_eq!(left.history, Vec::from_iter(entry));
    };
    check(rules(&[], &[]), None);
    check(
        Rules::default(),
        Some((
            "proxy_disabled",
            "non_domain deny proxy_state proxy_disabled",
            "socks5-udp deny proxy_state proxy_disabled -",
        )),
    );
    check(
        Rules {
            mode: Mode::Limited,
            ..rules(&["example.com"], &[])
        },
        Some((
            "method_not_allowed",
            "non_domain deny mode_guard method_not_allowed",
            "socks5-udp deny mode_guard method_not_allowed limited",
        )),
    );
}

#[tokio::test]
async fn what_no_door_serves_leaves_its_evidence() {
    let world = Script {
        rules: rules(&["example.com"], &[]),
        ..Script::default()
    }
    .build();
    let (capture, _guard) = Capture::start();
    let bind = access(Protocol::Socks5Tcp, "example.com:21", None);
    let denial = world.gate.refuse_unsupported(&bind);
    assert_eq!((denial.host(), denial.port()), ("example.com", 21));
    let left = world.left(denial.reason().to_string(), &capture);
    let expected = Left {
        answer: "policy_denied".to_owned(),
        events: vec!["non_domain deny proxy_state policy_denied".to_owned()],
        history: vec!["socks5 deny proxy_state policy_denied -".to_owned()],
        asked: vec![],
    };
    assert_eq!(left, expected);
}

#[tokio::test]
async fn a_permit_says_what_it_is_for() {
    let world = Script {
        rules: rules(&["example.com", "8.8.8.8", "2606:4700::1"], &[]),
        ..Script::default()
    }
    .build();
    for (target, expected) in [
        ("EXAMPLE.com.:443", "example.com:443"),
        ("[::ffff:8.8.8.8]:53", "8.8.8.8:53"),
        ("[2606:4700:0::1]:80", "[2606:4700::1]:80"),
    ] {
        let permit = world
            .authorize(access(Protocol::Http, target, Some("GET")))
            .await;
        assert_eq!(permit.unwrap().to_string(), expected);
    }
}

#[tokio::test]
async fn a_denial_says_what_was_asked_for() {
    let world = Script::default().build();
    let check = async |target: &str, host: &str, port: u16| {
        let denial = world
            .authorize(access(Protocol::Http, target, Some("GET")))
            .await
            .unwrap_err();
        assert_eq!((denial.host(), denial.port()), (host, port));
        assert_eq!(denial.protocol(), Protocol::Http);
        assert!(!denial.is_unix_socket());
    };
    check("EXAMPLE.com.:8080", "example.com", 8080).await;
    check("[2001:DB8::0:1]:80", "2001:db8::1", 80).await;
    check("[::ffff:8.8.8.8]:80", "8.8.8.8", 80).await;
    // A host of that name is no socket.
    check("unix-socket:0", "unix-socket", 0).await;
}
