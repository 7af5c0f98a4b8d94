//! Defects that were found from outside, each with the bytes that showed it.

use crate::harness::{Origin, Setup};

/// `CONNECT` has no content, so a length hides bytes of the tunnel, or makes them the proxy's.
#[tokio::test]
async fn a_connect_with_content_is_refused_before_it_is_judged() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let mut client = world.http().await;
        client
            .send(format!(
                "CONNECT origin.test:{} HTTP/1.1\r\n{framing}\r\n\r\nhello",
                origin.port
            ))
            .await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{framing}: {head}");
        assert!(head.contains("connection: close"), "{framing}: {head}");
    }
    assert!(world.events().is_empty());
    // Some clients say that there is none.
    let mut client = world.http().await;
    client
        .send(format!(
            "CONNECT origin.test:{} HTTP/1.1\r\nContent-Length: 0\r\n\r\nhello",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    assert_eq!(upstream.exactly(5).await, b"hello");
}

#[tokio::test]
async fn an_empty_host_is_replaced_by_the_targets() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    let authority = format!("origin.test:{}", origin.port);
    client
        .send(format!("GET http://{authority}/ HTTP/1.1\r\nHost:\r\n\r\n"))
        .await;
    let mut upstream = origin.accept().await;
    let head = upstream.head().await;
    assert!(
        head.to_lowercase()
            .contains(&format!("\r\nhost: {authority}\r\n")),
        "{head}"
    );
    assert!(!head.to_lowercase().contains("host:\r\n"), "{head}");
}
