use codex_network_policy::{Host, LookupFailure, Mode, SocketPath};

use super::capture::{AUDIT, Capture, Line};
use super::*;

impl Default for Evidence {
    fn default() -> Self {
        Self::new(
            History::new(200),
            NetworkProxyAuditMetadata::default(),
            Arc::default(),
        )
    }
}

impl Evidence {
    fn snapshot(&self) -> Vec<BlockedRequest> {
        self.history.snapshot()
    }

    fn drain(&self) -> Vec<BlockedRequest> {
        self.history.drain()
    }

    fn total(&self) -> u64 {
        self.history.total()
    }
}

fn host(text: &str, port: u16) -> Target {
    Target::Host {
        host: Host::parse(text).unwrap(),
        port,
    }
}

fn socket() -> Target {
    Target::Unix(SocketPath::parse("/run/canary.sock").unwrap())
}

fn facts<'a>(protocol: Protocol, target: &'a Target, method: Option<&'a str>) -> Facts<'a> {
    Facts {
        protocol,
        target,
        method,
        client: Some("127.0.0.1:1234".parse().unwrap()),
        server_name: None,
    }
}

fn refused(reason: &Reason, source: Source) -> Outcome<'_> {
    Outcome {
        decision: Decision::Deny,
        scope: match source {
            Source::BaselinePolicy | Source::Decider => Scope::Domain,
            Source::ModeGuard | Source::ProxyState => Scope::NonDomain,
        },
        source,
        reason: Some(reason),
        overridden: false,
        via_parent: false,
        mode: (source == Source::ModeGuard).then_some(Mode::Limited),
        note: None,
    }
}

fn allowed(source: Source) -> Outcome<'static> {
    Outcome {
        decision: Decision::Allow,
        reason: None,
        ..refused(&Reason::NotAllowed, source)
    }
}

/// What is said about one outcome.
fn said(facts: &Facts<'_>, outcome: &Outcome<'_>) -> Vec<Line> {
    let (capture, _guard) = Capture::start();
    Evidence::default().record(facts, outcome);
    capture.take()
}

/// The audit event of one outcome, short.
fn audited(facts: &Facts<'_>, outcome: &Outcome<'_>) -> Vec<String> {
    let (capture, _guard) = Capture::start();
    Evidence::default().record(facts, outcome);
    capture.take_audit()
}

