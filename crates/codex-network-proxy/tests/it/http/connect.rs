//! The CONNECT door (SPEC E3, THREATS 18 to 20).

use std::sync::Arc;
use std::time::Duration;

use codex_network_proxy::{NetworkDecision, NetworkPolicyRequest};
use tokio::sync::Notify;

use crate::harness::{Origin, Setup, within};

const ACCEPTED: &str = "HTTP/1.1 200 OK\r\ndate: D\r\n\r\n";

/// A refusal.
fn text(error: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\nx-proxy-error: {error}\r\ncontent-length: {}\r\nconnection: close\r\ndate: D\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn an_accepted_connect_is_a_tunnel_with_half_closes() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    client
        .send(format!(
            "CONNECT origin.test:{} HTTP/1.1\r\nHost: x\r\n\r\n",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    assert_eq!(client.head().await, ACCEPTED);
    client.send([0, 1, 2, 255]).await;
    assert_eq!(upstream.exactly(4).await, [0, 1, 2, 255]);
    client.finish().await;
    assert_eq!(upstream.rest().await, b"");
    upstream.send("late").await;
    assert_eq!(client.exactly(4).await, b"late");
    upstream.finish().await;
    assert_eq!(client.rest().await, b"");
    assert_eq!(
        world.events(),
        [format!(
            "https_connect allow origin.test:{} reason=allow method=CONNECT source=baseline_policy scope=domain override=false",
            origin.port
        )]
    );
}

#[tokio::test]
async fn the_origin_may_end_its_half_first() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    client
        .send(format!(
            "CONNECT origin.test:{} HTTP/1.1\r\n\r\n",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    client.head().await;
    upstream.send("all").await;
    upstream.finish().await;
    assert_eq!(client.rest().await, b"all");
    client.send("more").await;
    client.finish().await;
    assert_eq!(upstream.rest().await, b"more");
}

#[tokio::test]
async fn a_reset_upstream_ends_the_tunnel() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    client
        .send(format!(
            "CONNECT origin.test:{} HTTP/1.1\r\n\r\n",
            origin.port
        ))
        .await;
    let upstream = origin.accept().await;
    client.head().await;
    upstream.reset();
    client.closed().await;
}

#[tokio::test]
async fn early_bytes_wait_for_the_verdict_and_are_not_lost() {
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (at_decider, go) = (Arc::clone(&asked), Arc::clone(&answer));
    let world = Setup::usual()
        .allow(&[])
        .decider(move |_: NetworkPolicyRequest| {
            let (asked, answer) = (Arc::clone(&at_decider), Arc::clone(&go));
            async move {
                asked.notify_one();
                answer.notified().await;
                NetworkDecision::Allow
            }
        })
        .start()
        .await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    client
        .send(format!(
            "CONNECT origin.test:{} HTTP/1.1\r\n\r\nearly bytes",
            origin.port
        ))
        .await;
    within("the decider to be asked", asked.notified()).await;
    assert!(!origin.was_reached().await);
    answer.notify_one();
    let mut upstream = origin.accept().await;
    assert_eq!(upstream.exactly(11).await, b"early bytes");
    assert_eq!(client.head().await, ACCEPTED);
    client.send(", later bytes").await;
    assert_eq!(upstream.exactly(13).await, b", later bytes");
    assert_eq!(
        world.events(),
        [format!(
            "https_connect allow origin.test:{} reason=not_allowed method=CONNECT source=decider scope=domain override=true",
            origin.port
        )]
    );
}

#[tokio::test]
async fn a_refused_connect_is_text_and_what_follows_is_not_parsed() {
    let world = Setup::new()
        .allow(&["ok.test", "no.test", "inward.test"])
        .deny(&["no.test"])
        .name("inward.test", &["192.168.1.1"])
        .start()
        .await;
    for (target, error, reason, body) in [
        (
            "other.test",
            "blocked-by-allowlist",
            "not_allowed",
            "Codex blocked this request: domain not in allowlist (this is not a denylist block).",
        ),
        (
            "no.test",
            "blocked-by-denylist",
            "denied",
            "Codex blocked this request: domain denied by policy.",
        ),
        (
            "inward.test",
            "blocked-by-allowlist",
            "not_allowed_local",
            "Codex blocked this request: local/private addresses not allowed.",
        ),
    ] {
        let answer = world
            .exchange(format!(
                "CONNECT {target}:443 HTTP/1.1\r\n\r\nGET http://ok.test/ HTTP/1.1\r\n\r\n"
            ))
            .await;
        assert_eq!(answer, text(error, body));
        assert_eq!(
            world.events(),
            [format!(
                "https_connect deny {target}:443 reason={reason} method=CONNECT source=baseline_policy scope=domain override=false"
            )]
        );
        assert_eq!(
            world.history(),
            [format!(
                "http-connect {target}:443 reason={reason} method=CONNECT mode=- decision=deny source=baseline_policy"
            )]
        );
    }
}

#[tokio::test]
async fn limited_mode_refuses_tunnels() {
    let world = Setup::usual().limited().start().await;
    assert_eq!(
        world
            .exchange("CONNECT origin.test:443 HTTP/1.1\r\n\r\n")
            .await,
        text(
            "blocked-by-method-policy",
            "Codex blocked this request: MITM required for limited HTTPS."
        )
    );
    assert_eq!(
        world.events(),
        [
            "https_connect allow origin.test:443 reason=allow method=CONNECT source=baseline_policy scope=domain override=false",
            "https_connect deny origin.test:443 reason=mitm_required method=CONNECT source=mode_guard scope=non_domain override=false",
        ]
    );
    assert_eq!(
        world.history(),
        [
            "http-connect origin.test:443 reason=mitm_required method=CONNECT mode=limited decision=deny source=mode_guard"
        ]
    );
}

#[tokio::test]
async fn two_hundred_comes_only_after_the_dial() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let port = origin.port;
    drop(origin);
    assert_eq!(
        world
            .exchange(format!(
                "CONNECT origin.test:{port} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"
            ))
            .await,
        "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain\r\ncontent-length: 16\r\nconnection: close\r\ndate: D\r\n\r\nupstream failure"
    );
}

#[tokio::test]
async fn an_idle_tunnel_ends_where_a_limit_is_set() {
    let world = Setup::usual()
        .limits(|limits| limits.tunnel_idle = Some(Duration::from_millis(20)))
        .start()
        .await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    client
        .send(format!(
            "CONNECT origin.test:{} HTTP/1.1\r\n\r\n",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    client.head().await;
    client.closed().await;
    upstream.closed().await;
}

#[tokio::test]
async fn a_connect_may_follow_a_request_on_one_connection() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    client.send("GET http://other.test/ HTTP/1.1\r\n\r\n").await;
    assert!(client.message().await.starts_with("HTTP/1.1 403 "));
    client
        .send(format!(
            "CONNECT origin.test:{} HTTP/1.1\r\n\r\n",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    assert_eq!(client.head().await, ACCEPTED);
    client.send("x").await;
    assert_eq!(upstream.exactly(1).await, b"x");
}

#[tokio::test]
async fn an_http_1_0_connect_works() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    client
        .send(format!(
            "CONNECT origin.test:{} HTTP/1.0\r\n\r\n",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    assert_eq!(client.head().await, "HTTP/1.0 200 OK\r\ndate: D\r\n\r\n");
    client.send("x").await;
    assert_eq!(upstream.exactly(1).await, b"x");
}
