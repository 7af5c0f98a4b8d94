//! One request of a real program to an origin, and what must come of it.
//!
//! Main types: [`Visit`], what is asked, and [`Told`], what the program says about the answer. [`Visit::hold`] compares
//! them, and what the origin has seen. It deliberately knows no program.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::cases::zone::full;
use crate::command::hexadecimal;
use crate::origin::Hit;
use crate::origin::content::{LARGE_BYTES, TRAILER, all_lines, large_sha256};
use crate::world::World;

/// Which versions of HTTP a client offers in TLS, or an origin accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cases) enum Speaks {
    Http1,
    Http2,
    Both,
}

/// The origins, by what they speak.
pub(in crate::cases) const ORIGINS: [(&str, Speaks); 3] = [
    ("http1", Speaks::Http1),
    ("http2", Speaks::Http2),
    ("both", Speaks::Both),
];

/// How a client gets to an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cases) enum Way {
    /// The proxy opens its TLS, and lets it read only.
    Opened,
    /// Its TLS is the origin's.
    Opaque,
}

impl Way {
    /// The versions on the client's side and on the origin's; none where they have none in common.
    fn agreed(self, client: Speaks, origin: Speaks) -> Option<(&'static str, &'static str)> {
        match (client, origin) {
            (Speaks::Http1, Speaks::Http1 | Speaks::Both) | (Speaks::Both, Speaks::Http1) => {
                Some(("1.1", "HTTP/1.1"))
            }
            (Speaks::Http2 | Speaks::Both, Speaks::Http2 | Speaks::Both) => Some(("2", "HTTP/2.0")),
            // The proxy translates.
            (Speaks::Http1, Speaks::Http2) if self == Self::Opened => Some(("1.1", "HTTP/2.0")),
            (Speaks::Http2, Speaks::Http1) if self == Self::Opened => Some(("2", "HTTP/1.1")),
            (Speaks::Http1, Speaks::Http2) | (Speaks::Http2, Speaks::Http1) => None,
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cases) enum Kind {
    /// What the origin saw, as JSON.
    Echo,
    Head,
    Options,
    /// A body whose length nobody knows beforehand.
    Chunked,
    /// 100 MB.
    Large,
    Trailers,
    /// An answer that comes after a 103.
    Early,
    /// A body of four bytes, which nobody may send where TLS is opened.
    Post,
    /// A body of some megabytes, neither.
    Upload,
    /// A WebSocket.
    Upgrade,
}

impl Kind {
    /// What every program is asked to do.
    pub(in crate::cases) const USUAL: [Self; 6] = [
        Self::Echo,
        Self::Options,
        Self::Head,
        Self::Chunked,
        Self::Large,
        Self::Post,
    ];

    pub(in crate::cases) fn method(self) -> &'static str {
        match self {
            Self::Echo
            | Self::Chunked
            | Self::Large
            | Self::Trailers
            | Self::Early
            | Self::Upgrade => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Post => "POST",
            Self::Upload => "PUT",
        }
    }

    /// The first part of the path.
    pub(in crate::cases) fn word(self) -> &'static str {
        match self {
            Self::Echo | Self::Head | Self::Options | Self::Post => "echo",
            Self::Chunked => "chunked",
            Self::Large => "large",
            Self::Trailers => "trailers",
            Self::Early => "early",
            Self::Upload => "upload",
            Self::Upgrade => "socket",
        }
    }

    /// Whether it is more than reading.
    fn is_refused(self) -> bool {
        match self {
            Self::Post | Self::Upload | Self::Upgrade => true,
            Self::Echo
            | Self::Head
            | Self::Options
            | Self::Chunked
            | Self::Large
            | Self::Trailers
            | Self::Early => false,
        }
    }
}

/// One request. The path holds the client's name, so that each knows its own.
#[derive(Clone, Copy, Debug)]
pub(in crate::cases) struct Visit {
    pub(in crate::cases) kind: Kind,
    pub(in crate::cases) host: &'static str,
    /// What speaks there.
    pub(in crate::cases) origin: Speaks,
}

/// What a program says about an answer. What it cannot know is left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::cases) struct Told {
    /// Why there is none.
    pub(in crate::cases) failed: Option<String>,
    /// What the program lacks to try.
    pub(in crate::cases) missing: Option<String>,
    pub(in crate::cases) status: u16,
    /// The field `x-proxy-error`.
    pub(in crate::cases) error: Option<String>,
    /// Of HTTP, on the client's side.
    pub(in crate::cases) version: Option<String>,
    pub(in crate::cases) trailers: Option<BTreeMap<String, String>>,
    pub(in crate::cases) bytes: u64,
    pub(in crate::cases) sha256: String,
    /// The beginning of the body.
    pub(in crate::cases) text: String,
}

