//! curl with both versions of HTTP: every kind of request to every kind of origin, one case each.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::visit::{Kind, Speaks, Told, Visit, Way};
use crate::cases::zone::full;
use crate::command::{Said, digest, output};
use crate::origin::content::{LARGE_BYTES, TRAILER};
use crate::report::{Case, Outcome, skippable};
use crate::world::{World, told_environment};

/// The client's name, its flag, and what that offers.
const VERSIONS: [(&str, &str, Speaks); 2] = [
    ("curl_http1", "--http1.1", Speaks::Http1),
    ("curl_http2", "--http2", Speaks::Both),
];

/// What asks for each kind.
fn flags(kind: Kind) -> &'static str {
    match kind {
        Kind::Echo | Kind::Chunked | Kind::Large | Kind::Early => "",
        Kind::Head => "--head",
        Kind::Options => "--request OPTIONS",
        Kind::Trailers => "--header TE:trailers",
        Kind::Post => "--data text",
        Kind::Upload => "--upload-file ROOM/upload",
        Kind::Upgrade => {
            "--header Connection:Upgrade --header Upgrade:websocket --header Sec-WebSocket-Version:13 \
             --header Sec-WebSocket-Key:dGhlIHNhbXBsZSBub25jZQ=="
        }
    }
}

/// More than any window of HTTP/2.
const UPLOAD: usize = 3_000_000;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in VERSIONS {
        let (client, _, offers) = version;
        let kinds = Kind::USUAL.into_iter();
        let mut visits: Vec<Visit> = kinds.flat_map(Visit::everywhere).collect();
        visits.push(Visit::handmade(Kind::Early));
        visits.push(Visit::handmade(Kind::Trailers));
        visits.extend(Visit::everywhere(Kind::Upload));
        // The others have their HTTP/1.1 from a library that sends trailers only to who asks for them, hop by hop.
        let trailers = Visit::everywhere(Kind::Trailers);
        visits.extend(trailers.filter(|visit| visit.origin == Speaks::Http2));
        // Only HTTP/1.1 can be left.
        if offers == Speaks::Http1 {
            visits.extend(Visit::everywhere(Kind::Upgrade));
        }
        for visit in visits {
            let title = format!("inside_{client}_{:?}_{}", visit.kind, visit.host).to_lowercase();
            cases.push(skippable(title, async move |world| {
                curl(&world, version, visit).await
            }));
        }
        let title = format!("inside_{client}_that_reads_slowly");
        cases.push(skippable(title, async move |world| {
            slow(&world, version).await
        }));
    }
    cases
}

async fn curl(
    world: &World,
    (client, flag, offers): (&str, &str, Speaks),
    visit: Visit,
) -> Result<Outcome> {
    let room = world.room(&format!("{client}-{:?}-{}", visit.kind, visit.host))?;
    let environment = told_environment(&world.reading, &room);
    if let Some(skipped) = obstacle(offers, &environment).await {
        return Ok(skipped);
    }
    if visit.kind == Kind::Upload {
        std::fs::write(room.join("upload"), vec![b'x'; UPLOAD])?;
    }
    let flags = format!("{flag} {}", flags(visit.kind));
    let told = ask(&environment, &room, &flags, &visit.url(client)).await?;
    visit.hold(world, Way::Opened, (client, offers), &told)?;
    Ok(Outcome::Passed)
}

/// What a client does not read stays at the origin, but for what the sockets of three programs hold.
async fn slow(
    world: &World,
    (client, flag, offers): (&'static str, &str, Speaks),
) -> Result<Outcome> {
    let room = world.room(&format!("{client}-slow"))?;
    let environment = told_environment(&world.reading, &room);
    if let Some(skipped) = obstacle(offers, &environment).await {
        return Ok(skipped);
    }
    let host = full(if offers == Speaks::Http1 {
        "http1"
    } else {
        "http2"
    });
    let path = format!("/large/{client}-slow");
    let flags = format!("{flag} --limit-rate 100k --max-time 2");
    let told = ask(
        &environment,
        &room,
        &flags,
        &format!("https://{host}{path}"),
    )
    .await?;
    let why = told.failed.unwrap_or_default();
    ensure!(why.contains("timed out"), "it has read all: {why}");
    let hits = world.origins.hits();
    let hit = hits.iter().find(|hit| hit.path == path);
    let taken = hit.context("no origin was reached")?.taken.bytes();
    ensure!(taken < LARGE_BYTES / 2, "{taken} bytes were taken");
    Ok(Outcome::Passed)
}

/// What keeps curl from speaking this here.
pub(in crate::cases) async fn obstacle(
    offers: Speaks,
    environment: &BTreeMap<String, String>,
) -> Option<Outcome> {
    match output("curl", ["--version"], environment).await {
        Err(_) => Some(Outcome::Skipped("curl is not installed".to_owned())),
        Ok(version) if offers != Speaks::Http1 && !version.stdout.contains("HTTP2") => {
            Some(Outcome::Skipped("curl has no HTTP/2 here".to_owned()))
        }
        Ok(_) => None,
    }
}

/// Has curl ask once. `ROOM` in the flags stands for the room.
pub(in crate::cases) async fn ask(
    environment: &BTreeMap<String, String>,
    room: &Path,
    flags: &str,
    url: &str,
) -> Result<Told> {
    let flags = format!("-sS --max-time 30 -D ROOM/head {flags} {url}");
    let flags = flags.replace("ROOM", &room.display().to_string());
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let write = "%{stderr}\nstatus=%{http_code} version=%{http_version} bytes=%{size_download}";
    let arguments = flags.into_iter().chain(["--write-out", write]);
    let (said, sha256) = digest("curl", arguments, environment).await?;
    tell(&said, sha256, &room.join("head")).with_context(|| format!("{said:?}"))
}

/// Puts together what curl says in its several places.
fn tell(said: &Said, sha256: String, head: &Path) -> Result<Told> {
    if !said.good {
        return Ok(Told {
            failed: Some(said.stderr.clone()),
            ..Told::default()
        });
    }
    let said_of = |name: &str| {
        let words = said.stderr.split_whitespace();
        let mut values = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        values.next_back().context("curl does not say all")
    };
    let head = std::fs::read_to_string(head)?;
    let field_of = |name: &str| {
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        let mut values = fields.filter(|field| field.0.eq_ignore_ascii_case(name));
        values.next_back().map(|field| field.1.trim().to_owned())
    };
    let trailers = field_of(TRAILER.0).map(|value| (TRAILER.0.to_owned(), value));
    Ok(Told {
        status: said_of("status")?.parse()?,
        error: field_of("x-proxy-error"),
        version: Some(said_of("version")?.to_owned()),
        trailers: Some(trailers.into_iter().collect()),
        // Not of what it printed: after HEAD that is the head.
        bytes: said_of("bytes")?.parse()?,
        sha256,
        text: said.stdout.clone(),
        ..Told::default()
    })
}
