//! The origin: `GET /bulk` has no end, everything else two bytes; what is posted is thrown away, so that it passes for a
//! collector as well. Connections are kept.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const SMALL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
const BULK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n";
const PIECE: usize = 256 * 1024;

pub async fn serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(connection(stream));
    }
}

async fn connection(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        if buffer.starts_with(b"GET /bulk") {
            stream.write_all(BULK).await?;
            let piece = vec![b'x'; PIECE];
            loop {
                stream.write_all(&piece).await?;
            }
        }
        if buffer.starts_with(b"POST ") {
            let mut unread = (end + length(&buffer[..end])).saturating_sub(buffer.len());
            while unread > 0 {
                buffer.clear();
                match stream.read_buf(&mut buffer).await? {
                    0 => return Ok(()),
                    read => unread = unread.saturating_sub(read),
                }
            }
        }
        buffer.clear();
        stream.write_all(SMALL).await?;
    }
}

/// How much follows a head.
fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let mut lengths = head
        .lines()
        .filter_map(|line| line.strip_prefix("content-length:"));
    lengths
        .next()
        .and_then(|length| length.trim().parse().ok())
        .unwrap_or(0)
}
