//! git: clone and push over http and https, and the refusals.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::command::{Said, output};
use crate::report::{Case, Outcome, skippable};
use crate::world::World;

/// More than git sends in one piece, so that the push is chunked.
const LARGE: usize = 3_000_000;

pub(super) fn cases() -> Vec<Case> {
    vec![
        skippable("git_clone_http", async |world| {
            round_trip(world, "http", false).await
        }),
        skippable("git_clone_https", async |world| {
            round_trip(world, "https", false).await
        }),
        skippable("git_push_http", async |world| {
            round_trip(world, "http", true).await
        }),
        skippable("git_push_https", async |world| {
            round_trip(world, "https", true).await
        }),
        skippable("git_clone_refused_http", async |world| {
            refused(world, "http").await
        }),
        skippable("git_clone_refused_https", async |world| {
            refused(world, "https").await
        }),
    ]
}

pub(in crate::cases) async fn git(
    environment: &BTreeMap<String, String>,
    room: &Path,
    arguments: &[&str],
) -> Result<Said> {
    let place = room.display().to_string();
    let place = [
        "-C",
        place.as_str(),
        "-c",
        "user.name=Suite",
        "-c",
        "user.email=suite@allowed.example",
    ];
    output("git", place.iter().chain(arguments), environment).await
}

pub(in crate::cases) async fn good(
    environment: &BTreeMap<String, String>,
    room: &Path,
    arguments: &[&str],
) -> Result<()> {
    let said = git(environment, room, arguments).await?;
    ensure!(said.good, "git {arguments:?}: {}", said.stderr);
    Ok(())
}

/// What keeps these cases from running here.
pub(in crate::cases) async fn obstacle(environment: &BTreeMap<String, String>) -> Option<Outcome> {
    let Ok(backend) = output("git", ["--exec-path"], environment).await else {
        return Some(Outcome::Skipped("git is not installed".to_owned()));
    };
    let path = Path::new(backend.stdout.trim());
    let missing = ["git-http-backend", "git-remote-https"]
        .into_iter()
        .find(|program| !path.join(program).exists());
    missing.map(|program| Outcome::Skipped(format!("git has no `{program}` here")))
}

fn environment(world: &World, room: &Path) -> BTreeMap<String, String> {
    undisturbed(world.client_environment(room))
}

/// Nobody to ask, and no configuration of this machine.
pub(in crate::cases) fn undisturbed(
    mut environment: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    environment.insert("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned());
    environment.insert("GIT_CONFIG_NOSYSTEM".to_owned(), "1".to_owned());
    environment
}

async fn round_trip(world: Arc<World>, scheme: &str, pushes: bool) -> Result<Outcome> {
    let name = format!("{scheme}-{}", if pushes { "push" } else { "clone" });
    let room = world.room(&name)?;
    let environment = environment(&world, &room);
    if let Some(skipped) = obstacle(&environment).await {
        return Ok(skipped);
    }
    let served = world.origins.files.join("git").join(&name);
    let bare = served.display().to_string();
    good(
        &environment,
        &room,
        &["init", "--quiet", "--bare", "-b", "main", &bare],
    )
    .await?;
    good(
        &environment,
        &served,
        &["config", "http.receivepack", "true"],
    )
    .await?;
    let source = first_commit(&environment, &room).await?;
    good(&environment, &source, &["push", "--quiet", &bare, "main"]).await?;
    let url = format!("{scheme}://git.allowed.example/git/{name}");
    good(&environment, &room, &["clone", "--quiet", &url, "clone"]).await?;
    let clone = room.join("clone");
    ensure!(
        std::fs::read(clone.join("file"))? == noise(10_000),
        "another file arrived"
    );
    if pushes {
        std::fs::write(clone.join("large"), noise(LARGE))?;
        good(&environment, &clone, &["add", "."]).await?;
        good(&environment, &clone, &["commit", "--quiet", "-m", "Second"]).await?;
        good(&environment, &clone, &["push", "--quiet", "origin", "main"]).await?;
        good(&environment, &source, &["pull", "--quiet", &url, "main"]).await?;
        ensure!(
            std::fs::read(source.join("large"))? == noise(LARGE),
            "another file came back"
        );
    }
    Ok(Outcome::Passed)
}

/// A repository with one file, in `source` of the room.
pub(in crate::cases) async fn first_commit(
    environment: &BTreeMap<String, String>,
    room: &Path,
) -> Result<PathBuf> {
    good(
        environment,
        room,
        &["init", "--quiet", "-b", "main", "source"],
    )
    .await?;
    let source = room.join("source");
    std::fs::write(source.join("file"), noise(10_000))?;
    good(environment, &source, &["add", "."]).await?;
    good(environment, &source, &["commit", "--quiet", "-m", "First"]).await?;
    Ok(source)
}

/// What does not compress, and is the same every time.
pub(in crate::cases) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    bytes.take(length).collect()
}

async fn refused(world: Arc<World>, scheme: &str) -> Result<Outcome> {
    let room = world.room(&format!("{scheme}-refused"))?;
    let environment = environment(&world, &room);
    let url = format!("{scheme}://unlisted.example/git/some");
    let Ok(said) = git(&environment, &room, &["clone", &url, "clone"]).await else {
        return Ok(Outcome::Skipped("git is not installed".to_owned()));
    };
    ensure!(!said.good && said.stderr.contains("403"), "{said:?}");
    Ok(Outcome::Passed)
}
