//! The proxy as an embedder sees it: build, run, shut down.
//!
//! [`NetworkProxyBuilder`] turns a configuration into a gate and two listeners; [`NetworkProxy::run`] starts them;
//! [`NetworkProxyHandle`] stops them. Two proxies in one process share nothing. No logger and no TLS provider is
//! installed, and nothing outlives the handle.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use codex_network_gate::{
    BlockedRequest, Gate, Limits, NetworkPolicyDecider, ParentProxies, Resolver, TrustRoots, chain,
};
use codex_network_policy::{Interception, Mode, Policy};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::authority::leaf::Leaves;
use crate::authority::{AuthorityFiles, CertificateAuthority};
use crate::config::{
    Environment, ListenerAddresses, LoadedConfig, NetworkProxyConfig, Overrides, UnixSockets,
};
use crate::error::{Error, ErrorKind};
use crate::listener::Listener;
use crate::listener::http::HttpListener;
use crate::listener::socks5::SocksListener;
use crate::meters::Meters;
use crate::metrics::MetricsEndpoint;
use crate::reload::{self, PolicyStatus, Reload, Requests};

mod evidence;

/// Builds a [`NetworkProxy`]. Made by [`NetworkProxy::builder`].
#[derive(Clone, Default)]
pub struct NetworkProxyBuilder {
    source: Source,
    overrides: Overrides,
    decider: Option<Arc<dyn NetworkPolicyDecider>>,
    resolver: Option<Arc<dyn Resolver>>,
    parents: Option<ParentProxies>,
    limits: Limits,
    unix_sockets: Option<UnixSockets>,
    stays: bool,
    roots: TrustRoots,
    environment: Option<Environment>,
    intercept_always: bool,
    metrics: Vec<MetricsEndpoint>,
    #[cfg(feature = "export")]
    exports: Option<Arc<crate::export::Exports>>,
}

/// Where the settings come from.
#[derive(Clone, Debug, Default)]
enum Source {
    /// The files that the binary reads.
    #[default]
    Files,
    Given(Box<NetworkProxyConfig>),
    Loaded(Box<LoadedConfig>),
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

    /// Whether `x-unix-socket` is served. By default on macOS only.
    #[must_use]
    pub fn unix_sockets(mut self, unix_sockets: UnixSockets) -> Self {
        self.unix_sockets = Some(unix_sockets);
        self
    }

    /// Whether a configuration that was read from files is read again when they change. By default it is.
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
    /// limits.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Opens every tunnel that comes by CONNECT, in every mode, and not only those of the limited mode. The
    /// configuration must have `mitm = true`.
    #[must_use]
    pub fn intercept_always(mut self) -> Self {
        self.intercept_always = true;
        self
    }

    /// Reads and checks the configuration and compiles the policy. Nothing is bound yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with a message that names the key, the value and the place; [`ErrorKind::Authority`] where
    /// TLS is to be opened and there is no authority to sign for it.
    // Asynchronous for its callers' sake: embedders await it, and what it does may come to wait.
    #[expect(
        clippy::unused_async,
        reason = "the public interface, fixed by existing users"
    )]
    pub async fn build(self) -> Result<NetworkProxy, Error> {
        let sockets = self.unix_sockets.unwrap_or_else(UnixSockets::of_platform);
        let environment = self.environment.unwrap_or_else(Environment::of_process);
        let config = match self.source {
            Source::Files => LoadedConfig::from_files(&self.overrides, &environment, sockets),
            Source::Given(config) => LoadedConfig::from_config(*config, &self.overrides, sockets),
            Source::Loaded(config) => Ok(*config),
        }
        .map_err(|error| Error::new(ErrorKind::Config, error.to_string(), error))?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let authority = match config.rules.tls.interception {
            Interception::Unavailable => None,
            Interception::WhenLimited | Interception::Always if config.disabled.is_some() => None,
            Interception::WhenLimited | Interception::Always => Some(Signing::open(&environment)?),
        };
        let interception = match (&authority, self.intercept_always) {
            (None, _) => Interception::Unavailable,
            (Some(_), false) => Interception::WhenLimited,
            (Some(_), true) => Interception::Always,
        };
        let mut rules = config.rules.clone();
        reload::limit_interception(&mut rules, interception);
        let parents = parents(
            self.parents,
            config.settings.allow_upstream_proxy,
            &config.listeners,
        );
        let gate = Gate::builder(Policy::compile(rules))
            .decider(self.decider)
            .parents(parents)
            .limits(self.limits)
            .trust_roots(self.roots);
        let gate = match self.resolver {
            Some(resolver) => gate.resolver(resolver),
            None => gate,
        };
        #[cfg(feature = "export")]
        let gate = match &self.exports {
            Some(exports) => gate.audit_log(exports.health()),
            None => gate,
        };
        let proxy = NetworkProxy {
            gate: Arc::new(gate.build()),
            configured: config.listeners,
            bound: Arc::default(),
            authority,
            offers_udp: config.settings.enable_socks5_udp,
            allow_local_binding: config.settings.allow_local_binding,
            enabled: config.disabled.is_none(),
            interception,
            stays: self.stays,
            meters: Arc::new(Meters::new()),
            metrics: self.metrics,
            status: watch::Sender::new(PolicyStatus {
                config: Arc::new(config),
                since: SystemTime::now(),
                failure: None,
            }),
        };
        #[cfg(feature = "export")]
        proxy.export_to(self.exports.as_ref());
        Ok(proxy)
    }
}

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

