//! What a hostile client can send inside of an opened tunnel, as frames of HTTP/2: requests that two programs could read
//! differently, and floods. The origin speaks HTTP/1.1, so that whatever is smuggled would be seen as bytes.

use std::collections::BTreeSet;

use crate::harness::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, RST_STREAM,
    SETTINGS, block,
};
use crate::harness::tls::{Certified, Client, Issuer, Opened};
use crate::harness::{Origin, Setup, Wire, World};

struct Stage {
    world: World,
    certified: Certified,
}

/// An opened tunnel with both its ends. Its origin is its own, so that nothing of another tunnel is used again.
struct Ends {
    client: Opened,
    upstream: OriginSide,
    host: String,
    /// Kept, so that what is dialled again waits for ever.
    origin: Origin,
}

type OriginSide = Wire<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>;

impl Stage {
    async fn set() -> Self {
        let issuer = Issuer::new();
        Self {
            world: Setup::intercepting(&issuer).start().await,
            certified: issuer.certify("origin.test", &["http/1.1"]),
        }
    }

    /// A client of HTTP/2, and the origin's end.
    async fn open(&self) -> Ends {
        let origin = Origin::start().await;
        let (mut client, upstream) = tokio::join!(
            Client::speaking(&["h2"]).open(&self.world, origin.port),
            self.certified.next(&origin)
        );
        client.begin_http2().await;
        self.world.events();
        Ends {
            client,
            upstream,
            host: format!("origin.test:{}", origin.port),
            origin,
        }
    }
}

/// The fields of a request.
#[derive(Clone, Debug)]
struct Head(Vec<(String, String)>);

impl Head {
    /// A good one.
    fn for_host(host: &str) -> Self {
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", host),
            (":path", "/"),
        ];
        Self(
            fields
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
        )
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        let field = self.0.iter_mut().find(|(field, _)| field == name);
        value.clone_into(&mut field.expect("a field of that name").1);
        self
    }

    fn add(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.retain(|(field, _)| field != name);
        self
    }

    fn block(&self) -> Vec<u8> {
        let fields: Vec<(&str, &str)> = self
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        block(&fields)
    }

    /// The whole request, without a body.
    fn on(&self, stream: u32) -> Frame {
        Frame::new(HEADERS, END_STREAM | END_HEADERS, stream, self.block())
    }
}

