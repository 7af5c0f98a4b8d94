//! `https://` fetched by the proxy itself: its certificate checks, and their failures.

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::page;
use super::zone::full;
use crate::report::{Case, case};
use crate::wire::{Reply, ask};
use crate::world::World;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("https_fetch_is_verified_and_served", served),
        case("https_fetch_of_a_listed_address", address),
        case("https_fetch_wrong_name", async |world| {
            fails(&world, "wrong-name", "certificate is for another name").await
        }),
        case("https_fetch_unknown_issuer", async |world| {
            fails(&world, "unknown-issuer", "certificate not trusted").await
        }),
        case("https_fetch_expired_certificate", async |world| {
            fails(&world, "expired", "certificate expired").await
        }),
        case("https_fetch_of_a_private_address", private),
    ]
}

async fn fetch(world: &World, host: &str) -> Result<Reply> {
    let request =
        format!("GET https://{host}/ HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    Ok(page(&ask(world.proxy.http, &request).await?)?.clone())
}

async fn served(world: Arc<World>) -> Result<()> {
    let host = full("secure");
    let reply = fetch(&world, &host).await?;
    ensure!(reply.status == 200, "{reply:?}");
    let seen: Value = serde_json::from_str(&reply.body)?;
    ensure!(
        seen["tls"] == true && seen["host"] == host.as_str(),
        "{seen}"
    );
    Ok(())
}

async fn address(world: Arc<World>) -> Result<()> {
    let reply = fetch(&world, "1.2.3.4").await?;
    ensure!(reply.status == 200, "{reply:?}");
    Ok(())
}

/// 502, never a page, and never a fetch without TLS instead.
async fn fails(world: &World, name: &str, why: &str) -> Result<()> {
    let host = full(name);
    let reply = fetch(world, &host).await?;
    ensure!(
        reply.status == 502 && reply.body == format!("upstream failure: {why}"),
        "{reply:?}"
    );
    let servers = world.origins.servers(&host);
    ensure!(servers.is_empty(), "the request was sent to {servers:?}");
    Ok(())
}

async fn private(world: Arc<World>) -> Result<()> {
    let host = full("secure-private");
    let reply = fetch(&world, &host).await?;
    ensure!(
        reply.status == 403 && reply.body.contains("\"not_allowed_local\""),
        "{reply:?}"
    );
    Ok(())
}
