use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;
use codex_network_policy::{Protocol, SocketPath};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::permit::Grant;
use crate::resolve::Resolver;
use crate::route::ParentProxies;

/// Knows `parent.test`, which is this machine, and nothing else.
#[derive(Debug)]
struct Local;

#[async_trait]
impl Resolver for Local {
    async fn lookup(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        match name {
            "parent.test" => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
            other => Err(std::io::Error::other(other.to_owned())),
        }
    }
}

fn upstream_within(limits: Limits) -> (Upstream, Arc<Listeners>) {
    let limits = Arc::new(limits);
    let lookups = Lookups::new(Arc::new(Local), Arc::clone(&limits), Arc::default());
    let listeners: Arc<Listeners> = Arc::default();
    let upstream = Upstream::new(
        limits,
        Arc::new(lookups),
        Arc::clone(&listeners),
        Arc::default(),
        TrustRoots::default(),
    );
    (upstream, listeners)
}

fn upstream() -> Upstream {
    upstream_within(Limits::default()).0
}

fn permit(protocol: Protocol, target: &str, route: Route) -> Permit {
    let target = match target.parse::<SocketAddr>() {
        Ok(address) => Target::Host {
            host: address.ip().into(),
            port: address.port(),
        },
        Err(_) if target.starts_with('/') => Target::Unix(SocketPath::parse(target).unwrap()),
        Err(_) => Target::Host {
            host: Host::parse(target).unwrap(),
            port: 443,
        },
    };
    Permit::from_grant(Grant {
        protocol,
        target,
        route,
        generation: 1,
        approved: false,
        tls: false,
        intercepted: false,
        rule: None,
        client: None,
    })
}