/// The authority that signs for opened tunnels, and the bundle by which clients trust it.
#[derive(Clone, Debug)]
struct Signing {
    authority: Arc<CertificateAuthority>,
    bundle: PathBuf,
}

impl Signing {
    fn open(environment: &Environment) -> Result<Self, Error> {
        let home = environment
            .codex_home()
            .map_err(|error| Error::new(ErrorKind::Config, error.to_string(), error))?;
        let files = AuthorityFiles::in_home(&home);
        let opened = CertificateAuthority::open_or_create(&files).and_then(|authority| {
            let bundle = authority.write_bundle(&files)?;
            let authority = Arc::new(authority);
            Ok(Self { authority, bundle })
        });
        let signing =
            opened.map_err(|error| Error::new(ErrorKind::Authority, chain(&error), error))?;
        if let Some(warning) = signing.authority.expiry_warning() {
            tracing::warn!("{warning}");
        }
        Ok(signing)
    }
}

/// A proxy that is ready to run.
#[derive(Clone)]
pub struct NetworkProxy {
    gate: Arc<Gate>,
    authority: Option<Signing>,
    configured: ListenerAddresses,
    bound: Arc<OnceLock<ListenerAddresses>>,
    offers_udp: bool,
    allow_local_binding: bool,
    enabled: bool,
    /// How far TLS can be opened while this proxy runs, whatever a later configuration wants.
    interception: Interception,
    stays: bool,
    meters: Arc<Meters>,
    metrics: Vec<MetricsEndpoint>,
    status: watch::Sender<PolicyStatus>,
}

impl fmt::Debug for NetworkProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkProxy")
            .field("http_addr", &self.http_addr())
            .field("socks_addr", &self.socks_addr())
            .finish_non_exhaustive()
    }
}

impl PartialEq for NetworkProxy {
    fn eq(&self, other: &Self) -> bool {
        self.http_addr() == other.http_addr()
            && self.socks_addr() == other.socks_addr()
            && self.allow_local_binding == other.allow_local_binding
    }
}

impl Eq for NetworkProxy {}

impl NetworkProxy {
    /// Starts building a proxy.
    #[must_use]
    pub fn builder() -> NetworkProxyBuilder {
        NetworkProxyBuilder::default()
    }

