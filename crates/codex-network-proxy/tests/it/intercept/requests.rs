//! One request inside of an opened tunnel over HTTP/1.1, as bytes at both ends.

use crate::harness::tls::{Certified, Client, Issuer, Opened};
use crate::harness::{Origin, Setup, Wire, World};

type OriginSide = Wire<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>;

/// A proxy that opens TLS, an origin of HTTP/1.1, and a tunnel between them.
struct Stage {
    world: World,
    origin: Origin,
    certified: Certified,
}

impl Stage {
    async fn set(change: impl FnOnce(Setup) -> Setup) -> Self {
        let issuer = Issuer::new();
        Self {
            world: change(Setup::intercepting(&issuer)).start().await,
            origin: Origin::start().await,
            certified: issuer.certify("origin.test", &["http/1.1"]),
        }
    }

    /// The two ends of a tunnel. What has been recorded so far is forgotten.
    async fn open(&self) -> (Opened, OriginSide) {
        let (client, upstream) = tokio::join!(
            Client::default().open(&self.world, self.origin.port),
            self.certified.next(&self.origin)
        );
        self.world.events();
        self.world.audit.take_connections();
        (client, upstream)
    }

    fn target(&self) -> String {
        format!("origin.test:{}", self.origin.port)
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const OK_DATED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: D\r\n\r\nok";

fn refusal(status: &str, error: Option<&str>, text: &str) -> String {
    let error = error.map(|error| format!("x-proxy-error: {error}\r\n"));
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\n{}content-length: {}\r\ndate: D\r\n\r\n{text}",
        error.unwrap_or_default(),
        text.len()
    )
}

const BY_METHOD: &str = "Codex blocked this request: method not allowed in limited mode.";

#[tokio::test]
async fn reading_methods_pass_and_leave_their_events() {
    let stage = Stage::set(|setup| setup).await;
    let (mut client, mut upstream) = stage.open().await;
    let target = stage.target();
    for (method, answer, expected) in [
        ("GET", OK, OK_DATED),
        ("OPTIONS", OK, OK_DATED),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: D\r\n\r\n",
        ),
    ] {
        client
            .send(format!(
                "{method} /a?b=c HTTP/1.1\r\nHost: {target}\r\nX-Mine: 1\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
            ))
            .await;
        assert_eq!(
            upstream.head().await,
            format!("{method} /a?b=c HTTP/1.1\r\nHost: {target}\r\nX-Mine: 1\r\n\r\n")
        );
        upstream.send(answer).await;
        let got = if method == "HEAD" {
            client.head().await
        } else {
            client.message().await
        };
        assert_eq!(got, expected);
        assert_eq!(
            stage.world.events(),
            [format!(
                "https allow {target} reason=allow method={method} source=baseline_policy scope=domain override=false"
            )]
        );
    }
    assert_eq!(stage.world.history(), [""; 0]);
}

#[tokio::test]
async fn writing_methods_are_refused_inside_of_tls() {
    let stage = Stage::set(|setup| setup).await;
    let target = stage.target();
    for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "get", "BREW"] {
        let (mut client, mut upstream) = stage.open().await;
        client
            .send(format!(
                "{method} / HTTP/1.1\r\nHost: {target}\r\nX-HTTP-Method-Override: GET\r\nContent-Length: 0\r\n\r\n"
            ))
            .await;
        assert_eq!(
            client.message().await,
            refusal("403 Forbidden", Some("blocked-by-method-policy"), BY_METHOD)
        );
        assert_eq!(
            stage.world.events(),
            [
                format!(
                    "https allow {target} reason=allow method={method} source=baseline_policy scope=domain override=false"
                ),
                format!(
                    "https deny {target} reason=method_not_allowed method={method} source=mode_guard scope=non_domain override=false"
                ),
            ]
        );
        assert_eq!(
            stage.world.history(),
            [format!(
                "https {target} reason=method_not_allowed method={method} mode=limited decision=deny source=mode_guard"
            )]
        );
        // The connection stays, and the origin has seen nothing of it.
        client
            .send(format!("GET /next HTTP/1.1\r\nHost: {target}\r\n\r\n"))
            .await;
        assert!(upstream.head().await.starts_with("GET /next "));
    }
}

#[tokio::test]
async fn a_refused_body_reaches_nobody_and_the_refusal_is_read() {
    let stage = Stage::set(|setup| setup).await;
    let (mut client, mut upstream) = stage.open().await;
    let target = stage.target();
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: {target}\r\nContent-Length: 1000000\r\n\r\n"
        ))
        .await;
    let send = async {
        // It may stop to take it at any time.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, &[b'x'; 1_000_000]).await;
        client.message().await
    };
    let answer = send.await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    drop(client);
    drop(stage.world);
    assert_eq!(upstream.rest_or_reset().await, b"");
}

#[tokio::test]
async fn websockets_are_refused() {
    let stage = Stage::set(|setup| setup).await;
    let (mut client, _upstream) = stage.open().await;
    let target = stage.target();
    client
        .send(format!(
            "GET /chat HTTP/1.1\r\nHost: {target}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhl\r\n\r\n"
        ))
        .await;
    assert_eq!(
        client.message().await,
        refusal("403 Forbidden", Some("blocked-by-method-policy"), BY_METHOD)
    );
}

#[tokio::test]
async fn an_upgrade_to_http2_is_not_passed_on() {
    let stage = Stage::set(|setup| setup).await;
    let (mut client, mut upstream) = stage.open().await;
    let target = stage.target();
    client
        .send(format!(
            "GET / HTTP/1.1\r\nHost: {target}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n"
        ))
        .await;
    assert_eq!(
        upstream.head().await,
        format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n")
    );
}

