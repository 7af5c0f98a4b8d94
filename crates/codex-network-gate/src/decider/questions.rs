//! Questions that are put to the decider, each once: requests that wait for the same answer share it.
//!
//! Main type: [`Questions`]. Comes in: a request; goes out: a [`NetworkDecision`], or none where the decider panics, is
//! silent, or is asked too much at once. A question lives as long as somebody waits for its answer, at most for its
//! limit, and no answer is remembered: whoever comes later asks anew. What an answer means is not known here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::{NetworkDecision, NetworkPolicyDecider, NetworkPolicyRequest, NetworkProtocol};
use crate::limits::Limits;

/// Which requests are one question while they wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Those for the same host, port and protocol with the same method, whoever sends them. The method counts, for a
    /// decider sees it: its yes to a `GET` is none to a `POST`.
    #[default]
    SameTarget,
    /// None. For a decider that tells clients apart, since the yes to one client would be another's.
    Never,
}

/// What makes two requests one question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    protocol: NetworkProtocol,
    host: String,
    port: u16,
    method: Option<String>,
    /// Sets a question apart that is not to be shared.
    alone: Option<u64>,
}

/// The questions under way.
#[derive(Default)]
struct Open {
    questions: HashMap<Key, Weak<Question>>,
    asked: u64,
}

/// Puts questions to one decider.
pub(crate) struct Questions {
    decider: Arc<dyn NetworkPolicyDecider>,
    sharing: Sharing,
    limits: Arc<Limits>,
    open: Arc<Mutex<Open>>,
}

impl std::fmt::Debug for Questions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Questions").finish_non_exhaustive()
    }
}

impl Questions {
    pub(crate) fn new(
        decider: Arc<dyn NetworkPolicyDecider>,
        sharing: Sharing,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            decider,
            sharing,
            limits,
            open: Arc::default(),
        }
    }

    /// The decider's answer, or `None` where there is none.
    pub(crate) async fn ask(&self, request: NetworkPolicyRequest) -> Option<NetworkDecision> {
        let Some(question) = self.question(request) else {
            tracing::warn!(
                limit = self.limits.questions,
                "too many questions wait for the policy decider; refusing"
            );
            return None;
        };
        let mut answer = question.answer.clone();
        let told = timeout_at(question.deadline, answer.wait_for(Option::is_some)).await;
        match told {
            Ok(Ok(decision)) => return decision.clone(),
            // Who waits with others may be woken by the end of the question rather than by the clock.
            Ok(Err(_)) if Instant::now() < question.deadline => {
                question.complain("the policy decider failed; refusing");
            }
            Ok(Err(_)) | Err(_) => {
                question.complain("the policy decider did not answer in time; refusing");
            }
        }
        None
    }

    /// The question that `request` is, under way already or put now; `None` where there are too many.
    fn question(&self, request: NetworkPolicyRequest) -> Option<Arc<Question>> {
        // Declared before the lock and so dropped behind it: the end of a question takes the lock.
        let under_way;
        let mut open = lock(&self.open);
        open.asked += 1;
        let alone = match self.sharing {
            Sharing::SameTarget => None,
            Sharing::Never => Some(open.asked),
        };
        let key = Key {
            protocol: request.protocol,
            host: request.host.clone(),
            port: request.port,
            method: request.method.clone(),
            alone,
        };
        under_way = open.questions.get(&key).and_then(Weak::upgrade);
        if under_way.as_ref().is_some_and(|it| it.is_open()) {
            return under_way;
        }
        if open.questions.len() >= self.limits.questions {
            return None;
        }
        let (sender, answer) = watch::channel(None);
        let decider = Arc::clone(&self.decider);
        // A task of its own: a panic in it is no panic here, and who asked first may hang up while others wait.
        let task = tokio::spawn(async move {
            let decision = decider.decide(request).await;
            sender.send_replace(Some(decision));
        });
        let question = Arc::new_cyclic(|this| {
            open.questions.insert(key.clone(), Weak::clone(this));
            Question {
                answer,
                deadline: Instant::now() + self.limits.decider,
                task: task.abort_handle(),
                complained: AtomicBool::new(false),
                key,
                open: Arc::clone(&self.open),
                this: Weak::clone(this),
            }
        });
        Some(question)
    }
}

fn lock(open: &Mutex<Open>) -> std::sync::MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A question under way. It ends with the last who waits for it, so that nobody decides about clients that have gone.
struct Question {
    answer: watch::Receiver<Option<NetworkDecision>>,
    deadline: Instant,
    task: AbortHandle,
    complained: AtomicBool,
    key: Key,
    open: Arc<Mutex<Open>>,
    this: Weak<Question>,
}

impl Question {
    /// Whether an answer may still come. One that is there already was for those who waited for it.
    fn is_open(&self) -> bool {
        self.answer.borrow().is_none()
            && self.answer.has_changed().is_ok()
            && Instant::now() < self.deadline
    }

    /// Once for all who wait.
    fn complain(&self, what: &'static str) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(host = ?self.key.host, port = self.key.port, "{what}");
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.task.abort();
        let mut open = lock(&self.open);
        // Another question may have taken the place of one that was over and still had somebody to tell.
        let mine = open
            .questions
            .get(&self.key)
            .is_some_and(|place| place.ptr_eq(&self.this));
        if mine {
            open.questions.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests;