impl Visit {
    /// To every origin that speaks a version of its own.
    pub(in crate::cases) fn everywhere(kind: Kind) -> impl Iterator<Item = Self> {
        ORIGINS
            .into_iter()
            .map(move |(host, origin)| Self { kind, host, origin })
    }

    /// To the origin that is written by hand.
    pub(in crate::cases) fn handmade(kind: Kind) -> Self {
        Self {
            kind,
            host: "handmade",
            origin: Speaks::Http1,
        }
    }

    fn path(&self, client: &str) -> String {
        format!("/{}/{client}", self.kind.word())
    }

    pub(in crate::cases) fn url(&self, client: &str) -> String {
        format!("https://{}{}", full(self.host), self.path(client))
    }

    /// Whether client and origin can understand each other.
    pub(in crate::cases) fn is_possible(&self, way: Way, offers: Speaks) -> bool {
        way.agreed(offers, self.origin).is_some()
    }

    /// Holds what was told, and what the origin saw, to what must be.
    pub(in crate::cases) fn hold(
        &self,
        world: &World,
        way: Way,
        (client, offers): (&str, Speaks),
        told: &Told,
    ) -> Result<()> {
        self.compare(world, way, (client, offers), told)
            .with_context(|| format!("{client}, {self:?}: {told:?}"))
    }

    fn compare(
        &self,
        world: &World,
        way: Way,
        (client, offers): (&str, Speaks),
        told: &Told,
    ) -> Result<()> {
        ensure!(told.failed.is_none(), "no answer");
        let agreed = way.agreed(offers, self.origin);
        let (before, behind) = agreed.context("nothing in common")?;
        let version = told.version.as_deref().unwrap_or(before);
        ensure!(version == before, "HTTP {version} instead of {before}");
        let (host, path, method) = (full(self.host), self.path(client), self.kind.method());
        let hits = world.origins.hits();
        let hits: Vec<&Hit> = hits
            .iter()
            .filter(|hit| hit.path == path && hit.method == method)
            // Some clients name the port that goes without saying.
            .filter(|hit| hit.host.trim_end_matches(":443") == host)
            .collect();
        if way == Way::Opened && self.kind.is_refused() {
            ensure!(told.status == 403, "{} instead of 403", told.status);
            let error = told.error.as_deref();
            ensure!(error == Some("blocked-by-method-policy"), "{error:?}");
            let text = "Codex blocked this request: method not allowed in limited mode.";
            ensure!(told.text == text, "another text");
            ensure!(hits.is_empty(), "the origin was reached: {hits:?}");
            return Ok(());
        }
        let good = if self.kind == Kind::Upgrade { 101 } else { 200 };
        ensure!(told.status == good, "{} instead of {good}", told.status);
        ensure!(told.error.is_none(), "an error of the proxy");
        ensure!(
            !hits.is_empty() && hits.iter().all(|hit| hit.version == behind),
            "the origin saw {hits:?}, and not {behind}"
        );
        self.compare_body(told)
    }

    fn compare_body(&self, told: &Told) -> Result<()> {
        match self.kind {
            Kind::Echo | Kind::Options | Kind::Post => {
                let seen: Value = serde_json::from_str(&told.text)?;
                ensure!(seen["tls"] == true, "no TLS at the origin");
                let sent = if self.kind == Kind::Post { 4 } else { 0 };
                ensure!(seen["bytes"] == sent, "not the body that was sent");
            }
            Kind::Head => ensure!(told.bytes == 0, "a body after HEAD"),
            Kind::Chunked => is_whole(told, all_lines().as_bytes())?,
            Kind::Early => is_whole(told, b"final\n")?,
            Kind::Trailers => {
                is_whole(told, b"the body\n")?;
                if let Some(trailers) = &told.trailers {
                    let value = trailers.get(TRAILER.0).map(String::as_str);
                    ensure!(value == Some(TRAILER.1), "no trailer");
                }
            }
            Kind::Large => {
                ensure!(told.bytes == LARGE_BYTES, "not all of it");
                ensure!(told.sha256 == large_sha256(), "another body");
            }
            Kind::Upload | Kind::Upgrade => {}
        }
        Ok(())
    }
}

fn is_whole(told: &Told, body: &[u8]) -> Result<()> {
    let sum = ring::digest::digest(&ring::digest::SHA256, body);
    ensure!(told.sha256 == hexadecimal(sum.as_ref()), "another body");
    Ok(())
}
