//! A request's way to its origin and back (SPEC E2, F3, F4).

use std::net::IpAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::harness::{Answer, Origin, Setup, Wire, World, undated, within};

/// Sends `request` (with `PORT` for the origin's) to a proxy and `answer` back; returns what each side got.
async fn through(request: &str, answer: &str) -> (String, String) {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    let port = origin.port.to_string();
    client.send(request.replace("PORT", &port)).await;
    let mut upstream = origin.accept().await;
    let at_origin = upstream.message().await.replace(&port, "PORT");
    upstream.send(answer).await;
    (at_origin, client.message().await)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const OK_DATED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: D\r\n\r\nok";

#[tokio::test]
async fn absolute_form_becomes_origin_form() {
    let request = "GET http://origin.test:PORT/a/b?c=d HTTP/1.1\r\nHost: origin.test:PORT\r\nUser-Agent: X\r\nX-Forwarded-For: 1.2.3.4\r\nACCEPT: */*\r\n\r\n";
    let expected = "GET /a/b?c=d HTTP/1.1\r\nHost: origin.test:PORT\r\nUser-Agent: X\r\nX-Forwarded-For: 1.2.3.4\r\nACCEPT: */*\r\n\r\n";
    assert_eq!(
        through(request, OK).await,
        (expected.into(), OK_DATED.into())
    );
}

#[tokio::test]
async fn origin_form_goes_to_host() {
    let request = "GET /a HTTP/1.1\r\nHost: origin.test:PORT\r\n\r\n";
    assert_eq!(
        through(request, OK).await,
        (request.into(), OK_DATED.into())
    );
}

#[tokio::test]
async fn a_missing_host_is_added_from_the_target() {
    let request = "GET http://origin.test:PORT/ HTTP/1.1\r\naccept: x\r\n\r\n";
    let expected = "GET / HTTP/1.1\r\nHost: origin.test:PORT\r\naccept: x\r\n\r\n";
    let (at_origin, _) = through(request, OK).await;
    assert_eq!(
        at_origin.to_ascii_lowercase(),
        expected.to_ascii_lowercase()
    );
}

#[tokio::test]
async fn an_empty_path_and_a_query_without_path_reach_the_origin_as_slash() {
    for (target, path) in [
        ("http://origin.test:PORT", "/"),
        ("http://origin.test:PORT?q", "/?q"),
        // The fragment is no part of a request; what is left of the target is empty.
        ("http://origin.test:PORT#", "/"),
        ("http://origin.test:PORT#/a", "/"),
        ("http://origin.test:PORT?#/a", "/?"),
        ("http://origin.test:PORT/a#b", "/a"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: origin.test:PORT\r\n\r\n");
        let expected = format!("GET {path} HTTP/1.1\r\nHost: origin.test:PORT\r\n\r\n");
        assert_eq!(through(&request, OK).await.0, expected);
    }
}

#[tokio::test]
async fn options_star_and_trace_are_forwarded() {
    for start in ["OPTIONS *", "TRACE /x", "BREW /pot", "PATCH /"] {
        let request = format!("{start} HTTP/1.1\r\nHost: origin.test:PORT\r\n\r\n");
        let (at_origin, at_client) = through(&request, OK).await;
        assert_eq!((at_origin, at_client.as_str()), (request, OK_DATED));
    }
}

#[tokio::test]
async fn a_body_with_a_length_is_forwarded() {
    let request = "POST http://origin.test:PORT/ HTTP/1.1\r\nHost: origin.test:PORT\r\nContent-Length: 5\r\n\r\nhello";
    let expected = "POST / HTTP/1.1\r\nHost: origin.test:PORT\r\nContent-Length: 5\r\n\r\nhello";
    let answer = "HTTP/1.1 404 Nope\r\nX-A: 1\r\nx-a: 2\r\nSet-Cookie: a\r\nContent-Length: 3\r\nDate: then\r\n\r\nbye";
    assert_eq!(
        through(request, answer).await,
        (expected.into(), answer.into())
    );
}

#[tokio::test]
async fn chunks_and_trailers_are_forwarded_both_ways() {
    let request = "POST http://origin.test:PORT/ HTTP/1.1\r\nHost: origin.test:PORT\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-end\r\n\r\n4\r\nwxyz\r\n0\r\nx-end: 1\r\n\r\n";
    let (at_origin, at_client) = through(request, answer).await;
    let (head, body) = at_origin.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        head.to_ascii_lowercase(),
        "post / http/1.1\r\nhost: origin.test:port\r\ntrailer: x-sum\r\ntransfer-encoding: chunked"
    );
    assert_eq!(without_sizes(body), "abcde");
    assert!(body.ends_with("0\r\nx-sum: 5\r\n\r\n"), "{body:?}");
    assert!(
        at_client.ends_with("4\r\nwxyz\r\n0\r\nx-end: 1\r\n\r\n"),
        "{at_client:?}"
    );
}

/// The bytes that chunks carry.
fn without_sizes(chunks: &str) -> String {
    let lines: Vec<&str> = chunks.split("\r\n").collect();
    lines
        .chunks(2)
        .filter(|pair| pair[0] != "0")
        .map_while(|pair| pair.get(1).copied())
        .take(2)
        .collect()
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    let request = format!("GET http://origin.test:{}/ HTTP/1.1\r\n\r\n", origin.port);
    client.send(&request).await;
    let mut upstream = origin.accept().await;
    for _ in 0..3 {
        upstream.message().await;
        upstream.send(OK).await;
        assert_eq!(client.message().await, OK_DATED);
        client.send(&request).await;
    }
    upstream.message().await;
    upstream.send(OK).await;
    client.message().await;
    // Another client's request to the same target under the same policy uses it as well.
    let mut other = world.http().await;
    other.send(&request).await;
    upstream.message().await;
    upstream.send(OK).await;
    assert_eq!(other.message().await, OK_DATED);
    assert!(!origin.was_reached().await);
    // Every request was judged.
    assert_eq!(world.events().len(), 5);
}

#[tokio::test]
async fn a_kept_connection_is_never_used_for_another_name() {
    let world = Setup::usual()
        .name("other.origin.test", &["127.0.0.1"])
        .start()
        .await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    for name in ["origin.test", "other.origin.test"] {
        client
            .send(format!(
                "GET http://{name}:{}/ HTTP/1.1\r\n\r\n",
                origin.port
            ))
            .await;
        let mut upstream = origin.accept().await;
        upstream.message().await;
        upstream.send(OK).await;
        client.message().await;
    }
}

/// Rebinding: the name leads elsewhere now, and the kept connection leads to where it led before.
#[tokio::test]
async fn a_kept_connection_is_not_used_for_an_address_that_was_not_judged() {
    let world = Setup::usual()
        .limits(|limits| limits.lookup_reuse = Duration::ZERO)
        .start()
        .await;
    let origin = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = origin.local_addr().unwrap().port();
    let mut client = world.http().await;
    // Linux has all of 127.0.0.0/8; elsewhere there is one address only, and nothing to tell apart.
    let count = if cfg!(target_os = "linux") { 2 } else { 1 };
    let mut kept = Vec::new();
    for address in &["127.0.0.1", "127.0.0.2"][..count] {
        let address: IpAddr = address.parse().unwrap();
        world
            .script
            .set("origin.test", Answer::Addresses(vec![address]));
        client
            .send(format!("GET http://origin.test:{port}/ HTTP/1.1\r\n\r\n"))
            .await;
        let (stream, _) = within("a connection to the origin", origin.accept())
            .await
            .unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), address);
        let mut upstream = Wire::new(stream);
        upstream.message().await;
        upstream.send(OK).await;
        client.message().await;
        // It stays open, and could be used again.
        kept.push(upstream);
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_origin_closed_is_replaced() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    let request = format!("GET http://origin.test:{}/ HTTP/1.1\r\n\r\n", origin.port);
    client.send(&request).await;
    let mut upstream = origin.accept().await;
    upstream.message().await;
    upstream.send(OK).await;
    client.message().await;
    // The origin reads the next request and closes without a word: safe to send again.
    client.send(&request).await;
    upstream.message().await;
    drop(upstream);
    let mut again = origin.accept().await;
    again.message().await;
    again.send(OK).await;
    assert_eq!(client.message().await, OK_DATED);
}

