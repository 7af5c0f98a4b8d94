//! Secrets that clients send, searched for in everything that the binary writes, sends and serves, at the most talkative level.
//! The embedded proxy's history and error pages are searched in `evidence.rs`.

use super::*;
use crate::harness::{Origin, address};

const CANARY: &str = "c4n4ry";

/// Requests that hold the secret wherever one can be: path, query, userinfo, headers, cookies, bodies.
fn requests(port: u16) -> Vec<String> {
    let mut requests = Vec::new();
    for host in ["127.0.0.1", "other.test"] {
        let target = format!("{host}:{port}");
        requests.push(format!(
            "POST http://{target}/{CANARY}?{CANARY}={CANARY}#{CANARY} HTTP/1.1\r\nHost: {target}\r\nAuthorization: Bearer {CANARY}\r\nCookie: a={CANARY}\r\nProxy-Authorization: Basic {CANARY}\r\nUser-Agent: {CANARY}\r\nReferer: http://x/{CANARY}\r\nX-{CANARY}: {CANARY}\r\nContent-Length: 6\r\n\r\n{CANARY}"
        ));
        requests.push(format!(
            "GET http://user:{CANARY}@{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n"
        ));
        requests.push(format!(
            "CONNECT {target} HTTP/1.1\r\nProxy-Authorization: Basic {CANARY}\r\n\r\n{CANARY} {CANARY}"
        ));
    }
    requests.extend([
        format!("GET / HTTP/1.1\r\nHost: user:{CANARY}@other.test\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nx-unix-socket: /run/{CANARY}.sock\r\n\r\n"),
        format!("GET http://other.test/ HTTP/1.1\r\nX: {CANARY}\0\r\n\r\n"),
        format!("GET /{CANARY} nonsense\r\n\r\n"),
        format!("GET http://other.test/ HTTP/1.1\r\nTransfer-Encoding: {CANARY}\r\n\r\n{CANARY}"),
        format!("GET http://other.test/ HTTP/1.1\r\n {CANARY}: x\r\n\r\n"),
    ]);
    requests
}

#[cfg(unix)]
#[tokio::test]
async fn no_secret_reaches_the_log_the_file_the_collector_or_the_metrics() {
    let mut collector = Collector::start(Mood::Takes).await;
    let home = home("");
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (log, socket) = (path("audit.jsonl"), path("m.sock"));
    let mut command = collector.environment(home.path());
    command
        .env("RUST_LOG", "trace")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20k3y");
    let arguments = [
        "--allow",
        "127.0.0.1",
        "--audit-log",
        &log,
        "--metrics-socket",
        &socket,
    ];
    let proxy = Running::start_as(command, &arguments).await;
    let socks = proxy
        .said
        .iter()
        .find_map(|line| line.split_once("socks5h://"));
    let socks: std::net::SocketAddr = socks.unwrap().1.trim().parse().unwrap();
    let said = proxy.said.join("\n");

    let origin = Origin::start().await;
    let port = origin.port;
    let upstream = tokio::spawn(async move {
        loop {
            let mut upstream = origin.accept().await;
            let answer = format!(
                "HTTP/1.1 500 {CANARY}\r\nSet-Cookie: {CANARY}\r\nContent-Length: x{CANARY}\r\n\r\n"
            );
            upstream.send(answer).await;
        }
    });
    let mut pages = String::new();
    for request in requests(port) {
        let mut client = Wire::connect(proxy.http).await;
        client.send(&request).await;
        // Before our side ends: a client that has gone is not answered, and what it sent would not be looked for.
        let mut page = client.head().await;
        client.finish().await;
        page.push_str(&String::from_utf8_lossy(&client.rest_or_reset().await));
        // What an origin says is passed on, and what follows a CONNECT is the origin's too.
        if !(request.contains("127.0.0.1") && request.starts_with("CONNECT")) {
            pages.push_str(&page);
        }
    }
    // Credentials of SOCKS5: user and password, and a name that is none.
    let mut client = Wire::connect(socks).await;
    let mut hello = vec![5, 2, 0, 2, 1, 6];
    hello.extend_from_slice(CANARY.as_bytes());
    hello.push(6);
    hello.extend_from_slice(CANARY.as_bytes());
    hello.extend_from_slice(&address("10.0.0.1", 22));
    client.send(hello).await;
    client.finish().await;
    client.rest_or_reset().await;

    proxy.answer(&get("last.test")).await;
    collector
        .until("the last decision", |got| {
            got.hosts().contains(&"last.test".to_owned()) && got.metrics.is_some()
        })
        .await;
    let stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
    let mut scraper = Wire::new(stream);
    scraper
        .send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    let metrics = scraper.message().await;
    upstream.abort();
    let (code, stdout, stderr) = proxy.end("TERM").await;
    assert_eq!(code, Some(0));
    let sent = String::from_utf8_lossy(&collector.got.lock().unwrap().bytes).into_owned();
    let log = std::fs::read_to_string(log).unwrap();
    for (place, text, proof) in [
        ("the start", &said, "listening on"),
        ("the log", &stderr, "other.test"),
        ("stdout", &stdout, "HTTP_PROXY"),
        ("the audit log", &log, "other.test"),
        ("the collector", &sent, "other.test"),
        (
            "the metrics",
            &metrics,
            "codex_network_proxy_decisions_total",
        ),
        ("the error pages", &pages, "other.test"),
    ] {
        assert!(text.contains(proof), "{place} says nothing: {text}");
        let found = text.find(CANARY).map(|at| &text[at.saturating_sub(200)..]);
        assert_eq!(found, None, "in {place}");
    }
    // The key of the collector is for it alone.
    for text in [&said, &stderr, &stdout, &log, &metrics] {
        assert!(!text.contains("k3y"), "{text}");
    }
}
