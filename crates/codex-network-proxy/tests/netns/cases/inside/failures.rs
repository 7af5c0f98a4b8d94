//! Origins whose certificates are not in order, as clients inside of opened TLS hear of it.

use anyhow::{Result, ensure};

use super::curl::{ask, obstacle};
use super::visit::Speaks;
use crate::cases::zone::full;
use crate::report::{Case, Outcome, skippable};
use crate::world::{World, told_environment};

/// A host, and what is wrong with it.
const HOSTS: [(&str, &str); 3] = [
    ("expired", "certificate expired"),
    ("wrong-name", "certificate is for another name"),
    ("unknown-issuer", "certificate not trusted"),
];

pub(super) fn cases() -> Vec<Case> {
    let versions = [("http1", Speaks::Http1), ("http2", Speaks::Both)];
    let rows = HOSTS
        .into_iter()
        .flat_map(|host| versions.map(|version| (host, version)));
    let cases = rows.map(|((host, why), (version, offers))| {
        skippable(
            format!("inside_curl_{version}_{host}"),
            async move |world| fails(&world, host, why, offers).await,
        )
    });
    cases.collect()
}

/// A 502 that says why, inside of TLS that is in order, in answer to a GET and to a HEAD.
async fn fails(world: &World, host: &str, why: &str, offers: Speaks) -> Result<Outcome> {
    let (flag, version) = match offers {
        Speaks::Http1 => ("--http1.1", "1.1"),
        Speaks::Http2 | Speaks::Both => ("--http2", "2"),
    };
    let room = world.room(&format!("failures-{host}-{version}"))?;
    let environment = told_environment(&world.reading, &room);
    if let Some(skipped) = obstacle(offers, &environment).await {
        return Ok(skipped);
    }
    let url = format!("https://{}/failures", full(host));
    let text = format!("mitm upstream error: {why}");
    let told = ask(&environment, &room, flag, &url).await?;
    ensure!(told.status == 502 && told.text == text, "{told:?}");
    ensure!(told.version.as_deref() == Some(version), "{told:?}");
    let told = ask(&environment, &room, &format!("{flag} --head"), &url).await?;
    ensure!(told.status == 502 && told.bytes == 0, "{told:?}");
    ensure!(
        told.text
            .contains(&format!("content-length: {}\r\n", text.len())),
        "HEAD tells another length: {told:?}"
    );
    let hits = world.origins.hits();
    let hit = hits.iter().find(|hit| hit.path == "/failures");
    ensure!(hit.is_none(), "the request was sent: {hit:?}");
    Ok(Outcome::Passed)
}
