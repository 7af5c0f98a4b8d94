//! git where TLS is opened: what can be read with GET alone, and what cannot.
//!
//! The dumb protocol is files, which limited mode lets through. The smart one asks by POST, also for a clone.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::cases::clients::git::{first_commit, git, good, noise, obstacle, undisturbed};
use crate::cases::zone::full;
use crate::report::{Case, Outcome, skippable};
use crate::world::{World, told_environment};

pub(super) fn cases() -> Vec<Case> {
    let hosts = ["http1", "http2", "both"].into_iter();
    let cases = hosts.flat_map(|host| {
        [
            skippable(format!("inside_git_dumb_{host}"), async move |world| {
                dumb(&world, host).await
            }),
            skippable(format!("inside_git_smart_{host}"), async move |world| {
                smart(&world, host).await
            }),
        ]
    });
    cases.collect()
}

/// Makes a bare repository of the source that can be served as files.
async fn publish(environment: &BTreeMap<String, String>, source: &Path, bare: &Path) -> Result<()> {
    let bare_text = bare.display().to_string();
    if !bare.exists() {
        let init = ["init", "--quiet", "--bare", "-b", "main", &bare_text];
        good(environment, source, &init).await?;
    }
    good(
        environment,
        source,
        &["push", "--quiet", &bare_text, "main"],
    )
    .await?;
    good(environment, bare, &["update-server-info"]).await
}

/// Clone and fetch of a repository that is served as files.
async fn dumb(world: &World, host: &str) -> Result<Outcome> {
    let room = world.room(&format!("git-dumb-{host}"))?;
    let environment = undisturbed(told_environment(&world.reading, &room));
    if let Some(skipped) = obstacle(&environment).await {
        return Ok(skipped);
    }
    let source = first_commit(&environment, &room).await?;
    let bare = world.origins.files.join(format!("dumb-{host}.git"));
    publish(&environment, &source, &bare).await?;
    let url = format!("https://{}/files/dumb-{host}.git", full(host));
    good(&environment, &room, &["clone", "--quiet", &url, "clone"]).await?;
    let clone = room.join("clone");
    ensure!(
        std::fs::read(clone.join("file"))? == noise(10_000),
        "another file"
    );
    std::fs::write(source.join("file"), noise(20_000))?;
    good(
        &environment,
        &source,
        &["commit", "--quiet", "-a", "-m", "Second"],
    )
    .await?;
    publish(&environment, &source, &bare).await?;
    good(&environment, &clone, &["fetch", "--quiet"]).await?;
    good(&environment, &clone, &["merge", "--quiet", "origin/main"]).await?;
    ensure!(
        std::fs::read(clone.join("file"))? == noise(20_000),
        "another file"
    );
    Ok(Outcome::Passed)
}

/// Clone and push by the smart protocol fail, and git says why; without it, the same server can be cloned from.
async fn smart(world: &World, host: &str) -> Result<Outcome> {
    let room = world.room(&format!("git-smart-{host}"))?;
    let mut environment = undisturbed(told_environment(&world.reading, &room));
    if let Some(skipped) = obstacle(&environment).await {
        return Ok(skipped);
    }
    let source = first_commit(&environment, &room).await?;
    let bare = world.origins.files.join(format!("git/smart-{host}"));
    publish(&environment, &source, &bare).await?;
    good(&environment, &bare, &["config", "http.receivepack", "true"]).await?;
    let url = format!("https://{}/git/smart-{host}", full(host));
    std::fs::write(source.join("file"), noise(20_000))?;
    good(
        &environment,
        &source,
        &["commit", "--quiet", "-a", "-m", "Second"],
    )
    .await?;
    let clone: &[&str] = &["clone", &url, "clone"];
    let push: &[&str] = &["push", &url, "main"];
    // Both of the protocol's versions that are in use.
    let older: &[&str] = &["-c", "protocol.version=0", "clone", &url, "clone"];
    for (place, arguments) in [(&room, clone), (&room, older), (&source, push)] {
        let said = git(&environment, place, arguments).await?;
        let told = said.stderr.contains("HTTP 403") && said.stderr.contains("error: 403");
        ensure!(!said.good && told, "git {arguments:?}: {said:?}");
    }
    environment.insert("GIT_SMART_HTTP".to_owned(), "0".to_owned());
    good(&environment, &room, clone).await?;
    let file = std::fs::read(room.join("clone/file"))?;
    ensure!(file == noise(10_000), "another file");
    let posted =
        world.origins.hits().into_iter().find(|hit| {
            hit.method == "POST" && hit.path.starts_with(&format!("/git/smart-{host}/"))
        });
    ensure!(posted.is_none(), "the origin was reached: {posted:?}");
    Ok(Outcome::Passed)
}
