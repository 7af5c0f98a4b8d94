//! What is judged inside of a permitted tunnel.

use codex_network_policy::{EncryptedHello, Interception, TlsRules};

use super::*;
use crate::evidence::capture::AUDIT;

fn named(name: &str) -> ClientHello {
    ClientHello {
        server_name: HelloName::Host(Host::parse(name).unwrap()),
        encrypted: false,
    }
}

fn with(tls: TlsRules, rules: Rules) -> Rules {
    Rules { tls, ..rules }
}

fn limited(rules: Rules) -> Rules {
    let tls = TlsRules {
        interception: Interception::WhenLimited,
        ..TlsRules::default()
    };
    Rules {
        mode: Mode::Limited,
        ..with(tls, rules)
    }
}

/// A world with a tunnel to this target, and what the tunnel left is forgotten.
async fn tunnel(script: Script, door: Protocol, target: &str) -> (World, Permit) {
    let world = script.build();
    let permit = world
        .authorize(access(door, target, usual_method(door)))
        .await
        .unwrap();
    world.names.take_asked();
    (world, permit)
}

/// Judges one hello in a tunnel to this target.
async fn hello(rules: Rules, door: Protocol, target: &str, hello: &ClientHello) -> Left {
    let script = Script {
        rules,
        ..Script::default()
    };
    let (world, permit) = tunnel(script, door, target).await;
    let (capture, _guard) = Capture::start();
    let answer = match world.gate.admit_hello(&permit, hello) {
        Ok(()) => "admitted".to_owned(),
        Err(denial) => format!(
            "{} {} {}",
            denial.decision().as_str(),
            denial.source().as_str(),
            denial.reason()
        ),
    };
    world.left(answer, &capture)
}

fn admitted() -> Left {
    Left {
        answer: "admitted".to_owned(),
        events: vec![],
        history: vec![],
        asked: vec![],
    }
}

fn refused(door: Protocol, reason: &str) -> Left {
    Left {
        answer: format!("deny baseline_policy {reason}"),
        events: vec![format!("domain deny baseline_policy {reason}")],
        history: vec![format!(
            "{} deny baseline_policy {reason} -",
            door.history_word()
        )],
        asked: vec![],
    }
}

#[tokio::test]
async fn a_tunnel_is_for_the_name_it_was_permitted_for() {
    for door in [Protocol::HttpsConnect, Protocol::Socks5Tcp] {
        let judge = async |hello_name: &ClientHello| {
            let rules = rules(&["example.com", "other.test"], &[]);
            hello(rules, door, "example.com:443", hello_name).await
        };
        assert_eq!(judge(&named("Example.com.")).await, admitted());
        let absent = ClientHello {
            server_name: HelloName::Absent,
            encrypted: false,
        };
        assert_eq!(judge(&absent).await, admitted());
        let mismatch = refused(door, "server_name_mismatch");
        assert_eq!(judge(&named("other.test")).await, mismatch);
        assert_eq!(judge(&named("www.example.com")).await, mismatch);
        assert_eq!(judge(&named(PUBLIC)).await, mismatch);
        let unreadable = ClientHello {
            server_name: HelloName::Unreadable,
            encrypted: false,
        };
        assert_eq!(judge(&unreadable).await, mismatch);
    }
}

#[tokio::test]
async fn a_tunnel_to_an_address_serves_no_denied_name() {
    let door = Protocol::HttpsConnect;
    let judge = async |name: &str| {
        let rules = rules(&[PUBLIC], &["**.denied.test"]);
        hello(rules, door, &format!("{PUBLIC}:443"), &named(name)).await
    };
    assert_eq!(judge("example.com").await, admitted());
    assert_eq!(judge("denied.test").await, refused(door, "denied"));
    assert_eq!(judge("a.denied.test").await, refused(door, "denied"));
}

#[tokio::test]
async fn a_hidden_name_passes_unless_the_policy_says_no() {
    let door = Protocol::Socks5Tcp;
    let judge = async |encrypted_hello, name: &str| {
        let tls = TlsRules {
            encrypted_hello,
            ..TlsRules::default()
        };
        let hidden = ClientHello {
            encrypted: true,
            ..named(name)
        };
        let rules = with(tls, rules(&["example.com"], &[]));
        hello(rules, door, "example.com:443", &hidden).await
    };
    let (allow, deny) = (EncryptedHello::Allow, EncryptedHello::Deny);
    assert_eq!(judge(allow, "example.com").await, admitted());
    let no = refused(door, "encrypted_client_hello");
    assert_eq!(judge(deny, "example.com").await, no);
    // The name that can be read is compared either way, and first.
    let mismatch = refused(door, "server_name_mismatch");
    assert_eq!(judge(allow, "front.test").await, mismatch);
    assert_eq!(judge(deny, "front.test").await, mismatch);
}

