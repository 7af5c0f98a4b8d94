//! What is not about names: limited mode, tunnels, datagrams, the proxy's own listeners, and its end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::zone::full;
use super::{Expect, check, page};
use crate::origin::ECHO_PORT;
use crate::report::{Case, case};
use crate::wire::{Answer, Door, ask, connect, fetch, socks, within};
use crate::world::World;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("name_with_both_families_at_every_door", dual),
        case("tunnel_echoes_by_connect", tunnel_by_connect),
        case("tunnel_echoes_by_socks5", tunnel_by_socks),
        case("datagrams_by_name_and_by_address", datagrams),
        case("limited_mode_serves_a_get", limited_get),
        case("limited_mode_refuses_a_post", limited_post),
        case(
            "limited_mode_refuses_an_unlisted_post_as_unlisted",
            limited_unlisted,
        ),
        case("limited_mode_refuses_an_upgrade", limited_upgrade),
        case("limited_mode_refuses_connect", limited_connect),
        case("limited_mode_refuses_socks5", limited_socks),
        case("limited_mode_refuses_private_answers", limited_private),
        case("listed_loopback_is_served", listed_loopback),
        case("own_listeners_are_no_target", own_listeners),
        case("refusal_reaches_a_client_that_still_uploads", upload),
        case("refusal_reaches_a_client_that_talks_tls_at_once", early),
        case("unix_sockets_are_unsupported", unix_socket),
        case("process_ends_while_a_lookup_hangs", slow_exit),
    ]
}

async fn dual(world: Arc<World>) -> Result<()> {
    for door in [Door::Http, Door::Connect, Door::Socks] {
        let answered = fetch(&world.proxy, door, &full("dual"), 80, "/").await?;
        let reply = page(&answered)?;
        ensure!(reply.status == 200, "{}: {reply:?}", door.as_str());
    }
    Ok(())
}

async fn tunnel_by_connect(world: Arc<World>) -> Result<()> {
    let authority = format!("{}:{ECHO_PORT}", full("echo"));
    match connect(&world.proxy, &authority).await?.0 {
        Ok(stream) => echoes(stream).await,
        Err(reply) => anyhow::bail!("{reply:?}"),
    }
}

async fn tunnel_by_socks(world: Arc<World>) -> Result<()> {
    let target = name_field(&full("echo"));
    match socks(&world.proxy, 1, &target, ECHO_PORT).await?.0 {
        Ok(stream) => echoes(stream).await,
        Err(code) => anyhow::bail!("SOCKS code {code}"),
    }
}

