//! A running proxy with a scripted resolver, its audit events at hand, and clients and origins that speak bytes.
//!
//! Main types: [`Setup`] makes a [`World`]; [`Wire`] is one connection of a client or of an origin. Every wait has a
//! limit, so that a test that waits for the wrong thing fails and says what it waited for.
//!
//! INVARIANT: a test runs on one thread (`#[tokio::test]` with its default flavour), for the events of its proxy are
//! found by the thread.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use codex_network_proxy::config::{Environment, UnixSockets};
use codex_network_proxy::{
    BlockedRequest, BlockedRequestObserver, Limits, MetricsEndpoint, NetworkPolicyDecider,
    NetworkProxy, NetworkProxyConfig, NetworkProxyHandle, ParentProxies, Resolver, TrustRoots,
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

mod audit;
pub(crate) mod http2;
pub(crate) mod site;
mod socks;
pub(crate) mod tls;
mod wire;

pub(crate) use audit::{Audit, Event};
pub(crate) use socks::{
    CONNECT, Datagrams, GREETING, UDP_ASSOCIATE, address, bound, name, request,
};
use tls::Issuer;
pub(crate) use wire::{Nobody, Origin, Wire, undated, within};

/// What a scripted name resolves to.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Addresses(Vec<IpAddr>),
    Error(io::ErrorKind),
    /// Never comes.
    Silence,
}

