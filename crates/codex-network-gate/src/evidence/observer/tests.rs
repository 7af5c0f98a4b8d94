use std::future::pending;
use std::sync::Mutex;

use codex_network_policy::Mode;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::BlockedRequestArgs;
use super::super::History;
use super::super::capture::Capture;
use super::*;

/// Longer than any test takes, for what must not be waited for.
const LONG: Duration = Duration::from_secs(3_600);

fn entry(port: u16) -> BlockedRequest {
    BlockedRequest::new(BlockedRequestArgs {
        host: "a.test".to_owned(),
        reason: "not_allowed".to_owned(),
        client: None,
        method: None,
        mode: Some(Mode::Full),
        protocol: "http".to_owned(),
        decision: Some("deny".to_owned()),
        source: Some("decider".to_owned()),
        port: Some(port),
    })
}

/// Remembers the ports of what it is told.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<u16>>>);

impl Seen {
    fn see(&self, request: &BlockedRequest) {
        self.0.lock().unwrap().push(request.port.unwrap());
    }

    fn ports(&self) -> Vec<u16> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn an_observer_is_told_of_each_refusal_in_order() {
    let history = History::new(2);
    history.record(entry(1));
    let seen = Seen::default();
    let observer = seen.clone();
    history.observe(Some(Arc::new(move |request: BlockedRequest| {
        observer.see(&request);
        async {}
    })));
    for port in 2..=4 {
        history.record(entry(port));
    }
    history.observed(LONG).await;
    assert_eq!(seen.ports(), [2, 3, 4]);
    assert_eq!(history.snapshot().len(), 2);
    // Who takes its place is told from then on; nobody is told of anything twice.
    let other = Seen::default();
    let observer = other.clone();
    history.observe(Some(Arc::new(move |request: BlockedRequest| {
        observer.see(&request);
        async {}
    })));
    history.record(entry(5));
    history.observed(LONG).await;
    history.observe(None);
    history.record(entry(6));
    history.observed(LONG).await;
    assert_eq!((seen.ports().len(), other.ports()), (3, vec![5]));
}

#[tokio::test]
async fn an_observer_that_panics_has_missed_one() {
    let history = History::new(10);
    let seen = Seen::default();
    let observer = seen.clone();
    history.observe(Some(Arc::new(move |request: BlockedRequest| {
        let observer = observer.clone();
        assert_ne!(request.port, Some(1), "an observer of somebody else");
        async move {
            assert_ne!(request.port, Some(2), "an observer of somebody else");
            observer.see(&request);
        }
    })));
    for port in 1..=3 {
        history.record(entry(port));
    }
    history.observed(LONG).await;
    assert_eq!(seen.ports(), [3]);
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_hangs_holds_up_nobody_but_itself() {
    let history = History::new(10);
    let seen = Seen::default();
    let observer = seen.clone();
    let began = Instant::now();
    history.observe(Some(Arc::new(move |request: BlockedRequest| {
        let observer = observer.clone();
        async move {
            if request.port == Some(1) {
                pending::<()>().await;
            }
            observer.see(&request);
        }
    })));
    history.record(entry(1));
    history.record(entry(2));
    history.observed(Duration::from_secs(1)).await;
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    assert_eq!(seen.ports(), [0; 0]);
    history.observed(LONG).await;
    assert_eq!(began.elapsed(), LONGEST_CALL);
    assert_eq!(seen.ports(), [2]);
}

#[tokio::test]
async fn a_slow_observer_misses_the_newest_and_the_log_says_so() {
    let (capture, _guard) = Capture::start();
    let history = History::new(10);
    let seen = Seen::default();
    let observer = seen.clone();
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    history.observe(Some(Arc::new(move |request: BlockedRequest| {
        let (observer, wait) = (observer.clone(), Arc::clone(&wait));
        async move {
            observer.see(&request);
            if request.port == Some(0) {
                wait.notified().await;
            }
        }
    })));
    let queued = u16::try_from(QUEUED).unwrap();
    history.record(entry(0));
    tokio::task::yield_now().await;
    for port in 1..=queued + 3 {
        history.record(entry(port));
    }
    assert_eq!(history.total(), u64::from(queued) + 4);
    go.notify_one();
    history.observed(LONG).await;
    history.record(entry(9_999));
    history.observed(LONG).await;
    let expected: Vec<u16> = (0..=queued).chain([9_999]).collect();
    assert_eq!(seen.ports(), expected);
    let told: Vec<String> = capture
        .take()
        .iter()
        .map(ToString::to_string)
        .filter(|line| line.contains("observer"))
        .collect();
    assert_eq!(
        told,
        [
            "message=?an observer of refusals is too slow, and misses some",
            "message=?an observer of refusals has missed some missed=3",
        ]
    );
}

#[tokio::test]
async fn the_task_of_an_observer_ends_with_its_history() {
    let history = History::new(10);
    let observer: Arc<dyn BlockedRequestObserver> = Arc::new(|_: BlockedRequest| async {});
    history.observe(Some(Arc::clone(&observer)));
    history.record(entry(1));
    drop(history);
    while Arc::strong_count(&observer) > 1 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn an_observer_may_be_named_before_there_is_a_runtime() {
    let history = History::new(10);
    let seen = Seen::default();
    let observer = seen.clone();
    history.observe(Some(Arc::new(move |request: BlockedRequest| {
        observer.see(&request);
        async {}
    })));
    history.record(entry(1));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        history.record(entry(2));
        history.observed(LONG).await;
    });
    assert_eq!(seen.ports(), [1, 2]);
}
