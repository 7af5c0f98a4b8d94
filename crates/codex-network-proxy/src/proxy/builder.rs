//! Puts a proxy together from what an embedding program wants.
//!
//! Main type: [`NetworkProxyBuilder`]. Comes in: where the configuration comes from, and what surrounds it. Goes out: a
//! [`NetworkProxy`] with its gate, bound to nothing yet unless it is built of a state. It starts no listener.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use codex_network_gate::{
    BlockedRequestObserver, Gate, Limits, NetworkPolicyDecider, NetworkProxyAuditMetadata,
    ParentProxies, Resolver, TrustRoots,
};

use super::inherited::Inherited;
use super::{NetworkProxy, Reserved, bind};
use crate::config::{
    Environment, ListenerAddresses, LoadedConfig, NetworkProxyConfig, Overrides, UnixSockets,
};
use crate::error::{Error, ErrorKind};
use crate::in_force::Signing;
use crate::meters::Meters;
use crate::metrics::MetricsEndpoint;
use crate::shared::NetworkProxyState;

/// Builds a [`NetworkProxy`]. Made by [`NetworkProxy::builder`].
#[derive(Clone, Default)]
pub struct NetworkProxyBuilder {
    source: Source,
    overrides: Overrides,
    unmanaged: bool,
    decider: Option<Arc<dyn NetworkPolicyDecider>>,
    ask_about_each_request: bool,
    observer: Option<Arc<dyn BlockedRequestObserver>>,
    metadata: Option<NetworkProxyAuditMetadata>,
    resolver: Option<Arc<dyn Resolver>>,
    parents: Option<ParentProxies>,
    limits: Limits,
    unix_sockets: Option<UnixSockets>,
    stays: bool,
    roots: TrustRoots,
    environment: Option<Environment>,
    intercept_always: bool,
    pub(super) metrics: Vec<MetricsEndpoint>,
    inherited: Inherited,
}

/// Where the settings come from.
#[derive(Clone, Debug, Default)]
enum Source {
    /// The files that the binary reads.
    #[default]
    Files,
    Given(Box<NetworkProxyConfig>),
    Loaded(Box<LoadedConfig>),
    Shared(Arc<NetworkProxyState>),
}

impl fmt::Debug for NetworkProxyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkProxyBuilder")
            .field("source", &self.source)
            .field("overrides", &self.overrides)
            .field("decides", &self.decider.is_some())
            .finish_non_exhaustive()
    }
}

impl NetworkProxyBuilder {
    /// Takes these settings and reads no file.
    #[must_use]
    pub fn config(mut self, config: NetworkProxyConfig) -> Self {
        self.source = Source::Given(Box::new(config));
        self
    }

    /// Takes settings that are loaded already, with the place of every rule.
    #[must_use]
    pub fn loaded_config(mut self, config: LoadedConfig) -> Self {
        self.source = Source::Loaded(Box::new(config));
        self
    }

    /// Takes what is in force, with its history and its session, from `state`. Proxies that are built of one state share
    /// all of it.
    #[must_use]
    pub fn state(mut self, state: Arc<NetworkProxyState>) -> Self {
        self.source = Source::Shared(state);
        self
    }

    /// Whether a proxy that is built of a state listens on ports that the system chooses, on loopback, and has them when
    /// it is built. By default it does. Without a state this plays no part.
    #[must_use]
    pub fn managed_by_codex(mut self, managed: bool) -> Self {
        self.unmanaged = !managed;
        self
    }

    /// Listens here for HTTP, whatever the configuration says. Port 0 lets the system choose. An address that is
    /// not loopback is clamped unless the configuration permits it.
    #[must_use]
    pub fn http_addr(mut self, address: SocketAddr) -> Self {
        self.overrides.http_addr = Some(address);
        self
    }

    /// Listens here for SOCKS5, whatever the configuration says; see [`NetworkProxyBuilder::http_addr`].
    #[must_use]
    pub fn socks_addr(mut self, address: SocketAddr) -> Self {
        self.overrides.socks_addr = Some(address);
        self
    }

    /// Listens for HTTP on this socket, which listens already, instead of binding an address; for the first run.
    #[must_use]
    pub fn http_listener(mut self, listener: TcpListener) -> Self {
        self.overrides.http_addr = listener.local_addr().ok();
        self.inherited.http = Some(Arc::new(listener));
        self
    }

    /// Listens for SOCKS5 on this socket; see [`NetworkProxyBuilder::http_listener`].
    #[must_use]
    pub fn socks_listener(mut self, listener: TcpListener) -> Self {
        self.overrides.socks_addr = listener.local_addr().ok();
        self.inherited.socks = Some(Arc::new(listener));
        self
    }