#[tokio::test]
async fn a_tunnel_inside_of_the_tunnel_is_405() {
    let stage = Stage::set(|setup| setup).await;
    let target = stage.target();
    for inner in ["origin.test:443", "evil.test:443", &target] {
        let (mut client, _upstream) = stage.open().await;
        client
            .send(format!("CONNECT {inner} HTTP/1.1\r\nHost: {inner}\r\n\r\n"))
            .await;
        let answer = client.message().await;
        assert!(
            answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"),
            "{answer}"
        );
        assert!(
            answer.ends_with("\r\n\r\nCONNECT not supported inside MITM"),
            "{answer}"
        );
        assert_eq!(
            stage.world.events(),
            [format!(
                "https deny {target} reason=method_not_allowed method=CONNECT source=mode_guard scope=non_domain override=false"
            )]
        );
        assert_eq!(
            stage.world.history(),
            [format!(
                "https {target} reason=method_not_allowed method=CONNECT mode=limited decision=deny source=mode_guard"
            )]
        );
    }
}

#[tokio::test]
async fn bodies_stream_in_both_framings() {
    let stage = Stage::set(|setup| setup).await;
    let (mut client, mut upstream) = stage.open().await;
    let target = stage.target();
    client
        .send(format!("GET /a HTTP/1.1\r\nHost: {target}\r\n\r\n"))
        .await;
    upstream.head().await;
    upstream
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        .await;
    // The first part arrives before the second is sent.
    assert!(
        client
            .until("one\r\n")
            .await
            .contains("transfer-encoding: chunked")
    );
    upstream.send("3\r\ntwo\r\n0\r\n\r\n").await;
    client.until("0\r\n\r\n").await;
    client
        .send(format!("GET /b HTTP/1.1\r\nHost: {target}\r\n\r\n"))
        .await;
    upstream.head().await;
    upstream.send("HTTP/1.1 200 OK\r\n\r\nto the end").await;
    drop(upstream);
    client.until("to the end").await;
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_its_refusal() {
    let stage = Stage::set(|setup| setup).await;
    let (mut client, _upstream) = stage.open().await;
    let target = stage.target();
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: {target}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        ))
        .await;
    let answer = client.message().await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[tokio::test]
async fn interim_answers_are_taken_away() {
    let stage = Stage::set(|setup| setup).await;
    let (mut client, mut upstream) = stage.open().await;
    let target = stage.target();
    client
        .send(format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n"))
        .await;
    upstream.head().await;
    upstream
        .send(format!(
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n{OK}"
        ))
        .await;
    assert_eq!(client.message().await, OK_DATED);
}

#[tokio::test]
async fn smuggling_shapes_are_refused_inside_as_well() {
    let stage = Stage::set(|setup| setup).await;
    let target = stage.target();
    for fields in [
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: +1\r\n",
        "Connection: host\r\n",
        " X: folded\r\n",
        "X : space\r\n",
        "X: nul\0\r\n",
    ] {
        let (mut client, mut upstream) = stage.open().await;
        client
            .send(format!("GET / HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n"))
            .await;
        let answer = client.rest_of_tls().await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{fields:?}: {answer}");
        drop(client);
        drop(upstream.finish());
    }
}

#[tokio::test]
async fn connections_to_the_origin_are_kept_for_the_next_tunnel() {
    let stage = Stage::set(|setup| setup).await;
    let (mut client, mut upstream) = stage.open().await;
    let target = stage.target();
    let request = format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n");
    client.send(&request).await;
    upstream.head().await;
    upstream.send(OK).await;
    client.message().await;
    drop(client);
    // Nothing is dialled for the second tunnel.
    let mut client = Client::default()
        .open(&stage.world, stage.origin.port)
        .await;
    client.send(&request).await;
    upstream.head().await;
    upstream.send(OK).await;
    assert_eq!(client.message().await, OK_DATED);
    assert!(!stage.origin.was_reached().await);
}

#[tokio::test]
async fn an_origin_that_closes_after_each_answer_is_dialled_again() {
    let stage = Stage::set(|setup| setup).await;
    let (mut client, mut upstream) = stage.open().await;
    let target = stage.target();
    let request = format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n");
    for _ in 0..3 {
        client.send(&request).await;
        upstream.head().await;
        upstream
            .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
            .await;
        assert_eq!(client.message().await, OK_DATED);
        drop(upstream);
        client.send(&request).await;
        upstream = stage.certified.next(&stage.origin).await;
        upstream.head().await;
        upstream.send(OK).await;
        assert_eq!(client.message().await, OK_DATED);
    }
}

#[tokio::test]
async fn a_quiet_client_is_let_go() {
    let stage = Stage::set(|setup| {
        setup.limits(|limits| limits.request_head = std::time::Duration::from_millis(300))
    })
    .await;
    let (mut client, _upstream) = stage.open().await;
    assert_eq!(client.rest_of_tls().await, "");
}

#[tokio::test]
async fn a_proxy_that_drains_lets_its_clients_go_at_once() {
    let mut stage = Stage::set(|setup| setup).await;
    let (mut client, _upstream) = stage.open().await;
    let handle = stage.world.handle.take().unwrap();
    let (ended, rest) = tokio::join!(handle.shutdown(), client.rest_of_tls());
    ended.unwrap();
    assert_eq!(rest, "");
}
