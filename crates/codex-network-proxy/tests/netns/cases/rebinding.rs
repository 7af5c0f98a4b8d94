//! Names that change their answer between the question and the connection, or between two accesses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::zone::full;
use super::{Expect, check, check_answer, ensure_only_dialled};
use crate::report::{Case, case};
use crate::wire::{Door, fetch, within};
use crate::world::World;

const PUBLIC: &str = "151.101.1.1";

/// Longer than any answer of a resolver may be reused for.
const FORGOTTEN: Duration = Duration::from_secs(15);

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("rebinding_http", async |world| {
            turn(&world, "rebound", Door::Http).await
        }),
        case("rebinding_to_ipv6_loopback", async |world| {
            turn(&world, "rebound-six", Door::Http).await
        }),
        case("rebinding_connect", async |world| {
            turn(&world, "rebound-connect", Door::Connect).await
        }),
        case("rebinding_socks5", async |world| {
            turn(&world, "rebound-socks", Door::Socks).await
        }),
        case("rebinding_from_private_to_public", back),
        case("rebinding_on_a_kept_connection", kept),
    ]
}

/// Public at the first question, private from the second on: what is dialled is what was judged, and the second answer is
/// judged as well.
async fn turn(world: &World, name: &str, door: Door) -> Result<()> {
    let host = full(name);
    let expect = Expect::Served(PUBLIC);
    check(world, &world.proxy, door, &host, 80, expect).await?;
    let questions = world.names.questions(&host);
    ensure!(questions == 1, "one access asked {questions} times");
    // As long as the answer is reused the access stays allowed; once it is asked again, it is refused.
    let started = Instant::now();
    while world.names.questions(&host) == 1 {
        ensure!(
            started.elapsed() < FORGOTTEN,
            "the answer is reused for too long"
        );
        let answered = fetch(&world.proxy, door, &host, 80, "/").await?;
        let expect = match world.names.questions(&host) {
            1 => Expect::Served(PUBLIC),
            _ => Expect::NotAllowedLocal,
        };
        check_answer(&answered, door, expect).with_context(|| format!("{answered:?}"))?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answered = fetch(&world.proxy, door, &host, 80, "/").await?;
    check_answer(&answered, door, Expect::NotAllowedLocal)?;
    ensure_only_dialled(world, &host, PUBLIC)
}

/// Private first: refused, and another process, which asks anew, may dial the public address.
async fn back(world: Arc<World>) -> Result<()> {
    let host = full("rebound-back");
    let expect = Expect::NotAllowedLocal;
    check(&world, &world.proxy, Door::Http, &host, 80, expect).await?;
    let expect = Expect::Served(PUBLIC);
    check(&world, &world.limited, Door::Http, &host, 80, expect).await?;
    ensure_only_dialled(&world, &host, PUBLIC)
}

/// A client keeps its connection, and the proxy may keep its own to the origin; a changed answer still counts.
async fn kept(world: Arc<World>) -> Result<()> {
    let host = full("rebound-pool");
    let request = format!("GET http://{host}/ HTTP/1.1\r\nhost: {host}\r\n\r\n");
    let mut stream = within(TcpStream::connect(world.proxy.http)).await??;
    let started = Instant::now();
    let mut served = 0;
    loop {
        stream.write_all(request.as_bytes()).await?;
        let head = head(&mut stream).await?;
        if world.names.questions(&host) > 1 {
            ensure!(head.contains(" 403 "), "{head}");
            break;
        }
        ensure!(head.contains(" 200 "), "{head}");
        served += 1;
        ensure!(
            started.elapsed() < FORGOTTEN,
            "the answer is reused for too long"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(served > 1, "only {served} requests were served");
    ensure_only_dialled(&world, &host, PUBLIC)
}

/// Reads one answer and throws its body away.
async fn head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await??);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.context("no length")?.parse()?];
    within(stream.read_exact(&mut body)).await??;
    Ok(head)
}