/// A resolver that knows what the test told it, and remembers what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Script {
    answers: Mutex<HashMap<String, Answer>>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    pub(crate) fn set(&self, name: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(name.to_owned(), answer);
    }

    /// The names that were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl Resolver for Script {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(name.to_owned());
        let answer = self.answers.lock().unwrap().get(name).cloned();
        match answer {
            Some(Answer::Addresses(addresses)) => Ok(addresses),
            Some(Answer::Error(kind)) => Err(kind.into()),
            Some(Answer::Silence) => std::future::pending().await,
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// How a proxy is to be started.
pub(crate) struct Setup {
    network: Map<String, Value>,
    script: Script,
    resolver: Option<Arc<dyn Resolver>>,
    decider: Option<Arc<dyn NetworkPolicyDecider>>,
    parents: ParentProxies,
    limits: Limits,
    unix_sockets: UnixSockets,
    roots: TrustRoots,
    home: TempDir,
    intercept_always: bool,
    ask_about_each_request: bool,
    observer: Option<Arc<dyn BlockedRequestObserver>>,
    metrics: Option<MetricsEndpoint>,
}

impl Setup {
    /// Enabled, and nothing allowed.
    pub(crate) fn new() -> Self {
        let mut network = Map::new();
        network.insert("enabled".to_owned(), json!(true));
        Self {
            network,
            script: Script::default(),
            resolver: None,
            decider: None,
            parents: ParentProxies::default(),
            limits: Limits::default(),
            unix_sockets: UnixSockets::Unsupported,
            roots: TrustRoots::default(),
            home: tempfile::tempdir().unwrap(),
            intercept_always: false,
            ask_about_each_request: false,
            observer: None,
            metrics: None,
        }
    }

    /// `origin.test` is allowed and leads to this machine, as does everything below it.
    pub(crate) fn usual() -> Self {
        Self::new()
            .allow(&["**.origin.test"])
            .key("allow_local_binding", true)
            .name("origin.test", &["127.0.0.1"])
    }

    /// Sets a key of the network table.
    pub(crate) fn key(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.network.insert(key.to_owned(), value.into());
        self
    }

    pub(crate) fn limited(self) -> Self {
        self.key("mode", "limited")
    }

    pub(crate) fn allow(self, patterns: &[&str]) -> Self {
        self.key("allowed_domains", json!(patterns))
    }

    pub(crate) fn deny(self, patterns: &[&str]) -> Self {
        self.key("denied_domains", json!(patterns))
    }

    pub(crate) fn name(self, name: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        self.answer(name, Answer::Addresses(addresses.collect()))
    }

    pub(crate) fn answer(self, name: &str, answer: Answer) -> Self {
        self.script.set(name, answer);
        self
    }

    /// Another resolver than the scripted one.
    pub(crate) fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    pub(crate) fn decider(mut self, decider: impl NetworkPolicyDecider) -> Self {
        self.decider = Some(Arc::new(decider));
        self
    }

    /// No question is shared.
    pub(crate) fn ask_about_each_request(mut self) -> Self {
        self.ask_about_each_request = true;
        self
    }

    /// Is told of each refusal.
    pub(crate) fn observer(mut self, observer: impl BlockedRequestObserver) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// The parents that this environment names.
    pub(crate) fn parents(mut self, environment: &[(&str, &str)]) -> Self {
        let (parents, warnings) = ParentProxies::from_environment(|key| {
            let found = environment.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| (*value).to_owned())
        });
        assert_eq!(warnings, Vec::<String>::new());
        self.parents = parents;
        self
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Read-only, also inside TLS, for origins of this issuer.
    pub(crate) fn intercepting(issuer: &Issuer) -> Self {
        Self::usual().limited().key("mitm", true).trust(&issuer.1)
    }

    /// Opens tunnels in full mode as well.
    pub(crate) fn intercept_always(mut self) -> Self {
        self.intercept_always = true;
        self.key("mode", "full")
    }

    /// The proxy trusts this issuer and no other.
    pub(crate) fn trust(mut self, pem: &str) -> Self {
        self.roots = TrustRoots::from_pem(pem.as_bytes()).unwrap();
        self
    }

    pub(crate) fn unix_sockets(mut self, unix_sockets: UnixSockets) -> Self {
        self.unix_sockets = unix_sockets;
        self
    }

    /// Serves metrics here.
    pub(crate) fn metrics(mut self, endpoint: MetricsEndpoint) -> Self {
        self.metrics = Some(endpoint);
        self
    }

    pub(crate) async fn start(self) -> World {
        self.try_start().await.unwrap()
    }

    pub(crate) async fn try_start(self) -> Result<World, codex_network_proxy::Error> {
        let audit = Audit::start();
        let script = Arc::new(self.script);
        let scripted: Arc<dyn Resolver> = Arc::clone(&script) as _;
        let network = json!({ "network": self.network });
        let config: NetworkProxyConfig = serde_json::from_value(network).unwrap();
        let mut builder = NetworkProxy::builder()
            .config(config)
            .http_addr("127.0.0.1:0".parse().unwrap())
            .socks_addr("127.0.0.1:0".parse().unwrap())
            .resolver(self.resolver.unwrap_or(scripted))
            .parent_proxies(self.parents)
            .limits(self.limits)
            .unix_sockets(self.unix_sockets)
            .trust_roots(self.roots)
            .environment(Environment {
                codex_home: Some(self.home.path().into()),
                home: None,
                ..Environment::default()
            });
        if self.intercept_always {
            builder = builder.intercept_always();
        }
        if self.ask_about_each_request {
            builder = builder.ask_about_each_request();
        }
        if let Some(observer) = self.observer {
            builder = builder.blocked_request_observer_arc(observer);
        }
        if let Some(endpoint) = self.metrics {
            builder = builder.metrics_endpoint(endpoint);
        }
        if let Some(decider) = self.decider {
            builder = builder.policy_decider_arc(decider);
        }
        let proxy = builder.build().await?;
        let handle = proxy.run().await?;
        Ok(World {
            proxy,
            handle: Some(handle),
            script,
            audit,
            home: self.home,
        })
    }
}

/// A running proxy. It stops with the value.
pub(crate) struct World {
    pub(crate) proxy: NetworkProxy,
    /// None once the test has ended the proxy.
    pub(crate) handle: Option<NetworkProxyHandle>,
    pub(crate) script: Arc<Script>,
    pub(crate) audit: Audit,
    /// The proxy's own `CODEX_HOME`.
    pub(crate) home: TempDir,
}

impl World {
    /// A client's connection to the HTTP listener.
    pub(crate) async fn http(&self) -> Wire {
        Wire::connect(self.proxy.http_addr()).await
    }

    /// A client's connection to the SOCKS5 listener.
    pub(crate) async fn socks(&self) -> Wire {
        Wire::connect(self.socks_addr()).await
    }

    pub(crate) fn socks_addr(&self) -> SocketAddr {
        self.proxy.socks_addr().expect("SOCKS5 is enabled")
    }

    /// Sends `request` over a connection of its own and returns all that comes back until the proxy closes it.
    pub(crate) async fn exchange(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.http().await;
        client.send(request).await;
        undated(&client.rest().await)
    }

    /// Sends `request` over a connection of its own and returns the one answer, whether or not the connection stays.
    pub(crate) async fn answer(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.http().await;
        client.send(request).await;
        client.message().await
    }

    /// The events since the last call, as lines.
    pub(crate) fn events(&self) -> Vec<String> {
        self.audit.take().iter().map(Event::line).collect()
    }

    /// The refusals since the last call.
    pub(crate) fn history(&self) -> Vec<String> {
        self.proxy
            .drain_blocked()
            .iter()
            .map(history_line)
            .collect()
    }
}

/// An entry without its time and the client's port.
pub(crate) fn history_line(entry: &BlockedRequest) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    format!(
        "{} {}:{} reason={} method={} mode={} decision={} source={}",
        entry.protocol,
        entry.host,
        entry
            .port
            .map_or_else(|| "-".to_owned(), |port| port.to_string()),
        entry.reason,
        text(&entry.method),
        entry.mode.map_or("-", |mode| mode.as_str()),
        text(&entry.decision),
        text(&entry.source),
    )
}

/// The longest that anything in a test may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
