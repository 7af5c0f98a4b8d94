//! Every version of HTTP with every other, and what can be asked of each. In limited mode, and in full mode with
//! interception, which the later hooks need.

use http::{Request, StatusCode, Version};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::site::{Browser, LARGE, PARTS, Site, frames, text};
use crate::harness::tls::{Client, Issuer};
use crate::harness::{Setup, World, within};

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

/// A world and an origin that speaks these protocols.
async fn stage(protocols: &[&str], change: impl FnOnce(Setup) -> Setup) -> (World, Site) {
    let issuer = Issuer::new();
    let site = Site::start(issuer.certify("origin.test", protocols)).await;
    (change(Setup::intercepting(&issuer)).start().await, site)
}

fn protocols(version: Version) -> &'static [&'static str] {
    if version == Version::HTTP_2 {
        &["h2"]
    } else {
        &["http/1.1"]
    }
}

#[tokio::test]
async fn every_version_reads_from_every_other() {
    for (of_client, of_origin) in pairs() {
        let row = format!("{of_client:?} client, {of_origin:?} origin");
        let (world, site) = stage(protocols(of_origin), |setup| setup).await;
        let mut browser = Browser::open(&world, site.port, of_client).await;
        let small = browser.get(site.port, "/small").await;
        assert_eq!(
            (small.status(), small.version()),
            (StatusCode::OK, of_client),
            "{row}"
        );
        assert_eq!(small.headers()["content-length"], "5", "{row}");
        assert_eq!(text(small.into_body()).await, "small", "{row}");
        let chunked = browser.get(site.port, "/chunked").await;
        assert_eq!(chunked.headers().get("content-length"), None, "{row}");
        assert_eq!(text(chunked.into_body()).await, PARTS.concat(), "{row}");
        let head = Request::head("/small").body(frames([])).unwrap();
        let head = browser.ask(site.port, head).await;
        assert_eq!(head.headers()["content-length"], "5", "{row}");
        assert_eq!(text(head.into_body()).await, "", "{row}");
        let trailers = browser.get(site.port, "/trailers").await.into_body();
        let trailers = within("a body", trailers.collect()).await.unwrap();
        // Trailers are announced in HTTP/1.1, and pass where they are.
        assert_eq!(trailers.trailers().unwrap()["x-sum"], "42", "{row}");
        let options = Request::options("/small").body(frames([])).unwrap();
        assert_eq!(
            browser.ask(site.port, options).await.status(),
            StatusCode::OK,
            "{row}"
        );
        for asked in site.asked() {
            assert_eq!(asked.version, of_origin, "{row}");
            assert_eq!(asked.host, format!("origin.test:{}", site.port), "{row}");
        }
        assert_eq!(world.history(), [""; 0], "{row}");
    }
}

#[tokio::test]
async fn large_bodies_stream_between_all_versions() {
    for (of_client, of_origin) in pairs() {
        let (world, site) = stage(protocols(of_origin), |setup| setup).await;
        let mut browser = Browser::open(&world, site.port, of_client).await;
        let mut body = browser.get(site.port, "/large").await.into_body();
        let mut got = 0;
        while let Some(frame) = within("a part", body.frame()).await {
            got += frame.unwrap().data_ref().map_or(0, bytes::Bytes::len);
        }
        assert_eq!(got, LARGE, "{of_client:?} client, {of_origin:?} origin");
    }
}

#[tokio::test]
async fn writing_is_refused_in_every_version() {
    for (of_client, of_origin) in pairs() {
        let (world, site) = stage(protocols(of_origin), |setup| setup).await;
        let mut browser = Browser::open(&world, site.port, of_client).await;
        for method in ["POST", "PUT", "DELETE", "TRACE", "PROPFIND"] {
            let request = Request::builder().method(method).uri("/count");
            let request = request.body(frames([Frame::data("body".into())])).unwrap();
            let refused = browser.ask(site.port, request).await;
            assert_eq!(refused.status(), StatusCode::FORBIDDEN);
            assert_eq!(
                refused.headers()["x-proxy-error"],
                "blocked-by-method-policy"
            );
            assert_eq!(
                refused.headers()["proxy-status"],
                r#"codex-network-proxy; error=http_request_denied; details="method_not_allowed; mode = \"limited\" permits GET, HEAD and OPTIONS without upgrades, and no SOCKS5""#
            );
            assert_eq!(refused.headers()["content-type"], "text/plain");
            assert_eq!(refused.headers().get("connection"), None);
            assert_eq!(
                text(refused.into_body()).await,
                "Codex blocked this request: method not allowed in limited mode."
            );
            if of_client == Version::HTTP_11 {
                // Its body was not read, so the connection ends.
                browser = Browser::open(&world, site.port, of_client).await;
            }
        }
        assert_eq!(site.asked(), []);
        assert_eq!(world.history().len(), 5);
    }
}

#[tokio::test]
async fn many_streams_share_a_tunnel() {
    for of_origin in VERSIONS {
        let (world, site) = stage(protocols(of_origin), |setup| setup).await;
        let Browser::Http2(sender) = Browser::open(&world, site.port, Version::HTTP_2).await else {
            panic!("HTTP/2 was asked for");
        };
        let mut streams = tokio::task::JoinSet::new();
        for number in 0..200 {
            let mut browser = Browser::Http2(sender.clone());
            let port = site.port;
            streams.spawn(async move {
                let path = if number % 2 == 0 {
                    "/chunked"
                } else {
                    "/small"
                };
                let answer = browser.get(port, path).await;
                (number, text(answer.into_body()).await)
            });
        }
        while let Some(stream) = within("a stream", streams.join_next()).await {
            let (number, text) = stream.unwrap();
            let expected = if number % 2 == 0 {
                PARTS.concat()
            } else {
                "small".to_owned()
            };
            assert_eq!(text, expected);
        }
        assert_eq!(site.asked().len(), 200);
    }
}