#[test]
fn the_audit_event_has_its_fields_in_order_and_no_others() {
    let target = host("Blocked.com.", 80);
    let facts = facts(Protocol::Http, &target, Some("GET"));
    let lines = said(&facts, &refused(&Reason::Denied, Source::BaselinePolicy));
    let [event, ..] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert_eq!(
        (event.target.as_str(), event.level),
        (AUDIT, tracing::Level::INFO)
    );
    let timestamp = &event.fields[1].1;
    let expected = [
        ("event.name", "codex.network_proxy.policy_decision"),
        ("event.timestamp", timestamp),
        ("network.policy.scope", "domain"),
        ("network.policy.decision", "deny"),
        ("network.policy.source", "baseline_policy"),
        ("network.policy.reason", "denied"),
        ("network.transport.protocol", "http"),
        ("server.address", "blocked.com"),
        ("server.port", "80"),
        ("http.request.method", "GET"),
        ("client.address", "127.0.0.1:1234"),
        ("network.policy.override", "false"),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    assert_eq!(event.fields, expected);

    // `2026-02-25T11:46:37.123Z`, the one field that is not a string.
    let timestamp = timestamp.strip_prefix('?').unwrap();
    let shape: String = timestamp
        .chars()
        .map(|char| if char.is_ascii_digit() { '0' } else { char })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
}

#[test]
fn the_audit_event_reads_like_the_samples() {
    let check = |facts: Facts<'_>, outcome: Outcome<'_>, expected: &str| {
        assert_eq!(audited(&facts, &outcome), [expected]);
    };
    let (blocked, plain, secure) = (
        host("blocked.com", 80),
        host("example.com", 80),
        host("example.com", 443),
    );
    check(
        facts(Protocol::Http, &blocked, Some("GET")),
        refused(&Reason::Denied, Source::BaselinePolicy),
        "scope=domain decision=deny source=baseline_policy reason=denied protocol=http server.address=blocked.com \
         server.port=80 method=GET client.address=127.0.0.1:1234 override=false",
    );
    check(
        Facts {
            client: None,
            ..facts(Protocol::Http, &plain, None)
        },
        Outcome {
            reason: Some(&Reason::NotAllowed),
            overridden: true,
            ..allowed(Source::Decider)
        },
        "scope=domain decision=allow source=decider reason=not_allowed protocol=http server.address=example.com \
         server.port=80 method=none client.address=unknown override=true",
    );
    check(
        facts(Protocol::HttpsConnect, &secure, Some("CONNECT")),
        refused(&Reason::MitmRequired, Source::ModeGuard),
        "scope=non_domain decision=deny source=mode_guard reason=mitm_required protocol=https_connect \
         server.address=example.com server.port=443 method=CONNECT client.address=127.0.0.1:1234 override=false",
    );
    check(
        facts(Protocol::Http, &socket(), Some("GET")),
        allowed(Source::ProxyState),
        "scope=non_domain decision=allow source=proxy_state reason=allow protocol=http server.address=unix-socket \
         server.port=0 method=GET client.address=127.0.0.1:1234 override=false",
    );
    check(
        facts(Protocol::HttpsConnect, &secure, Some("CONNECT")),
        Outcome {
            via_parent: true,
            ..allowed(Source::BaselinePolicy)
        },
        "scope=domain decision=allow source=baseline_policy reason=allow protocol=https_connect \
         server.address=example.com server.port=443 method=CONNECT client.address=127.0.0.1:1234 override=false \
         network.upstream=parent",
    );
    let literal = host("[2001:DB8:0::1]", 53);
    check(
        facts(Protocol::Socks5Udp, &literal, None),
        Outcome {
            decision: Decision::Ask,
            ..refused(&Reason::NotAllowed, Source::Decider)
        },
        "scope=domain decision=ask source=decider reason=not_allowed protocol=socks5_udp \
         server.address=2001:db8::1 server.port=53 method=none client.address=127.0.0.1:1234 override=false",
    );
}

#[test]
fn a_clients_text_cannot_forge_a_line() {
    let target = host("example.com", 80);
    let method = "GET\r\nFAKE \u{1b}[31m\u{202e}\"\\";
    let outcome = refused(&Reason::MethodNotAllowed, Source::ModeGuard);
    let lines = said(&facts(Protocol::Http, &target, Some(method)), &outcome);
    assert_eq!(lines.len(), 4, "{lines:?}");
    for line in lines {
        let text = line.to_string();
        let harmless = |char: char| !char.is_control() && char != '\u{202e}';
        // JSON leaves direction marks as they are; no method that a parser lets through has any.
        let json = text.contains("CODEX_NETWORK_POLICY_VIOLATION");
        assert!(
            text.chars()
                .all(|char| harmless(char) || (json && !char.is_control())),
            "{text:?}"
        );
    }
}

#[test]
fn a_method_without_end_is_cut() {
    let target = host("example.com", 80);
    let method = "é".repeat(60_000);
    let evidence = Evidence::default();
    let (capture, _guard) = Capture::start();
    let outcome = refused(&Reason::Denied, Source::BaselinePolicy);
    evidence.record(&facts(Protocol::Http, &target, Some(&method)), &outcome);
    for line in capture.take() {
        assert!(line.to_string().chars().count() < 700, "{line}");
    }
    let kept = evidence.snapshot().remove(0).method.unwrap();
    assert_eq!(kept, "é".repeat(64));
}

#[test]
fn a_refusal_is_one_warning_with_all_that_helps() {
    let target = host("example.com", 443);
    let facts = facts(Protocol::HttpsConnect, &target, Some("CONNECT"));
    let note = "why";
    let check = |outcome: Outcome<'_>, expected: &str| {
        let lines = said(&facts, &outcome);
        let warnings: Vec<String> = lines
            .iter()
            .filter(|line| line.level == tracing::Level::WARN)
            .map(Line::to_string)
            .collect();
        assert_eq!(warnings, [expected]);
    };
    check(
        Outcome {
            note: Some(&note),
            ..refused(&Reason::NotAllowed, Source::BaselinePolicy)
        },
        "message=?blocked host=?\"example.com\" port=443 reason=not_allowed decision=deny door=https_connect \
         method=?\"CONNECT\" client=?127.0.0.1:1234 note=?why",
    );
    let failed = Reason::DnsLookupFailed(LookupFailure::Failed);
    check(
        refused(&failed, Source::BaselinePolicy),
        "message=?failed host=?\"example.com\" port=443 reason=dns_lookup_failed decision=deny \
         door=https_connect method=?\"CONNECT\" client=?127.0.0.1:1234",
    );
}

