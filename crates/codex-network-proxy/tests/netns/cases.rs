//! The cases, one theme a file, and what they share: what may come of an access, and how that looks at each door.
//!
//! Main type: [`Expect`]; main function: [`check`].

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::proxy::Proxy;
use crate::report::Case;
use crate::wire::{Answer, Answered, Door, Reply, fetch, fresh_path};
use crate::world::World;

mod clients;
mod doors;
mod hindsight;
mod inside;
mod literals;
mod rebinding;
mod resolution;
mod tls;
mod verified;
pub(crate) mod zone;

pub(crate) fn all() -> Vec<Case> {
    let themes = [
        // What waits longest starts first.
        resolution::cases(),
        rebinding::cases(),
        inside::cases(),
        clients::cases(),
        tls::cases(),
        verified::cases(),
        doors::cases(),
        literals::cases(),
        hindsight::cases(),
    ];
    themes.into_iter().flatten().collect()
}

/// What must come of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// An origin answers, and this is the address that was dialled.
    Served(&'static str),
    NotAllowed,
    NotAllowedLocal,
    Denied,
    /// A failure of DNS, with the status that the HTTP doors answer.
    DnsFailed(u16),
    /// The text is no host.
    Malformed,
    /// The permitted addresses cannot be connected to.
    Unreachable,
}

impl Expect {
    /// The word in the audit event. What is malformed is not judged.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Served(_) | Self::Unreachable => Some("allow"),
            Self::NotAllowed => Some("not_allowed"),
            Self::NotAllowedLocal => Some("not_allowed_local"),
            Self::Denied => Some("denied"),
            Self::DnsFailed(_) => Some("dns_lookup_failed"),
            Self::Malformed => None,
        }
    }

    fn proxy_error(self) -> Option<&'static str> {
        match self {
            Self::NotAllowed | Self::NotAllowedLocal => Some("blocked-by-allowlist"),
            Self::Denied => Some("blocked-by-denylist"),
            Self::Served(_) | Self::DnsFailed(_) | Self::Malformed | Self::Unreachable => None,
        }
    }

    fn status(self) -> u16 {
        match self {
            Self::Served(_) => 200,
            Self::NotAllowed | Self::NotAllowedLocal | Self::Denied => 403,
            Self::DnsFailed(status) => status,
            Self::Malformed => 400,
            Self::Unreachable => 502,
        }
    }

    fn socks_codes(self) -> &'static [u8] {
        match self {
            Self::Served(_) => &[0],
            Self::NotAllowed | Self::NotAllowedLocal | Self::Denied => &[2],
            Self::DnsFailed(_) => &[4],
            Self::Malformed => &[1],
            Self::Unreachable => &[3, 4],
        }
    }

    fn is_refusal(self) -> bool {
        self.status() == 403
    }
}

/// Fetches a page by one door and holds everything against the expectation: the answer, the audit event, and which
/// address was dialled.
async fn check(
    world: &World,
    proxy: &Proxy,
    door: Door,
    host: &str,
    port: u16,
    expect: Expect,
) -> Result<()> {
    let path = fresh_path();
    let answered = fetch(proxy, door, host, port, &path).await?;
    check_answer(&answered, door, expect).with_context(|| format!("{answered:?}"))?;
    if let Some(reason) = expect.reason() {
        let event = proxy
            .wait_for_event(answered.client, protocol(door), reason)
            .await?;
        check_event(&event, door, expect)?;
    }
    if !matches!(expect, Expect::Served(_)) {
        let hits = world.origins.hits();
        let hit = hits.iter().find(|hit| hit.path == path);
        ensure!(hit.is_none(), "an origin was reached: {hit:?}");
    }
    Ok(())
}

fn check_answer(answered: &Answered, door: Door, expect: Expect) -> Result<()> {
    match &answered.answer {
        Answer::Socks(code) => {
            let codes = expect.socks_codes();
            ensure!(
                codes.contains(code),
                "SOCKS code {code} instead of {codes:?}"
            );
        }
        Answer::Http(reply) => {
            let status = expect.status();
            ensure!(
                reply.status == status,
                "{} instead of {status}",
                reply.status
            );
            let told = reply.field("x-proxy-error");
            ensure!(told == expect.proxy_error(), "x-proxy-error: {told:?}");
            match (expect, door) {
                (Expect::Served(server), _) => check_server(reply, server)?,
                (_, Door::Http) if expect.is_refusal() => {
                    let body: Value = serde_json::from_str(&reply.body)?;
                    ensure!(
                        body["reason"] == expect.reason().unwrap_or(""),
                        "wrong reason"
                    );
                    ensure!(body["status"] == "blocked", "wrong status in the body");
                }
                (Expect::DnsFailed(_), _) => {
                    let text = "upstream failure: could not resolve ";
                    ensure!(reply.body.starts_with(text), "wrong text");
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn check_server(reply: &Reply, server: &str) -> Result<()> {
    let seen: Value = serde_json::from_str(&reply.body)?;
    ensure!(
        seen["server"] == server,
        "dialled {} instead of {server}",
        seen["server"]
    );
    Ok(())
}

fn check_event(event: &Value, door: Door, expect: Expect) -> Result<()> {
    let decision = match expect {
        Expect::Served(_) | Expect::Unreachable => "allow",
        Expect::NotAllowed
        | Expect::NotAllowedLocal
        | Expect::Denied
        | Expect::DnsFailed(_)
        | Expect::Malformed => "deny",
    };
    for (field, value) in [
        ("network.transport.protocol", protocol(door)),
        ("network.policy.decision", decision),
        ("network.policy.source", "baseline_policy"),
        ("network.policy.scope", "domain"),
    ] {
        ensure!(
            event[field] == value,
            "the event says {field}={}",
            event[field]
        );
    }
    Ok(())
}

fn protocol(door: Door) -> &'static str {
    match door {
        Door::Http => "http",
        Door::Connect => "https_connect",
        Door::Socks | Door::SocksName => "socks5_tcp",
    }
}

/// The page of an origin, or why there is none.
fn page(answered: &Answered) -> Result<&Reply> {
    match &answered.answer {
        Answer::Http(reply) => Ok(reply),
        Answer::Socks(code) => bail!("SOCKS code {code}"),
    }
}

/// Where the origins were reached under this name is where they may be reached.
fn ensure_only_dialled(world: &World, host: &str, allowed: &str) -> Result<()> {
    let allowed: IpAddr = allowed.parse()?;
    let servers = world.origins.servers(host);
    ensure!(!servers.is_empty(), "no origin was reached");
    ensure!(
        servers.iter().all(|server| *server == allowed),
        "dialled {servers:?}"
    );
    Ok(())
}
