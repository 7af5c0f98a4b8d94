//! Origins of a soak: one that behaves, and one that does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// How long the bulk is.
pub(super) const BULK: usize = 512 * 1024;

/// Pages over HTTP/1.1, an echo for everything else, and one for datagrams.
pub(super) struct Pages {
    pub(super) port: u16,
    forbidden: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Pages {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = UdpSocket::bind(("127.0.0.1", port)).await.unwrap();
        let forbidden = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&forbidden);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve_pages(stream, Arc::clone(&counter)));
                }
            }
        });
        tasks.spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                if let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                    let _ = socket.send_to(&buffer[..length], from).await;
                }
            }
        });
        Self {
            port,
            forbidden,
            _tasks: tasks,
        }
    }

    /// How many requests came for hosts that no policy permits.
    pub(super) fn forbidden(&self) -> u64 {
        self.forbidden.load(Ordering::Relaxed)
    }
}

async fn serve_pages(mut stream: TcpStream, forbidden: Arc<AtomicU64>) {
    let mut buffer = vec![0; 16 * 1024];
    let mut bulk;
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let got = &buffer[..length];
        let text = String::from_utf8_lossy(got);
        if ["denied.", "other.", "strict."]
            .iter()
            .any(|host| text.contains(host))
        {
            forbidden.fetch_add(1, Ordering::Relaxed);
        }
        let answer = if got.starts_with(b"GET /bulk ") {
            bulk = format!("HTTP/1.1 200 OK\r\ncontent-length: {BULK}\r\n\r\n").into_bytes();
            bulk.resize(bulk.len() + BULK, b'x');
            &bulk
        } else if got.starts_with(b"GET /") {
            &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"[..]
        } else {
            got
        };
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}

/// The paths of [`Faulty`].
pub(super) const FAULTS: [&str; 12] = [
    "/reset", "/close", "/stall", "/trickle", "/flood", "/short", "/long", "/twice", "/chunks",
    "/head", "/greets", "/garbage",
];

/// Resets, stalls, trickles, floods and lies, as the path asks.
pub(super) struct Faulty {
    pub(super) port: u16,
    _tasks: JoinSet<()>,
}

impl Faulty {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(fail(stream));
                }
            }
        });
        Self {
            port,
            _tasks: tasks,
        }
    }
}

/// Ends when the other side has ended.
async fn fail(mut stream: TcpStream) {
    let mut head = [0; 4096];
    let Ok(length @ 1..) = stream.read(&mut head).await else {
        return;
    };
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let said: &[u8] = match path {
        "/reset" => {
            let reset = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            return reset.unwrap();
        }
        "/close" => return,
        "/trickle" => {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
                .await;
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(30)).await;
                if stream.write_all(b"t").await.is_err() {
                    return;
                }
            }
            b""
        }
        "/flood" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'f'; 4096]).await.is_ok() {}
            return;
        }
        "/head" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
            while stream.write_all(b"x-more: and more and more\r\n").await.is_ok() {}
            return;
        }
        "/short" => {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort")
                .await;
            return;
        }
        "/long" => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        "/twice" => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk",
        "/chunks" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n",
        "/greets" => b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "/garbage" => b"\x16\x03\x01 this is no HTTP\r\n\r\n",
        // `/stall`, and what is no request at all.
        _ => b"",
    };
    let _ = stream.write_all(said).await;
    if path != "/stall" {
        let _ = stream.shutdown().await;
    }
    let mut rest = Vec::new();
    let _ = (&mut stream).take(1 << 20).read_to_end(&mut rest).await;
}