    /// Asks `decider` about hosts that no list mentions. Without one they are refused.
    #[must_use]
    pub fn policy_decider<D: NetworkPolicyDecider>(self, decider: D) -> Self {
        self.policy_decider_arc(Arc::new(decider))
    }

    /// As [`NetworkProxyBuilder::policy_decider`].
    #[must_use]
    pub fn policy_decider_arc(mut self, decider: Arc<dyn NetworkPolicyDecider>) -> Self {
        self.decider = Some(decider);
        self
    }

    /// Tells `observer` of each refusal, soon after it was recorded. A state's own observer makes way, also for none.
    #[must_use]
    pub fn blocked_request_observer<O: BlockedRequestObserver>(self, observer: O) -> Self {
        self.blocked_request_observer_arc(Arc::new(observer))
    }

    /// As [`NetworkProxyBuilder::blocked_request_observer`].
    #[must_use]
    pub fn blocked_request_observer_arc(
        mut self,
        observer: Arc<dyn BlockedRequestObserver>,
    ) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Names this session in each audit event, instead of the state's.
    #[must_use]
    pub fn audit_metadata(mut self, metadata: NetworkProxyAuditMetadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// How long the decider may think about one question while the client's request is held; 5 minutes by default. It is
    /// [`Limits::decider`], so a later [`NetworkProxyBuilder::limits`] replaces it.
    #[must_use]
    pub fn decider_timeout(mut self, limit: Duration) -> Self {
        self.limits.decider = limit;
        self
    }

    /// Asks the decider about each request by itself, also where equal ones wait. For a decider that tells clients
    /// apart: otherwise its yes to one client is a yes to all who wait for the same host, port, protocol and method.
    #[must_use]
    pub fn ask_about_each_request(mut self) -> Self {
        self.ask_about_each_request = true;
        self
    }

    /// Resolves names with `resolver` instead of the system's.
    #[must_use]
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// Uses these parent proxies instead of those in this process's environment. They apply only where the
    /// configuration has `allow_upstream_proxy`.
    #[must_use]
    pub fn parent_proxies(mut self, parents: ParentProxies) -> Self {
        self.parents = Some(parents);
        self
    }

    /// Keeps these limits instead of the defaults.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether `x-unix-socket` is served. By default on macOS only. A state has settled that already.
    #[must_use]
    pub fn unix_sockets(mut self, unix_sockets: UnixSockets) -> Self {
        self.unix_sockets = Some(unix_sockets);
        self
    }

    /// Whether a configuration is read again when its files change, or its reloader has another. By default it is.
    #[must_use]
    pub fn reload(mut self, reload: bool) -> Self {
        self.stays = !reload;
        self
    }

    /// Trusts these issuers when the proxy speaks TLS with an origin or a parent. By default those of the system.
    #[must_use]
    pub fn trust_roots(mut self, roots: TrustRoots) -> Self {
        self.roots = roots;
        self
    }

    /// Looks for files in this `CODEX_HOME` or home directory instead of those of this process. Start from
    /// [`Environment::of_process`], which knows the machine's own files: an environment without them has no managed
    /// limits. A state has read its files already.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Opens every tunnel that comes by CONNECT, in every mode, and not only those of the limited mode. The
    /// configuration must have `mitm = true`. Where proxies share a state, it is so for all of them.
    #[must_use]
    pub fn intercept_always(mut self) -> Self {
        self.intercept_always = true;
        self
    }

    /// Reads and checks the configuration and compiles the policy. Nothing is bound yet, unless the proxy is built of a
    /// state.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with a message that names the key, the value and the place; [`ErrorKind::Authority`] where
    /// TLS is to be opened and there is no authority to sign for it; [`ErrorKind::Bind`] where no port is to be had.
    // Asynchronous for its callers' sake: embedders await it, and what it does may come to wait.
    #[expect(
        clippy::unused_async,
        reason = "the public interface, fixed by existing users"
    )]
    pub async fn build(mut self) -> Result<NetworkProxy, Error> {
        let chooses_ports = matches!(self.source, Source::Shared(_)) && !self.unmanaged;
        let http_chosen = self.overrides.http_addr.is_none();
        let stays = self.stays;
        let metrics = std::mem::take(&mut self.metrics);
        let inherited = std::mem::take(&mut self.inherited);
        let socks_chosen = self.overrides.socks_addr.is_none();
        let state = self.take_state()?;
        let config = state.in_force().config();
        if self.intercept_always {
            let reach = Signing::reach(state.signing(), true);
            state.in_force().set_interception(reach);
        }
        state.history().keep(self.limits.history);
        state.history().observe(self.observer.take());
        let mut warnings = Vec::new();
        let listeners = config.listeners_at(&self.overrides, &mut warnings);
        for warning in config.warnings.iter().chain(&warnings) {
            tracing::warn!("{warning}");
        }
        let gate = Arc::new(self.gate(&state, &listeners));
        let mut proxy = NetworkProxy {
            gate,
            configured: listeners,
            bound: Arc::default(),
            reserved: Arc::default(),
            offers_udp: config.settings.enable_socks5_udp,
            allow_local_binding: config.settings.allow_local_binding,
            allow_unix_sockets: config.settings.allow_unix_sockets.as_slice().into(),
            dangerously_allow_all_unix_sockets: config.settings.dangerously_allow_all_unix_sockets,
            stays,
            meters: Arc::new(Meters::new(Arc::clone(state.in_force().reloads()))),
            metrics,
            state,
        };
        if chooses_ports && config.disabled.is_none() {
            proxy.reserve(http_chosen, socks_chosen)?;
        }
        proxy.inherit(&inherited)?;
        Ok(proxy)
    }

    /// The state that was given, or one of the settings.
    fn take_state(&mut self) -> Result<Arc<NetworkProxyState>, Error> {
        let sockets = self.unix_sockets.unwrap_or_else(UnixSockets::of_platform);
        let environment = self.environment.take();
        let environment = environment.unwrap_or_else(Environment::of_process);
        let config = match std::mem::take(&mut self.source) {
            Source::Shared(state) => return Ok(state),
            Source::Files => LoadedConfig::from_files(&self.overrides, &environment, sockets),
            Source::Given(config) => LoadedConfig::from_config(*config, &self.overrides, sockets),
            Source::Loaded(config) => Ok(*config),
        };
        let config =
            config.map_err(|error| Error::new(ErrorKind::Config, error.to_string(), error))?;
        let signing = Signing::wanted_by(&config, &environment)?;
        Ok(Arc::new(NetworkProxyState::of(config, signing)))
    }

    fn gate(self, state: &NetworkProxyState, listeners: &ListenerAddresses) -> Gate {
        let allow_upstream_proxy = state.in_force().config().settings.allow_upstream_proxy;
        let metadata = self.metadata.as_ref();
        let mut gate = Gate::over(Arc::clone(state.in_force().store()))
            .history(state.history().clone())
            .audit_metadata(metadata.unwrap_or(state.audit_metadata()).clone())
            .decider(self.decider)
            .parents(parents(self.parents, allow_upstream_proxy, listeners))
            .limits(self.limits)
            .trust_roots(self.roots);
        if let Some(resolver) = self.resolver {
            gate = gate.resolver(resolver);
        }
        if self.ask_about_each_request {
            gate = gate.ask_about_each_request();
        }
        gate.build()
    }
}