#[tokio::test]
async fn an_opened_tunnel_needs_a_name_and_reads_no_hidden_one() {
    let door = Protocol::HttpsConnect;
    let absent = ClientHello {
        server_name: HelloName::Absent,
        encrypted: false,
    };
    let rules = || limited(rules(&["example.com", PUBLIC], &[]));
    assert_eq!(
        hello(rules(), door, "example.com:443", &absent).await,
        refused(door, "server_name_mismatch")
    );
    let address = format!("{PUBLIC}:443");
    assert_eq!(hello(rules(), door, &address, &absent).await, admitted());
    let hidden = ClientHello {
        encrypted: true,
        ..named("example.com")
    };
    let mut rules = rules();
    rules.tls.encrypted_hello = EncryptedHello::Deny;
    assert_eq!(
        hello(rules, door, "example.com:443", &hidden).await,
        admitted()
    );
}

#[tokio::test]
async fn the_event_of_a_refused_hello_names_what_was_asked_for() {
    let script = Script {
        rules: rules(&["example.com"], &[]),
        ..Script::default()
    };
    let (world, permit) = tunnel(script, Protocol::HttpsConnect, "example.com:443").await;
    let (capture, _guard) = Capture::start();
    world
        .gate
        .admit_hello(&permit, &named("other.test"))
        .unwrap_err();
    assert_eq!(
        capture.take_audit(),
        [
            "scope=domain decision=deny source=baseline_policy reason=server_name_mismatch \
             protocol=https_connect server.address=example.com server.port=443 method=CONNECT \
             client.address=127.0.0.1:1234 override=false tls.client.server_name=other.test"
        ]
    );
}

#[tokio::test]
async fn what_outlives_its_policy_keeps_the_words_of_its_rule_and_nothing_else() {
    let script = Script {
        rules: rules(&["*.example.com", "example.com"], &[]),
        ..Script::default()
    };
    let world = script.build();
    let permit = world
        .authorize(access(Protocol::Socks5Udp, "example.com:443", None))
        .await
        .unwrap();
    let old = std::sync::Arc::downgrade(&world.gate.store().current());
    let now = rules(&["**.example.com"], &[]);
    world.gate.store().replace(Policy::compile(now));
    assert!(old.upgrade().is_some(), "the permit's rule is one of it");
    assert!(world.gate.still_permits(&permit, None, false));
    assert!(old.upgrade().is_none());
    let (capture, _guard) = Capture::start();
    world.gate.record_connection(&permit, &Proof::default());
    let told = capture.take()[0].to_string();
    assert!(
        told.ends_with("network.policy.rule=allowlist `example.com` (--test)"),
        "{told}"
    );
}

#[tokio::test]
async fn a_connection_leaves_its_proof() {
    let script = Script {
        rules: rules(&["*.example.com", "example.com"], &[]),
        ..Script::default()
    };
    let world = script.build();
    let (capture, _guard) = Capture::start();
    let permit = world
        .authorize(access(Protocol::Socks5Tcp, "example.com:443", None))
        .await
        .unwrap();
    capture.take();
    let proof = Proof {
        dialled: permit.addresses().next(),
        hello: Some(ClientHello {
            encrypted: true,
            ..named("example.com")
        }),
        certificate: Some(crate::Fingerprint::of(b"abc")),
    };
    world.gate.record_connection(&permit, &proof);
    let lines = capture.take();
    let [line] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    assert_eq!(line.target, AUDIT);
    let text = line.to_string();
    let (name, rest) = text.split_once(" event.timestamp=?").unwrap();
    let (_, rest) = rest.split_once(' ').unwrap();
    assert_eq!(name, "event.name=codex.network_proxy.connection");
    assert_eq!(
        rest,
        "network.transport.protocol=socks5_tcp server.address=example.com server.port=443 \
         client.address=127.0.0.1:1234 network.peer.address=93.184.215.14 network.peer.port=443 \
         tls.client.server_name=example.com tls.client.encrypted_hello=true \
         tls.server.hash.sha256=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad \
         network.policy.rule=allowlist `example.com` (--test)"
    );
}

