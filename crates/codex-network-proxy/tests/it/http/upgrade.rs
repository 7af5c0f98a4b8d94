//! Upgrades over plain HTTP (SPEC F4, THREATS 20): a tunnel only after the 101 that was asked for.

use crate::harness::{Origin, Setup, Wire, World};

async fn asking(world: &World, origin: &Origin, fields: &str) -> (Wire, Wire, String) {
    let mut client = world.http().await;
    client
        .send(format!(
            "GET /chat HTTP/1.1\r\nHost: origin.test:{}\r\n{fields}\r\n",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    let head = upstream.head().await;
    (client, upstream, head)
}

const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhl\r\nSec-WebSocket-Version: 13\r\n";

#[tokio::test]
async fn a_websocket_becomes_a_tunnel_after_101() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let (mut client, mut upstream, head) = asking(&world, &origin, WEBSOCKET).await;
    let head = head.to_ascii_lowercase();
    for line in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-key: dghl",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
    // The first frame comes along with the 101.
    upstream
        .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nframe")
        .await;
    let answer = client.head().await.to_ascii_lowercase();
    assert!(
        answer.starts_with("http/1.1 101 switching protocols\r\n"),
        "{answer}"
    );
    for line in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-accept: x",
    ] {
        assert!(answer.contains(&format!("\r\n{line}\r\n")), "{answer}");
    }
    assert_eq!(client.exactly(5).await, b"frame");
    client.send([0x81, 0]).await;
    assert_eq!(upstream.exactly(2).await, [0x81, 0]);
    client.finish().await;
    assert_eq!(upstream.rest().await, b"");
    assert_eq!(world.events().len(), 1);
}

#[tokio::test]
async fn an_upgrade_that_the_origin_declines_stays_http() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let (mut client, mut upstream, _) = asking(&world, &origin, WEBSOCKET).await;
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
        .await;
    assert!(client.message().await.ends_with("no"));
    client.send("GET http://other.test/ HTTP/1.1\r\n\r\n").await;
    assert!(client.message().await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_a_502() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    for (fields, answered) in [
        ("", "websocket"),
        ("Upgrade: websocket\r\n", "websocket"),
        ("Connection: upgrade\r\nUpgrade: h2c\r\n", "h2c"),
        (WEBSOCKET, "h2c"),
        (WEBSOCKET, "websocket, h2c"),
        (WEBSOCKET, ""),
    ] {
        let (mut client, mut upstream, _) = asking(&world, &origin, fields).await;
        upstream
            .send(format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {answered}\r\n\r\nGET /\r\n"))
            .await;
        let answer = client.message().await;
        assert!(
            answer.starts_with("HTTP/1.1 502 "),
            "{fields:?} {answered}: {answer}"
        );
        // No bytes pass.
        client.send("GET http://other.test/ HTTP/1.1\r\n\r\n").await;
        assert!(
            client.message().await.starts_with("HTTP/1.1 403 "),
            "{fields:?} {answered}"
        );
        upstream.closed().await;
    }
}

#[tokio::test]
async fn a_switch_to_another_http_is_not_passed_on() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n",
        "Connection: Upgrade\r\nUpgrade: H2C\r\nHTTP2-Settings: AAMAAABkAAQ\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
        // Not announced by Connection.
        "Upgrade: websocket\r\n",
        "Connection: keep-alive\r\nUpgrade: websocket\r\n",
    ] {
        let (_client, _upstream, head) = asking(&world, &origin, fields).await;
        let head = head.to_ascii_lowercase();
        assert!(
            !head.contains("upgrade") && !head.contains("http2-settings"),
            "{fields:?} {head}"
        );
    }
}

#[tokio::test]
async fn an_http_1_0_client_cannot_upgrade() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    client
        .send(format!(
            "GET / HTTP/1.0\r\nHost: origin.test:{}\r\n{WEBSOCKET}\r\n",
            origin.port
        ))
        .await;
    let head = origin.accept().await.head().await.to_ascii_lowercase();
    assert!(!head.contains("\r\nupgrade:"), "{head}");
}

#[tokio::test]
async fn limited_mode_refuses_upgrades() {
    let world = Setup::usual().limited().start().await;
    let answer = world
        .answer(format!(
            "GET / HTTP/1.1\r\nHost: origin.test\r\n{WEBSOCKET}\r\n"
        ))
        .await;
    assert!(
        answer.contains(r#""reason":"method_not_allowed""#),
        "{answer}"
    );
    assert_eq!(
        world.history(),
        [
            "http origin.test:80 reason=method_not_allowed method=GET mode=limited decision=deny source=mode_guard"
        ]
    );
}

#[tokio::test]
async fn an_early_frame_waits_for_the_101() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    client
        .send(format!(
            "GET / HTTP/1.1\r\nHost: origin.test:{}\r\n{WEBSOCKET}\r\nearly",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    assert!(upstream.head().await.ends_with("\r\n\r\n"));
    upstream
        .send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .await;
    assert_eq!(upstream.exactly(5).await, b"early");
}
