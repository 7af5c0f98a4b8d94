//! An origin that writes HTTP/1.1 by hand, for what servers do not offer: an interim answer before the answer (103,
//! RFC 8297), and trailers that nobody asked for.

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const EARLY: &str = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n\
    HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 6\r\n\r\nfinal\n";
const TRAILED: &str = "HTTP/1.1 200 OK\r\ntrailer: x-checked\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
    9\r\nthe body\n\r\n0\r\nx-checked: at-the-end\r\n\r\n";
const EMPTY: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Longer than the head of any client.
const LONGEST_HEAD: usize = 16 * 1024;

/// Answers one request and says what it was: method and path.
pub(super) async fn answer(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<Option<(String, String)>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST_HEAD {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return Ok(None),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split(' ').map(ToOwned::to_owned);
    let Some((method, path)) = words.next().zip(words.next()) else {
        return Ok(None);
    };
    let answer = match path.split('/').nth(1) {
        Some("early") => EARLY,
        Some("trailers") => TRAILED,
        _ => EMPTY,
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(Some((method, path)))
}