#[tokio::test]
async fn a_request_with_effects_is_not_sent_twice() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    let target = format!("http://origin.test:{}/", origin.port);
    client.send(format!("GET {target} HTTP/1.1\r\n\r\n")).await;
    let mut upstream = origin.accept().await;
    upstream.message().await;
    upstream.send(OK).await;
    client.message().await;
    client
        .send(format!(
            "POST {target} HTTP/1.1\r\ncontent-length: 1\r\n\r\nx"
        ))
        .await;
    upstream.message().await;
    drop(upstream);
    assert!(client.message().await.starts_with("HTTP/1.1 502 "));
    assert!(!origin.was_reached().await);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    let port = origin.port;
    let requests = ["/1", "/2", "/3"]
        .map(|path| format!("GET http://origin.test:{port}{path} HTTP/1.1\r\n\r\n"))
        .concat();
    client.send(requests).await;
    let mut upstream = origin.accept().await;
    for path in ["/1", "/2", "/3"] {
        assert!(
            upstream
                .message()
                .await
                .starts_with(&format!("GET {path} "))
        );
        upstream
            .send(format!(
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{path}"
            ))
            .await;
    }
    for path in ["/1", "/2", "/3"] {
        assert!(client.message().await.ends_with(path));
    }
}

#[tokio::test]
async fn an_http_1_0_client_gets_http_1_0_and_a_close() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    client
        .send(format!(
            "GET http://origin.test:{}/ HTTP/1.0\r\n\r\n",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    let head = upstream.message().await;
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head:?}");
    upstream
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        .await;
    let answer = undated(&client.rest().await);
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer:?}");
    assert!(
        !answer.to_ascii_lowercase().contains("transfer-encoding"),
        "{answer:?}"
    );
    assert!(answer.ends_with("\r\n\r\nok"), "{answer:?}");
}

