//! One identity: the tunnel's host, the server name, `Host`, the origin's certificate.

use std::time::Duration;

use codex_network_proxy::{NetworkDecision, NetworkPolicyRequest};

use crate::harness::tls::{Client, Issuer, client_hello};
use crate::harness::{Origin, Setup, Wire, World};

/// A fatal alert that says `access_denied`.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_request_for_another_host_goes_nowhere() {
    let issuer = Issuer::new();
    let world = Setup::intercepting(&issuer).start().await;
    let origin = Origin::start().await;
    let certified = issuer.certify("origin.test", &["http/1.1"]);
    let port = origin.port;
    for head in [
        "GET / HTTP/1.1\r\nHost: other.test".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: www.origin.test:{port}"),
        "GET / HTTP/1.1\r\nHost: origin.test:1".to_owned(),
        "GET / HTTP/1.1\r\nHost: 127.0.0.1".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: origin.test:{port}\r\nHost: other.test"),
        format!("GET / HTTP/1.1\r\nHost: origin.test:{port}\r\nHost: origin.test:{port}"),
        format!("GET https://other.test/ HTTP/1.1\r\nHost: origin.test:{port}"),
        format!("GET https://origin.test:{port}/ HTTP/1.1\r\nHost: other.test"),
        format!("GET http://origin.test:{port}/ HTTP/1.1\r\nHost: origin.test:{port}"),
        format!("GET https://u@origin.test:{port}/ HTTP/1.1\r\nHost: origin.test:{port}"),
        "POST / HTTP/1.1\r\nHost: other.test".to_owned(),
    ] {
        let (mut client, mut upstream) = tokio::join!(
            Client::default().open(&world, port),
            certified.next(&origin)
        );
        world.events();
        client.send(format!("{head}\r\n\r\n")).await;
        let answer = client.message().await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{head}: {answer}"
        );
        assert!(
            answer.ends_with("\r\n\r\nhost mismatch"),
            "{head}: {answer}"
        );
        let method = head.split(' ').next().unwrap();
        assert_eq!(
            world.events(),
            [format!(
                "https deny origin.test:{port} reason=policy_denied method={method} source=baseline_policy scope=domain override=false"
            )]
        );
        assert_eq!(
            world.history(),
            [format!(
                "https origin.test:{port} reason=policy_denied method={method} mode=limited decision=deny source=baseline_policy"
            )]
        );
        // What comes next is judged by itself; the origin has not heard of the other.
        client
            .send("GET /next HTTP/1.1\r\nHost: ORIGIN.test.\r\n\r\n")
            .await;
        assert_eq!(
            upstream.head().await,
            format!("GET /next HTTP/1.1\r\nHost: origin.test:{port}\r\n\r\n")
        );
    }
}

#[tokio::test]
async fn the_hello_of_an_opened_tunnel_is_for_its_host() {
    let issuer = Issuer::new();
    let world = Setup::intercepting(&issuer).start().await;
    let origin = Origin::start().await;
    // Without a name, too: an address is never sent.
    for (name, seen) in [
        ("other.test", " server_name=other.test"),
        ("www.origin.test", " server_name=www.origin.test"),
        ("192.0.2.1", ""),
    ] {
        let mut client = world.connected("origin.test", origin.port).await;
        let mut upstream = origin.accept().await;
        world.events();
        client.send(client_hello(name)).await;
        assert_eq!(client.rest().await, ALERT);
        assert_eq!(upstream.rest().await, b"");
        assert_eq!(
            world.events(),
            [format!(
                "https_connect deny origin.test:{} reason=server_name_mismatch method=CONNECT source=baseline_policy scope=domain override=false{seen}",
                origin.port
            )]
        );
        assert_eq!(world.history().len(), 1);
    }
}