/// Requests that are malformed (RFC 9113 section 8.1.1).
fn malformed(host: &str) -> Vec<Head> {
    let good = || Head::for_host(host);
    let mut rows = vec![
        good().without(":method"),
        good().without(":scheme"),
        good().without(":path"),
        good().set(":path", ""),
        good().add(":foo", "bar"),
        good().add(":status", "200"),
        good().add(":method", "POST"),
        good().add(":path", "/b"),
        good().add(":authority", "evil.test"),
        good().add(":scheme", "http"),
        good()
            .without(":path")
            .add("accept", "*/*")
            .add(":path", "/"),
        good()
            .set(":method", "CONNECT")
            .add(":protocol", "websocket"),
    ];
    for (name, value) in [
        ("te", "gzip"),
        ("connection", "close"),
        ("connection", "host"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("Accept", "upper case"),
        ("a b", "space"),
        ("a:b", "colon"),
        ("a\r\nb", "a line in a name"),
        ("", "no name"),
        ("x", "1\r\nGET /smuggled HTTP/1.1"),
        ("x", "1\n"),
        ("x", "1\r"),
        ("x", "1\0"),
        ("content-length", "5"),
        ("content-length", "+0"),
        ("content-length", "0, 0"),
        ("content-length", ""),
    ] {
        rows.push(good().add(name, value));
    }
    for (name, value) in [
        (":path", "/a b"),
        (":path", "/ HTTP/1.1\r\nHost: evil.test\r\n\r\nGET /"),
        (":path", "/\r\n"),
        (":path", "/\n"),
        (":path", "/\0"),
        (":path", "a"),
        (":path", "https://evil.test/"),
        (":method", "G T"),
        (":method", "GET / HTTP/1.1\r\n\r\nPOST"),
        (":method", ""),
        (":method", "G\0T"),
        (":authority", "evil.test\r\nx: y"),
        (":authority", "origin.test /"),
        (":authority", "origin\0.test"),
        (":authority", "u@origin.test"),
        (":authority", "ori gin.test"),
    ] {
        rows.push(good().set(name, value));
    }
    rows
}

#[tokio::test]
async fn a_malformed_request_never_reaches_an_origin() {
    let stage = Stage::set().await;
    let rows = malformed("").len();
    for row in 0..rows {
        let Ends {
            mut client,
            mut upstream,
            host,
            origin: _origin,
        } = stage.open().await;
        let head = malformed(&host).swap_remove(row);
        client.send_frame(&head.on(1)).await;
        // Reset, or answered by us with an error, or the whole connection is given up.
        let frame = client.next_of(&[RST_STREAM, GOAWAY, HEADERS]).await;
        let said = format!("{head:?}: {frame:?}");
        if frame.kind == HEADERS {
            assert!(is_client_error(&frame), "{said}");
        }
        for event in stage.world.events() {
            assert!(!event.contains(" allow "), "{said}: {event}");
        }
        stage.world.history();
        if frame.kind == GOAWAY {
            continue;
        }
        // The next request is the first that the origin sees.
        client
            .send_frame(&Head::for_host(&host).set(":path", "/good").on(3))
            .await;
        let first = upstream.head().await;
        assert!(
            first.starts_with("GET /good HTTP/1.1\r\n"),
            "{said}: {first}"
        );
    }
}

/// Whether a header block begins with a status of 4xx: from the static table, or as a literal behind its name.
fn is_client_error(frame: &Frame) -> bool {
    match frame.payload.as_slice() {
        // 400 and 404 have entries of their own (RFC 7541 appendix A).
        [0x8c | 0x8d, ..] => true,
        // `:status` by its index, then the value, perhaps in Huffman coding, in which `4` is 011010.
        [0x08 | 0x48, length, value, ..] if length & 0x80 != 0 => value >> 2 == 0b01_1010,
        [0x08 | 0x48, 3, b'4', ..] => true,
        _ => false,
    }
}

#[tokio::test]
async fn another_authority_is_refused_whatever_names_it() {
    let stage = Stage::set().await;
    let changes: [fn(Head, &str) -> Head; 5] = [
        |head, _| head.set(":authority", "evil.test"),
        |head, _| head.set(":authority", "origin.test:1"),
        |head, _| head.add("host", "evil.test"),
        |head, host| head.set(":authority", "evil.test").add("host", host),
        |head, _| head.set(":scheme", "http"),
    ];
    for change in changes {
        let Ends {
            mut client,
            mut upstream,
            host,
            origin: _origin,
        } = stage.open().await;
        let good = || Head::for_host(&host);
        let head = change(good(), &host);
        client.send_frame(&head.on(1)).await;
        let frame = client.next_of(&[RST_STREAM, GOAWAY, HEADERS]).await;
        assert!(is_client_error(&frame), "{head:?}: {frame:?}");
        let events = stage.world.events();
        assert_eq!(events.len(), 1, "{head:?}: {events:?}");
        assert!(
            events[0].contains("deny origin.test:"),
            "{head:?}: {events:?}"
        );
        assert!(
            events[0].contains("reason=policy_denied"),
            "{head:?}: {events:?}"
        );
        client.send_frame(&good().set(":path", "/good").on(3)).await;
        let first = upstream.head().await;
        assert!(
            first.starts_with("GET /good HTTP/1.1\r\n"),
            "{head:?}: {first}"
        );
    }
}

#[tokio::test]
async fn connect_inside_is_refused() {
    let stage = Stage::set().await;
    for own in [false, true] {
        let Ends {
            mut client, host, ..
        } = stage.open().await;
        let inner = if own { host.as_str() } else { "evil.test:443" };
        let request = Frame::new(
            HEADERS,
            END_HEADERS,
            1,
            block(&[(":method", "CONNECT"), (":authority", inner)]),
        );
        client.send_frame(&request).await;
        let frame = client.next_of(&[RST_STREAM, GOAWAY, HEADERS]).await;
        assert!(is_client_error(&frame), "{frame:?}");
        let events = stage.world.events();
        assert_eq!(events.len(), 1, "{events:?}");
        assert!(
            events[0].contains("method_not_allowed method=CONNECT"),
            "{events:?}"
        );
    }
}

#[tokio::test]
async fn a_head_refusal_has_no_body() {
    let stage = Stage::set().await;
    let Ends { mut client, .. } = stage.open().await;
    client
        .send_frame(&Head::for_host("evil.test").set(":method", "HEAD").on(1))
        .await;
    let frame = client.next_of(&[RST_STREAM, GOAWAY, HEADERS, DATA]).await;
    assert_eq!(frame.kind, HEADERS);
    assert_eq!(frame.flags & END_STREAM, END_STREAM);
}

/// After a flood somebody else is served, and what the flood cost is over.
async fn others_are_served(stage: &Stage) {
    let Ends {
        mut client,
        mut upstream,
        host,
        origin: _origin,
    } = stage.open().await;
    client.send_frame(&Head::for_host(&host).on(1)).await;
    upstream.head().await;
    upstream
        .send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    let frame = client.next_of(&[RST_STREAM, GOAWAY, HEADERS]).await;
    assert_eq!((frame.kind, frame.payload[0]), (HEADERS, 0x88));
}

/// Floods until the proxy gives the connection up.
async fn flooded<I: Iterator<Item = Frame>>(
    stage: &Stage,
    what: &str,
    frames: impl FnOnce(Head) -> I,
) {
    let Ends {
        client,
        host,
        upstream: _upstream,
        origin: _origin,
    } = stage.open().await;
    let frames = frames(Head::for_host(&host));
    let (reader, writer) = tokio::io::split(client.into_stream());
    // What comes back is read all the time, so that the flood is not stopped by a full window.
    let heard = tokio::spawn(async move {
        let mut reader = reader;
        let mut bytes = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut bytes).await;
        bytes
    });
    let mut writer = writer;
    let mut taken = true;
    for frame in frames {
        let sent = tokio::io::AsyncWriteExt::write_all(&mut writer, &frame.bytes()).await;
        if sent.is_err() {
            taken = false;
            break;
        }
    }
    if taken {
        let _ = tokio::io::AsyncWriteExt::flush(&mut writer).await;
    }
    let bytes = crate::harness::within(what, heard).await.unwrap();
    let kinds = kinds(&bytes);
    assert!(kinds.contains(&GOAWAY) || !taken, "{what}: {kinds:?}");
    others_are_served(stage).await;
}

