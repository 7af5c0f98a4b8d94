use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use async_trait::async_trait;
use codex_network_policy::{
    HostPattern, LookupFailure, Mode, Origin, Rule, Rules, SocketPath, SocketRule, SocketRules,
};
use tokio::sync::Notify;
use tokio::task::yield_now;

use super::*;
use crate::decider::{NetworkDecision, NetworkProtocol};
use crate::evidence::capture::Capture;

mod addresses;
mod audit_log;
mod counts;
mod decisions;
mod explain;
mod inside;
mod notes;
mod parents;
mod sockets;
mod tunnels;
mod verify;
mod waiting;

const PUBLIC: &str = "93.184.215.14";
const DOORS: [Protocol; 4] = [
    Protocol::Http,
    Protocol::HttpsConnect,
    Protocol::Socks5Tcp,
    Protocol::Socks5Udp,
];

/// Resolves from a table and remembers what it was asked. A name that is not in the table does not resolve,
/// `stuck.test` never answers.
#[derive(Debug, Default)]
struct Names {
    table: HashMap<&'static str, Vec<IpAddr>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

#[async_trait]
impl Resolver for Names {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(name.to_owned());
        if name == "stuck.test" {
            std::future::pending::<()>().await;
        }
        let found = self.table.get(name).cloned();
        found.ok_or_else(|| io::Error::other("no such name"))
    }
}

/// A gate with everything around it scripted.
struct World {
    gate: Arc<Gate>,
    names: Arc<Names>,
    /// How often the decider was asked.
    decided: Arc<AtomicUsize>,
    /// Whether an audit log is kept. It is not, until a test says so.
    health: Arc<crate::AuditLogHealth>,
}

/// Builds a [`World`].
#[derive(Default)]
struct Script {
    rules: Rules,
    decision: Option<NetworkDecision>,
    names: &'static [(&'static str, &'static [&'static str])],
    environment: &'static [(&'static str, &'static str)],
    listeners: &'static [&'static str],
    roots: crate::TrustRoots,
}

impl Script {
    fn build(self) -> World {
        let table = self.names.iter().map(|(name, addresses)| {
            let addresses = addresses.iter().map(|text| text.parse().unwrap());
            (*name, addresses.collect())
        });
        let names = Arc::new(Names {
            table: table
                .chain([("example.com", vec![PUBLIC.parse().unwrap()])])
                .collect(),
            asked: Mutex::default(),
        });
        let decided = Arc::new(AtomicUsize::new(0));
        let decider = self.decision.map(|decision| {
            let decided = Arc::clone(&decided);
            Arc::new(move |_| {
                decided.fetch_add(1, Ordering::SeqCst);
                std::future::ready(decision.clone())
            }) as Arc<dyn crate::NetworkPolicyDecider>
        });
        let environment = self.environment;
        let (parents, warnings) = ParentProxies::from_environment(|key| {
            let found = environment.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| (*value).to_owned())
        });
        assert_eq!(warnings, [""; 0]);
        let health: Arc<crate::AuditLogHealth> = Arc::default();
        let gate = Gate::builder(Policy::compile(self.rules))
            .resolver(Arc::clone(&names) as Arc<dyn Resolver>)
            .decider(decider)
            .parents(parents)
            .trust_roots(self.roots)
            .audit_log(Arc::clone(&health))
            .build();
        for listener in self.listeners {
            gate.add_listener(listener.parse().unwrap());
        }
        World {
            gate: Arc::new(gate),
            names,
            decided,
            health,
        }
    }
}

/// What a judgement came to and left behind.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    /// `permit <addresses, parent or path>` or `<decision> <source> <reason>`.
    answer: String,
    /// `<scope> <decision> <source> <reason>`, and `override` or `parent` where they apply.
    events: Vec<String>,
    /// `<protocol> <decision> <source> <reason> <mode>`.
    history: Vec<String>,
    /// Names that the resolver was asked for.
    asked: Vec<String>,
}

impl World {
    async fn authorize(&self, access: Access<'_>) -> Result<Permit, Denial> {
        self.gate.authorize(access).await
    }

