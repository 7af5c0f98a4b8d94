//! Clients that do not trust the proxy's authority: each is told of once for a host.
//!
//! By which alert a client says so is its own affair, and some just go: those are not told of, and only fail.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use super::curl;
use super::scripts::{SCRIPTS, Trust};
use super::visit::Speaks;
use crate::cases::zone::full;
use crate::report::{Case, Outcome, skippable};
use crate::world::{World, told_environment};

/// What the proxy writes into its log.
const WARNING: &str = "a client does not trust the proxy's certificate authority";

/// Scripts, and the alert that each ends a handshake with.
const ALERTS: [(&str, Option<&str>); 6] = [
    ("python_urllib", Some("unknown_ca")),
    ("python_requests", Some("unknown_ca")),
    ("go_http2", Some("bad_certificate")),
    // These close the connection where others send an alert.
    ("node_https", None),
    ("node_http2", None),
    ("java_http2", None),
];

/// Clients retry.
const TRIES: usize = 3;

pub(super) fn cases() -> Vec<Case> {
    let scripts = ALERTS.into_iter().map(|(title, alert)| {
        skippable(format!("distrust_{title}"), async move |world| {
            script(&world, title, alert).await
        })
    });
    let curl = skippable("distrust_curl", async |world| curl(&world).await);
    scripts.chain([curl]).collect()
}

/// The environment of somebody who has not read that there is something to trust.
pub(super) fn environment(world: &World, title: &str) -> Result<BTreeMap<String, String>> {
    let room = world.room(&format!("distrust-{title}"))?;
    let mut environment = told_environment(&world.reading, &room);
    environment.retain(|_, value| !value.ends_with(".pem"));
    Ok(environment)
}

async fn script(world: &World, title: &str, alert: Option<&str>) -> Result<Outcome> {
    let script = SCRIPTS.into_iter().find(|script| script.title == title);
    let script = script.context("no such script")?;
    let host = full(&format!("distrust-{}", title.replace('_', "-")));
    let asked = [("GET", format!("https://{host}/"))];
    let tries = if alert.is_some() { TRIES } else { 1 };
    for _ in 0..tries {
        let environment = environment(world, title)?;
        let told = match script
            .run(world, Trust::Nobody, environment, &asked)
            .await?
        {
            Ok(told) => told,
            Err(skipped) => return Ok(skipped),
        };
        ensure!(told.iter().all(|told| told.failed.is_some()), "{told:?}");
    }
    match alert {
        Some(alert) => is_told_of(world, &host, alert).await?,
        None => is_not_served(world, &host)?,
    }
    Ok(Outcome::Passed)
}

async fn curl(world: &World) -> Result<Outcome> {
    let environment = environment(world, "curl")?;
    if let Some(skipped) = curl::obstacle(Speaks::Http1, &environment).await {
        return Ok(skipped);
    }
    let (host, room) = (full("distrust-curl"), world.room("distrust-curl")?);
    for _ in 0..TRIES {
        let told = curl::ask(&environment, &room, "", &format!("https://{host}/")).await?;
        let why = told.failed.context("it was served")?;
        ensure!(why.contains("certificate"), "{why}");
    }
    is_told_of(world, &host, "unknown_ca").await?;
    Ok(Outcome::Passed)
}

/// One warning and one event about this host, with this alert; and the origin has seen nothing.
pub(super) async fn is_told_of(world: &World, host: &str, alert: &str) -> Result<()> {
    let told =
        |event: &serde_json::Value| event["server.address"] == host && event["tls.alert"] == alert;
    let event = world.reading.wait_for(told).await;
    let warnings = world.reading.warnings(WARNING, host);
    event.with_context(|| format!("no alert `{alert}` at {host}: {warnings:?}"))?;
    ensure!(warnings.len() == 1, "{warnings:?}");
    ensure!(warnings[0]["alert"] == alert, "{warnings:?}");
    is_not_served(world, host)
}

fn is_not_served(world: &World, host: &str) -> Result<()> {
    let servers = world.origins.servers(host);
    ensure!(servers.is_empty(), "the origin was asked: {servers:?}");
    Ok(())
}
