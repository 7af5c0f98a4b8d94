//! The proxy as an embedder sees it: build, run, shut down.
//!
//! [`NetworkProxyBuilder`](builder::NetworkProxyBuilder) turns a configuration into a gate and two listeners;
//! [`NetworkProxy::run`] starts them; [`NetworkProxyHandle`] stops them. Two proxies in one process share nothing, unless they are built of one
//! [`NetworkProxyState`]. No logger and no TLS provider is installed, and nothing that serves outlives the handle.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use codex_network_gate::{BlockedRequest, Gate, chain};
use codex_network_policy::Mode;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::authority::leaf::Leaves;
use crate::client_env;
use crate::config::ListenerAddresses;
use crate::error::{Error, ErrorKind};
use crate::in_force::{PolicyStatus, Requests};
use crate::listener::Listener;
use crate::listener::http::HttpListener;
use crate::listener::socks5::SocksListener;
use crate::meters::Meters;
use crate::metrics::MetricsEndpoint;
use crate::reload::Reload;
use crate::shared::NetworkProxyState;

pub(crate) mod builder;
mod evidence;
mod handle;

pub use handle::NetworkProxyHandle;

/// A proxy that is ready to run.
#[derive(Clone)]
pub struct NetworkProxy {
    gate: Arc<Gate>,
    state: Arc<NetworkProxyState>,
    configured: ListenerAddresses,
    bound: Arc<OnceLock<ListenerAddresses>>,
    reserved: Arc<Mutex<Reserved>>,
    offers_udp: bool,
    allow_local_binding: bool,
    allow_unix_sockets: Arc<[String]>,
    dangerously_allow_all_unix_sockets: bool,
    stays: bool,
    meters: Arc<Meters>,
    metrics: Vec<MetricsEndpoint>,
}

/// Sockets that were bound when the proxy was built, for its first run.
#[derive(Default)]
struct Reserved {
    http: Option<Listener>,
    socks: Option<Listener>,
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
        let signing = self.state.signing();
        signing.map(|signing| signing.bundle.as_path())
    }

    /// Whether local addresses may be reached without being listed, as the configuration said when the proxy was built.
    #[must_use]
    pub fn allow_local_binding(&self) -> bool {
        self.allow_local_binding
    }

    /// The unix sockets that may be reached, as the configuration said when the proxy was built.
    #[must_use]
    pub fn allow_unix_sockets(&self) -> &[String] {
        &self.allow_unix_sockets
    }

    /// Whether every unix socket may be reached, as the configuration said when the proxy was built.
    #[must_use]
    pub fn dangerously_allow_all_unix_sockets(&self) -> bool {
        self.dangerously_allow_all_unix_sockets
    }

    /// Points a child at this proxy: sets every variable of [`client_env::apply_to_env`], over what was there. Where the
    /// system chooses the ports, run the proxy first.
    pub fn apply_to_env(&self, env: &mut HashMap<String, String>) {
        client_env::apply_to_env(
            env,
            self.http_addr(),
            self.socks_addr(),
            self.allow_local_binding,
            self.trust_bundle(),
        );
    }

    /// What is in force, for questions and for edits.
    #[must_use]
    pub fn state(&self) -> &Arc<NetworkProxyState> {
        &self.state
    }

    /// Allows a host for every access that begins from now on; see [`NetworkProxyState::add_allowed_domain`].
    ///
    /// # Errors
    /// [`ErrorKind::Host`] where it is no host; [`ErrorKind::Limit`] where a managed limit forbids it.
    pub async fn add_allowed_domain(&self, host: &str) -> Result<(), Error> {
        self.state.add_allowed_domain(host).await
    }

    /// Denies a host for every access that begins from now on; see [`NetworkProxyState::add_denied_domain`].
    ///
    /// # Errors
    /// As for [`NetworkProxy::add_allowed_domain`].
    pub async fn add_denied_domain(&self, host: &str) -> Result<(), Error> {
        self.state.add_denied_domain(host).await
    }

    /// A copy of the newest refusals, oldest first. [`Limits::history`] says how many there are at most.
    ///
    /// [`Limits::history`]: crate::Limits::history
    #[must_use]
    pub fn blocked_snapshot(&self) -> Vec<BlockedRequest> {
        self.state.history().snapshot()
    }

    /// Takes the newest refusals, oldest first. The total stays.
    #[must_use]
    pub fn drain_blocked(&self) -> Vec<BlockedRequest> {
        self.state.history().drain()
    }

    /// How many refusals there have been.
    #[must_use]
    pub fn blocked_total(&self) -> u64 {
        self.state.history().total()
    }

    /// Which configuration is in force, and a wake-up whenever another one is.
    #[must_use]
    pub fn policy_status(&self) -> watch::Receiver<PolicyStatus> {
        self.state.in_force().status()
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
        let limits = self.gate.limits();
        let history = self.state.history().clone();
        let drain = limits.drain;
        let requests = Requests::default();
        if !self.gate.store().current().policy.enabled() {
            tracing::warn!("network.enabled is false; skipping proxy listeners");
            return Ok(NetworkProxyHandle {
                stop,
                tasks,
                addresses: None,
                requests,
                history,
                drain,
            });
        }
        let slots = Arc::new(Semaphore::new(limits.connections));
        let reserved = std::mem::take(&mut *lock(&self.reserved));
        let (http, address) = match reserved.http {
            Some(listener) => (listener, self.configured.http),
            None => bind(&self.gate, "HTTP", self.configured.http)?,
        };
        bound.http = address;
        let socks = match (reserved.socks, self.configured.socks) {
            (Some(listener), address) => {
                bound.socks = address;
                Some(listener)
            }
            (None, Some(address)) => {
                let (listener, address) = bind(&self.gate, "SOCKS5", address)?;
                bound.socks = Some(address);
                Some(listener)
            }
            (None, None) => None,
        };
        let leaves = self.state.signing();
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
        if !self.stays {
            if let Some(reload) = Reload::new(Arc::clone(self.state.in_force()), requests.clone()) {
                tasks.spawn(reload.run(stop.subscribe()));
            }
            if let Some(polling) = self.state.polling(&requests) {
                tasks.spawn(polling.run(stop.subscribe()));
            }
        }
        // A second run of the same proxy keeps the first one's addresses here; its handle knows its own.
        let _ = self.bound.set(bound);
        Ok(NetworkProxyHandle {
            stop,
            tasks,
            addresses: Some(bound),
            requests,
            history,
            drain,
        })
    }
}

fn lock(reserved: &Mutex<Reserved>) -> std::sync::MutexGuard<'_, Reserved> {
    reserved.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bind(gate: &Gate, name: &str, address: SocketAddr) -> Result<(Listener, SocketAddr), Error> {
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
    gate.add_listener(address);
    Ok((listener, address))
}