#[test]
fn every_refusal_but_a_failed_look_up_has_its_entry() {
    let (name, socket) = (host("example.com", 443), socket());
    let check = |facts: Facts<'_>, outcome: Outcome<'_>, expected: Option<&str>| {
        let evidence = Evidence::default();
        evidence.record(&facts, &outcome);
        let entries: Vec<String> = evidence
            .drain()
            .into_iter()
            .map(|entry| {
                serde_json::to_string(&BlockedRequest {
                    timestamp: 7,
                    ..entry
                })
                .unwrap()
            })
            .collect();
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(entries, expected);
        assert_eq!(evidence.total(), entries.len() as u64);
    };
    let connect = facts(Protocol::HttpsConnect, &name, Some("CONNECT"));
    check(
        connect,
        refused(&Reason::NotAllowed, Source::BaselinePolicy),
        Some(
            r#"{"host":"example.com","reason":"not_allowed","client":"127.0.0.1:1234","method":"CONNECT","mode":null,"protocol":"http-connect","decision":"deny","source":"baseline_policy","port":443,"timestamp":7}"#,
        ),
    );
    // The audit word instead of the history's where the proxy is disabled.
    check(
        connect,
        refused(&Reason::ProxyDisabled, Source::ProxyState),
        Some(
            r#"{"host":"example.com","reason":"proxy_disabled","client":"127.0.0.1:1234","method":"CONNECT","mode":null,"protocol":"https_connect","decision":"deny","source":"proxy_state","port":443,"timestamp":7}"#,
        ),
    );
    check(
        connect,
        refused(&Reason::MitmRequired, Source::ModeGuard),
        Some(
            r#"{"host":"example.com","reason":"mitm_required","client":"127.0.0.1:1234","method":"CONNECT","mode":"limited","protocol":"http-connect","decision":"deny","source":"mode_guard","port":443,"timestamp":7}"#,
        ),
    );
    check(
        Facts {
            client: None,
            ..facts(Protocol::Socks5Tcp, &name, None)
        },
        Outcome {
            decision: Decision::Ask,
            ..refused(&Reason::from_decider("my_word"), Source::Decider)
        },
        Some(
            r#"{"host":"example.com","reason":"my_word","client":null,"method":null,"mode":null,"protocol":"socks5","decision":"ask","source":"decider","port":443,"timestamp":7}"#,
        ),
    );
    check(
        facts(Protocol::Socks5Udp, &name, None),
        refused(&Reason::ProxyDisabled, Source::ProxyState),
        Some(
            r#"{"host":"example.com","reason":"proxy_disabled","client":"127.0.0.1:1234","method":null,"mode":null,"protocol":"socks5-udp","decision":"deny","source":"proxy_state","port":443,"timestamp":7}"#,
        ),
    );
    let unix = facts(Protocol::Http, &socket, Some("POST"));
    check(
        unix,
        refused(&Reason::UnixSocketUnsupported, Source::ProxyState),
        Some(
            r#"{"host":"unix-socket","reason":"unix_socket_unsupported","client":"127.0.0.1:1234","method":"POST","mode":null,"protocol":"http","decision":"deny","source":"proxy_state","port":0,"timestamp":7}"#,
        ),
    );
    check(
        unix,
        refused(&Reason::ProxyDisabled, Source::ProxyState),
        Some(
            r#"{"host":"/run/canary.sock","reason":"proxy_disabled","client":"127.0.0.1:1234","method":"POST","mode":null,"protocol":"http","decision":"deny","source":"proxy_state","port":0,"timestamp":7}"#,
        ),
    );
    for failure in [
        LookupFailure::Failed,
        LookupFailure::TimedOut,
        LookupFailure::Empty,
    ] {
        let failed = Reason::DnsLookupFailed(failure);
        check(connect, refused(&failed, Source::BaselinePolicy), None);
    }
    check(connect, allowed(Source::BaselinePolicy), None);
}

