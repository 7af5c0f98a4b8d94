//! `verify_origin`: in opaque tunnels the proxy looks at the origin's certificate for itself, for clients that do not.
//!
//! curl is told to accept any certificate, as careless programs do.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use super::inside::curl::{ask, obstacle};
use super::inside::visit::Speaks;
use super::zone::full;
use crate::report::{Case, Outcome, skippable};
use crate::world::{World, told_environment};

/// A host, and whether its certificate is in order.
const HOSTS: [(&str, bool); 5] = [
    ("verified", true),
    ("verified-http2", true),
    ("verified-expired", false),
    ("verified-wrong-name", false),
    ("verified-unknown-issuer", false),
];

pub(super) fn cases() -> Vec<Case> {
    vec![skippable("origins_are_verified_in_tunnels", verified)]
}

async fn verified(world: Arc<World>) -> Result<Outcome> {
    let room = world.room("verified")?;
    let line = "verify_origin = true\n";
    let proxy = world.another_proxy("verifying", line, [3133, 8085]).await?;
    let careful = told_environment(&proxy, &room);
    let careless = told_environment(&world.proxy, &room);
    if let Some(skipped) = obstacle(Speaks::Http1, &careful).await {
        return Ok(skipped);
    }
    let socks = format!("--insecure --proxy socks5h://{}", proxy.socks);
    for (host, good) in HOSTS {
        let name = full(host);
        let url = format!("https://{name}/verified");
        // Without the switch nobody but the client looks.
        let told = ask(&careless, &room, "--insecure", &url).await?;
        ensure!(told.status == 200, "{host}: {told:?}");
        let hits = || {
            let hits = world.origins.hits().into_iter();
            let hits = hits.filter(|hit| hit.host == name && hit.path == "/verified");
            hits.count()
        };
        let before = hits();
        for flags in ["--insecure", &socks] {
            let told = ask(&careful, &room, flags, &url).await?;
            if good {
                ensure!(told.status == 200, "{host} {flags}: {told:?}");
                continue;
            }
            let failed = told.failed.as_deref().unwrap_or("");
            ensure!(
                failed.contains("alert access denied"),
                "{host} {flags}: {told:?}"
            );
            let is_told = |event: &serde_json::Value| {
                event["server.address"] == name.as_str()
                    && event["network.policy.reason"] == "origin_not_verified"
            };
            let event = proxy.wait_for(is_told).await;
            event.with_context(|| format!("no event about {name}"))?;
        }
        ensure!(good || hits() == before, "{host} was asked");
    }
    Ok(Outcome::Passed)
}
