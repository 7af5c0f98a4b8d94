//! Requests that two programs could read differently (THREATS 16 and 19b): refused, or written afresh in one meaning.

use crate::harness::{Origin, Setup};

const UNREADABLE: &str =
    "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: D\r\n\r\n";

#[tokio::test]
async fn ambiguous_requests_are_refused_and_the_connection_closed() {
    let world = Setup::usual().start().await;
    let post = "POST / HTTP/1.1\r\nHost: origin.test\r\n";
    for request in [
        // Lengths that disagree, or are none.
        format!("{post}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        format!("{post}Content-Length: 3, 4\r\n\r\nabcd"),
        format!("{post}Content-Length: +3\r\n\r\nabc"),
        format!("{post}Content-Length: -1\r\n\r\nabc"),
        format!("{post}Content-Length: 0x3\r\n\r\nabc"),
        format!("{post}Content-Length: 3 3\r\n\r\nabc"),
        format!("{post}Content-Length: 99999999999999999999\r\n\r\nabc"),
        format!("{post}Content-Length: \r\n\r\nabc"),
        // Codings that are not exactly chunked.
        format!("{post}Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
        "POST / HTTP/1.0\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_owned(),
        // Fields and lines that are none.
        format!("{post}X: a\r\n b\r\n\r\n"),
        format!("{post} X: a\r\n\r\n"),
        format!("{post}X : a\r\n\r\n"),
        format!("{post}X\r\n\r\n"),
        format!("{post}: a\r\n\r\n"),
        format!("{post}X: a\0b\r\n\r\n"),
        format!("{post}X: a\rb\r\n\r\n"),
        format!("{post}X\0: a\r\n\r\n"),
        format!("{post}X(: a\r\n\r\n"),
        "GET  / HTTP/1.1\r\nHost: origin.test\r\n\r\n".to_owned(),
        "GET /\tx HTTP/1.1\r\nHost: origin.test\r\n\r\n".to_owned(),
        "GET / HTTP/1.1 \r\nHost: origin.test\r\n\r\n".to_owned(),
        "GET / HTTP/2.0\r\nHost: origin.test\r\n\r\n".to_owned(),
        "GET / HTTP/1.2\r\nHost: origin.test\r\n\r\n".to_owned(),
        "GET /\r\nHost: origin.test\r\n\r\n".to_owned(),
        "GET / http/1.1\r\nHost: origin.test\r\n\r\n".to_owned(),
        "G\0T / HTTP/1.1\r\nHost: origin.test\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}\u{0}".to_owned(),
        "CONNECT origin.test\0.evil.test:443 HTTP/1.1\r\n\r\n".to_owned(),
        "GET http://origin.test\0.evil.test/ HTTP/1.1\r\n\r\n".to_owned(),
        "GET http://origin.test%00.evil.test/ HTTP/1.1\r\n\r\n".to_owned(),
        "GET http://origin.test\\@evil.test/ HTTP/1.1\r\n\r\n".to_owned(),
    ] {
        // What follows must not be taken for a request of its own.
        let answer = world
            .exchange(format!(
                "{request}GET http://origin.test:9/ HTTP/1.1\r\n\r\n"
            ))
            .await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.0 400 "),
            "{request:?} {answer:?}"
        );
        assert_eq!(
            answer.matches("HTTP/1.").count(),
            1,
            "{request:?} {answer:?}"
        );
        assert_eq!(world.events(), Vec::<String>::new(), "{request:?}");
    }
}

#[tokio::test]
async fn an_unreadable_request_gets_an_empty_400() {
    let world = Setup::new().start().await;
    assert_eq!(world.exchange("nonsense\r\n\r\n").await, UNREADABLE);
}

#[tokio::test]
async fn http_2_is_not_spoken() {
    let world = Setup::usual().start().await;
    let mut client = world.http().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.closed().await;
}

#[tokio::test]
async fn a_request_that_the_parser_has_settled_is_written_afresh() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let host = format!("origin.test:{}", origin.port);
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: origin.test\r\n\r\n";
    for (request, expected) in [
        // The length beside chunked is void.
        (
            format!(
                "POST /a HTTP/1.1\r\nHost: {host}\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            format!(
                "post /a http/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        // Bare line feeds end lines.
        (
            format!("GET /b HTTP/1.1\nHost: {host}\nX: y\n\n"),
            format!("get /b http/1.1\r\nhost: {host}\r\nx: y\r\n\r\n"),
        ),
        // Empty lines before a request are skipped, and hide nothing.
        (
            format!("\r\n\r\nGET /c HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            format!("get /c http/1.1\r\nhost: {host}\r\n\r\n"),
        ),
        // Two equal lengths are one.
        (
            format!(
                "POST /d HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"
            ),
            format!("post /d http/1.1\r\nhost: {host}\r\ncontent-length: 2\r\n\r\nok"),
        ),
        (
            format!(
                "POST /e HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{smuggled}",
                smuggled.len()
            ),
            format!(
                "post /e http/1.1\r\nhost: {host}\r\ncontent-length: {}\r\n\r\n{}",
                smuggled.len(),
                smuggled.to_ascii_lowercase()
            ),
        ),
    ] {
        let mut client = world.http().await;
        client.send(&request).await;
        let mut upstream = origin.accept().await;
        let got = upstream.message().await.to_ascii_lowercase();
        assert_eq!(got, expected, "{request:?}");
        upstream
            .send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .await;
        client.message().await;
        // Nothing follows that the gate did not judge.
        upstream.closed().await;
        assert_eq!(world.events().len(), 1);
    }
}

#[tokio::test]
async fn bodies_that_break_their_framing_reach_no_kept_connection() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let host = format!("origin.test:{}", origin.port);
    for body in [
        "zz\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "ffffffffffffffffff\r\n",
        "-1\r\n\r\n",
        "3 \r\x00\nabc\r\n",
        "3\r\nabc\r\n0\r\nbad trailer\r\n\r\n",
    ] {
        let mut client = world.http().await;
        client
            .send(format!("POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n{body}GET http://{host}/second HTTP/1.1\r\n\r\n"))
            .await;
        client.finish().await;
        let mut upstream = origin.accept().await;
        let got = upstream.rest().await;
        let got = String::from_utf8_lossy(&got);
        assert!(!got.contains("second"), "{body:?} {got:?}");
        assert!(!got.ends_with("0\r\n\r\n"), "{body:?} {got:?}");
        let answer = client.rest().await;
        assert!(
            !String::from_utf8_lossy(&answer).contains(" 200 "),
            "{body:?}"
        );
        assert_eq!(world.events().len(), 1, "{body:?}");
    }
}

#[tokio::test]
async fn an_origin_s_broken_framing_is_a_502_or_an_incomplete_answer() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
    ] {
        let mut client = world.http().await;
        client
            .send(format!(
                "GET http://origin.test:{}/ HTTP/1.1\r\n\r\n",
                origin.port
            ))
            .await;
        let mut upstream = origin.accept().await;
        upstream.message().await;
        upstream.send(answer).await;
        upstream.finish().await;
        let got = client.message().await;
        assert!(got.starts_with("HTTP/1.1 502 "), "{answer:?} {got:?}");
        drop(upstream);
    }
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_431_and_closed() {
    let world = Setup::new().start().await;
    for request in [
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000)),
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "x".repeat(70_000)
        ),
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: y\r\n".repeat(20_000)
        ),
    ] {
        let mut client = world.http().await;
        client.send(&request).await;
        let answer = client.head().await;
        assert!(
            answer.starts_with("HTTP/1.1 431 ") || answer.starts_with("HTTP/1.1 414 "),
            "{answer}"
        );
    }
    assert_eq!(world.events(), Vec::<String>::new());
}
