//! Origins that fail, lie and stall: the client reads why, inside of its TLS, and nothing is ever downgraded.

use std::time::Duration;

use http::{StatusCode, Version};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};

use crate::harness::http2::{
    END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, RST_STREAM, SETTINGS, block,
};
use crate::harness::site::{Browser, frames as frames_of_body, text};
use crate::harness::tls::{Certified, Client, Issuer};
use crate::harness::{Origin, Setup, World};

/// The client's answer where the origin shows this certificate.
async fn answer_for(
    world: &World,
    certified: &Certified,
    version: Version,
) -> (StatusCode, String) {
    let origin = Origin::start().await;
    let origin_side = async {
        let refused = certified.accept(origin.accept().await).await;
        assert!(refused.is_err(), "the certificate was accepted");
        // And once more for the request, in case it is dialled again.
        loop {
            let _ = certified.accept(origin.accept().await).await;
        }
    };
    let client_side = async {
        let mut browser = Browser::open(world, origin.port, version).await;
        let answer = browser.get(origin.port, "/").await;
        (answer.status(), text(answer.into_body()).await)
    };
    tokio::select! {
        answer = client_side => answer,
        () = origin_side => unreachable!("the origin waits for ever"),
    }
}

#[tokio::test]
async fn a_bad_certificate_is_a_502_that_says_which() {
    let issuer = Issuer::new();
    let world = Setup::intercepting(&issuer).start().await;
    let params = |from: i32, to: i32| {
        let mut params = CertificateParams::new(["origin.test".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        params
    };
    let key = KeyPair::generate().unwrap();
    let own = params(2000, 2100).self_signed(&key).unwrap();
    let mut authority = params(2000, 2100);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let protocols = &["h2", "http/1.1"];
    for (certified, expected) in [
        (
            issuer.sign(params(2001, 2002), protocols),
            "certificate expired",
        ),
        (
            issuer.sign(params(2090, 2091), protocols),
            "certificate not valid yet",
        ),
        (
            issuer.certify("other.test", protocols),
            "certificate is for another name",
        ),
        (
            Issuer::new().certify("origin.test", protocols),
            "certificate not trusted",
        ),
        (
            Certified::new(own.der().clone(), &key, protocols),
            "certificate not trusted",
        ),
        (issuer.sign(authority, protocols), "certificate not trusted"),
    ] {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let (status, text) = answer_for(&world, &certified, version).await;
            assert_eq!(status, StatusCode::BAD_GATEWAY, "{expected}");
            assert_eq!(text, format!("mitm upstream error: {expected}"));
        }
    }
    assert_eq!(world.history(), [""; 0], "a failure is no refusal");
}

#[tokio::test]
async fn a_handshake_that_is_cut_anywhere_is_a_502() {
    let issuer = Issuer::new();
    let world = Setup::intercepting(&issuer).start().await;
    // What an origin says first; a record cut at any byte, and bytes that are no record.
    let hello = [
        &[22, 3, 3, 0, 122, 2, 0, 0, 118, 3, 3][..],
        &[7; 32],
        &[0, 0x13, 0x01, 0, 0, 46, 0, 43, 0, 2, 3, 4],
    ]
    .concat();
    let mut cases: Vec<Vec<u8>> = (0..hello.len())
        .map(|length| hello[..length].to_vec())
        .collect();
    cases.push(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    cases.push(vec![21, 3, 3, 0, 2, 2, 40]);
    for said in cases {
        let origin = Origin::start().await;
        let origin_side = async {
            loop {
                let mut wire = origin.accept().await;
                // The hello first, so that no reset overtakes what is said.
                wire.exactly(5).await;
                wire.send(&said).await;
                wire.finish().await;
                wire.rest_or_reset().await;
            }
        };
        let client_side = async {
            let mut client = Client::default().open(&world, origin.port).await;
            client
                .send(format!(
                    "GET / HTTP/1.1\r\nHost: origin.test:{}\r\n\r\n",
                    origin.port
                ))
                .await;
            client.message().await
        };
        let answer = tokio::select! {
            answer = client_side => answer,
            () = origin_side => unreachable!("the origin waits for ever"),
        };
        assert!(
            answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"),
            "{said:?}: {answer}"
        );
        assert!(
            answer.ends_with("\r\n\r\nmitm upstream error: TLS handshake failed"),
            "{said:?}: {answer}"
        );
    }
}

#[tokio::test]
async fn an_origin_that_stalls_in_its_handshake_is_a_504() {
    let issuer = Issuer::new();
    let world = Setup::intercepting(&issuer)
        .limits(|limits| limits.handshake = Duration::from_millis(500))
        .start()
        .await;
    let origin = Origin::start().await;
    let client_side = async {
        let mut client = Client::default().open(&world, origin.port).await;
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: origin.test:{}\r\n\r\n",
                origin.port
            ))
            .await;
        client.message().await
    };
    let silent = async {
        let mut held = Vec::new();
        loop {
            held.push(origin.accept().await);
        }
    };
    let answer = tokio::select! {
        answer = client_side => answer,
        () = silent => unreachable!("the origin waits for ever"),
    };
    assert!(
        answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"),
        "{answer}"
    );
}