#[tokio::test]
async fn an_origin_that_ends_its_answer_by_closing_is_understood() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    client
        .send(format!(
            "GET http://origin.test:{}/ HTTP/1.1\r\n\r\n",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    upstream.message().await;
    upstream.send("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
    drop(upstream);
    let answer = client.message().await;
    assert!(answer.contains("\r\nuntil the end\r\n"), "{answer:?}");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
}

#[tokio::test]
async fn an_answer_to_head_has_a_length_and_no_body() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    let request = format!("HEAD http://origin.test:{}/ HTTP/1.1\r\n\r\n", origin.port);
    client.send(&request).await;
    let mut upstream = origin.accept().await;
    for _ in 0..2 {
        upstream.message().await;
        upstream
            .send("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n")
            .await;
        assert_eq!(
            client.head().await,
            "HTTP/1.1 200 OK\r\ncontent-length: 7\r\ndate: D\r\n\r\n"
        );
        client.send(&request).await;
    }
}

#[tokio::test]
async fn answers_without_a_body_keep_the_connection() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    let request = format!("GET http://origin.test:{}/ HTTP/1.1\r\n\r\n", origin.port);
    client.send(&request).await;
    let mut upstream = origin.accept().await;
    for status in ["204 No Content", "304 Not Modified"] {
        upstream.message().await;
        upstream
            .send(format!("HTTP/1.1 {status}\r\nx: y\r\n\r\n"))
            .await;
        let head = client.head().await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}\r\nx: y\r\n")),
            "{head:?}"
        );
        client.send(&request).await;
    }
}

#[tokio::test]
async fn an_interim_answer_does_not_end_the_exchange() {
    let answer = format!("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n{OK}");
    let request = "GET http://origin.test:PORT/ HTTP/1.1\r\n\r\n";
    assert_eq!(through(request, &answer).await.1, OK_DATED);
}

