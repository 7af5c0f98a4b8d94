//! The gate: one place where every access from every door is judged.
//!
//! [`Gate::authorize`] evaluates the rules, asks the decider about what no list mentions, resolves, admits the
//! addresses and records the outcome, all on one snapshot of the policy, and returns a [`Permit`] or a
//! [`Denial`]. It deliberately has no answer such as "internal error": uncertainty is a denial. It opens
//! nothing; that is [`Upstream`]'s part.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use codex_network_policy::{
    Decision, Host, Outcome as Ruling, Policy, Protocol, Reason, RuleId, Scope, Source, Target,
};

use crate::decider::{Answer, NetworkPolicyDecider, NetworkPolicyRequest, Questions, Sharing};
use crate::evidence::{
    AuditLogHealth, BlockedRequest, Evidence, History, NetworkProxyAuditMetadata, Outcome, Pending,
};
use crate::limits::Limits;
use crate::listeners::Listeners;
use crate::meter::GateMeters;
use crate::permit::{Grant, Permit, Rule};
use crate::resolve::{Lookups, Resolver};
use crate::roots::TrustRoots;
use crate::route::{ParentProxies, Route};
use crate::store::{PolicyStore, Snapshot};
use crate::upstream::Upstream;

mod access;
mod denial;
mod explain;
mod help;
mod inside;
mod note;
mod refused;
mod way;

pub use access::Access;
pub use denial::Denial;
pub use explain::{Explained, Explanation, LookUp};
pub use help::Help;
pub use inside::{Breach, ClientHello, HelloName, InnerRequest, Proof};
use note::Note;
use refused::{Refused, not_allowed, refused_by_rules, rule_source, scope};

/// Judges every access of one proxy. Build one with [`Gate::builder`](crate::Gate::builder).
#[derive(Debug)]
pub struct Gate {
    store: Arc<PolicyStore>,
    evidence: Evidence,
    questions: Option<Questions>,
    parents: ParentProxies,
    lookups: Arc<Lookups>,
    upstream: Upstream,
    limits: Arc<Limits>,
    listeners: Arc<Listeners>,
    meters: Arc<GateMeters>,
    audit_log: Arc<AuditLogHealth>,
}

/// What a judgement came to: the way out, or why there is none.
type Judged = Result<Route, Refused>;

/// What a yes rests on.
#[derive(Clone, Copy, Debug, Default)]
struct Basis {
    /// Whether a decider lifted the allowlist's no.
    approved: bool,
    /// The rule that decided, where one did.
    rule: Option<RuleId>,
}

/// What a gate is put together from.
pub(crate) struct Parts {
    pub(crate) store: Arc<PolicyStore>,
    pub(crate) history: Option<History>,
    pub(crate) metadata: NetworkProxyAuditMetadata,
    pub(crate) decider: Option<Arc<dyn NetworkPolicyDecider>>,
    pub(crate) sharing: Sharing,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) parents: ParentProxies,
    pub(crate) limits: Limits,
    pub(crate) roots: TrustRoots,
    pub(crate) audit_log: Arc<AuditLogHealth>,
}

impl Gate {
    /// Puts a gate together for [`GateBuilder`](crate::GateBuilder).
    pub(crate) fn new(parts: Parts) -> Self {
        let limits = Arc::new(parts.limits);
        let meters: Arc<GateMeters> = Arc::default();
        let lookups = Arc::new(Lookups::new(
            parts.resolver,
            Arc::clone(&limits),
            Arc::clone(&meters),
        ));
        let listeners: Arc<Listeners> = Arc::default();
        let history = parts
            .history
            .unwrap_or_else(|| History::new(limits.history));
        let questions = parts
            .decider
            .map(|decider| Questions::new(decider, parts.sharing, Arc::clone(&limits)));
        Self {
            store: parts.store,
            evidence: Evidence::new(history, parts.metadata, Arc::clone(&meters)),
            questions,
            parents: parts.parents,
            upstream: Upstream::new(
                Arc::clone(&limits),
                Arc::clone(&lookups),
                Arc::clone(&listeners),
                Arc::clone(&meters),
                parts.roots,
            ),
            lookups,
            limits,
            listeners,
            meters,
            audit_log: parts.audit_log,
        }
    }