    /// Where HTTP is listened for: the configured address, and once the proxy runs the bound one.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.addresses().http
    }

    /// Where SOCKS5 is listened for, if it is; see [`NetworkProxy::http_addr`].
    #[must_use]
    pub fn socks_addr(&self) -> Option<SocketAddr> {
        self.addresses().socks
    }

    fn addresses(&self) -> &ListenerAddresses {
        self.bound.get().unwrap_or(&self.configured)
    }

    /// The file of certificates that a client must trust, where TLS is opened: this machine's trust roots and the
    /// authority of the proxy.
    #[must_use]
    pub fn trust_bundle(&self) -> Option<&Path> {
        self.authority
            .as_ref()
            .map(|signing| signing.bundle.as_path())
    }

    /// Whether local addresses may be reached without being listed.
    #[must_use]
    pub fn allow_local_binding(&self) -> bool {
        self.allow_local_binding
    }

    /// A copy of the newest refusals (at most 200), oldest first.
    #[must_use]
    pub fn blocked_snapshot(&self) -> Vec<BlockedRequest> {
        self.gate.blocked_snapshot()
    }

    /// Takes the newest refusals (at most 200), oldest first.
    #[must_use]
    pub fn drain_blocked(&self) -> Vec<BlockedRequest> {
        self.gate.drain_blocked()
    }

    /// How many refusals there have been.
    #[must_use]
    pub fn blocked_total(&self) -> u64 {
        self.gate.blocked_total()
    }

    /// Which configuration is in force, and a wake-up whenever another one is.
    #[must_use]
    pub fn policy_status(&self) -> watch::Receiver<PolicyStatus> {
        self.status.subscribe()
    }

    /// Binds the listeners and serves them in tasks of the current runtime, until the handle is shut down or
    /// dropped. A proxy that its configuration disables binds nothing and returns a finished handle.
    ///
    /// # Errors
    /// [`ErrorKind::Bind`] where an address is taken or not ours; [`ErrorKind::Authority`] where no certificates can be
    /// signed.
    // Asynchronous because it has to be called within a runtime.
    #[expect(
        clippy::unused_async,
        reason = "the public interface, fixed by existing users"
    )]
    pub async fn run(&self) -> Result<NetworkProxyHandle, Error> {
        let (stop, draining) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut bound = ListenerAddresses {
            socks: None,
            ..self.configured
        };
        if !self.enabled {
            tracing::warn!("network.enabled is false; skipping proxy listeners");
            return Ok(NetworkProxyHandle {
                stop,
                tasks,
                addresses: None,
                requests: Requests::default(),
            });
        }
        let limits = self.gate.limits();
        let slots = Arc::new(Semaphore::new(limits.connections));
        let (http, address) = self.bind("HTTP", self.configured.http)?;
        bound.http = address;
        let socks = match self.configured.socks {
            Some(address) => {
                let (listener, address) = self.bind("SOCKS5", address)?;
                bound.socks = Some(address);
                Some(listener)
            }
            None => None,
        };
        let leaves = self.authority.as_ref();
        let leaves = leaves
            .map(|signing| Leaves::new(Arc::clone(&signing.authority), Arc::clone(&self.meters)));
        let leaves = leaves
            .transpose()
            .map_err(|error| Error::new(ErrorKind::Authority, chain(&error), error))?;
        self.serve_metrics(&mut tasks, &draining)?;
        let service = HttpListener::new(Arc::clone(&self.gate), leaves, Arc::clone(&self.meters));
        tasks.spawn(service.clone().close_idle(draining.clone()));
        tasks.spawn(http.run(
            service,
            Arc::clone(&slots),
            draining.clone(),
            limits.drain,
            Arc::clone(&self.meters.http),
        ));
        tracing::info!("HTTP proxy listening on {}", bound.http);
        if let (Some(listener), Some(address)) = (socks, bound.socks) {
            let service = SocksListener::new(
                Arc::clone(&self.gate),
                self.offers_udp,
                Arc::clone(&self.meters),
            );
            let meters = Arc::clone(&self.meters.socks);
            tasks.spawn(listener.run(service, slots, draining, limits.drain, meters));
            tracing::info!("SOCKS5 proxy listening on {address}");
            if self.gate.store().current().policy.mode() == Mode::Limited {
                tracing::info!(
                    "SOCKS5 is blocked in limited mode; set mode=\"full\" to allow SOCKS5"
                );
            }
        }
        let requests = Requests::default();
        let reload = Reload::new(
            Arc::clone(&self.gate),
            self.status.clone(),
            requests.clone(),
            self.interception,
            Arc::clone(&self.meters),
        );
        if let Some(reload) = reload.filter(|_| !self.stays) {
            tasks.spawn(reload.run(stop.subscribe()));
        }
        // A second run of the same proxy keeps the first one's addresses here; its handle knows its own.
        let _ = self.bound.set(bound);
        Ok(NetworkProxyHandle {
            stop,
            tasks,
            addresses: Some(bound),
            requests,
        })
    }

    fn bind(&self, name: &str, address: SocketAddr) -> Result<(Listener, SocketAddr), Error> {
        let bound = Listener::bind(address).and_then(|listener| {
            let address = listener.address()?;
            Ok((listener, address))
        });
        let (listener, address) = bound.map_err(|error| {
            Error::new(
                ErrorKind::Bind,
                format!("bind {name} proxy: {address}"),
                error,
            )
        })?;
        self.gate.add_listener(address);
        Ok((listener, address))
    }
}

/// A running proxy. Dropping it stops the proxy at once.
#[derive(Debug)]
pub struct NetworkProxyHandle {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    addresses: Option<ListenerAddresses>,
    requests: Requests,
}

impl NetworkProxyHandle {
    /// Where the proxy listens; `None` where its configuration disables it.
    #[must_use]
    pub fn addresses(&self) -> Option<&ListenerAddresses> {
        self.addresses.as_ref()
    }

    /// Reads the config files again, changed or not. Without files, or where reloading is off, nothing happens.
    pub fn reload(&self) {
        self.requests.request();
    }

    /// Waits for the proxy to end. A disabled proxy has ended already.
    ///
    /// # Errors
    /// [`ErrorKind::Task`] where a listener panicked.
    pub async fn wait(mut self) -> Result<(), Error> {
        self.finish().await
    }

    /// Stops accepting, lets open connections finish for as long as [`Limits::drain`] says, and closes the rest.
    ///
    /// # Errors
    /// As for [`NetworkProxyHandle::wait`].
    pub async fn shutdown(mut self) -> Result<(), Error> {
        self.stop.send_replace(true);
        self.finish().await
    }

    async fn finish(&mut self) -> Result<(), Error> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|error| Error::new(ErrorKind::Task, "a listener failed", error))?;
        }
        Ok(())
    }
}
