//! Names: every row of the zone at every door, and what a client that hangs up leaves behind.

use anyhow::{Result, ensure};
use tokio::io::AsyncWriteExt as _;

use super::zone::{ROWS, full};
use super::{Expect, check};
use crate::report::{Case, case};
use crate::wire::{Door, within};
use crate::world::World;

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = ROWS
        .iter()
        .map(|(name, _, expect)| {
            let title = format!("name_{}", name.trim_end_matches('.'));
            case(title, async move |world| {
                row(&world, &full(name), *expect).await
            })
        })
        .collect();
    cases.push(case("name_with_capitals_and_a_dot_is_one_name", one_name));
    cases.push(case("name_is_asked_once_for_one_access", asked_once));
    cases.push(case("hang_up_during_a_lookup_leaves_evidence", hang_up));
    cases
}

/// All doors at once: where DNS is silent each waits for its limit.
async fn row(world: &World, host: &str, expect: Expect) -> Result<()> {
    let proxy = &world.proxy;
    let by = |door| check(world, proxy, door, host, 80, expect);
    tokio::try_join!(by(Door::Http), by(Door::Connect), by(Door::Socks))?;
    if matches!(expect, Expect::NotAllowed | Expect::Denied) {
        let questions = world.names.questions(host);
        ensure!(
            questions == 0,
            "{questions} DNS questions about a refused name"
        );
    }
    Ok(())
}

async fn one_name(world: std::sync::Arc<World>) -> Result<()> {
    for host in ["WEB.Allowed.EXAMPLE", "web.allowed.example."] {
        for door in [Door::Http, Door::Connect, Door::Socks] {
            let expect = Expect::Served("151.101.1.1");
            check(&world, &world.proxy, door, host, 80, expect).await?;
        }
    }
    for name in world.names.names() {
        ensure!(name == name.to_ascii_lowercase(), "asked for `{name}`");
    }
    for door in [Door::Http, Door::Connect, Door::Socks] {
        let host = "BELOW.Denied.allowed.example.";
        check(&world, &world.proxy, door, host, 80, Expect::Denied).await?;
    }
    Ok(())
}

async fn asked_once(world: std::sync::Arc<World>) -> Result<()> {
    let host = full("counted");
    let expect = Expect::Served("151.101.1.1");
    check(&world, &world.proxy, Door::Connect, &host, 80, expect).await?;
    let questions = world.names.questions(&host);
    ensure!(questions == 1, "asked {questions} times");
    Ok(())
}

async fn hang_up(world: std::sync::Arc<World>) -> Result<()> {
    let host = full("hang-up");
    let mut stream = within(tokio::net::TcpStream::connect(world.proxy.http)).await??;
    let client = stream.local_addr()?;
    let request = format!("CONNECT {host}:443 HTTP/1.1\r\nhost: {host}:443\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    world.names.wait_for_question(&host).await?;
    drop(stream);
    world
        .proxy
        .wait_for_event(client, "https_connect", "cancelled")
        .await?;
    Ok(())
}