#[test]
fn absent_fields_of_an_entry_are_null_or_left_out() {
    let entry = BlockedRequest {
        timestamp: 1_735_689_600,
        ..BlockedRequest::new(BlockedRequestArgs {
            host: "a".to_owned(),
            reason: "b".to_owned(),
            client: None,
            method: None,
            mode: None,
            protocol: "c".to_owned(),
            decision: None,
            source: None,
            port: None,
        })
    };
    assert_eq!(
        serde_json::to_string(&entry).unwrap(),
        r#"{"host":"a","reason":"b","client":null,"method":null,"mode":null,"protocol":"c","timestamp":1735689600}"#
    );
}

#[test]
fn the_history_keeps_the_newest_200_and_counts_all() {
    let evidence = Evidence::default();
    let outcome = refused(&Reason::NotAllowed, Source::BaselinePolicy);
    let record = |port: u16| {
        let target = host("example.com", port);
        evidence.record(&facts(Protocol::Http, &target, Some("GET")), &outcome);
    };
    let ports = |entries: Vec<BlockedRequest>| -> Vec<u16> {
        entries.into_iter().filter_map(|entry| entry.port).collect()
    };
    (1..=200).for_each(record);
    assert_eq!(ports(evidence.snapshot()), (1..=200).collect::<Vec<_>>());
    // Equal ones are not merged, and the oldest goes first.
    record(200);
    record(200);
    let expected: Vec<u16> = (3..=200).chain([200, 200]).collect();
    assert_eq!(ports(evidence.snapshot()), expected);
    assert_eq!(ports(evidence.drain()), expected);
    assert_eq!(ports(evidence.drain()), [0; 0]);
    record(7);
    assert_eq!(ports(evidence.snapshot()), [7]);
    assert_eq!(evidence.total(), 203);
}

#[test]
fn an_entry_is_told_to_the_log_as_the_seed_told_it() {
    let target = host("google.com", 80);
    let evidence = Evidence::default();
    let (capture, _guard) = Capture::start();
    let outcome = Outcome {
        decision: Decision::Ask,
        ..refused(&Reason::NotAllowed, Source::Decider)
    };
    evidence.record(&facts(Protocol::Http, &target, Some("GET")), &outcome);
    let debug: Vec<String> = capture
        .take()
        .into_iter()
        .filter(|line| line.level == tracing::Level::DEBUG)
        .map(|line| line.to_string())
        .collect();
    let json = serde_json::to_string(&evidence.snapshot()[0]).unwrap();
    let expected = [
        format!("message=?CODEX_NETWORK_POLICY_VIOLATION {json}"),
        "message=?recorded blocked request telemetry (total=1, host=\"google.com\", reason=not_allowed, \
         decision=Some(\"ask\"), source=Some(\"decider\"), protocol=http, port=Some(80), buffered=1)"
            .to_owned(),
    ];
    assert_eq!(debug, expected);
}

#[test]
fn the_path_of_a_socket_is_not_told() {
    let socket = socket();
    let (capture, _guard) = Capture::start();
    let evidence = Evidence::default();
    let facts = facts(Protocol::Http, &socket, Some("GET"));
    evidence.record(&facts, &allowed(Source::ProxyState));
    for reason in [
        Reason::NotAllowed,
        Reason::MethodNotAllowed,
        Reason::UnixSocketUnsupported,
        Reason::Cancelled,
    ] {
        evidence.record(&facts, &refused(&reason, Source::ProxyState));
    }
    let told = format!("{:?} {:?}", capture.take(), evidence.snapshot());
    assert!(
        told.contains("unix-socket") && !told.contains("canary"),
        "{told}"
    );
}