impl NetworkProxy {
    /// Starts building a proxy.
    #[must_use]
    pub fn builder() -> NetworkProxyBuilder {
        NetworkProxyBuilder::default()
    }

    /// Binds, on ports that the system chooses, what is not to listen elsewhere; for the first run.
    fn reserve(&mut self, http: bool, socks: bool) -> Result<(), Error> {
        let mut reserved = Reserved::default();
        if http {
            let (listener, address) = bind(&self.gate, "HTTP", ANY_PORT)?;
            reserved.http = Some(listener);
            self.configured.http = address;
        }
        if socks && self.configured.socks.is_some() {
            let (listener, address) = bind(&self.gate, "SOCKS5", ANY_PORT)?;
            reserved.socks = Some(listener);
            self.configured.socks = Some(address);
        }
        self.reserved = Arc::new(Mutex::new(reserved));
        Ok(())
    }
}

/// Where the system chooses.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The parents of the environment, whether or not the policy lets them be used: a later policy may.
fn parents(
    given: Option<ParentProxies>,
    allowed: bool,
    listeners: &ListenerAddresses,
) -> ParentProxies {
    let (mut parents, warnings) =
        given.map_or_else(ParentProxies::of_process, |parents| (parents, Vec::new()));
    let own: Vec<SocketAddr> = std::iter::once(listeners.http)
        .chain(listeners.socks)
        .collect();
    let own = parents.without_listeners(&own);
    for warning in warnings.iter().chain(&own).filter(|_| allowed) {
        tracing::warn!("{warning}");
    }
    parents
}