    /// Judges one access and tells what it left.
    async fn judge(&self, access: Access<'_>) -> Left {
        let (capture, _guard) = Capture::start();
        let answer = match self.authorize(access).await {
            Ok(permit) => format!("permit {}", shown(&permit)),
            Err(denial) => format!(
                "{} {} {}",
                denial.decision().as_str(),
                denial.source().as_str(),
                denial.reason()
            ),
        };
        self.left(answer, &capture)
    }

    fn left(&self, answer: String, capture: &Capture) -> Left {
        let history = self.gate.drain_blocked().into_iter().map(|entry| {
            let mode = entry.mode.map_or("-", Mode::as_str);
            let decision = entry.decision.unwrap_or_default();
            let source = entry.source.unwrap_or_default();
            format!(
                "{} {decision} {source} {} {mode}",
                entry.protocol, entry.reason
            )
        });
        Left {
            answer,
            history: history.collect(),
            events: events(capture),
            asked: self.names.take_asked(),
        }
    }
}

fn events(capture: &Capture) -> Vec<String> {
    let short = |line: String| {
        let fields: HashMap<&str, &str> = line
            .split(' ')
            .filter_map(|field| field.split_once('='))
            .collect();
        let mut text = ["scope", "decision", "source", "reason"]
            .map(|name| fields[name])
            .join(" ");
        if fields["override"] == "true" {
            text.push_str(" override");
        }
        if let Some(upstream) = fields.get("network.upstream") {
            text.push(' ');
            text.push_str(upstream);
        }
        text
    };
    capture.take_audit().into_iter().map(short).collect()
}

fn shown(permit: &Permit) -> String {
    match permit.route() {
        Route::Parent(parent) => format!("parent {}:{}", parent.host, parent.port),
        Route::Socket { path, .. } => path.display().to_string(),
        Route::Address(_) | Route::Addresses { .. } => {
            let addresses: Vec<String> = permit
                .addresses()
                .map(|address| address.to_string())
                .collect();
            addresses.join(",")
        }
    }
}

fn rules(allowed: &[&str], denied: &[&str]) -> Rules {
    let list = |patterns: &[&str]| {
        let rule = |pattern: &&str| Rule {
            pattern: HostPattern::parse(pattern).unwrap(),
            origin: Origin::flag("--test"),
        };
        patterns.iter().map(rule).collect()
    };
    Rules {
        enabled: true,
        allowed: list(allowed),
        denied: list(denied),
        ..Rules::default()
    }
}

/// An access to `host:port`, or to port 80 of a host.
fn access<'a>(protocol: Protocol, target: &str, method: Option<&'a str>) -> Access<'a> {
    let authority = codex_network_policy::Authority::parse(target).unwrap();
    Access {
        protocol,
        target: Target::Host {
            host: authority.host,
            port: authority.port.unwrap_or(80),
        },
        method,
        upgrade: false,
        tls: false,
        client: Some("127.0.0.1:1234".parse().unwrap()),
    }
}

/// The method with which an ordinary client comes through a door.
fn usual_method(door: Protocol) -> Option<&'static str> {
    match door {
        Protocol::Http => Some("GET"),
        Protocol::HttpsConnect => Some("CONNECT"),
        Protocol::Https => Some("GET"),
        Protocol::Socks5Tcp | Protocol::Socks5Udp => None,
    }
}

/// Judges an ordinary access through every door and holds each to the same answer, the same single event and, unless
/// `answer` permits, one history entry. Names are to be asked for only where `asked` says so.
async fn check_doors(
    script: impl Fn() -> Script,
    target: &str,
    answer: &str,
    event: &str,
    asked: &[&str],
) {
    for door in DOORS {
        let left = script()
            .build()
            .judge(access(door, target, usual_method(door)))
            .await;
        let refused = !answer.starts_with("permit") && !answer.ends_with("dns_lookup_failed");
        let entry = format!("{} {answer} -", door.history_word());
        let expected = Left {
            answer: answer.to_owned(),
            events: vec![event.to_owned()],
            history: refused.then_some(entry).into_iter().collect(),
            asked: asked.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(left, expected, "{target} by {door}");
    }
}

/// Polls a judgement as far as it goes without anybody's answer, then lets it go, as a server does when its client
/// hangs up.
async fn hang_up(judgement: impl Future) {
    let mut judgement = pin!(judgement);
    for _ in 0..16 {
        let polled = judgement
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "nothing was waited for");
        yield_now().await;
    }
}