    /// Judges one access.
    ///
    /// Leaves one audit event (a mode guard's no after the lists' yes leaves two) and, for a refusal, one
    /// history entry, even if the future is dropped half-way because the client hung up.
    ///
    /// # Errors
    /// The [`Denial`], to be rendered by the door.
    pub async fn authorize(&self, access: Access<'_>) -> Result<Permit, Denial> {
        let mut snapshot = self.store.current();
        let mut basis = Basis::default();
        let mut pending = self.evidence.begin(access.facts());
        let judged = match self.audited(&snapshot.policy) {
            Ok(()) => self.judge(&mut snapshot, &access, &mut basis).await,
            Err(refused) => Err(refused),
        };
        match judged {
            Ok(route) => {
                pending.record(&Outcome {
                    via_parent: matches!(route, Route::Parent(_)),
                    ..allowed(&access, basis.approved)
                });
                drop(pending);
                Ok(grant(snapshot, access, route, basis))
            }
            Err(refused) => {
                let refused = Refused {
                    approved: basis.approved,
                    ..refused
                };
                Err(self.refuse(&snapshot.policy, pending, &access, refused))
            }
        }
    }

    /// Judges what a door is asked to open before a target is known: a UDP association.
    ///
    /// # Errors
    /// The [`Denial`], recorded with the address that the client announced.
    pub fn authorize_association(&self, access: &Access<'_>) -> Result<(), Denial> {
        let snapshot = self.store.current();
        let open = match snapshot.policy.door(access.protocol) {
            Ok(()) => self.audited(&snapshot.policy),
            Err(reason) => {
                let source = rule_source(&reason, &access.target);
                Err(Refused::by_policy(reason, source))
            }
        };
        match open {
            Ok(()) => Ok(()),
            Err(refused) => {
                let pending = self.evidence.begin(access.facts());
                Err(self.refuse(&snapshot.policy, pending, access, refused))
            }
        }
    }

    /// Refuses what a door cannot serve at all, such as a SOCKS5 BIND, and records it.
    pub fn refuse_unsupported(&self, access: &Access<'_>) -> Denial {
        let refused = Refused::by_policy(Reason::PolicyDenied, Source::ProxyState);
        let snapshot = self.store.current();
        let pending = self.evidence.begin(access.facts());
        self.refuse(&snapshot.policy, pending, access, refused)
    }

    /// Where the policy wants an audit log, nothing is let through that it could not tell of. A disabled proxy has nothing
    /// to tell.
    fn audited(&self, policy: &Policy) -> Result<(), Refused> {
        if policy.requires_audit_log() && policy.enabled() && !self.audit_log.is_kept() {
            return Err(Refused::by_policy(
                Reason::AuditUnavailable,
                Source::ProxyState,
            ));
        }
        Ok(())
    }

    fn asks_decider(&self) -> bool {
        self.questions.is_some()
    }

    /// The policy in force, its generation and its changes.
    #[must_use]
    pub fn store(&self) -> &PolicyStore {
        &self.store
    }

    /// Opens what a permit names.
    #[must_use]
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The limits that this proxy keeps.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is counted.
    #[must_use]
    pub fn meters(&self) -> &Arc<GateMeters> {
        &self.meters
    }

    /// Adds a listener of ours: from now on it is never a target, in whatever spelling.
    pub fn add_listener(&self, address: SocketAddr) {
        self.listeners.add(address);
    }

    /// Adds a unix socket that we listen on: from now on it is never a target, by whatever path.
    pub fn add_socket_listener(&self, path: PathBuf) {
        self.listeners.add_socket(path);
    }

    /// A copy of the newest refusals, oldest first.
    #[must_use]
    pub fn blocked_snapshot(&self) -> Vec<BlockedRequest> {
        self.history().snapshot()
    }

    /// Takes the newest refusals, oldest first. The total stays.
    #[must_use]
    pub fn drain_blocked(&self) -> Vec<BlockedRequest> {
        self.history().drain()
    }

    /// How many refusals there have been.
    #[must_use]
    pub fn blocked_total(&self) -> u64 {
        self.history().total()
    }

    /// The history of refusals, to be shared or observed.
    #[must_use]
    pub fn history(&self) -> &History {
        self.evidence.history()
    }

