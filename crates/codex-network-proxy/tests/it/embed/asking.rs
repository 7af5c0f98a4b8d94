//! The decider on the wire: what is held, what is shared, what an answer leads to, and what happens when there is none.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use codex_network_proxy::{NetworkDecision, NetworkPolicyDecider, NetworkPolicyRequest};
use tokio::sync::{Semaphore, watch};

use crate::harness::{CONNECT, Nobody, Setup, World, address, within};

/// Somebody who is shown the questions, and answers all of them alike when the test says so.
#[derive(Clone)]
struct Person {
    shown: watch::Sender<usize>,
    answers: Arc<Semaphore>,
    decision: NetworkDecision,
}

impl Person {
    fn who_says(decision: NetworkDecision) -> Self {
        Self {
            shown: watch::Sender::new(0),
            answers: Arc::new(Semaphore::new(0)),
            decision,
        }
    }

    async fn is_shown(&self, questions: usize) {
        let mut shown = self.shown.subscribe();
        let waited = shown.wait_for(|shown| *shown >= questions);
        within("questions", waited).await.unwrap();
        assert_eq!(*self.shown.borrow(), questions);
    }
}

#[async_trait::async_trait]
impl NetworkPolicyDecider for Person {
    async fn decide(&self, _: NetworkPolicyRequest) -> NetworkDecision {
        self.shown.send_modify(|shown| *shown += 1);
        self.answers.acquire().await.unwrap().forget();
        self.decision.clone()
    }
}

/// A target that leads to this machine and is nobody's: the dial fails at once, after the judgement.
fn setup() -> Setup {
    Setup::new()
        .key("allow_local_binding", true)
        .name("asked.test", &["127.0.0.1"])
}

const GET: &str = "GET http://asked.test:1/ HTTP/1.1\r\n\r\n";

#[tokio::test]
async fn an_ask_refuses_now_and_says_so_everywhere() {
    let world = setup()
        .decider(|_: NetworkPolicyRequest| async { NetworkDecision::ask("not_allowed") })
        .start()
        .await;
    let answer = world.answer(GET).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    for part in [
        r#""decision":"ask""#,
        r#""source":"decider""#,
        r#""reason":"not_allowed""#,
        r#""host":"asked.test""#,
        r#""port":1"#,
    ] {
        assert!(answer.contains(part), "{answer}");
    }
    assert_eq!(
        world.events(),
        [
            "http ask asked.test:1 reason=not_allowed method=GET source=decider scope=domain override=false"
        ]
    );
    assert_eq!(
        world.history(),
        ["http asked.test:1 reason=not_allowed method=GET mode=- decision=ask source=decider"]
    );
}

#[tokio::test]
async fn a_yes_next_time_is_for_the_next_attempt() {
    let approved = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let human = Arc::clone(&approved);
    let world = setup()
        .decider(move |_: NetworkPolicyRequest| {
            let yes = human.load(Ordering::Relaxed);
            async move {
                if yes {
                    NetworkDecision::Allow
                } else {
                    NetworkDecision::ask("not_allowed")
                }
            }
        })
        .start()
        .await;
    let nobody = Nobody::listens();
    let get = format!("GET http://asked.test:{}/ HTTP/1.1\r\n\r\n", nobody.port);
    let mut client = world.http().await;
    client.send(&get).await;
    assert!(client.message().await.starts_with("HTTP/1.1 403 "));
    approved.store(true, Ordering::Relaxed);
    // On the same connection, with no reload.
    client.send(&get).await;
    let answer = client.message().await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    let (_, code) = world
        .socks_request(CONNECT, &address("asked.test", nobody.port))
        .await;
    assert_eq!(code, 5);
    approved.store(false, Ordering::Relaxed);
    client.send(&get).await;
    assert!(client.message().await.starts_with("HTTP/1.1 403 "));
}

/// A thousand, and fewer where the system lets a process open too few files for both ends of so many connections.
fn clients() -> usize {
    #[cfg(all(unix, feature = "cli"))]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let current = maximum;
        let raised = setrlimit(Resource::Nofile, Rlimit { current, maximum });
        if raised.is_ok() && maximum.is_none_or(|files| files > 4_000) {
            return 1_000;
        }
    }
    250
}