/// Which kinds of frames these bytes hold.
fn kinds(mut bytes: &[u8]) -> BTreeSet<u8> {
    let mut kinds = BTreeSet::new();
    while let [a, b, c, kind, rest @ ..] = bytes {
        kinds.insert(*kind);
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        bytes = rest.get(5 + length..).unwrap_or_default();
    }
    kinds
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let stage = Stage::set().await;
    flooded(&stage, "rapid resets", |head| {
        (0..20_000).flat_map(move |number| {
            let stream = 2 * number + 1;
            let reset = Frame::new(RST_STREAM, 0, stream, 8_u32.to_be_bytes());
            [head.on(stream), reset]
        })
    })
    .await;
}

#[tokio::test]
async fn endless_continuation_ends_the_connection() {
    let stage = Stage::set().await;
    for (what, piece) in [
        ("large", block(&[("x-filler", &"y".repeat(8_000))])),
        ("empty", Vec::new()),
    ] {
        flooded(&stage, what, |head| {
            let first = Frame::new(HEADERS, END_STREAM, 1, head.block());
            let rest = move || Frame::new(CONTINUATION, 0, 1, piece.clone());
            std::iter::once(first).chain(std::iter::repeat_with(rest).take(100_000))
        })
        .await;
    }
}

#[tokio::test]
async fn a_huge_head_is_refused() {
    let stage = Stage::set().await;
    let value = "y".repeat(8_000);
    let Ends {
        mut client,
        upstream: _upstream,
        host,
        origin: _origin,
    } = stage.open().await;
    let head = (0..16).fold(Head::for_host(&host), |head, number| {
        head.add(&format!("x-{number}"), &value)
    });
    let head = head.block();
    let mut pieces = head.chunks(16_000);
    let first = pieces.next().unwrap();
    client
        .send_frame(&Frame::new(HEADERS, END_STREAM, 1, first))
        .await;
    let pieces: Vec<&[u8]> = pieces.collect();
    for (number, piece) in pieces.iter().enumerate() {
        let flags = if number + 1 == pieces.len() {
            END_HEADERS
        } else {
            0
        };
        client
            .send_frame(&Frame::new(CONTINUATION, flags, 1, *piece))
            .await;
    }
    let frame = client.next_of(&[RST_STREAM, GOAWAY, HEADERS]).await;
    assert!(
        frame.kind != HEADERS || is_client_error(&frame),
        "{frame:?}"
    );
    assert_eq!(stage.world.events(), [""; 0]);
    others_are_served(&stage).await;
}