#[test]
fn a_judgement_that_is_dropped_is_recorded_as_cancelled() {
    let check = |target: Target, expected: &str| {
        let (capture, _guard) = Capture::start();
        let evidence = Evidence::default();
        drop(evidence.begin(facts(Protocol::Http, &target, Some("GET"))));
        assert_eq!(capture.take_audit(), [expected]);
        let reasons: Vec<String> = evidence
            .drain()
            .into_iter()
            .map(|entry| entry.reason)
            .collect();
        assert_eq!(reasons, ["cancelled"]);
    };
    check(
        host("example.com", 80),
        "scope=domain decision=deny source=baseline_policy reason=cancelled protocol=http \
         server.address=example.com server.port=80 method=GET client.address=127.0.0.1:1234 override=false",
    );
    check(
        socket(),
        "scope=non_domain decision=deny source=baseline_policy reason=cancelled protocol=http \
         server.address=unix-socket server.port=0 method=GET client.address=127.0.0.1:1234 override=false",
    );
}

#[test]
fn a_judgement_that_has_ended_is_recorded_once() {
    let target = host("example.com", 80);
    let (capture, _guard) = Capture::start();
    let evidence = Evidence::default();
    let mut pending = evidence.begin(facts(Protocol::Http, &target, Some("GET")));
    pending.record(&refused(&Reason::Denied, Source::BaselinePolicy));
    drop(pending);
    let mut pending = evidence.begin(facts(Protocol::Http, &target, Some("GET")));
    pending.record(&allowed(Source::BaselinePolicy));
    drop(pending);
    assert_eq!(capture.take_audit().len(), 2);
    assert_eq!(evidence.total(), 1);
}

/// What an embedder may install.
struct Panics;

impl tracing::Subscriber for Panics {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        panic!("a subscriber of somebody else");
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_refusal_is_kept_although_a_subscriber_panics() {
    let evidence = Evidence::default();
    let target = host("refused.test", 443);
    let facts = facts(Protocol::HttpsConnect, &target, Some("CONNECT"));
    let recorded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tracing::subscriber::with_default(Panics, || {
            let outcome = refused(&Reason::NotAllowed, Source::BaselinePolicy);
            evidence.record(&facts, &outcome);
        });
    }));
    assert!(recorded.is_err(), "the subscriber was not called");
    assert_eq!(evidence.total(), 1);
    assert_eq!(evidence.snapshot()[0].host, "refused.test");
}

#[test]
fn the_session_stands_behind_the_time_in_its_order() {
    let text = |text: &str| Some(text.to_owned());
    let evidence = Evidence::new(
        History::new(1),
        NetworkProxyAuditMetadata {
            conversation_id: text("c"),
            app_version: text("1.2"),
            user_account_id: text("a"),
            auth_mode: text("key"),
            originator: text("cli"),
            user_email: text("u@example.com"),
            terminal_type: text("tty"),
            model: text("m"),
            slug: None,
        },
        Arc::default(),
    );
    let target = host("a.test", 80);
    let (capture, _guard) = Capture::start();
    evidence.record(
        &facts(Protocol::Http, &target, Some("GET")),
        &allowed(Source::BaselinePolicy),
    );
    let event = capture.take_audit().remove(0);
    let session = "conversation.id=c app.version=1.2 auth_mode=key originator=cli user.account_id=a \
                   user.email=u@example.com terminal.type=tty model=m scope=domain ";
    assert!(event.starts_with(session), "{event}");
    assert!(!event.contains("slug"), "{event}");
}

#[test]
fn an_entry_is_bounded_whatever_a_client_sends() {
    let long = format!("/{}", "é".repeat(40_000));
    let target = Target::Unix(SocketPath::parse(&long).unwrap());
    let evidence = Evidence::default();
    let method = "M".repeat(40_000);
    evidence.record(
        &facts(Protocol::Http, &target, Some(&method)),
        &refused(&Reason::ProxyDisabled, Source::ProxyState),
    );
    let entry = evidence.snapshot().remove(0);
    assert_eq!(entry.host.len(), 107, "{}", entry.host);
    assert_eq!(entry.method.unwrap().len(), 64);
}
