//! Requests to a running proxy over a real connection: the origin sees what was judged, and nothing else.

use tokio::net::TcpStream;

use crate::stage::{self, MARK, exchange, is_origin};

/// The bytes are what a client sends; `PORT` in them becomes the origin's port.
pub fn check(data: &[u8]) {
    stage::with(false, |stage| {
        let port = stage.port().to_string();
        let sent = replaced(data, b"PORT", port.as_bytes());
        let answer = stage.run(async {
            match TcpStream::connect(stage.address()).await {
                Ok(client) => exchange(client, &sent).await,
                Err(error) => panic!("cannot reach the proxy: {error}"),
            }
        });
        let (seen, confused) = stage.seen();
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1."), "{text:?}");
        // Inside of a tunnel the client speaks with the origin, and is its own master.
        if sent.windows(7).any(|word| word == b"CONNECT") {
            return;
        }
        // Asked for, the proxy speaks TLS, and this origin does not.
        let tls = sent
            .windows(6)
            .any(|word| word.eq_ignore_ascii_case(b"https:"));
        assert!(
            confused == 0 || tls,
            "the origin could not read what the proxy wrote"
        );
        for request in &seen {
            assert!(is_origin(&request.host, stage.port()), "{request:?}");
        }
        // Whatever reached the origin was one request of this client, and its answer went to this client.
        let failed = [" 502 ", " 504 "]
            .iter()
            .any(|status| text.contains(status));
        let answered = text.matches(MARK).count();
        assert!(failed || answered >= seen.len(), "{seen:?} and {text}");
    });
}

fn replaced(data: &[u8], word: &[u8], by: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(word) {
            replaced.extend_from_slice(by);
            rest = after;
        } else {
            replaced.push(*first);
            rest = after;
        }
    }
    replaced
}