/// What the client is offered is what the origin speaks.
#[tokio::test]
async fn the_client_is_offered_what_the_origin_speaks() {
    let both: &[&str] = &["h2", "http/1.1"];
    for (of_origin, of_client, expected) in [
        (both, &["h2", "http/1.1"][..], Some("h2")),
        (both, &["http/1.1", "h2"], Some("h2")),
        (both, &["http/1.1"], Some("http/1.1")),
        (both, &["h2"], Some("h2")),
        (both, &[], None),
        (&["http/1.1"], &["h2", "http/1.1"], Some("http/1.1")),
        (&["http/1.1"], &["h2"], Some("h2")),
        (&[], &["h2", "http/1.1"], Some("http/1.1")),
        (&["h2"], &["h2", "http/1.1"], Some("h2")),
        (&["h2"], &["http/1.1"], Some("http/1.1")),
        (&["h2"], &[], None),
    ] {
        let row = format!("origin {of_origin:?}, client {of_client:?}");
        let (world, site) = stage(of_origin, |setup| setup).await;
        // Once with a new connection to the origin, once with a kept one.
        for _ in 0..2 {
            let client = Client::speaking(of_client).open(&world, site.port).await;
            let agreed = client.stream.get_ref().1.alpn_protocol();
            assert_eq!(agreed, expected.map(str::as_bytes), "{row}");
        }
    }
}

#[tokio::test]
async fn cookies_in_pieces_are_one_field_for_an_old_origin() {
    let (world, site) = stage(&["http/1.1"], |setup| setup).await;
    let mut browser = Browser::open(&world, site.port, Version::HTTP_2).await;
    let request = Request::get("/small")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(frames([]))
        .unwrap();
    browser.ask(site.port, request).await;
    let asked = site.asked();
    let cookies: Vec<_> = asked[0].headers.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["a=1; b=2"]);
}

#[tokio::test]
async fn full_mode_writes_as_well() {
    for (of_client, of_origin) in pairs() {
        let row = format!("{of_client:?} client, {of_origin:?} origin");
        let (world, site) = stage(protocols(of_origin), Setup::intercept_always).await;
        let mut browser = Browser::open(&world, site.port, of_client).await;
        for method in ["POST", "PUT", "DELETE"] {
            let body = frames([Frame::data("first".into()), Frame::data("second".into())]);
            let request = Request::builder().method(method).uri("/count");
            let answer = browser.ask(site.port, request.body(body).unwrap()).await;
            assert_eq!(text(answer.into_body()).await, "11 bytes", "{row}");
        }
        let asked = site.asked();
        assert_eq!(asked.len(), 3, "{row}");
        assert_eq!(world.history(), [""; 0], "{row}");
        assert!(
            world.events().last().unwrap().starts_with("https allow "),
            "{row}"
        );
    }
}

/// What gRPC is made of: a stream each way, `te: trailers`, and trailers at the end of both.
#[tokio::test]
async fn grpc_passes_in_full_mode() {
    let (world, site) = stage(&["h2"], Setup::intercept_always).await;
    let mut browser = Browser::open(&world, site.port, Version::HTTP_2).await;
    let mut status = http::HeaderMap::new();
    status.insert("x-from-client", "yes".parse().unwrap());
    let body = frames([Frame::data("message".into()), Frame::trailers(status)]);
    let request = Request::post("/count")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let answer = browser.ask(site.port, request.body(body).unwrap()).await;
    let answer = within("an answer", answer.into_body().collect())
        .await
        .unwrap();
    assert_eq!(answer.trailers().unwrap()["x-from-client"], "yes");
    let asked = site.asked();
    assert_eq!(asked[0].headers["te"], "trailers");
    assert_eq!(asked[0].headers["content-type"], "application/grpc");
}

#[tokio::test]
async fn websockets_pass_in_full_mode() {
    let (world, site) = stage(&["h2", "http/1.1"], Setup::intercept_always).await;
    let mut browser = Browser::open(&world, site.port, Version::HTTP_11).await;
    let request = Request::get("/socket")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(frames([]))
        .unwrap();
    let answer = browser.ask(site.port, request).await;
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    let upgraded = within("the stream", hyper::upgrade::on(answer))
        .await
        .unwrap();
    let mut stream = TokioIo::new(upgraded);
    stream.write_all(b"frame").await.unwrap();
    stream.flush().await.unwrap();
    let mut frame = [0; 5];
    within("a frame", stream.read_exact(&mut frame))
        .await
        .unwrap();
    assert_eq!(&frame, b"frame");
    // It was spoken in the one version that knows it.
    assert_eq!(site.asked()[0].version, Version::HTTP_11);
}

fn pairs() -> impl Iterator<Item = (Version, Version)> {
    VERSIONS
        .into_iter()
        .flat_map(|of_client| VERSIONS.map(|of_origin| (of_client, of_origin)))
}