/// Answers the first request over HTTP/1.1 with these bytes, then closes.
async fn over_http1(answer: &'static [u8], limit: Duration) -> String {
    let issuer = Issuer::new();
    let world = Setup::intercepting(&issuer)
        .limits(|limits| limits.response_head = limit)
        .start()
        .await;
    let origin = Origin::start().await;
    let certified = issuer.certify("origin.test", &["http/1.1"]);
    let origin_side = async {
        loop {
            let mut upstream = certified.next(&origin).await;
            upstream.head().await;
            upstream.send(answer).await;
            if answer.is_empty() {
                upstream.rest_or_reset().await;
            }
        }
    };
    let client_side = async {
        let mut client = Client::default().open(&world, origin.port).await;
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: origin.test:{}\r\n\r\n",
                origin.port
            ))
            .await;
        client.message().await
    };
    tokio::select! {
        answer = client_side => answer,
        () = origin_side => unreachable!("the origin waits for ever"),
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_a_502() {
    for answer in [
        &b"nonsense\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: \0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let got = over_http1(answer, Duration::from_secs(60)).await;
        assert!(
            got.starts_with("HTTP/1.1 502 Bad Gateway\r\n"),
            "{answer:?}: {got}"
        );
        assert!(
            got.ends_with("\r\n\r\nmitm upstream error"),
            "{answer:?}: {got}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_504() {
    let got = over_http1(b"", Duration::from_millis(300)).await;
    assert!(got.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{got}");
}

/// What becomes of a request to an origin of HTTP/2 that answers with these frames. It is asked as often as it is tried.
async fn over_http2(frames: &[Frame]) -> Result<(StatusCode, String), String> {
    let issuer = Issuer::new();
    let world = Setup::intercepting(&issuer)
        .limits(|limits| limits.response_head = Duration::from_millis(500))
        .start()
        .await;
    let origin = Origin::start().await;
    let certified = issuer.certify("origin.test", &["h2"]);
    let origin_side = async {
        loop {
            let mut upstream = certified.next(&origin).await;
            upstream.await_http2().await;
            upstream.next_of(&[HEADERS]).await;
            for frame in frames {
                let bytes = frame.bytes();
                let _ = tokio::io::AsyncWriteExt::write_all(&mut upstream.stream, &bytes).await;
            }
            let _ = tokio::io::AsyncWriteExt::flush(&mut upstream.stream).await;
            upstream.rest_or_reset().await;
        }
    };
    let client_side = async {
        let mut browser = Browser::open(&world, origin.port, Version::HTTP_2).await;
        let request = http::Request::get("/").body(frames_of_body([])).unwrap();
        let answer = browser.try_ask(origin.port, request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await;
        body.map(|body| {
            (
                status,
                String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            )
        })
        .map_err(|error| error.to_string())
    };
    tokio::select! {
        answer = client_side => answer,
        () = origin_side => unreachable!("the origin waits for ever"),
    }
}

fn head(status: &str, flags: u8) -> Frame {
    Frame::new(
        HEADERS,
        END_HEADERS | flags,
        1,
        block(&[(":status", status)]),
    )
}

#[tokio::test]
async fn a_stream_that_is_reset_before_its_answer_is_a_502() {
    for code in [0_u32, 1, 2, 5, 7, 8, 11] {
        let reset = Frame::new(RST_STREAM, 0, 1, code.to_be_bytes());
        let (status, text) = over_http2(&[reset]).await.unwrap();
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{code}");
        assert_eq!(text, "mitm upstream error");
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_in_its_body_is_an_error_for_the_client() {
    let cut = over_http2(&[
        head("200", 0),
        Frame::new(0, 0, 1, "part"),
        Frame::new(RST_STREAM, 0, 1, 2_u32.to_be_bytes()),
    ])
    .await;
    assert!(
        cut.is_err(),
        "half an answer passes for a whole one: {cut:?}"
    );
}

#[tokio::test]
async fn an_origin_that_says_farewell_is_a_502_at_most() {
    let goaway = |last: u32| {
        let payload = [last.to_be_bytes(), 0_u32.to_be_bytes()].concat();
        Frame::new(GOAWAY, 0, 0, payload)
    };
    // It will not answer this stream, nor the next.
    let (status, _) = over_http2(&[goaway(0)]).await.unwrap();
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    // It will answer this one, and does.
    let answered = over_http2(&[goaway(1), head("200", END_STREAM)]).await;
    assert_eq!(answered, Ok((StatusCode::OK, String::new())));
}

#[tokio::test]
async fn frames_that_break_the_protocol_are_a_502() {
    for frames in [
        vec![Frame::new(SETTINGS, 0, 1, [])],
        vec![Frame::new(SETTINGS, 0, 0, [0; 5])],
        vec![Frame::new(0, 0, 0, "data on no stream")],
        vec![Frame::new(0, 0, 1, "data before a head")],
        vec![head("abc", END_STREAM)],
        vec![head("101", END_STREAM)],
        vec![Frame::new(HEADERS, END_HEADERS | END_STREAM, 1, [0xff; 40])],
        // A length that HTTP/1.1 would not take.
        vec![Frame::new(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            block(&[(":status", "200"), ("content-length", "")]),
        )],
        // A push, which nobody has allowed.
        vec![Frame::new(5, END_HEADERS, 1, [0, 0, 0, 2])],
        vec![Frame::new(9, END_HEADERS, 1, [])],
    ] {
        let (status, text) = over_http2(&frames).await.unwrap();
        assert!(
            status == StatusCode::BAD_GATEWAY || status == StatusCode::GATEWAY_TIMEOUT,
            "{frames:?}: {status} {text}"
        );
    }
}

#[tokio::test]
async fn interim_answers_of_http2_are_taken_away() {
    let answer = over_http2(&[
        head("103", 0),
        head("200", 0),
        Frame::new(0, END_STREAM, 1, "ok"),
    ])
    .await;
    assert_eq!(answer, Ok((StatusCode::OK, "ok".to_owned())));
}
