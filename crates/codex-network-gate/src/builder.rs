//! Putting a gate together.
//!
//! [`GateBuilder`] takes the policy and what surrounds it. It deliberately reads no environment and no file.

use std::fmt;
use std::sync::Arc;

use codex_network_policy::Policy;

use crate::decider::{NetworkPolicyDecider, Sharing};
use crate::evidence::{AuditLogHealth, History, NetworkProxyAuditMetadata};
use crate::gate::{Gate, Parts};
use crate::limits::Limits;
use crate::resolve::{Resolver, SystemResolver};
use crate::roots::TrustRoots;
use crate::route::ParentProxies;
use crate::store::PolicyStore;

/// Builds a [`Gate`].
pub struct GateBuilder {
    store: Arc<PolicyStore>,
    history: Option<History>,
    metadata: NetworkProxyAuditMetadata,
    decider: Option<Arc<dyn NetworkPolicyDecider>>,
    sharing: Sharing,
    resolver: Arc<dyn Resolver>,
    parents: ParentProxies,
    limits: Limits,
    roots: TrustRoots,
    audit_log: Arc<AuditLogHealth>,
}

impl fmt::Debug for GateBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateBuilder")
            .field("decides", &self.decider.is_some())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl GateBuilder {
    fn new(store: Arc<PolicyStore>) -> Self {
        Self {
            store,
            history: None,
            metadata: NetworkProxyAuditMetadata::default(),
            decider: None,
            sharing: Sharing::default(),
            resolver: Arc::new(SystemResolver),
            parents: ParentProxies::default(),
            limits: Limits::default(),
            roots: TrustRoots::default(),
            audit_log: Arc::default(),
        }
    }

    /// Asks `decider` about hosts that no list mentions. Without one they are refused.
    #[must_use]
    pub fn decider(mut self, decider: Option<Arc<dyn NetworkPolicyDecider>>) -> Self {
        self.decider = decider;
        self
    }

    /// Asks the decider about each request by itself, also where equal ones wait. For a decider that tells clients
    /// apart: otherwise its yes to one client is a yes to all who wait for the same.
    #[must_use]
    pub fn ask_about_each_request(mut self) -> Self {
        self.sharing = Sharing::Never;
        self
    }

    /// Keeps refusals in this history instead of one of its own, which [`Limits::history`] bounds.
    #[must_use]
    pub fn history(mut self, history: History) -> Self {
        self.history = Some(history);
        self
    }

    /// Writes this session into each audit event.
    #[must_use]
    pub fn audit_metadata(mut self, metadata: NetworkProxyAuditMetadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Resolves names with `resolver` instead of the system's.
    #[must_use]
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Sends HTTP and CONNECT through these parents where they apply. By default there are none.
    #[must_use]
    pub fn parents(mut self, parents: ParentProxies) -> Self {
        self.parents = parents;
        self
    }

    /// Keeps these limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Trusts these issuers when the proxy speaks TLS with an origin or a parent. By default those of the system.
    #[must_use]
    pub fn trust_roots(mut self, roots: TrustRoots) -> Self {
        self.roots = roots;
        self
    }

    /// Heeds whether this audit log can be written, where the policy requires one. By default there is none.
    #[must_use]
    pub fn audit_log(mut self, health: Arc<AuditLogHealth>) -> Self {
        self.audit_log = health;
        self
    }

    /// The gate.
    #[must_use]
    pub fn build(self) -> Gate {
        Gate::new(Parts {
            store: self.store,
            history: self.history,
            metadata: self.metadata,
            decider: self.decider,
            sharing: self.sharing,
            resolver: self.resolver,
            parents: self.parents,
            limits: self.limits,
            roots: self.roots,
            audit_log: self.audit_log,
        })
    }
}

impl Gate {
    /// Starts a gate for `policy`, in force as generation 1.
    #[must_use]
    pub fn builder(policy: Policy) -> GateBuilder {
        GateBuilder::new(Arc::new(PolicyStore::new(policy)))
    }

    /// Starts a gate that judges by the policy that `store` holds, whoever replaces it.
    #[must_use]
    pub fn over(store: Arc<PolicyStore>) -> GateBuilder {
        GateBuilder::new(store)
    }
}
