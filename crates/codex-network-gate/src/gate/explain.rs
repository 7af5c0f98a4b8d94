//! What the gate would answer, for a person who asks before anything happens.
//!
//! [`Gate::explain`] runs the judgement of [`Gate::authorize`] and leaves no evidence: no audit event, no entry in the
//! history, no question to a decider. Goes out: an [`Explanation`], with the snapshot that it was made on, so that the
//! trace of the rules belongs to the same policy. It opens nothing and permits nothing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use codex_network_policy::{AccessRequest, Host, Outcome as Ruling, Reason, Source, Target, Trace};

use super::access::Access;
use super::note::Note;
use super::{Basis, Gate, Refused};
use crate::route::Route;
use crate::store::Snapshot;

/// Whether an explanation may ask the resolver about a permitted name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookUp {
    /// As the gate does.
    Permitted,
    /// No query leaves, so the addresses of names are not judged.
    Never,
}

/// What the gate would answer to one access.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The policy that was asked.
    pub snapshot: Arc<Snapshot>,
    /// The answer.
    pub answer: Explained,
}

/// The answer of an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explained {
    /// It would be permitted and go to these addresses.
    Permitted(Vec<SocketAddr>),
    /// It would be permitted and go to the operator's parent proxy.
    PermittedViaParent,
    /// It would be permitted and go to this socket.
    PermittedSocket(PathBuf),
    /// The rules permit it. Whether the addresses behind the name do was not looked up.
    PermittedByName,
    /// No rule speaks of it: a decider would be asked.
    Undecided,
    /// It would be refused.
    Refused {
        /// Why.
        reason: Reason,
        /// Who decides so.
        source: Source,
        /// What a person reads beside the refusal: the rule, or the line that would permit it.
        note: Option<String>,
    },
}

impl Explanation {
    /// The checks of the rules, in order, on the policy that was asked.
    #[must_use]
    pub fn trace<'a>(&'a self, access: &'a Access<'_>) -> Trace<'a> {
        let request: AccessRequest<'a> = access.request();
        Trace::of(&self.snapshot.policy, &request)
    }
}

impl Gate {
    /// What [`Gate::authorize`] would answer now.
    pub async fn explain(&self, access: &Access<'_>, look_up: LookUp) -> Explanation {
        let mut snapshot = self.store().current();
        let answer = self.explained(&mut snapshot, access, look_up).await;
        Explanation { snapshot, answer }
    }

    async fn explained(
        &self,
        snapshot: &mut Arc<Snapshot>,
        access: &Access<'_>,
        look_up: LookUp,
    ) -> Explained {
        let verdict = snapshot.policy.evaluate(&access.request());
        match (&access.target, &verdict.outcome) {
            (Target::Host { .. }, Ruling::Unlisted) if self.asks_decider() => {
                return Explained::Undecided;
            }
            (
                Target::Host {
                    host: host @ Host::Name(_),
                    ..
                },
                Ruling::Allow,
            ) if look_up == LookUp::Never && !host.is_localhost() => {
                return Explained::PermittedByName;
            }
            (Target::Host { .. } | Target::Unix(_), _) => {}
        }
        // Without a decider to ask, and for what the rules settle, nothing is approved on the way.
        let mut basis = Basis::default();
        match self.judge(snapshot, access, &mut basis).await {
            Ok(route @ (Route::Address(_) | Route::Addresses { .. })) => {
                Explained::Permitted(route.addresses().collect())
            }
            Ok(Route::Parent(_)) => Explained::PermittedViaParent,
            Ok(Route::Socket { path, .. }) => Explained::PermittedSocket(path),
            Err(refused) => self.explained_refusal(snapshot, access, &refused),
        }
    }

    fn explained_refusal(
        &self,
        snapshot: &Snapshot,
        access: &Access<'_>,
        refused: &Refused,
    ) -> Explained {
        let note = Note {
            policy: &snapshot.policy,
            reason: &refused.reason,
            source: refused.source,
            verdict: refused.verdict.as_ref(),
            access,
            own_listener: refused.own_listener,
        };
        Explained::Refused {
            reason: refused.reason.clone(),
            source: refused.source,
            note: note.is_some().then(|| note.to_string()),
        }
    }
}
