//! What happens while somebody is slow: evidence stays, and the judgement stays one.

use super::*;
use crate::evidence::capture::Line;

/// Tells when it is dropped.
struct Bell(Arc<Notify>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_on_a_slow_decider_leaves_its_evidence() {
    let dropped = Arc::new(Notify::new());
    let bell = Arc::clone(&dropped);
    let decider = move |_| {
        let bell = Bell(Arc::clone(&bell));
        async move {
            let _bell = bell;
            std::future::pending().await
        }
    };
    let gate = Gate::builder(Policy::compile(rules(&[], &[])))
        .decider(Some(Arc::new(decider)))
        .build();
    let (capture, _guard) = Capture::start();
    hang_up(gate.authorize(access(Protocol::Http, "a.test", Some("GET")))).await;
    assert_eq!(events(&capture), ["domain deny baseline_policy cancelled"]);
    let reasons: Vec<String> = gate
        .drain_blocked()
        .into_iter()
        .map(|entry| entry.reason)
        .collect();
    assert_eq!(reasons, ["cancelled"]);
    // And nobody goes on to decide about a client that has gone.
    dropped.notified().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_on_a_slow_resolver_leaves_its_evidence() {
    for door in DOORS {
        let world = Script {
            rules: rules(&["stuck.test"], &[]),
            ..Script::default()
        }
        .build();
        let (capture, _guard) = Capture::start();
        hang_up(world.authorize(access(door, "stuck.test", usual_method(door)))).await;
        let left = world.left(String::new(), &capture);
        let entry = format!("{} deny baseline_policy cancelled -", door.history_word());
        assert_eq!(left.history, [entry]);
        assert_eq!(left.events, ["domain deny baseline_policy cancelled"]);
    }
}

#[tokio::test]
async fn a_judgement_that_never_began_leaves_nothing() {
    let world = Script::default().build();
    let (capture, _guard) = Capture::start();
    drop(world.authorize(access(Protocol::Http, "a.test", Some("GET"))));
    assert_eq!(capture.take(), [] as [Line; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_decider_that_panics_or_never_answers_has_said_no() {
    let panicking: Arc<dyn crate::NetworkPolicyDecider> =
        Arc::new(|_| -> std::future::Ready<NetworkDecision> {
            panic!("a decider of somebody else")
        });
    let panicking_later: Arc<dyn crate::NetworkPolicyDecider> =
        Arc::new(async |_| -> NetworkDecision {
            yield_now().await;
            panic!("a decider of somebody else")
        });
    let silent: Arc<dyn crate::NetworkPolicyDecider> =
        Arc::new(|_| std::future::pending::<NetworkDecision>());
    for decider in [panicking, panicking_later, silent] {
        let gate = Gate::builder(Policy::compile(rules(&[], &[])))
            .decider(Some(decider))
            .build();
        let (capture, _guard) = Capture::start();
        let denial = gate
            .authorize(access(Protocol::Http, "a.test", Some("GET")))
            .await
            .unwrap_err();
        assert_eq!(denial.reason(), &Reason::PolicyDenied);
        assert_eq!(denial.source(), Source::Decider);
        assert_eq!(events(&capture), ["domain deny decider policy_denied"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_decider_may_think_for_its_limit() {
    let check = async |thinks: Duration, allowed: bool| {
        let decider = move |_| async move {
            tokio::time::sleep(thinks).await;
            NetworkDecision::Allow
        };
        let gate = Gate::builder(Policy::compile(rules(&[], &[])))
            .decider(Some(Arc::new(decider)))
            .build();
        let judged = gate
            .authorize(access(Protocol::Socks5Tcp, "8.8.8.8", None))
            .await;
        assert_eq!(judged.is_ok(), allowed, "{thinks:?}");
    };
    let limit = Limits::default().decider;
    check(limit - Duration::from_millis(1), true).await;
    check(limit + Duration::from_millis(1), false).await;
}

/// A gate whose decider allows, but only when it is told to.
fn slow_gate(rules: Rules) -> (Arc<Gate>, Arc<Notify>) {
    let answer = Arc::new(Notify::new());
    let told = Arc::clone(&answer);
    let decider = move |_| {
        let told = Arc::clone(&told);
        async move {
            told.notified().await;
            NetworkDecision::Allow
        }
    };
    let gate = Gate::builder(Policy::compile(rules))
        .decider(Some(Arc::new(decider)))
        .build();
    (Arc::new(gate), answer)
}

#[tokio::test]
async fn one_access_is_judged_by_the_one_policy_that_is_in_force_when_the_decider_has_answered() {
    let judge_across = async |before: Rules, after: Rules| {
        let (gate, answer) = slow_gate(before);
        let judgement = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move {
                gate.authorize(access(Protocol::Http, "8.8.8.8", Some("POST")))
                    .await
            }
        });
        while Arc::strong_count(&answer) < 3 {
            yield_now().await;
        }
        assert_eq!(gate.store().replace(Policy::compile(after)), 2);
        answer.notify_one();
        judgement.await.unwrap()
    };
    let limited = || Rules {
        mode: Mode::Limited,
        ..rules(&[], &[])
    };
    // A late yes lifts nothing that has been forbidden meanwhile.
    for (after, reason) in [
        (rules(&[], &["8.8.8.8"]), Reason::Denied),
        (limited(), Reason::MethodNotAllowed),
        (Rules::default(), Reason::ProxyDisabled),
    ] {
        let judged = judge_across(rules(&[], &[]), after).await;
        assert_eq!(judged.unwrap_err().reason(), &reason);
    }
    let permit = judge_across(rules(&[], &[]), rules(&["a.test"], &[])).await;
    let permit = permit.unwrap();
    assert_eq!(permit.generation(), 2);
    assert!(permit.is_approved());
    // And what the lists allow by now needs nobody's approval.
    let permit = judge_across(limited(), rules(&["8.8.8.8"], &[])).await;
    let permit = permit.unwrap();
    assert_eq!(permit.generation(), 2);
    assert!(!permit.is_approved());
}

#[tokio::test]
async fn an_edit_while_the_decider_says_no_is_what_counts() {
    let store = Arc::new(crate::PolicyStore::new(Policy::compile(rules(&[], &[]))));
    let live = Arc::clone(&store);
    let decider = move |_| {
        live.replace(Policy::compile(rules(&["8.8.8.8"], &[])));
        std::future::ready(NetworkDecision::ask("not_allowed"))
    };
    let gate = Gate::over(store).decider(Some(Arc::new(decider))).build();
    let judged = gate.authorize(access(Protocol::Socks5Tcp, "8.8.8.8", None));
    assert!(!judged.await.unwrap().is_approved());
}
