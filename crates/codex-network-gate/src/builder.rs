//! Putting a gate together.
//!
//! [`GateBuilder`] takes the policy and what surrounds it. It deliberately reads no environment and no file.

use std::sync::Arc;

use codex_network_policy::Policy;

use crate::decider::{NetworkPolicyDecider, SharedDecider};
use crate::evidence::AuditLogHealth;
use crate::gate::Gate;
use crate::limits::Limits;
use crate::resolve::{Resolver, SystemResolver};
use crate::roots::TrustRoots;
use crate::route::ParentProxies;

/// Builds a [`Gate`].
#[derive(Debug)]
pub struct GateBuilder {
    policy: Policy,
    decider: Option<SharedDecider>,
    resolver: Arc<dyn Resolver>,
    parents: ParentProxies,
    limits: Limits,
    roots: TrustRoots,
    audit_log: Arc<AuditLogHealth>,
}

impl GateBuilder {
    fn new(policy: Policy) -> Self {
        Self {
            policy,
            decider: None,
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
        self.decider = decider.map(SharedDecider);
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

    /// The gate, with the policy in force as generation 1.
    #[must_use]
    pub fn build(self) -> Gate {
        Gate::new(
            self.policy,
            self.decider,
            self.resolver,
            self.parents,
            self.limits,
            self.roots,
            self.audit_log,
        )
    }
}

impl Gate {
    /// Starts a gate for `policy`.
    #[must_use]
    pub fn builder(policy: Policy) -> GateBuilder {
        GateBuilder::new(policy)
    }
}