#[tokio::test]
async fn a_large_body_streams_both_ways() {
    const LENGTH: usize = 8 * 1024 * 1024;
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    let body: Vec<u8> = (0..LENGTH).map(|at| (at % 251) as u8).collect();
    client
        .send(format!(
            "POST http://origin.test:{}/ HTTP/1.1\r\ncontent-length: {LENGTH}\r\n\r\n",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    upstream.head().await;
    // The head arrived before the body was sent, so nothing is gathered.
    let (got, ()) = tokio::join!(upstream.exactly(LENGTH), client.send(&body));
    assert!(got == body, "the upload was altered");
    upstream
        .send(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n"
        ))
        .await;
    client.head().await;
    let (got, ()) = tokio::join!(client.exactly(LENGTH), upstream.send(&body));
    assert!(got == body, "the download was altered");
}

#[tokio::test]
async fn an_origin_that_breaks_off_its_body_does_not_look_complete() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    for length in ["content-length: 100\r\n", "transfer-encoding: chunked\r\n"] {
        let mut client = world.http().await;
        client
            .send(format!(
                "GET http://origin.test:{}/ HTTP/1.1\r\n\r\n",
                origin.port
            ))
            .await;
        let mut upstream = origin.accept().await;
        upstream.message().await;
        upstream
            .send(format!("HTTP/1.1 200 OK\r\n{length}\r\n5\r\nhello\r\n"))
            .await;
        drop(upstream);
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head:?}");
        let body = client.rest().await;
        assert!(
            !body.ends_with(b"0\r\n\r\n") && body.len() < 100,
            "{body:?}"
        );
    }
}

#[tokio::test]
async fn failures_of_the_origin_are_502() {
    let failed = "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain\r\ncontent-length: 16\r\ndate: D\r\n\r\nupstream failure";
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let request = format!("GET http://origin.test:{}/ HTTP/1.1\r\n\r\n", origin.port);
    // It closes, resets, or speaks something else.
    for case in 0..3 {
        let mut client = world.http().await;
        client.send(&request).await;
        let mut upstream = origin.accept().await;
        upstream.message().await;
        match case {
            0 => drop(upstream),
            1 => upstream.reset(),
            _ => upstream.send("SSH-2.0-OpenSSH\r\n\r\n").await,
        }
        assert_eq!(client.message().await, failed);
    }
    // Nobody listens there.
    drop(origin);
    assert_eq!(world.answer(&request).await, failed);
    assert_eq!(world.history(), Vec::<String>::new());
}

#[tokio::test]
async fn a_silent_origin_is_504() {
    let world = Setup::usual()
        .limits(|limits| limits.response_head = std::time::Duration::from_millis(20))
        .start()
        .await;
    let origin = Origin::start().await;
    assert_eq!(
        world
            .answer(format!(
                "GET http://origin.test:{}/ HTTP/1.1\r\n\r\n",
                origin.port
            ))
            .await,
        "HTTP/1.1 504 Gateway Timeout\r\ncontent-type: text/plain\r\ncontent-length: 16\r\ndate: D\r\n\r\nupstream failure"
    );
}

/// What `Expect: 100-continue` comes to: the origin's word decides.
async fn expecting(world: &World, origin: &Origin) -> (crate::harness::Wire, crate::harness::Wire) {
    let mut client = world.http().await;
    client
        .send(format!(
            "POST http://origin.test:{}/ HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    let head = upstream.head().await;
    assert!(head.contains("\r\nexpect: 100-continue\r\n"), "{head:?}");
    (client, upstream)
}

#[tokio::test]
async fn a_client_is_told_to_continue_when_the_origin_says_so() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let (mut client, mut upstream) = expecting(&world, &origin).await;
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body").await;
    assert_eq!(upstream.exactly(4).await, b"body");
    upstream.send(OK).await;
    assert_eq!(client.message().await, OK_DATED);
}

#[tokio::test]
async fn an_origin_that_does_not_want_the_body_is_heard_at_once() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let (mut client, mut upstream) = expecting(&world, &origin).await;
    upstream
        .send("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n")
        .await;
    let head = client.head().await;
    assert!(
        head.starts_with("HTTP/1.1 417 Expectation Failed\r\n"),
        "{head:?}"
    );
    upstream.closed().await;
}

#[tokio::test]
async fn an_origin_that_says_nothing_gets_the_body_after_a_while() {
    let world = Setup::usual()
        .limits(|limits| limits.expect_continue = std::time::Duration::from_millis(10))
        .start()
        .await;
    let origin = Origin::start().await;
    let (mut client, mut upstream) = expecting(&world, &origin).await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body").await;
    assert_eq!(upstream.exactly(4).await, b"body");
    upstream.send(OK).await;
    assert_eq!(client.message().await, OK_DATED);
}
