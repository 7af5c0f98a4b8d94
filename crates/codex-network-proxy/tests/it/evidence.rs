//! What is left when things go wrong in the middle (THREATS 30, 33b to 36): deciders that fail, clients that hang up,
//! secrets that must never be written down.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use codex_network_proxy::{NetworkDecision, NetworkPolicyRequest};
use tokio::sync::Notify;

use crate::harness::{
    Answer, CONNECT, Event, Origin, Setup, UDP_ASSOCIATE, World, address, within,
};

const REQUESTS: [(&str, &str, &str); 3] = [
    (
        "GET http://target.test:443/ HTTP/1.1\r\n\r\n",
        "http",
        "GET",
    ),
    (
        "GET / HTTP/1.1\r\nHost: target.test:443\r\n\r\n",
        "http",
        "GET",
    ),
    (
        "CONNECT target.test:443 HTTP/1.1\r\n\r\n",
        "https_connect",
        "CONNECT",
    ),
];

/// Hangs up while something waits, and checks that it is on record.
async fn hangs_up(world: &World, waiting: &Notify) {
    for (request, protocol, method) in REQUESTS {
        let mut client = world.http().await;
        client.send(request).await;
        within("the judgement to wait", waiting.notified()).await;
        drop(client);
        let events: Vec<String> = world.audit.next().await.iter().map(Event::line).collect();
        assert_eq!(
            events,
            [format!(
                "{protocol} deny target.test:443 reason=cancelled method={method} source=baseline_policy scope=domain override=false"
            )]
        );
        let word = if protocol == "http" {
            "http"
        } else {
            "http-connect"
        };
        assert_eq!(
            world.history(),
            [format!(
                "{word} target.test:443 reason=cancelled method={method} mode=- decision=deny source=baseline_policy"
            )]
        );
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_on_a_slow_decider_is_on_record() {
    let asked = Arc::new(Notify::new());
    let at_decider = Arc::clone(&asked);
    let world = Setup::new()
        .decider(move |_: NetworkPolicyRequest| {
            at_decider.notify_one();
            std::future::pending()
        })
        .start()
        .await;
    hangs_up(&world, &asked).await;
}

/// A resolver that says when it is asked, and never answers.
#[derive(Debug)]
struct Silent(Arc<Notify>);

#[async_trait::async_trait]
impl codex_network_proxy::Resolver for Silent {
    async fn lookup(&self, _: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
        self.0.notify_one();
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_on_a_slow_resolver_is_on_record() {
    let asked = Arc::new(Notify::new());
    let world = Setup::new()
        .allow(&["target.test"])
        .resolver(Arc::new(Silent(Arc::clone(&asked))))
        // So that every request asks for itself.
        .limits(|limits| limits.lookup = Duration::from_millis(200))
        .start()
        .await;
    let mut client = world.http().await;
    client.send(REQUESTS[0].0).await;
    within("the look-up", asked.notified()).await;
    drop(client);
    let events = world.audit.next().await;
    assert_eq!(events[0].field("network.policy.reason"), Some("cancelled"));
    assert_eq!(world.history().len(), 1);
}

#[tokio::test]
async fn a_decider_that_panics_hangs_or_is_late_has_said_no() {
    let world = Setup::new()
        .limits(|limits| limits.decider = Duration::from_millis(30))
        .decider(|request: NetworkPolicyRequest| async move {
            match request.host.as_str() {
                "panics.test" => panic!("a decider may panic"),
                "hangs.test" => std::future::pending().await,
                _ => {
                    tokio::time::sleep(Duration::from_millis(60)).await;
                    NetworkDecision::Allow
                }
            }
        })
        .start()
        .await;
    for host in ["panics.test", "hangs.test", "late.test"] {
        assert!(
            world
                .answer(format!("GET http://{host}/ HTTP/1.1\r\n\r\n"))
                .await
                .contains(r#""reason":"policy_denied""#)
        );
        assert!(
            world
                .answer(format!("CONNECT {host}:443 HTTP/1.1\r\n\r\n"))
                .await
                .starts_with("HTTP/1.1 403 ")
        );
        let (_, code) = world.socks_request(CONNECT, &address(host, 443)).await;
        assert_eq!(code, 2);
        let expected = ["http", "https_connect", "socks5_tcp"];
        for (event, protocol) in world.audit.take().iter().zip(expected) {
            assert_eq!(event.field("network.transport.protocol"), Some(protocol));
            assert_eq!(event.field("network.policy.reason"), Some("policy_denied"));
            assert_eq!(event.field("network.policy.source"), Some("decider"));
        }
        assert_eq!(world.history().len(), 3);
    }
}

async fn ask_at_two_doors(world: &World, host: &str) {
    world
        .answer(format!("CONNECT {host}:443 HTTP/1.1\r\n\r\n"))
        .await;
    world.socks_request(CONNECT, &address(host, 443)).await;
}

#[tokio::test]
async fn a_decider_is_asked_only_about_what_no_list_mentions() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let world = Setup::new()
        .allow(&["listed.test", "gone.test", "inward.test"])
        .deny(&["denied.test"])
        .name("inward.test", &["10.0.0.1"])
        .decider(move |request: NetworkPolicyRequest| {
            count.fetch_add(1, Ordering::Relaxed);
            async move {
                assert_eq!(request.host, "other.test");
                NetworkDecision::deny("not_allowed")
            }
        })
        .start()
        .await;
    for host in [
        "denied.test",
        "gone.test",
        "inward.test",
        "localhost",
        "10.0.0.1",
        "169.254.169.254",
    ] {
        ask_at_two_doors(&world, host).await;
        assert_eq!(asked.load(Ordering::Relaxed), 0, "{host}");
    }
    ask_at_two_doors(&world, "other.test").await;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_decider_sees_what_is_asked_for() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let world = Setup::new()
        .decider(move |request: NetworkPolicyRequest| {
            notes.lock().unwrap().push((
                request.protocol.as_policy_protocol(),
                request.host.clone(),
                request.port,
                request.method.clone(),
                request.client_addr.is_some(),
                request.command.clone(),
                request.exec_policy_hint,
            ));
            async { NetworkDecision::ask("not_allowed") }
        })
        .start()
        .await;
    world
        .answer("PATCH http://Other.TEST.:81/secret HTTP/1.1\r\n\r\n")
        .await;
    world
        .answer("CONNECT [2606:4700:0::1]:443 HTTP/1.1\r\n\r\n")
        .await;
    world
        .socks_request(CONNECT, &address("other.test", 22))
        .await;
    let association = world.associate().await;
    association.send(&address("other.test", 53), b"x").await;
    while seen.lock().unwrap().len() < 4 {
        world.audit.next().await;
    }
    let row = |protocol, host: &str, port, method: Option<&str>| {
        (
            protocol,
            host.to_owned(),
            port,
            method.map(str::to_owned),
            true,
            None,
            None,
        )
    };
    assert_eq!(
        *seen.lock().unwrap(),
        [
            row("http", "other.test", 81, Some("PATCH")),
            row("https_connect", "2606:4700::1", 443, Some("CONNECT")),
            row("socks5_tcp", "other.test", 22, None),
            row("socks5_udp", "other.test", 53, None),
        ]
    );
}

#[tokio::test]
async fn a_decider_s_yes_does_not_open_private_addresses_or_the_mode() {
    let yes = |_: NetworkPolicyRequest| async { NetworkDecision::Allow };
    let world = Setup::new()
        .name("inward.test", &["93.184.216.34", "127.0.0.1"])
        .answer("gone.test", Answer::Error(std::io::ErrorKind::NotFound))
        .decider(yes)
        .start()
        .await;
    for (host, reason) in [
        ("inward.test", "not_allowed_local"),
        ("gone.test", "dns_lookup_failed"),
    ] {
        world
            .answer(format!("GET http://{host}/ HTTP/1.1\r\n\r\n"))
            .await;
        world
            .answer(format!("CONNECT {host}:80 HTTP/1.1\r\n\r\n"))
            .await;
        world.socks_request(CONNECT, &address(host, 80)).await;
        let events = world.events();
        assert_eq!(events.len(), 3, "{events:?}");
        for event in events {
            assert!(
                event.contains(&format!("deny {host}:80 reason={reason} ")),
                "{event}"
            );
            assert!(
                event.ends_with("source=baseline_policy scope=domain override=false"),
                "{event}"
            );
        }
    }
    let world = Setup::new().limited().decider(yes).start().await;
    assert!(
        world
            .answer("POST http://other.test/ HTTP/1.1\r\n\r\n")
            .await
            .contains("method_not_allowed")
    );
    assert!(
        world
            .answer("CONNECT other.test:443 HTTP/1.1\r\n\r\n")
            .await
            .contains("MITM required")
    );
    let (_, code) = world
        .socks_request(CONNECT, &address("other.test", 443))
        .await;
    assert_eq!(code, 2);
}

#[tokio::test]
async fn the_proxy_s_own_listeners_are_never_a_target() {
    let world = Setup::usual()
        .allow(&[
            "localhost",
            "127.0.0.1",
            "::1",
            "127.0.0.2",
            "0.0.0.0",
            "self.test",
            "::ffff:127.0.0.1",
        ])
        .name("self.test", &["127.0.0.1"])
        .start()
        .await;
    for port in [world.proxy.http_addr().port(), world.socks_addr().port()] {
        for host in [
            "localhost",
            "LOCALHOST.",
            "127.0.0.1",
            "[::1]",
            "127.0.0.2",
            "0.0.0.0",
            "self.test",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(
                world
                    .answer(format!("GET / HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"))
                    .await
                    .contains("not_allowed_local"),
                "{host}"
            );
            assert!(
                world
                    .answer(format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n"))
                    .await
                    .starts_with("HTTP/1.1 403 ")
            );
            let bare = host.trim_matches(['[', ']']);
            assert_eq!(
                world.socks_request(CONNECT, &address(bare, port)).await.1,
                2,
                "{host}"
            );
        }
    }
}

#[tokio::test]
async fn the_audit_event_has_its_fields_in_order_and_nothing_else() {
    let world = Setup::new().start().await;
    let mut client = world.http().await;
    client
        .send("GET http://Other.test:81/path?query HTTP/1.1\r\n\r\n")
        .await;
    client.message().await;
    let events = world.audit.take();
    let [event] = events.as_slice() else {
        panic!("one event, not {events:?}");
    };
    let names: Vec<&str> = event.0.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "event.name",
            "event.timestamp",
            "network.policy.scope",
            "network.policy.decision",
            "network.policy.source",
            "network.policy.reason",
            "network.transport.protocol",
            "server.address",
            "server.port",
            "http.request.method",
            "client.address",
            "network.policy.override",
        ]
    );
    assert_eq!(
        event.field("event.name"),
        Some("codex.network_proxy.policy_decision")
    );
    assert_eq!(
        event.field("client.address"),
        Some(client.local().to_string().as_str())
    );
    let time = event.field("event.timestamp").unwrap();
    assert_eq!(time.len(), 24, "{time}");
    assert!(
        time.ends_with('Z') && &time[10..11] == "T" && &time[19..20] == ".",
        "{time}"
    );
    let entries = world.proxy.drain_blocked();
    assert_eq!(
        entries[0].client.as_deref(),
        Some(client.local().to_string().as_str())
    );
}

const CANARY: &str = "c4n4ry";

/// Shows everything that it is given, as the code of others may when it panics, and as loud as a panic is.
#[derive(Debug)]
struct Panics;

#[async_trait::async_trait]
impl codex_network_proxy::BlockedRequestObserver for Panics {
    async fn on_blocked_request(&self, request: codex_network_proxy::BlockedRequest) {
        panic!("observed {request:?}");
    }
}

#[tokio::test]
async fn no_secret_reaches_a_panic() {
    // The hook is the whole process's: what other tests panic with goes on to where it went before.
    let heard: Arc<Mutex<String>> = Arc::default();
    let (hears, before) = (Arc::clone(&heard), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        let mut heard = hears.lock().unwrap();
        let _ = writeln!(heard, "{panic}");
        drop(heard);
        before(panic);
    }));
    let world = Setup::new()
        .observer(Panics)
        .decider(|request: NetworkPolicyRequest| async move { panic!("asked {request:?}") })
        .start()
        .await;
    for request in [
        format!(
            "POST http://panics.test/{CANARY}?{CANARY} HTTP/1.1\r\nAuthorization: Bearer {CANARY}\r\nCookie: {CANARY}\r\nProxy-Authorization: Basic {CANARY}\r\nX-{CANARY}: {CANARY}\r\nContent-Length: 6\r\n\r\n{CANARY}"
        ),
        format!(
            "CONNECT panics.test:443 HTTP/1.1\r\nProxy-Authorization: {CANARY}\r\n\r\n{CANARY}"
        ),
        format!("GET / HTTP/1.1\r\nx-unix-socket: /run/{CANARY}.sock\r\n\r\n"),
        format!("GET http://user:{CANARY}@panics.test/ HTTP/1.1\r\n\r\n"),
    ] {
        let answer = world.answer(&request).await;
        assert!(!answer.contains(CANARY), "{request:?} {answer}");
    }
    let mut client = world.socks().await;
    let mut hello = vec![5, 2, 0, 2, 1, 6];
    hello.extend_from_slice(CANARY.as_bytes());
    hello.push(6);
    hello.extend_from_slice(CANARY.as_bytes());
    client.send(hello).await;
    client.finish().await;
    client.rest_or_reset().await;
    world
        .socks_request(CONNECT, &address("panics.test", 443))
        .await;
    let complete = |heard: &str| {
        ["asked ", "observed "]
            .iter()
            .all(|who| heard.contains(who))
            && heard.contains("socks")
    };
    within("the observer", async {
        while !complete(&heard.lock().unwrap()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let heard = heard.lock().unwrap();
    assert!(!heard.contains(CANARY), "{heard}");
    let log = world.audit.log();
    assert!(!log.contains(CANARY), "{log}");
}

#[tokio::test]
async fn no_secret_reaches_a_log_an_event_or_the_history() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let port = origin.port;
    for (host, reached) in [("origin.test", true), ("other.test", false)] {
        let mut client = world.http().await;
        client
            .send(format!(
                "POST http://{host}:{port}/{CANARY}?{CANARY}={CANARY} HTTP/1.1\r\nAuthorization: Bearer {CANARY}\r\nCookie: {CANARY}\r\nProxy-Authorization: Basic {CANARY}\r\nX-{CANARY}: {CANARY}\r\nContent-Length: 6\r\n\r\n{CANARY}"
            ))
            .await;
        if reached {
            let mut upstream = origin.accept().await;
            upstream.message().await;
            upstream.send(format!("HTTP/1.1 500 {CANARY}\r\nSet-Cookie: {CANARY}\r\nContent-Length: x{CANARY}\r\n\r\n")).await;
        }
        client.message().await;
    }
    for request in [
        format!("GET http://user:{CANARY}@origin.test/ HTTP/1.1\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: user:{CANARY}@origin.test\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nx-unix-socket: /run/{CANARY}.sock\r\n\r\n"),
        format!("CONNECT other.test:443 HTTP/1.1\r\nProxy-Authorization: {CANARY}\r\n\r\n{CANARY}"),
        format!("GET / HTTP/1.1\r\nHost: origin.test\r\nX: {CANARY}\0\r\n\r\n"),
        format!("GET /{CANARY} nonsense\r\n\r\n"),
    ] {
        let answer = world.answer(&request).await;
        assert!(!answer.contains(CANARY), "{request:?} {answer}");
    }
    let log = world.audit.log();
    assert!(log.contains("other.test"), "something was logged");
    assert!(!log.contains(CANARY), "{log}");
    let history = serde_json::to_string(&world.proxy.blocked_snapshot()).unwrap();
    assert!(!history.contains(CANARY), "{history}");
}

#[tokio::test]
async fn the_history_keeps_the_newest_200_and_counts_all() {
    let world = Setup::new().start().await;
    let mut client = world.http().await;
    for number in 0..205 {
        client
            .send(format!("GET http://h{number}.test/ HTTP/1.1\r\n\r\n"))
            .await;
        client.message().await;
    }
    assert_eq!(world.proxy.blocked_total(), 205);
    let hosts: Vec<String> = world
        .proxy
        .blocked_snapshot()
        .into_iter()
        .map(|entry| entry.host)
        .collect();
    assert_eq!(hosts.len(), 200);
    assert_eq!(
        (hosts[0].as_str(), hosts[199].as_str()),
        ("h5.test", "h204.test")
    );
    assert_eq!(world.proxy.drain_blocked().len(), 200);
    assert_eq!(world.proxy.blocked_snapshot().len(), 0);
    assert_eq!(world.proxy.blocked_total(), 205);
}

#[tokio::test]
async fn an_association_that_is_not_served_is_judged_by_no_decider() {
    let world = Setup::new()
        .key("enable_socks5_udp", false)
        .decider(|_: NetworkPolicyRequest| async { panic!("not asked") })
        .start()
        .await;
    let (_, code) = world
        .socks_request(UDP_ASSOCIATE, &address("0.0.0.0", 0))
        .await;
    assert_eq!(code, 7);
    assert_eq!(world.events().len(), 1);
}