    /// Judges by `snapshot`, or by the one in force when the decider has answered, which is then left there.
    async fn judge(
        &self,
        snapshot: &mut Arc<Snapshot>,
        access: &Access<'_>,
        basis: &mut Basis,
    ) -> Judged {
        let mut verdict = snapshot.policy.evaluate(&access.request());
        let mut lifted = Err(not_allowed());
        if let (Target::Host { host, port }, Ruling::Unlisted) = (&access.target, &verdict.outcome)
        {
            lifted = self.ask_decider(access, host, *port).await;
            // A person may have thought about it for minutes. Lists that have changed meanwhile are newer than the
            // question, and where they name the host now, the answer to it has no say.
            *snapshot = self.store.current();
            verdict = snapshot.policy.evaluate(&access.request());
        }
        basis.rule = verdict.rule;
        let policy = &snapshot.policy;
        match (&access.target, &verdict.outcome) {
            (Target::Unix(path), Ruling::Allow) => self.way_to_socket(path).await,
            (Target::Unix(path), Ruling::Unlisted) => {
                self.way_to_unlisted_socket(policy, path).await
            }
            (Target::Host { host, port }, Ruling::Allow) => {
                self.way_to(policy, access, host, *port).await
            }
            (Target::Host { host, port }, Ruling::Unlisted) => {
                lifted?;
                basis.approved = true;
                let verdict = policy.evaluate_approved(&access.request());
                match &verdict.outcome {
                    Ruling::Allow => self.way_to(policy, access, host, *port).await,
                    Ruling::Deny(_) | Ruling::Unlisted => Err(refused_by_rules(access, verdict)),
                }
            }
            (_, Ruling::Deny(_)) => Err(refused_by_rules(access, verdict)),
        }
    }

    async fn ask_decider(
        &self,
        access: &Access<'_>,
        host: &Host,
        port: u16,
    ) -> Result<(), Refused> {
        let Some(questions) = &self.questions else {
            return Err(not_allowed());
        };
        let request = NetworkPolicyRequest::for_access(
            access.protocol,
            host.to_string(),
            port,
            access.client,
            access.method,
        );
        match questions.ask(request).await.into() {
            Answer::Allow => Ok(()),
            Answer::Refuse { decision, reason } => Err(Refused {
                decision,
                ..Refused::by_policy(reason, Source::Decider)
            }),
        }
    }

    /// Records a refusal and makes the denial.
    fn refuse(
        &self,
        policy: &Policy,
        mut pending: Pending<'_>,
        access: &Access<'_>,
        refused: Refused,
    ) -> Denial {
        let Refused {
            reason,
            decision,
            source,
            verdict,
            host_allowed,
            own_listener,
            approved,
        } = refused;
        if host_allowed {
            pending.record(&allowed(access, approved));
        }
        let note = Note {
            policy,
            reason: &reason,
            source,
            verdict: verdict.as_ref(),
            access,
            own_listener,
        };
        pending.record(&Outcome {
            decision,
            scope: scope(source, &reason, &access.target),
            source,
            reason: Some(&reason),
            overridden: false,
            via_parent: false,
            // Where the mode is why, and inside of an opened tunnel, whose whole point it is.
            mode: (source == Source::ModeGuard || access.protocol == Protocol::Https)
                .then(|| policy.mode()),
            note: note.is_some().then_some(&note),
        });
        let help = Help::of(&note);
        Denial::new(reason, decision, source, access, help)
    }
}

/// The permit for an access that may take this route.
fn grant(snapshot: Arc<Snapshot>, access: Access<'_>, route: Route, basis: Basis) -> Permit {
    let intercepted = snapshot.policy.intercepts(access.protocol);
    let Access {
        protocol,
        target,
        tls,
        client,
        ..
    } = access;
    Permit::from_grant(Grant {
        protocol,
        target,
        route,
        generation: snapshot.generation,
        approved: basis.approved,
        tls,
        intercepted,
        rule: basis.rule.map(|id| Rule::Found { snapshot, id }),
        client,
    })
}

/// The outcome that lets an access through.
fn allowed(access: &Access<'_>, approved: bool) -> Outcome<'static> {
    let (scope, source) = match access.target {
        Target::Host { .. } if approved => (Scope::Domain, Source::Decider),
        Target::Host { .. } => (Scope::Domain, Source::BaselinePolicy),
        Target::Unix(_) => (Scope::NonDomain, Source::ProxyState),
    };
    Outcome {
        decision: Decision::Allow,
        scope,
        source,
        reason: approved.then_some(&Reason::NotAllowed),
        overridden: approved,
        via_parent: false,
        mode: None,
        note: None,
    }
}

#[cfg(test)]
mod tests;