/// Judges one request inside of an opened tunnel to `example.com`, after the rules have become `now`.
async fn within(script: Script, now: Option<Rules>, method: &str, upgrade: bool) -> Left {
    let (world, permit) = tunnel(script, Protocol::HttpsConnect, "example.com:443").await;
    assert!(permit.is_intercepted());
    if let Some(rules) = now {
        world.gate.store().replace(Policy::compile(rules));
    }
    let decided = world.decided.load(Ordering::SeqCst);
    let (capture, _guard) = Capture::start();
    let request = InnerRequest { method, upgrade };
    let answer = match world.gate.authorize_within(&permit, request) {
        Ok(inner) => {
            assert_eq!(inner.target(), permit.target());
            assert_eq!(inner.generation(), world.gate.store().current().generation);
            assert!(inner.is_tls());
            format!("permit {}", shown(&inner))
        }
        Err(denial) => format!(
            "{} {} {}",
            denial.decision().as_str(),
            denial.source().as_str(),
            denial.reason()
        ),
    };
    assert_eq!(
        world.decided.load(Ordering::SeqCst),
        decided,
        "nobody is asked inside of a tunnel"
    );
    world.left(answer, &capture)
}

fn left(answer: &str, events: &[&str], history: &[&str]) -> Left {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Left {
        answer: answer.to_owned(),
        events: owned(events),
        history: owned(history),
        asked: vec![],
    }
}

#[tokio::test]
async fn each_request_inside_is_judged_on_the_policy_in_force() {
    let check = async |now: Option<Rules>, method: &str, upgrade: bool, expected: Left| {
        let row = format!("{method} {upgrade} {now:?}");
        let script = Script {
            rules: limited(rules(&["example.com"], &[])),
            ..Script::default()
        };
        assert_eq!(
            within(script, now, method, upgrade).await,
            expected,
            "{row}"
        );
    };
    let permitted = || {
        left(
            "permit 93.184.215.14:443",
            &["domain allow baseline_policy allow"],
            &[],
        )
    };
    let by_mode = || {
        left(
            "deny mode_guard method_not_allowed",
            &[
                "domain allow baseline_policy allow",
                "non_domain deny mode_guard method_not_allowed",
            ],
            &["https deny mode_guard method_not_allowed limited"],
        )
    };
    for method in ["GET", "HEAD", "OPTIONS"] {
        check(None, method, false, permitted()).await;
    }
    for method in ["POST", "TRACE", "get", "CONNECT"] {
        check(None, method, false, by_mode()).await;
    }
    check(None, "GET", true, by_mode()).await;
    let by_list = |reason: &str, mode: &str| {
        left(
            &format!("deny baseline_policy {reason}"),
            &[&format!("domain deny baseline_policy {reason}")],
            &[&format!("https deny baseline_policy {reason} {mode}")],
        )
    };
    let denied = limited(rules(&["example.com"], &["example.com"]));
    check(Some(denied), "GET", false, by_list("denied", "limited")).await;
    let unlisted = limited(rules(&["other.test"], &[]));
    check(
        Some(unlisted),
        "GET",
        false,
        by_list("not_allowed", "limited"),
    )
    .await;
    let full = rules(&["example.com"], &[]);
    check(Some(full), "POST", true, permitted()).await;
    let disabled = Rules::default();
    let expected = left(
        "deny proxy_state proxy_disabled",
        &["non_domain deny proxy_state proxy_disabled"],
        &["https deny proxy_state proxy_disabled full"],
    );
    check(Some(disabled), "GET", false, expected).await;
}

#[tokio::test]
async fn a_deciders_yes_stands_for_the_requests_inside() {
    let script = || Script {
        rules: limited(rules(&[], &[])),
        decision: Some(NetworkDecision::Allow),
        ..Script::default()
    };
    assert_eq!(
        within(script(), None, "GET", false).await,
        left(
            "permit 93.184.215.14:443",
            &["domain allow decider not_allowed override"],
            &[]
        )
    );
    assert_eq!(
        within(script(), None, "POST", false).await,
        left(
            "deny mode_guard method_not_allowed",
            &[
                "domain allow decider not_allowed override",
                "non_domain deny mode_guard method_not_allowed"
            ],
            &["https deny mode_guard method_not_allowed limited"],
        )
    );
    let denied = limited(rules(&[], &["example.com"]));
    assert_eq!(
        within(script(), Some(denied), "GET", false).await,
        left(
            "deny baseline_policy denied",
            &["domain deny baseline_policy denied"],
            &["https deny baseline_policy denied limited"],
        )
    );
}

