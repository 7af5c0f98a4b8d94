//! A client of the suite's own, which sends exactly the bytes that a case wants.
//!
//! Main types: [`Door`], by which it goes in, and [`Answer`], what it got. It deliberately follows nothing, retries
//! nothing and resolves nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::proxy::Proxy;

/// Longer than the longest limit that a case meets: five seconds for a name, ten for a connection.
const PATIENCE: Duration = Duration::from_secs(20);

/// The ways into the proxy for a request to a web origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Http,
    Connect,
    /// SOCKS5 with the host as the client has it: names as names, addresses as addresses.
    Socks,
    /// SOCKS5 with everything in the field for names.
    SocksName,
}

impl Door {
    pub(crate) const ALL: [Self; 4] = [Self::Http, Self::Connect, Self::Socks, Self::SocksName];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Connect => "connect",
            Self::Socks => "socks5",
            Self::SocksName => "socks5_name",
        }
    }
}

/// An HTTP answer, of an origin or of the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The head, field names in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields
            .into_iter()
            .find(|field| field.0 == name)
            .map(|field| field.1)
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text
            .split_once("\r\n\r\n")
            .with_context(|| format!("no HTTP: {text:?}"))?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        let lines = head.lines().map(|line| match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}", name.to_ascii_lowercase()),
            None => line.to_owned(),
        });
        Ok(Self {
            status,
            head: lines.collect::<Vec<_>>().join("\n"),
            body: body.to_owned(),
        })
    }
}

/// What came of a request for a page.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The proxy, or an origin through it, answered in HTTP.
    Http(Reply),
    /// The SOCKS5 listener refused with this code.
    Socks(u8),
}

/// An answer and the address of the client that got it, by which audit events name it.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    pub(crate) client: SocketAddr,
}

/// A path that nobody has asked for before, by which an origin knows an access.
pub(crate) fn fresh_path() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("/{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Fetches `http://<host>:<port><path>` by one of the doors. An IPv6 address stands in brackets.
pub(crate) async fn fetch(
    proxy: &Proxy,
    door: Door,
    host: &str,
    port: u16,
    path: &str,
) -> Result<Answered> {
    let authority = if port == 80 {
        host.to_owned()
    } else {
        format!("{host}:{port}")
    };
    let page = format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    match door {
        Door::Http => {
            let request = page.replacen("GET ", &format!("GET http://{authority}"), 1);
            ask(proxy.http, &request).await
        }
        Door::Connect => match connect(proxy, &format!("{host}:{port}")).await? {
            (Ok(stream), client) => on(stream, client, &page).await,
            (Err(reply), client) => Ok(Answered {
                answer: Answer::Http(reply),
                client,
            }),
        },
        Door::Socks | Door::SocksName => {
            let target = socks_address(door, host);
            match socks(proxy, 1, &target, port).await? {
                (Ok(stream), client) => on(stream, client, &page).await,
                (Err(code), client) => Ok(Answered {
                    answer: Answer::Socks(code),
                    client,
                }),
            }
        }
    }
}

/// Sends these bytes to a listener and reads the answer to its end.
pub(crate) async fn ask(listener: SocketAddr, bytes: &str) -> Result<Answered> {
    let stream = dial(listener).await?;
    let client = stream.local_addr()?;
    on(stream, client, bytes).await
}

async fn on(mut stream: TcpStream, client: SocketAddr, bytes: &str) -> Result<Answered> {
    stream.write_all(bytes.as_bytes()).await?;
    let mut reply = Vec::new();
    within(stream.read_to_end(&mut reply)).await??;
    Ok(Answered {
        answer: Answer::Http(Reply::parse(&reply)?),
        client,
    })
}

type Tunnel<E> = (Result<TcpStream, E>, SocketAddr);

/// Asks for a tunnel with CONNECT.
pub(crate) async fn connect(proxy: &Proxy, authority: &str) -> Result<Tunnel<Reply>> {
    let mut stream = dial(proxy.http).await?;
    let client = stream.local_addr()?;
    let request = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") {
        match within(stream.read_u8()).await? {
            Ok(byte) => reply.push(byte),
            Err(error) => bail!(
                "CONNECT: {error} after {:?}",
                String::from_utf8_lossy(&reply)
            ),
        }
    }
    if Reply::parse(&reply)?.status == 200 {
        return Ok((Ok(stream), client));
    }
    within(stream.read_to_end(&mut reply)).await??;
    Ok((Err(Reply::parse(&reply)?), client))
}

/// The host as an ATYP and an address.
fn socks_address(door: Door, host: &str) -> Vec<u8> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(std::net::IpAddr::V4(address)) if door == Door::Socks => {
            [&[1], &address.octets()[..]].concat()
        }
        Ok(std::net::IpAddr::V6(address)) if door == Door::Socks => {
            [&[4], &address.octets()[..]].concat()
        }
        _ => {
            let length = u8::try_from(host.len()).unwrap_or(u8::MAX);
            [&[3, length], host.as_bytes()].concat()
        }
    }
}

/// Greets and asks for `command`; the stream, or the code of the refusal.
pub(crate) async fn socks(
    proxy: &Proxy,
    command: u8,
    target: &[u8],
    port: u16,
) -> Result<Tunnel<u8>> {
    let mut stream = dial(proxy.socks).await?;
    let client = stream.local_addr()?;
    let request = [&[5, command, 0], target, &port.to_be_bytes()].concat();
    stream.write_all(&[5, 1, 0]).await?;
    let mut methods = [0; 2];
    within(stream.read_exact(&mut methods)).await??;
    stream.write_all(&request).await?;
    let mut reply = [0; 4];
    within(stream.read_exact(&mut reply)).await??;
    let rest = if reply[3] == 4 { 18 } else { 6 };
    let mut bound = vec![0; rest];
    within(stream.read_exact(&mut bound)).await??;
    Ok((
        if reply[1] == 0 {
            Ok(stream)
        } else {
            Err(reply[1])
        },
        client,
    ))
}

async fn dial(listener: SocketAddr) -> Result<TcpStream> {
    let stream = within(TcpStream::connect(listener)).await?;
    stream.context("cannot reach the proxy")
}

pub(crate) async fn within<T>(wait: impl Future<Output = T>) -> Result<T> {
    timeout(PATIENCE, wait)
        .await
        .with_context(|| format!("no answer within {PATIENCE:?}"))
}