fn by_parent(parent: &str, protocol: Protocol, target: &str) -> Permit {
    let (parents, warnings) =
        ParentProxies::from_environment(|key| (key == "HTTP_PROXY").then(|| parent.to_owned()));
    assert_eq!(warnings, [""; 0]);
    let example = Host::parse("example.com").unwrap();
    let parent = parents.route(&example, 80, false).unwrap();
    permit(protocol, target, Route::Parent(Arc::clone(parent)))
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address at which nothing listens. The socket is bound but deaf, so that nobody else takes the port.
fn deaf() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[tokio::test]
async fn what_is_dialled_is_the_address_of_the_permit() {
    let (listener, address) = listener().await;
    // The name of the target is never looked up, it would not be found.
    let route = Route::Address(address);
    let permit = permit(Protocol::HttpsConnect, "unknown.test", route);
    let connection = upstream().open(&permit).await.unwrap();
    let (_, client) = listener.accept().await.unwrap();
    assert_eq!(connection.peer_address(), Some(address));
    assert_eq!(connection.local_address(), Some(client));
}

#[tokio::test]
async fn a_refused_address_gives_way_to_the_next() {
    let (_deaf, refused) = deaf();
    let (_listener, open) = listener().await;
    // A whole hour of head start: only the refusal itself can start the next attempt.
    let stagger = Duration::from_secs(3600);
    for addresses in [
        vec![refused, open],
        vec![open, refused],
        vec![refused, refused, open],
    ] {
        let stream = race::connect(&addresses, stagger).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
    }
    for addresses in [vec![refused], vec![refused, refused]] {
        let error = race::connect(&addresses, stagger).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    let error = race::connect(&[], stagger).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
}

/// A listener whose queue is full, so that it answers nobody. Linux drops what does not fit.
#[cfg(target_os = "linux")]
async fn silent() -> (socket2::Socket, Vec<TcpStream>, SocketAddr) {
    let (socket, address) = deaf();
    socket.listen(0).unwrap();
    let mut held = Vec::new();
    // Long enough for a busy machine: one that is slow only now would answer later.
    let patience = Duration::from_millis(500);
    while let Ok(stream) = tokio::time::timeout(patience, race::connect(&[address], patience)).await
    {
        held.push(stream.unwrap());
        assert!(held.len() < 8, "the queue has no end");
    }
    (socket, held, address)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_silent_address_is_overtaken_after_its_head_start() {
    let (_socket, _held, silent) = silent().await;
    let (_listener, open) = listener().await;
    let stream = race::connect(&[silent, open], Duration::from_millis(1)).await;
    assert_eq!(stream.unwrap().peer_addr().unwrap(), open);

    let (upstream, _) = upstream_within(Limits {
        connect: Duration::from_millis(20),
        ..Limits::default()
    });
    let permit = permit(Protocol::Http, "a.test", Route::Address(silent));
    let error = upstream.open(&permit).await.unwrap_err();
    assert!(
        matches!(error, UpstreamError::Timeout("connecting")),
        "{error:?}"
    );
    assert!(error.is_timeout());
}

#[tokio::test]
async fn a_dead_address_is_an_error_of_connecting() {
    let (_deaf, address) = deaf();
    let permit = permit(Protocol::Http, "a.test", Route::Address(address));
    let error = upstream().open(&permit).await.unwrap_err();
    assert_eq!(error.io_kind(), Some(std::io::ErrorKind::ConnectionRefused));
    assert!(!error.is_timeout());
}

#[cfg(unix)]
#[tokio::test]
async fn a_socket_is_opened_by_its_judged_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let open = async |path| {
        let route = Route::Socket {
            path,
            listed_as: None,
        };
        upstream()
            .open(&permit(Protocol::Http, "/asked/for", route))
            .await
    };
    let mut connection = open(path).await.unwrap();
    let (mut served, _) = listener.accept().await.unwrap();
    connection.write_all(b"ping").await.unwrap();
    let mut received = [0; 4];
    served.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"ping");
    assert_eq!(connection.peer_address(), None);

    let error = open(directory.path().join("absent")).await.unwrap_err();
    assert_eq!(error.io_kind(), Some(std::io::ErrorKind::NotFound));
}

/// Accepts once, reads one request head, answers `pieces` one write each, and returns the head and the stream.
fn parent_answers(
    listener: TcpListener,
    pieces: &'static [&'static [u8]],
) -> JoinHandle<(String, TcpStream)> {
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        for piece in pieces {
            // Who has heard enough hangs up.
            if stream.write_all(piece).await.is_err() {
                break;
            }
        }
        (String::from_utf8(head).unwrap(), stream)
    })
}

#[tokio::test]
async fn a_parent_is_asked_for_the_target_by_name_and_nothing_else() {
    let check = async |credentials: &str, target: &str, expected: &str| {
        let (listener, address) = listener().await;
        let parent = parent_answers(listener, &[b"HTTP/1.1 200 OK\r\n\r\n"]);
        let url = format!("http://{credentials}parent.test:{}", address.port());
        let permit = by_parent(&url, Protocol::HttpsConnect, target);
        assert!(!permit.wants_absolute_form());
        let _connection = upstream().open(&permit).await.unwrap();
        assert_eq!(parent.await.unwrap().0, expected);
    };
    check(
        "",
        "example.com",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    )
    .await;
    check(
        "user:pa%20ss@",
        "example.com",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\
         Proxy-Authorization: Basic dXNlcjpwYSBzcw==\r\n\r\n",
    )
    .await;
    check(
        "",
        "[2606:4700::1]:8443",
        "CONNECT [2606:4700::1]:8443 HTTP/1.1\r\nHost: [2606:4700::1]:8443\r\n\r\n",
    )
    .await;
    check(
        "",
        "8.8.8.8:853",
        "CONNECT 8.8.8.8:853 HTTP/1.1\r\nHost: 8.8.8.8:853\r\n\r\n",
    )
    .await;
}