#[tokio::test]
async fn many_small_fields_are_refused_as_well() {
    let stage = Stage::set().await;
    let Ends {
        mut client,
        upstream: _upstream,
        host,
        origin: _origin,
    } = stage.open().await;
    // Each costs 32 bytes more than it has (RFC 9113 section 6.5.2).
    let head = (0..3_000).fold(Head::for_host(&host), |head, _| head.add("a", "b"));
    client.send_frame(&head.on(1)).await;
    let frame = client.next_of(&[RST_STREAM, GOAWAY, HEADERS]).await;
    assert!(
        frame.kind != HEADERS || is_client_error(&frame),
        "{frame:?}"
    );
    assert_eq!(stage.world.events(), [""; 0]);
}

#[tokio::test]
async fn floods_of_small_frames_do_no_harm() {
    let stage = Stage::set().await;
    for (what, frame) in [
        ("pings", Frame::new(PING, 0, 0, [0; 8])),
        ("settings", Frame::new(SETTINGS, 0, 0, [])),
        ("acknowledgements", Frame::new(SETTINGS, ACK, 0, [])),
        ("priorities", Frame::new(2, 0, 1, [0, 0, 0, 0, 1])),
        ("unknown frames", Frame::new(0xfe, 0, 0, [0; 16])),
    ] {
        let Ends {
            mut client,
            upstream: _upstream,
            ..
        } = stage.open().await;
        // Whether they end the connection is the library's choice; it must not go on for ever, nor hurt others.
        client.flood(std::iter::repeat_n(frame, 5_000)).await;
        drop(client);
        others_are_served(&stage).await;
        let _ = what;
    }
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let stage = Stage::set().await;
    let Ends {
        mut client,
        upstream: _upstream,
        host,
        origin: _origin,
    } = stage.open().await;
    let head = Head::for_host(&host);
    for number in 0..200 {
        client.send_frame(&head.on(2 * number + 1)).await;
    }
    let frame = client.next_of(&[RST_STREAM, GOAWAY]).await;
    // REFUSED_STREAM: the client may try again.
    assert_eq!((frame.kind, frame.code()), (RST_STREAM, 7));
}
