//! The gate's yes.
//!
//! A [`Permit`] names one target and the route that was judged for it. It is made in one place, by the gate;
//! its fields are private, it cannot be built, changed or cloned outside this crate, and
//! [`Upstream`](crate::Upstream) opens nothing without one. It deliberately carries no raw client text.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use codex_network_policy::{Host, Protocol, RuleId, SocketPath, Target};

use crate::route::{Parent, Route};
use crate::store::Snapshot;

/// Permission to open exactly the target that was judged, by exactly the addresses that were judged.
#[derive(Debug)]
pub struct Permit {
    protocol: Protocol,
    target: Target,
    route: Route,
    generation: u64,
    approved: bool,
    tls: bool,
    intercepted: bool,
    rule: Mutex<Option<Rule>>,
    client: Option<SocketAddr>,
}

/// The rule that permits an access.
pub(crate) enum Rule {
    /// One of this policy.
    Found { snapshot: Arc<Snapshot>, id: RuleId },
    /// In words, for its policy has gone.
    Words(String),
}

impl Rule {
    fn words(&self) -> String {
        match self {
            Self::Found { snapshot, id } => snapshot.policy.rule(*id).to_string(),
            Self::Words(words) => words.clone(),
        }
    }
}

/// The words: a whole policy would be none.
impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words())
    }
}

/// What the gate has found, ready to become a [`Permit`].
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) protocol: Protocol,
    pub(crate) target: Target,
    pub(crate) route: Route,
    /// The generation of the policy that judged.
    pub(crate) generation: u64,
    /// Whether a decider lifted the allowlist's no.
    pub(crate) approved: bool,
    /// Whether the proxy itself speaks TLS with the origin.
    pub(crate) tls: bool,
    /// Whether the tunnel has to be opened, so that what is inside can be judged.
    pub(crate) intercepted: bool,
    /// The rule that permits it.
    pub(crate) rule: Option<Rule>,
    /// Who asked, for the evidence.
    pub(crate) client: Option<SocketAddr>,
}

impl Permit {
    /// Makes a permit. Called by `Gate::authorize` and by nobody else; `cargo xtask tidy` counts.
    pub(crate) fn from_grant(grant: Grant) -> Self {
        let Grant {
            protocol,
            target,
            route,
            generation,
            approved,
            tls,
            intercepted,
            rule,
            client,
        } = grant;
        Self {
            protocol,
            target,
            route,
            generation,
            approved,
            tls,
            intercepted,
            rule: Mutex::new(rule),
            client,
        }
    }

    /// The door through which the access came.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What may be reached.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The generation of the policy that permitted it.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether a decider permitted it, rather than the lists.
    #[must_use]
    pub fn is_approved(&self) -> bool {
        self.approved
    }

    /// Whether the proxy itself speaks TLS with the origin: an `https://` request to the forward proxy, or a request
    /// inside of an intercepted tunnel.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether the tunnel may not be relayed but has to be opened, and each request inside to be judged.
    #[must_use]
    pub fn is_intercepted(&self) -> bool {
        self.intercepted
    }

    /// The rule that permits it, in words.
    pub(crate) fn rule(&self) -> Option<String> {
        self.lock_rule().as_ref().map(Rule::words)
    }

    /// Lets go of the policy by which it was given, which is no longer in force.
    pub(crate) fn outlive_policy(&self) {
        let mut rule = self.lock_rule();
        if let Some(Rule::Found { .. }) = &*rule {
            *rule = rule.as_ref().map(|rule| Rule::Words(rule.words()));
        }
    }

    fn lock_rule(&self) -> MutexGuard<'_, Option<Rule>> {
        self.rule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it leaves through the operator's parent proxy.
    #[must_use]
    pub fn is_via_parent(&self) -> bool {
        self.parent().is_some()
    }

    /// Whether the upstream is a parent proxy that expects plain HTTP requests in absolute form.
    #[must_use]
    pub fn wants_absolute_form(&self) -> bool {
        self.is_via_parent() && self.protocol == Protocol::Http && !self.tls
    }

    /// The value of `proxy-authorization` for a parent that wants one.
    #[must_use]
    pub fn parent_authorization(&self) -> Option<&str> {
        self.parent()?.authorization.as_deref()
    }

    /// The addresses that may be dialled. Empty where a parent proxy or a unix socket is.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.route.addresses()
    }

    /// Who asked.
    pub(crate) fn client(&self) -> Option<SocketAddr> {
        self.client
    }

    /// The listed path of the socket, where it is another one than was asked for.
    pub(crate) fn socket_rule(&self) -> Option<&SocketPath> {
        match &self.route {
            Route::Socket { listed_as, .. } => listed_as.as_ref(),
            Route::Address(_) | Route::Addresses { .. } | Route::Parent(_) => None,
        }
    }

    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    pub(crate) fn parent(&self) -> Option<&Parent> {
        match &self.route {
            Route::Parent(parent) => Some(parent),
            Route::Address(_) | Route::Addresses { .. } | Route::Socket { .. } => None,
        }
    }
}

/// The target, for logs: `host:port`, or `unix-socket` in the place of a path, which came in a header.
impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Host { host, port } => match host {
                Host::Address(literal) if literal.address().is_ipv6() => {
                    write!(f, "[{literal}]:{port}")
                }
                Host::Address(_) | Host::Name(_) => write!(f, "{host}:{port}"),
            },
            Target::Unix(_) => f.write_str("unix-socket"),
        }
    }
}
