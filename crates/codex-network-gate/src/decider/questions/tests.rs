use std::future::pending;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinSet, yield_now};

use super::*;
use crate::evidence::capture::Capture;

/// A decider that answers when it is told to, and counts.
#[derive(Clone)]
struct Person {
    asked: Arc<AtomicUsize>,
    gone: Arc<AtomicUsize>,
    answers: Arc<Semaphore>,
    decision: NetworkDecision,
}

/// Counts when it is dropped.
struct Gone(Arc<AtomicUsize>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Person {
    fn who_says(decision: NetworkDecision) -> Self {
        Self {
            asked: Arc::default(),
            gone: Arc::default(),
            answers: Arc::new(Semaphore::new(0)),
            decision,
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn gone(&self) -> usize {
        self.gone.load(Ordering::Relaxed)
    }
}

#[async_trait::async_trait]
impl NetworkPolicyDecider for Person {
    async fn decide(&self, _: NetworkPolicyRequest) -> NetworkDecision {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let _gone = Gone(Arc::clone(&self.gone));
        self.answers.acquire().await.unwrap().forget();
        self.decision.clone()
    }
}

fn questions(decider: impl NetworkPolicyDecider) -> Arc<Questions> {
    questions_within(decider, Sharing::SameTarget, Limits::default())
}

fn questions_within(
    decider: impl NetworkPolicyDecider,
    sharing: Sharing,
    limits: Limits,
) -> Arc<Questions> {
    Arc::new(Questions::new(Arc::new(decider), sharing, Arc::new(limits)))
}

fn request(method: &str, host: &str, port: u16) -> NetworkPolicyRequest {
    NetworkPolicyRequest {
        protocol: NetworkProtocol::Http,
        host: host.to_owned(),
        port,
        client_addr: None,
        method: Some(method.to_owned()),
        command: None,
        exec_policy_hint: None,
    }
}

fn get(host: &str) -> NetworkPolicyRequest {
    request("GET", host, 80)
}

/// Lets everybody who can go on go on.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

async fn answers(asking: JoinSet<Option<NetworkDecision>>) -> Vec<Option<NetworkDecision>> {
    asking.join_all().await
}

#[tokio::test]
async fn a_thousand_who_wait_for_one_host_ask_once() {
    let person = Person::who_says(NetworkDecision::Allow);
    let questions = questions(person.clone());
    let mut asking = JoinSet::new();
    for client in 0..1_000 {
        let questions = Arc::clone(&questions);
        let request = NetworkPolicyRequest {
            client_addr: Some(format!("127.0.0.1:{client}")),
            ..get("a.test")
        };
        asking.spawn(async move { questions.ask(request).await });
    }
    settle().await;
    assert_eq!(person.asked(), 1);
    person.answers.add_permits(1);
    let answers = answers(asking).await;
    assert_eq!(answers, vec![Some(NetworkDecision::Allow); 1_000]);
    assert_eq!(person.asked(), 1);
    assert!(lock(&questions.open).questions.is_empty());
}

#[tokio::test]
async fn what_a_decider_can_tell_apart_is_asked_apart() {
    let person = Person::who_says(NetworkDecision::Allow);
    let questions = questions(person.clone());
    let mut asking = JoinSet::new();
    let different = [
        get("a.test"),
        get("b.test"),
        request("POST", "a.test", 80),
        request("GET", "a.test", 81),
        NetworkPolicyRequest {
            protocol: NetworkProtocol::HttpsConnect,
            ..get("a.test")
        },
        NetworkPolicyRequest {
            method: None,
            ..get("a.test")
        },
    ];
    for request in different.clone() {
        let questions = Arc::clone(&questions);
        asking.spawn(async move { questions.ask(request).await });
    }
    settle().await;
    assert_eq!(person.asked(), different.len());
}

#[tokio::test]
async fn a_decider_that_tells_clients_apart_is_asked_for_each() {
    let person = Person::who_says(NetworkDecision::Allow);
    let questions = questions_within(person.clone(), Sharing::Never, Limits::default());
    let mut asking = JoinSet::new();
    for _ in 0..3 {
        let questions = Arc::clone(&questions);
        asking.spawn(async move { questions.ask(get("a.test")).await });
    }
    settle().await;
    assert_eq!(person.asked(), 3);
    person.answers.add_permits(3);
    answers(asking).await;
    assert!(lock(&questions.open).questions.is_empty());
}

#[tokio::test]
async fn an_answer_is_for_those_who_waited_for_it() {
    let person = Person::who_says(NetworkDecision::ask("not_allowed"));
    let questions = questions(person.clone());
    person.answers.add_permits(2);
    for asked in 1..=2 {
        let answer = questions.ask(get("a.test")).await;
        assert_eq!(answer, Some(NetworkDecision::ask("not_allowed")));
        assert_eq!(person.asked(), asked);
    }
    // Somebody who has an answer and was not yet told does not keep the question open.
    let slow = questions.question(get("a.test")).unwrap();
    person.answers.add_permits(1);
    settle().await;
    let next = questions.question(get("a.test")).unwrap();
    assert!(!Arc::ptr_eq(&slow, &next));
    drop(slow);
    let joined = questions.question(get("a.test")).unwrap();
    assert!(Arc::ptr_eq(&joined, &next));
}

#[tokio::test]
async fn a_question_ends_with_the_last_who_waits() {
    let person = Person::who_says(NetworkDecision::Allow);
    let questions = questions(person.clone());
    let mut asking = JoinSet::new();
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let questions = Arc::clone(&questions);
            asking.spawn(async move { questions.ask(get("a.test")).await })
        })
        .collect();
    settle().await;
    // Also the one who asked first.
    for client in &clients[..2] {
        client.abort();
    }
    settle().await;
    assert_eq!((person.asked(), person.gone()), (1, 0));
    clients[2].abort();
    settle().await;
    assert_eq!((person.asked(), person.gone()), (1, 1));
    assert!(lock(&questions.open).questions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_joins_a_question_waits_for_what_is_left_of_its_time() {
    let questions = questions(|_| pending());
    let limit = Limits::default().decider;
    let began = Instant::now();
    let (capture, _guard) = Capture::start();
    let first = questions.ask(get("a.test"));
    let second = async {
        tokio::time::sleep(limit - Duration::from_secs(1)).await;
        questions.ask(get("a.test")).await
    };
    assert_eq!(tokio::join!(first, second), (None, None));
    assert_eq!(began.elapsed().as_secs(), limit.as_secs());
    let complaints: Vec<String> = capture.take().iter().map(ToString::to_string).collect();
    assert_eq!(
        complaints,
        [r#"message=?the policy decider did not answer in time; refusing host=?"a.test" port=80"#]
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_harms_nobody() {
    let answered = Arc::new(Notify::new());
    let late = Arc::clone(&answered);
    let limit = Limits::default().decider;
    let asked = AtomicUsize::new(0);
    let questions = questions(move |_| {
        let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        let late = Arc::clone(&late);
        // Somebody else's task, which does not end with the question.
        let answer = tokio::spawn(async move {
            if first {
                tokio::time::sleep(limit + Duration::from_secs(1)).await;
                late.notify_one();
                return NetworkDecision::Allow;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            NetworkDecision::deny("on_reflection")
        });
        async move { answer.await.unwrap() }
    });
    assert_eq!(questions.ask(get("a.test")).await, None);
    // The next question is under way when the yes to the first one comes.
    let next = questions.ask(get("a.test"));
    let (next, ()) = tokio::join!(next, answered.notified());
    assert_eq!(next, Some(NetworkDecision::deny("on_reflection")));
}

#[tokio::test]
async fn a_panic_is_a_no_for_all_who_wait_and_for_nobody_else() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let questions = questions(move |_| {
        let first = count.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            yield_now().await;
            assert!(!first, "a decider of somebody else");
            NetworkDecision::Allow
        }
    });
    let mut asking = JoinSet::new();
    for _ in 0..10 {
        let questions = Arc::clone(&questions);
        asking.spawn(async move { questions.ask(get("a.test")).await });
    }
    assert_eq!(answers(asking).await, vec![None; 10]);
    let next = questions.ask(get("a.test")).await;
    assert_eq!(next, Some(NetworkDecision::Allow));
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_flood_of_hosts_is_refused_and_passes() {
    let person = Person::who_says(NetworkDecision::Allow);
    let limits = Limits {
        questions: 2,
        ..Limits::default()
    };
    let questions = questions_within(person.clone(), Sharing::SameTarget, limits);
    let mut asking = JoinSet::new();
    for host in ["a.test", "b.test", "b.test"] {
        let questions = Arc::clone(&questions);
        asking.spawn(async move { questions.ask(get(host)).await });
    }
    settle().await;
    assert_eq!(questions.ask(get("c.test")).await, None);
    assert_eq!(person.asked(), 2);
    person.answers.add_permits(3);
    assert_eq!(answers(asking).await, vec![Some(NetworkDecision::Allow); 3]);
    let next = questions.ask(get("c.test")).await;
    assert_eq!(next, Some(NetworkDecision::Allow));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decider_that_blocks_its_thread_is_late_as_any() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let limits = Limits {
        decider: Duration::from_millis(20),
        ..Limits::default()
    };
    let questions = questions_within(
        move |_| {
            let _ = wait.lock().unwrap().recv();
            std::future::ready(NetworkDecision::Allow)
        },
        Sharing::SameTarget,
        limits,
    );
    assert_eq!(questions.ask(get("a.test")).await, None);
    drop(go);
}