#[tokio::test]
async fn an_address_needs_no_name_and_has_a_certificate_of_its_own() {
    let issuer = Issuer::new();
    let setup = Setup::intercepting(&issuer).allow(&["127.0.0.1"]);
    let world = setup.start().await;
    let origin = Origin::start().await;
    let certified = issuer.certify("127.0.0.1", &["http/1.1"]);
    let client = Client {
        name: "127.0.0.1",
        ..Client::default()
    };
    let tunnel = world.connected("127.0.0.1", origin.port).await;
    let (client, mut upstream) =
        tokio::join!(client.handshake(&world, tunnel), certified.next(&origin));
    let mut client = Wire::new(client.unwrap());
    client
        .send("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .await;
    upstream.head().await;
    upstream.send(OK).await;
    assert!(client.message().await.ends_with("ok"));
}

#[tokio::test]
async fn what_is_not_tls_is_refused() {
    let issuer = Issuer::new();
    let world = Setup::intercepting(&issuer).start().await;
    let origin = Origin::start().await;
    for first in [
        "GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n",
        "SSH-2.0-x\r\n",
        "\0",
    ] {
        let mut client = world.connected("origin.test", origin.port).await;
        let mut upstream = origin.accept().await;
        world.events();
        client.send(first).await;
        client.closed().await;
        assert_eq!(upstream.rest().await, b"");
        assert_eq!(
            world.events(),
            [format!(
                "https_connect deny origin.test:{} reason=mitm_required method=CONNECT source=mode_guard scope=non_domain override=false",
                origin.port
            )]
        );
        assert_eq!(
            world.history(),
            [format!(
                "http-connect origin.test:{} reason=mitm_required method=CONNECT mode=limited decision=deny source=mode_guard",
                origin.port
            )]
        );
    }
    // A server that speaks first is not heard: nothing leaves the tunnel that was not judged.
    let mut client = world.connected("origin.test", origin.port).await;
    let mut upstream = origin.accept().await;
    upstream.send("220 hello\r\n").await;
    client.send("EHLO x\r\n").await;
    client.closed().await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let issuer = Issuer::new();
    let world = Setup::intercepting(&issuer)
        .limits(|limits| {
            limits.request_head = Duration::from_millis(200);
            limits.handshake = Duration::from_millis(200);
        })
        .start()
        .await;
    let origin = Origin::start().await;
    for sent in [0, 1, 100] {
        let mut client = world.connected("origin.test", origin.port).await;
        client.send(&client_hello("origin.test")[..sent]).await;
        client.closed().await;
    }
}

#[tokio::test]
async fn without_interception_limited_mode_has_no_tunnels() {
    let world = Setup::usual().limited().start().await;
    let answer = world
        .exchange("CONNECT origin.test:443 HTTP/1.1\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    assert!(
        answer.ends_with("MITM required for limited HTTPS."),
        "{answer}"
    );
    assert!(world.audit.log().contains("set mitm = true"));
}

#[tokio::test]
async fn an_origin_that_cannot_be_dialled_is_a_502_before_anything() {
    let issuer = Issuer::new();
    let world = Setup::intercepting(&issuer).start().await;
    let origin = Origin::start().await;
    let port = origin.port;
    drop(origin);
    let answer = world
        .exchange(format!("CONNECT origin.test:{port} HTTP/1.1\r\n\r\n"))
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\nupstream failure"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_trust_us_is_told_of_once() {
    let issuer = Issuer::new();
    let world = Setup::intercepting(&issuer).start().await;
    let origin = Origin::start().await;
    let certified = issuer.certify("origin.test", &["http/1.1"]);
    let stranger = Client {
        trusts_proxy: false,
        ..Client::default()
    };
    for _ in 0..3 {
        let tunnel = world.connected("origin.test", origin.port).await;
        let (refused, _) =
            tokio::join!(stranger.handshake(&world, tunnel), certified.next(&origin));
        assert!(refused.is_err());
        world.handled().await;
    }
    let log = world.audit.log();
    let told = log.matches("a client does not trust the proxy's certificate authority");
    assert_eq!(told.count(), 1, "{log}");
    assert!(log.contains("alert=unknown_ca"), "{log}");
    assert!(log.contains("ca trust"), "{log}");
    assert_eq!(world.history(), [""; 0]);
}

#[tokio::test]
async fn a_deciders_yes_opens_the_tunnel_and_is_not_asked_for_again() {
    let issuer = Issuer::new();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&asked);
    let world = Setup::intercepting(&issuer)
        .allow(&[])
        .decider(move |request: NetworkPolicyRequest| {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            assert_eq!(request.method.as_deref(), Some("CONNECT"));
            async { NetworkDecision::Allow }
        })
        .start()
        .await;
    let origin = Origin::start().await;
    let certified = issuer.certify("origin.test", &["http/1.1"]);
    let (mut client, mut upstream) = tokio::join!(
        Client::default().open(&world, origin.port),
        certified.next(&origin)
    );
    world.events();
    for _ in 0..2 {
        client
            .send("GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
            .await;
        upstream.head().await;
        upstream.send(OK).await;
        client.message().await;
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert_eq!(
        world.events()[0],
        format!(
            "https allow origin.test:{} reason=not_allowed method=GET source=decider scope=domain override=true",
            origin.port
        )
    );
}

#[tokio::test]
async fn an_opened_tunnel_leaves_its_proof() {
    let issuer = Issuer::new();
    let world = Setup::intercepting(&issuer).start().await;
    let origin = Origin::start().await;
    let certified = issuer.certify("origin.test", &["http/1.1"]);
    let (_client, _upstream) = tokio::join!(
        Client::default().open(&world, origin.port),
        certified.next(&origin)
    );
    let event = world.audit.next_connection().await;
    let digest = ring::digest::digest(&ring::digest::SHA256, &certified.certificate);
    let fingerprint: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        event.proof(),
        format!(
            "https_connect origin.test 127.0.0.1 origin.test - {fingerprint} allowlist `**.origin.test` (network.allowed_domains)"
        )
    );
}

#[tokio::test]
async fn whatever_else_is_dialled_leaves_its_proof_as_well() {
    let issuer = Issuer::new();
    let world = Setup::intercepting(&issuer).start().await;
    let origin = Origin::start().await;
    let certified = issuer.certify("origin.test", &["http/1.1"]);
    let target = format!("origin.test:{}", origin.port);
    let digest = ring::digest::digest(&ring::digest::SHA256, &certified.certificate);
    let fingerprint: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let rule = "allowlist `**.origin.test` (network.allowed_domains)";
    // A plain request, one over TLS of ours, and one inside of a tunnel whose first connection has gone.
    let mut client = world.http().await;
    client
        .send(format!("GET http://{target}/ HTTP/1.1\r\n\r\n"))
        .await;
    let mut upstream = origin.accept().await;
    upstream.head().await;
    assert_eq!(
        world.audit.next_connection().await.proof(),
        format!("http origin.test 127.0.0.1 - - - {rule}")
    );
    let mut client = world.http().await;
    client
        .send(format!("GET https://{target}/ HTTP/1.1\r\n\r\n"))
        .await;
    certified.next(&origin).await.head().await;
    assert_eq!(
        world.audit.next_connection().await.proof(),
        format!("http origin.test 127.0.0.1 - - {fingerprint} {rule}")
    );
    let (mut client, upstream) = tokio::join!(
        Client::default().open(&world, origin.port),
        certified.next(&origin)
    );
    world.audit.next_connection().await;
    drop(upstream);
    client
        .send(format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n"))
        .await;
    certified.next(&origin).await.head().await;
    assert_eq!(
        world.audit.next_connection().await.proof(),
        format!("https origin.test 127.0.0.1 - - {fingerprint} {rule}")
    );
}

impl World {
    /// Waits until the proxy has dealt with what it got: another client has been served.
    async fn handled(&self) {
        let answer = self
            .exchange("GET http://unlisted.test/ HTTP/1.1\r\nConnection: close\r\n\r\n")
            .await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        self.history();
    }
}