#[tokio::test]
async fn those_who_wait_for_one_host_are_one_question_and_each_is_on_record() {
    let number = clients();
    let person = Person::who_says(NetworkDecision::ask("not_allowed"));
    let world = setup()
        .deny(&["denied.test"])
        .decider(person.clone())
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..number {
        let mut client = world.http().await;
        client.send(GET).await;
        clients.push(client);
    }
    person.is_shown(1).await;
    // There is one answer; whoever is not heard by then would ask anew and wait for another one. Those who came before
    // whoever is served now have been heard.
    for _ in 0..3 {
        next_is_served(&world).await;
    }
    let last = clients.last_mut().unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(50), last.head());
    assert!(waits.await.is_err(), "held until there is an answer");
    world.events();
    world.history();
    let before = world.proxy.blocked_total();
    person.answers.add_permits(1);
    for client in &mut clients {
        assert!(client.message().await.contains(r#""decision":"ask""#));
    }
    person.is_shown(1).await;
    assert_eq!(world.events().len(), number);
    assert_eq!(world.proxy.blocked_total() - before, number as u64);
}

#[tokio::test]
async fn a_decider_that_tells_clients_apart_is_asked_about_each() {
    let person = Person::who_says(NetworkDecision::Allow);
    let world = setup()
        .decider(person.clone())
        .ask_about_each_request()
        .start()
        .await;
    let (mut one, mut other) = (world.http().await, world.http().await);
    one.send(GET).await;
    other.send(GET).await;
    person.is_shown(2).await;
}

/// With one place for a client of HTTP, somebody is served only after the one before has gone.
async fn next_is_served(world: &World) {
    let denied = world
        .answer("GET http://denied.test/ HTTP/1.1\r\n\r\n")
        .await;
    assert!(denied.contains(r#""reason":"denied""#), "{denied}");
}

#[tokio::test]
async fn a_client_that_hangs_up_frees_its_place() {
    let person = Person::who_says(NetworkDecision::Allow);
    let world = setup()
        .deny(&["denied.test"])
        // Each listener keeps one ready for who comes next.
        .limits(|limits| limits.connections = 2)
        .decider(person.clone())
        .start()
        .await;
    for (questions, request) in (1..).zip([GET, "CONNECT asked.test:1 HTTP/1.1\r\n\r\n"]) {
        let mut client = world.http().await;
        client.send(request).await;
        person.is_shown(questions).await;
        drop(client);
        next_is_served(&world).await;
    }
}

#[tokio::test]
async fn whoever_waits_longer_than_the_set_limit_is_refused() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let world = setup()
        .limits(|limits| limits.decider = Duration::from_millis(50))
        .decider(move |_: NetworkPolicyRequest| {
            count.fetch_add(1, Ordering::Relaxed);
            pending::<NetworkDecision>()
        })
        .start()
        .await;
    for questions in 1..=2 {
        let answer = world.answer(GET).await;
        assert!(answer.contains(r#""reason":"policy_denied""#), "{answer}");
        assert_eq!(asked.load(Ordering::Relaxed), questions);
    }
}

#[tokio::test]
async fn an_answer_after_shutdown_reaches_nobody() {
    let person = Person::who_says(NetworkDecision::Allow);
    let mut world = setup()
        .limits(|limits| limits.drain = Duration::from_millis(50))
        .decider(person.clone())
        .start()
        .await;
    let mut client = world.http().await;
    client.send(GET).await;
    person.is_shown(1).await;
    let handle = world.handle.take().unwrap();
    within("the shutdown", handle.shutdown()).await.unwrap();
    person.answers.add_permits(1);
    client.closed().await;
    assert_eq!(
        world.history(),
        [
            "http asked.test:1 reason=cancelled method=GET mode=- decision=deny source=baseline_policy"
        ]
    );
    // Nobody took the answer.
    assert_eq!(person.answers.available_permits(), 1);
}

#[tokio::test]
async fn whatever_a_decider_does_the_proxy_lives() {
    let world = setup()
        .limits(|limits| limits.decider = Duration::from_millis(50))
        .decider(|request: NetworkPolicyRequest| async move {
            match request.port {
                1 => panic!("a decider of somebody else"),
                2 => pending().await,
                _ => NetworkDecision::deny("because of\r\nx: y"),
            }
        })
        .start()
        .await;
    for port in [1, 2, 3] {
        let answer = world
            .answer(format!("GET http://asked.test:{port}/ HTTP/1.1\r\n\r\n"))
            .await;
        assert!(answer.contains(r#""reason":"policy_denied""#), "{answer}");
    }
    let reasons: Vec<String> = world.history();
    assert_eq!(reasons.len(), 3);
}
