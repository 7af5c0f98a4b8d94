//! One connection, of a client to the proxy or of the proxy to an origin, as bytes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::LIMIT;

/// Waits for `future`, and fails with `what` if it takes too long.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited too long for {what}"),
    }
}

/// A listener on a port of its own on which the test answers what arrives.
pub(crate) struct Origin {
    listener: TcpListener,
    pub(crate) port: u16,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    /// The next connection, whenever it comes.
    pub(crate) async fn next_stream(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// The next connection that arrives.
    pub(crate) async fn accept(&self) -> Wire {
        let (stream, _) = within("a connection to the origin", self.listener.accept())
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        Wire::new(stream)
    }

    /// Whether a connection has arrived. Ask only after something that would have come later has happened.
    pub(crate) async fn was_reached(&self) -> bool {
        timeout(Duration::from_millis(1), self.listener.accept())
            .await
            .is_ok()
    }
}

/// A port of this machine on which nobody listens, and nobody can while the value lives: connections are refused.
pub(crate) struct Nobody {
    _socket: socket2::Socket,
    pub(crate) port: u16,
}

impl Nobody {
    pub(crate) fn listens() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        Self {
            _socket: socket,
            port,
        }
    }
}

/// One end of a connection.
pub(crate) struct Wire<S = TcpStream> {
    pub(crate) stream: S,
    received: Vec<u8>,
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address))
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        Self::new(stream)
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }
}

impl<S> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// The stream. Nothing may have been read ahead.
    pub(crate) fn into_stream(self) -> S {
        assert_eq!(self.received, b"");
        self.stream
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = async {
            self.stream.write_all(bytes.as_ref()).await?;
            // TLS may hold some of it back.
            self.stream.flush().await
        };
        within("bytes to be taken", sent).await.unwrap();
    }

    /// Ends our half.
    pub(crate) async fn finish(&mut self) {
        // The other side may have closed already.
        let _ = self.stream.shutdown().await;
    }

    async fn more(&mut self, what: &str) {
        let before = String::from_utf8_lossy(&self.received).into_owned();
        let read = self.stream.read_buf(&mut self.received);
        match timeout(LIMIT, read).await {
            Ok(Ok(0)) => panic!("the connection ended within {what}, after {before:?}"),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => panic!("{error} within {what}, after {before:?}"),
            Err(_) => panic!("waited too long for {what}, after {before:?}"),
        }
    }

    /// The next `length` bytes.
    pub(crate) async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() < length {
            self.more("some bytes").await;
        }
        let rest = self.received.split_off(length);
        std::mem::replace(&mut self.received, rest)
    }

    /// The bytes up to and including `end`.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        loop {
            let found = self
                .received
                .windows(end.len())
                .position(|window| window == end.as_bytes());
            if let Some(position) = found {
                let bytes = self.exactly(position + end.len()).await;
                return String::from_utf8(bytes).unwrap();
            }
            self.more("a head").await;
        }
    }

    /// A request's or answer's head, the date masked.
    pub(crate) async fn head(&mut self) -> String {
        undated(self.until("\r\n\r\n").await.as_bytes())
    }

    /// A request or an answer that says how long it is, the date masked and our `Proxy-Status` left out.
    pub(crate) async fn message(&mut self) -> String {
        let text = self.message_with_status().await;
        undated(text.as_bytes())
    }

    /// The same with our `Proxy-Status`.
    pub(crate) async fn message_with_status(&mut self) -> String {
        let head = self.until("\r\n\r\n").await;
        let mut text = masked(head.as_bytes(), false);
        let lower = text.to_ascii_lowercase();
        if lower.contains("\r\ntransfer-encoding: chunked\r\n") {
            loop {
                let size = self.until("\r\n").await;
                let digits = size.trim_end().split(';').next().unwrap();
                let length = usize::from_str_radix(digits, 16).expect("a chunk's size");
                text.push_str(&size);
                if length == 0 {
                    break;
                }
                let chunk = self.exactly(length + 2).await;
                text.push_str(&String::from_utf8_lossy(&chunk));
            }
            loop {
                let line = self.until("\r\n").await;
                text.push_str(&line);
                if line == "\r\n" {
                    return text;
                }
            }
        }
        if let Some((_, rest)) = lower.split_once("\r\ncontent-length: ") {
            let digits = rest.split("\r\n").next().unwrap();
            let body = self.exactly(digits.parse().expect("a length")).await;
            text.push_str(&String::from_utf8_lossy(&body));
        }
        text
    }

    /// All bytes until the other side closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.received);
        match timeout(LIMIT, self.stream.read_to_end(&mut bytes)).await {
            Ok(Ok(_)) => bytes,
            Ok(Err(error)) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
            Err(_) => panic!(
                "the connection stays open after {:?}",
                String::from_utf8_lossy(&bytes)
            ),
        }
    }

    /// All bytes until the other side closes, or breaks off as TLS that is not finished does.
    pub(crate) async fn rest_or_reset(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.received);
        let _ = within("the end", self.stream.read_to_end(&mut bytes)).await;
        bytes
    }

    /// The same as text, the date masked.
    pub(crate) async fn rest_of_tls(&mut self) -> String {
        undated(&self.rest_or_reset().await)
    }

    /// The other side closes or resets without another byte.
    pub(crate) async fn closed(&mut self) {
        let mut bytes = std::mem::take(&mut self.received);
        // A reset is an end as well, where bytes of ours were left unread.
        let _ = within("the end", self.stream.read_to_end(&mut bytes)).await;
        assert_eq!(String::from_utf8_lossy(&bytes), "");
    }
}

/// Bytes as text, each date replaced by `D`, and without our `Proxy-Status`: the refusal matrix and the tests of
/// refusals hold its words, and all others need not repeat them.
pub(crate) fn undated(bytes: &[u8]) -> String {
    masked(bytes, true)
}

fn masked(bytes: &[u8], without_status: bool) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<&str> = Vec::new();
    for line in text.split("\r\n") {
        let dated = line.starts_with("date: ") && line.ends_with(" GMT");
        if without_status && line.starts_with("proxy-status: codex-network-proxy; ") {
            continue;
        }
        lines.push(if dated { "date: D" } else { line });
    }
    lines.join("\r\n")
}
