//! Which fields go on and which belong to one hop (SPEC F3).

use crate::harness::{Origin, Setup};

/// The lines that the origin gets of `fields`, without the request line and `Host`.
async fn forwarded(fields: &[&str]) -> Vec<String> {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    let lines: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    client
        .send(format!(
            "GET / HTTP/1.1\r\nHost: origin.test:{}\r\n{lines}\r\n",
            origin.port
        ))
        .await;
    let head = origin.accept().await.head().await;
    let lines = head.trim_end().split("\r\n").skip(2);
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn fields_of_one_hop_are_removed() {
    for field in [
        "Connection: keep-alive",
        "Connection: close",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic c2VjcmV0",
        "TE: trailers",
        "Trailer: x-sum",
        "Upgrade: websocket",
        "x-unix-socket-not: 1",
    ] {
        let kept = forwarded(&[field, "X-End: 1"]).await;
        let expected: Vec<&str> = [field, "X-End: 1"]
            .into_iter()
            .filter(|line| line.starts_with('x') || line.starts_with("X-"))
            .collect();
        assert_eq!(kept, expected, "{field}");
    }
}

#[tokio::test]
async fn fields_that_connection_names_are_removed() {
    assert_eq!(
        forwarded(&[
            "Connection: x-one, X-TWO",
            "X-One: 1",
            "Connection: x-three",
            "x-two: 2",
            "x-three: 3",
            "X-Four: 4",
        ])
        .await,
        ["X-Four: 4"]
    );
}

#[tokio::test]
async fn everything_else_is_kept_in_spelling_and_order() {
    let fields = [
        "X-Forwarded-For: 10.0.0.1",
        "Via: 1.1 other",
        "Forwarded: for=x",
        "AUTHORIZATION: Bearer x",
        "cookie: a=b",
        "User-agent: mine",
        "x-http-method-override: DELETE",
        "X-EMPTY:",
        "Accept: \u{e9}",
    ];
    let mut kept = forwarded(&fields).await;
    for line in &mut kept {
        *line = line.trim_end().to_owned();
    }
    assert_eq!(kept, fields);
}

#[tokio::test]
async fn connection_may_not_take_away_what_the_origin_needs() {
    let world = Setup::usual().start().await;
    for name in [
        "host",
        "Content-Length",
        "transfer-encoding",
        "Authorization",
        "cookie",
        "content-type",
        "expect",
        "b\u{e4}d",
        "a b",
    ] {
        for field in ["Connection", "Proxy-Connection"] {
            assert_eq!(
                world
                    .exchange(format!(
                        "GET / HTTP/1.1\r\nHost: origin.test\r\n{field}: close, {name}\r\n\r\n"
                    ))
                    .await,
                "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 25\r\nconnection: close\r\ndate: D\r\n\r\ninvalid Connection header",
                "{field}: {name}"
            );
        }
    }
    assert_eq!(world.events(), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_loses_the_fields_of_its_hop() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    client
        .send(format!(
            "GET / HTTP/1.1\r\nHost: origin.test:{}\r\n\r\n",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    upstream.message().await;
    upstream
        .send("HTTP/1.1 200 Fine\r\nConnection: x-one\r\nX-One: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nTrailer: y\r\nUpgrade: h2c\r\nProxy-Connection: close\r\nServer: theirs\r\nVia: 1.0 them\r\nX-Proxy-Error: theirs\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(
        client.message().await,
        "HTTP/1.1 200 Fine\r\nServer: theirs\r\nVia: 1.0 them\r\nX-Proxy-Error: theirs\r\nContent-Length: 0\r\ndate: D\r\n\r\n"
    );
}