#[tokio::test]
async fn a_plain_request_goes_to_the_parent_unasked() {
    let (listener, address) = listener().await;
    let permit = by_parent(&format!("u:p@{address}"), Protocol::Http, "example.com");
    assert!(permit.wants_absolute_form());
    assert_eq!(permit.parent_authorization(), Some("Basic dTpw"));
    let mut connection = upstream().open(&permit).await.unwrap();
    // The parent has heard nothing yet: the next byte is the first.
    let (mut parent, _) = listener.accept().await.unwrap();
    connection.write_all(b"G").await.unwrap();
    assert_eq!(parent.read_u8().await.unwrap(), b'G');
}

/// What becomes of a parent's answer: the bytes that the tunnel begins with, or the error.
async fn tunnel_by(pieces: &'static [&'static [u8]]) -> Result<Vec<u8>, String> {
    let (listener, address) = listener().await;
    let parent = parent_answers(listener, pieces);
    let permit = by_parent(&address.to_string(), Protocol::HttpsConnect, "example.com");
    let opened = upstream().open(&permit).await;
    let (_, stream) = parent.await.unwrap();
    match opened {
        Ok(mut connection) => {
            drop(stream);
            let mut early = Vec::new();
            connection.read_to_end(&mut early).await.unwrap();
            Ok(early)
        }
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn every_answer_of_a_parent_is_understood_or_refused() {
    const LARGE: &[u8] = &[b'a'; 20_000];
    const MANY_INTERIM: [&[u8]; 1_000] = [b"HTTP/1.1 100 Continue\r\n\r\n"; 1_000];
    let check = async |pieces: &'static [&'static [u8]], expected: Result<&str, &str>| {
        let tunnel = tunnel_by(pieces).await;
        let expected = expected
            .map(|early| early.as_bytes().to_vec())
            .map_err(str::to_owned);
        let sent = pieces.concat();
        let sent = String::from_utf8_lossy(&sent[..sent.len().min(80)]);
        assert_eq!(tunnel, expected, "{sent}");
    };
    check(&[b"HTTP/1.1 200 OK\r\n\r\n"], Ok("")).await;
    check(
        &[b"HTTP/1.0 200 Connection established\r\nA: b\r\n\r\n"],
        Ok(""),
    )
    .await;
    check(&[b"HTTP/1.1 204 \r\n\r\n"], Ok("")).await;
    // A server may speak first; its bytes may come with the head, in any cut.
    check(&[b"HTTP/1.1 200 OK\r\n\r\n220 hello"], Ok("220 hello")).await;
    check(
        &[b"HTTP/1.1 2", b"00 OK\r\nX: y\r", b"\n\r\n220", b" hello"],
        Ok("220 hello"),
    )
    .await;
    // A body length has no meaning here (RFC 9110 section 9.3.6).
    check(
        &[b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"],
        Ok("abc"),
    )
    .await;
    // Interim answers, also in one piece with the real one.
    check(
        &[b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhi"],
        Ok("hi"),
    )
    .await;
    check(
        &[b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 403 No\r\n\r\n"],
        Err("the parent proxy answered 403"),
    )
    .await;
    check(
        &[b"HTTP/1.1 101 Switching Protocols\r\n\r\n"],
        Err("the parent proxy answered 101"),
    )
    .await;
    check(
        &[b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n"],
        Err("the parent proxy answered 407"),
    )
    .await;
    check(
        &[b"HTTP/1.1 302 Found\r\n\r\n"],
        Err("the parent proxy answered 302"),
    )
    .await;
    let no_http = Err("protocol error: the parent proxy's answer is no HTTP");
    check(&[b"SSH-2.0-OpenSSH_9.9\r\n"], no_http).await;
    check(&[b"\x16\x03\x01\x02\x00"], no_http).await;
    check(&[b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"], no_http).await;
    check(&[b"HTTP/1.1 20x OK\r\n\r\n"], no_http).await;
    let too_large = Err("protocol error: the parent proxy's answer is too large");
    check(&[b"HTTP/1.1 200 OK\r\nX: ", LARGE, b"\r\n\r\n"], too_large).await;
    check(&MANY_INTERIM, too_large).await;
}

#[tokio::test]
async fn a_parent_that_closes_has_not_answered() {
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\n"] {
        let (listener, address) = listener().await;
        let parent = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
            stream
        });
        let permit = by_parent(&address.to_string(), Protocol::HttpsConnect, "example.com");
        let error = upstream().open(&permit).await.unwrap_err();
        let expected = "protocol error: the parent proxy closed the connection";
        assert_eq!(error.to_string(), expected);
        drop(parent.await.unwrap());
    }
}

#[tokio::test]
async fn a_silent_parent_is_given_up() {
    let (upstream, _) = upstream_within(Limits {
        handshake: Duration::from_millis(20),
        ..Limits::default()
    });
    let (listener, address) = listener().await;
    let parent = parent_answers(listener, &[b"HTTP/1.1 200"]);
    let permit = by_parent(&address.to_string(), Protocol::HttpsConnect, "example.com");
    let error = upstream.open(&permit).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "timed out while waiting for the parent proxy"
    );
    assert!(error.is_timeout());
    drop(parent);
}

#[tokio::test]
async fn a_parent_that_cannot_be_found_or_is_ourselves_is_an_error() {
    let (upstream, listeners) = upstream_within(Limits::default());
    let (listener, address) = listener().await;
    let check = async |parent: String, expected: &str| {
        let permit = by_parent(&parent, Protocol::Http, "example.com");
        let opened = upstream.open(&permit).await;
        assert_eq!(opened.unwrap_err().to_string(), expected, "{parent}");
    };
    let unknown = "the parent proxy's name did not resolve";
    check("unknown.test:1".to_owned(), unknown).await;
    listeners.add(address);
    let ourselves = "protocol error: the parent proxy is this proxy itself";
    check(format!("parent.test:{}", address.port()), ourselves).await;
    check(format!("127.0.0.9:{}", address.port()), ourselves).await;
    drop(listener);
}

#[tokio::test]
async fn datagrams_go_to_the_judged_addresses_only() {
    let origin = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let address = origin.local_addr().unwrap();
    let datagrams = upstream().datagrams().unwrap();
    let to_origin = permit(Protocol::Socks5Udp, "unknown.test", Route::Address(address));
    assert_eq!(datagrams.send(&to_origin, b"ping").await.unwrap(), address);
    let mut buffer = [0; 16];
    let (length, relay) = origin.recv_from(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..length], b"ping");

    // What comes back is handed over with its sender. No permit leads to `relay`, so it is sent from outside.
    let relayed = permit(Protocol::Socks5Udp, "unknown.test", Route::Address(relay));
    let other = upstream().datagrams().unwrap();
    other.send(&relayed, b"pong").await.unwrap();
    let (length, _) = datagrams.receive(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..length], b"pong");

    // A permit for a parent or a socket has no address to send to.
    let by_parent = by_parent("http://parent.test:1", Protocol::Socks5Udp, "example.com");
    let error = datagrams.send(&by_parent, b"ping").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
}

#[tokio::test]
async fn early_bytes_are_read_first_and_once() {
    let (listener, address) = listener().await;
    let permit = permit(Protocol::Http, "a.test", Route::Address(address));
    let connection = upstream().open(&permit).await.unwrap();
    let mut connection = connection.with_early(bytes::Bytes::from_static(b"early "));
    let (mut origin, _) = listener.accept().await.unwrap();
    origin.write_all(b"late").await.unwrap();
    drop(origin);
    let mut small = [0; 3];
    assert_eq!(connection.read(&mut small).await.unwrap(), 3);
    let mut rest = String::new();
    connection.read_to_string(&mut rest).await.unwrap();
    assert_eq!((&small, rest.as_str()), (b"ear", "ly late"));
}
