//! HTTP/2 inside of an opened tunnel: frames in any order, and only reading requests reach the origin.

use crate::stage::{self, exchange, is_origin};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The bytes are frames in a short form: kind, flags, stream, length, content. `PORT` in them becomes the origin's port.
pub fn check(data: &[u8]) {
    stage::with(true, |stage| {
        let port = stage.port();
        let mut sent = PREFACE.to_vec();
        sent.extend(frames(data, &port.to_string()));
        stage.run(async {
            match stage.inside().await {
                Ok(client) => drop(exchange(client, &sent).await),
                Err(error) => panic!("cannot open a tunnel: {error}"),
            }
        });
        let (seen, confused) = stage.seen();
        assert_eq!(
            confused, 0,
            "the origin could not read what the proxy wrote"
        );
        for request in &seen {
            assert!(
                ["GET", "HEAD", "OPTIONS"].contains(&request.method.as_str()),
                "{request:?}"
            );
            assert!(is_origin(&request.host, stage.port()), "{request:?}");
        }
    });
}

/// Well-formed frames, so that what they say is looked at. A kind of 0xff passes the rest on as it is.
fn frames(mut data: &[u8], port: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [kind, flags, stream, length, rest @ ..] = data {
        if *kind == 0xff {
            bytes.extend_from_slice(rest);
            break;
        }
        let (content, after) = rest.split_at(rest.len().min(usize::from(*length)));
        let content = with_port(content, port);
        let length = u32::try_from(content.len()).unwrap_or(0).to_be_bytes();
        bytes.extend_from_slice(&length[1..]);
        bytes.extend_from_slice(&[*kind, *flags, 0, 0, 0, *stream]);
        bytes.extend_from_slice(&content);
        data = after;
    }
    bytes
}

/// The word is as long as a port usually is, so that the lengths in a header block stay right.
fn with_port(content: &[u8], port: &str) -> Vec<u8> {
    let word = b"PORT_";
    let Some(at) = content
        .windows(word.len())
        .position(|window| window == word)
    else {
        return content.to_vec();
    };
    let port = format!("{port:0>5}");
    [&content[..at], port.as_bytes(), &content[at + word.len()..]].concat()
}