#[tokio::test]
async fn the_addresses_of_a_tunnel_are_judged_with_each_request() {
    let script = Script {
        rules: Rules {
            allow_local_binding: true,
            ..limited(rules(&["inward.test"], &[]))
        },
        names: &[("inward.test", &["10.0.0.1"])],
        ..Script::default()
    };
    let (world, permit) = tunnel(script, Protocol::HttpsConnect, "inward.test:443").await;
    let request = InnerRequest {
        method: "GET",
        upgrade: false,
    };
    assert!(world.gate.authorize_within(&permit, request).is_ok());
    let now = limited(rules(&["inward.test"], &[]));
    world.gate.store().replace(Policy::compile(now));
    let denial = world.gate.authorize_within(&permit, request).unwrap_err();
    assert_eq!(denial.reason(), &Reason::NotAllowedLocal);
    assert_eq!(
        world.names.take_asked(),
        [""; 0],
        "nothing is resolved again"
    );
}

#[tokio::test]
async fn a_breach_is_recorded_with_who_decided() {
    let script = Script {
        rules: limited(rules(&["example.com"], &[])),
        ..Script::default()
    };
    let (world, permit) = tunnel(script, Protocol::HttpsConnect, "example.com:443").await;
    let (capture, _guard) = Capture::start();
    let check = |breach, method, event: &str, entry: &str| {
        world.gate.refuse_breach(&permit, breach, method);
        let left = world.left(String::new(), &capture);
        assert_eq!(
            (left.events, left.history),
            (vec![event.into()], vec![entry.into()])
        );
    };
    check(
        Breach::NotTls,
        None,
        "non_domain deny mode_guard mitm_required",
        "http-connect deny mode_guard mitm_required limited",
    );
    check(
        Breach::HostMismatch,
        Some("GET"),
        "domain deny baseline_policy policy_denied",
        "https deny baseline_policy policy_denied limited",
    );
    check(
        Breach::InnerConnect,
        Some("CONNECT"),
        "non_domain deny mode_guard method_not_allowed",
        "https deny mode_guard method_not_allowed limited",
    );
    check(
        Breach::OriginNotVerified,
        None,
        "domain deny baseline_policy origin_not_verified",
        "http-connect deny baseline_policy origin_not_verified -",
    );
}

#[tokio::test]
async fn an_opaque_tunnel_ends_where_it_would_have_to_be_opened() {
    let script = Script {
        rules: rules(&["example.com"], &[]),
        ..Script::default()
    };
    let (world, permit) = tunnel(script, Protocol::HttpsConnect, "example.com:443").await;
    assert!(!permit.is_intercepted());
    let now = limited(rules(&["example.com"], &[]));
    world.gate.store().replace(Policy::compile(now));
    assert!(!world.gate.still_permits(&permit, Some("CONNECT"), false));
}

#[tokio::test]
async fn an_opened_tunnel_lives_on_in_full_mode() {
    let script = Script {
        rules: limited(rules(&["example.com"], &[])),
        ..Script::default()
    };
    let (world, permit) = tunnel(script, Protocol::HttpsConnect, "example.com:443").await;
    let now = rules(&["example.com"], &[]);
    world.gate.store().replace(Policy::compile(now));
    assert!(world.gate.still_permits(&permit, Some("CONNECT"), false));
}

#[tokio::test]
async fn a_name_that_becomes_denied_is_admitted_no_longer() {
    let script = Script {
        rules: rules(&[PUBLIC], &[]),
        ..Script::default()
    };
    let address = format!("{PUBLIC}:443");
    let (world, permit) = tunnel(script, Protocol::HttpsConnect, &address).await;
    let name = Host::parse("denied.test").unwrap();
    assert!(world.gate.still_admits(&permit, &name));
    let now = rules(&[PUBLIC], &["denied.test"]);
    world.gate.store().replace(Policy::compile(now));
    assert!(!world.gate.still_admits(&permit, &name));
}