/// A megabyte goes through and comes back, and the end of one direction is passed on while the other still flows.
async fn echoes(mut stream: TcpStream) -> Result<()> {
    let sent: Vec<u8> = (0..1_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let (mut from, mut to) = stream.split();
    let send = async {
        to.write_all(&sent).await?;
        to.shutdown().await
    };
    let mut received = Vec::new();
    let (written, read) =
        within(async { tokio::join!(send, from.read_to_end(&mut received)) }).await?;
    written?;
    read?;
    ensure!(
        received == sent,
        "{} bytes came back, or other ones",
        received.len()
    );
    Ok(())
}

fn name_field(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap_or(0);
    [&[3, length], name.as_bytes()].concat()
}

/// Refused datagrams are dropped, and the association lives on. What is refused is sent before what is answered, so
/// that an answer proves that the others have been judged.
async fn datagrams(world: Arc<World>) -> Result<()> {
    let mut control = within(TcpStream::connect(world.proxy.socks)).await??;
    let client = control.local_addr()?;
    control.write_all(&[5, 1, 0]).await?;
    within(control.read_exact(&mut [0; 2])).await??;
    control.write_all(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    let mut reply = [0; 10];
    within(control.read_exact(&mut reply)).await??;
    ensure!(reply[..4] == [5, 0, 0, 1], "{reply:?}");
    let relay = (
        [reply[4], reply[5], reply[6], reply[7]],
        u16::from_be_bytes([reply[8], reply[9]]),
    );
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(std::net::SocketAddr::from(relay)).await?;
    let refused = [
        (name_field(&full("echo-private")), "not_allowed_local"),
        (name_field("unlisted.example"), "not_allowed"),
        (name_field(&full("denied")), "denied"),
        (vec![1, 10, 1, 2, 3], "not_allowed_local"),
        (vec![1, 151, 101, 1, 1], "not_allowed"),
    ];
    for (target, reason) in &refused {
        socket.send(&datagram(target, b"never")).await?;
        world
            .proxy
            .wait_for_event(client, "socks5_udp", reason)
            .await?;
    }
    for text in [b"first", b"later"] {
        socket
            .send(&datagram(&name_field(&full("echo")), text))
            .await?;
        let mut received = [0; 64];
        let length = within(socket.recv(&mut received)).await??;
        let expected = datagram(&[1, 151, 101, 1, 1], text);
        ensure!(
            received[..length] == expected[..],
            "{:?}",
            &received[..length]
        );
    }
    ensure!(
        world.names.questions("unlisted.example") == 0,
        "a refused name was asked for"
    );
    drop(control);
    Ok(())
}

fn datagram(target: &[u8], data: &[u8]) -> Vec<u8> {
    [
        &[0, 0, 0],
        target,
        &[0, u8::try_from(ECHO_PORT).unwrap_or(0)],
        data,
    ]
    .concat()
}

async fn limited_get(world: Arc<World>) -> Result<()> {
    let expect = Expect::Served("151.101.1.1");
    check(
        &world,
        &world.limited,
        Door::Http,
        &full("limited"),
        80,
        expect,
    )
    .await
}

/// A request over the HTTP door of the limited proxy must be refused like this.
async fn limited_refuses(
    world: &World,
    host: &str,
    method: &str,
    more: &str,
    reason: &str,
) -> Result<()> {
    let request = format!(
        "{method} http://{host}/ HTTP/1.1\r\nhost: {host}\r\n{more}content-length: 0\r\n\
         connection: close{}\r\n\r\n",
        if more.is_empty() { "" } else { ", upgrade" }
    );
    let answered = ask(world.limited.http, &request).await?;
    let reply = page(&answered)?;
    ensure!(
        reply.status == 403 && reply.body.contains(&format!("\"{reason}\"")),
        "{reply:?}"
    );
    let header = if reason == "method_not_allowed" {
        "blocked-by-method-policy"
    } else {
        "blocked-by-allowlist"
    };
    ensure!(reply.field("x-proxy-error") == Some(header), "{reply:?}");
    world
        .limited
        .wait_for_event(answered.client, "http", reason)
        .await?;
    Ok(())
}

async fn limited_post(world: Arc<World>) -> Result<()> {
    limited_refuses(&world, &full("limited"), "POST", "", "method_not_allowed").await
}

async fn limited_unlisted(world: Arc<World>) -> Result<()> {
    limited_refuses(&world, "unlisted.example", "POST", "", "not_allowed").await
}

async fn limited_upgrade(world: Arc<World>) -> Result<()> {
    let upgrade = "upgrade: websocket\r\n";
    limited_refuses(
        &world,
        &full("limited"),
        "GET",
        upgrade,
        "method_not_allowed",
    )
    .await
}

async fn limited_connect(world: Arc<World>) -> Result<()> {
    let answered = fetch(&world.limited, Door::Connect, &full("limited"), 443, "/").await?;
    let reply = page(&answered)?;
    ensure!(reply.status == 403, "{reply:?}");
    ensure!(
        reply.field("x-proxy-error") == Some("blocked-by-method-policy"),
        "{reply:?}"
    );
    world
        .limited
        .wait_for_event(answered.client, "https_connect", "mitm_required")
        .await?;
    Ok(())
}

async fn limited_socks(world: Arc<World>) -> Result<()> {
    let answered = fetch(&world.limited, Door::Socks, &full("limited"), 80, "/").await?;
    ensure!(matches!(answered.answer, Answer::Socks(2)), "{answered:?}");
    world
        .limited
        .wait_for_event(answered.client, "socks5_tcp", "method_not_allowed")
        .await?;
    Ok(())
}

async fn limited_private(world: Arc<World>) -> Result<()> {
    let expect = Expect::NotAllowedLocal;
    check(
        &world,
        &world.limited,
        Door::Http,
        &full("limited-private"),
        80,
        expect,
    )
    .await
}

async fn listed_loopback(world: Arc<World>) -> Result<()> {
    for (host, server) in [
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("localhost", "127.0.0.1"),
    ] {
        for door in [Door::Http, Door::Connect, Door::Socks] {
            check(&world, &world.local, door, host, 80, Expect::Served(server)).await?;
        }
    }
    // Another address of the loopback is another host, and a name that leads there is none of the listed ones.
    for host in ["127.0.0.2", "loopback.allowed.example"] {
        check(
            &world,
            &world.local,
            Door::Connect,
            host,
            80,
            Expect::NotAllowedLocal,
        )
        .await?;
    }
    Ok(())
}

async fn own_listeners(world: Arc<World>) -> Result<()> {
    let local = &world.local;
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "151.101.1.1",
        "itself.allowed.example",
        "itself-loopback.allowed.example",
    ] {
        for port in [local.http.port(), local.socks.port()] {
            for door in [Door::Http, Door::Connect, Door::Socks] {
                check(&world, local, door, host, port, Expect::NotAllowedLocal)
                    .await
                    .with_context(|| format!("{host}:{port} by {}", door.as_str()))?;
            }
        }
    }
    Ok(())
}

/// What a client sends at once and what follows the request is more than the proxy reads before it answers.
async fn refused_talker(world: &World, head: &str) -> Result<()> {
    let mut stream = within(TcpStream::connect(world.proxy.http)).await??;
    stream.write_all(head.as_bytes()).await?;
    within(stream.write_all(&vec![b'x'; UPLOAD])).await??;
    let mut reply = String::new();
    within(stream.read_to_string(&mut reply)).await??;
    ensure!(reply.starts_with("HTTP/1.1 403 "), "{reply:?}");
    ensure!(
        reply.contains("x-proxy-error: blocked-by-allowlist"),
        "{reply:?}"
    );
    Ok(())
}

const UPLOAD: usize = 8_000_000;

async fn upload(world: Arc<World>) -> Result<()> {
    let head = format!(
        "POST http://unlisted.example/ HTTP/1.1\r\nhost: unlisted.example\r\ncontent-length: {UPLOAD}\r\n\r\n"
    );
    refused_talker(&world, &head).await
}

async fn early(world: Arc<World>) -> Result<()> {
    let head = "CONNECT unlisted.example:443 HTTP/1.1\r\nhost: unlisted.example:443\r\n\r\n";
    refused_talker(&world, head).await
}

async fn unix_socket(world: Arc<World>) -> Result<()> {
    let host = full("web");
    let request = format!(
        "GET http://{host}/ HTTP/1.1\r\nhost: {host}\r\nx-unix-socket: /run/docker.sock\r\nconnection: close\r\n\r\n"
    );
    let answered = ask(world.proxy.http, &request).await?;
    let reply = page(&answered)?;
    ensure!(
        reply.status == 501 && reply.body == "unix sockets unsupported",
        "{reply:?}"
    );
    Ok(())
}

/// The system's look-up cannot be cancelled, and with a dead name server takes longer than an operator waits.
async fn slow_exit(world: Arc<World>) -> Result<()> {
    let proxy = world.another_proxy("slow-exit", "", [3150, 8150]).await?;
    let host = full("slow-exit");
    let mut stream = within(TcpStream::connect(proxy.http)).await??;
    let request = format!("CONNECT {host}:443 HTTP/1.1\r\nhost: {host}:443\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    world.names.wait_for_question(&host).await?;
    let status = proxy.terminate(Duration::from_secs(13)).await?;
    ensure!(status.success(), "{status}");
    // What was under way was finished before the end.
    let mut reply = String::new();
    timeout(Duration::from_secs(1), stream.read_to_string(&mut reply)).await??;
    ensure!(reply.starts_with("HTTP/1.1 504 "), "{reply:?}");
    Ok(())
}
