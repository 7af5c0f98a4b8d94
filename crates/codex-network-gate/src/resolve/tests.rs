use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::task::{JoinSet, yield_now};
use tokio::time::advance;

use super::*;

/// Answers by the name: `stuck…` never, `gated…` when it is told to, `panics`, `fails`, `slow` and `empty` as they
/// say, `many` with every kind of duplicate, and anything else with one public address.
#[derive(Debug, Default)]
struct Scripted {
    asked: AtomicUsize,
    gate: Notify,
}

impl Scripted {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Resolver for Scripted {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match name {
            "panics.test" => panic!("a resolver of somebody else"),
            "fails.test" => Err(io::Error::other("no such name")),
            "slow.test" => Err(io::ErrorKind::TimedOut.into()),
            "empty.test" => Ok(Vec::new()),
            "many.test" => Ok([
                "::ffff:192.0.2.1",
                "2001:db8::1",
                "192.0.2.1",
                "2001:db8::1",
            ]
            .map(|address| address.parse().unwrap())
            .into()),
            _ if name.starts_with("stuck") => std::future::pending().await,
            _ if name.starts_with("gated") => {
                self.gate.notified().await;
                Ok(vec![public()])
            }
            _ => Ok(vec![public()]),
        }
    }
}

fn public() -> IpAddr {
    "93.184.215.14".parse().unwrap()
}

fn lookups(limits: Limits) -> (Arc<Scripted>, Arc<Lookups>) {
    let resolver = Arc::new(Scripted::default());
    let lookups = Lookups::new(
        Arc::clone(&resolver) as Arc<dyn Resolver>,
        Arc::new(limits),
        Arc::default(),
    );
    (resolver, Arc::new(lookups))
}

/// Lets every task that can run do so.
async fn settle() {
    for _ in 0..64 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_way_of_not_answering_has_its_failure() {
    let (_, lookups) = lookups(Limits::default());
    for (name, expected) in [
        ("fails.test", LookupFailure::Failed),
        ("panics.test", LookupFailure::Failed),
        ("slow.test", LookupFailure::TimedOut),
        ("stuck.test", LookupFailure::TimedOut),
        ("empty.test", LookupFailure::Empty),
    ] {
        assert_eq!(lookups.addresses(name).await, Err(expected), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_holds_each_destination_once() {
    let (_, lookups) = lookups(Limits::default());
    let addresses = lookups.addresses("many.test").await.unwrap();
    let expected: [IpAddr; 2] = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap());
    assert_eq!(*addresses, expected);
}

#[tokio::test(start_paused = true)]
async fn equal_questions_that_overlap_are_asked_once() {
    let (resolver, lookups) = lookups(Limits::default());
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let lookups = Arc::clone(&lookups);
        callers.spawn(async move { lookups.addresses("gated.test").await });
    }
    settle().await;
    assert_eq!(resolver.asked(), 1);
    resolver.gate.notify_one();
    for answer in callers.join_all().await {
        assert_eq!(*answer.unwrap(), [public()]);
    }
    assert_eq!(resolver.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_reused_for_the_limit_and_then_asked_for_again() {
    let (resolver, lookups) = lookups(Limits::default());
    let reuse = Limits::default().lookup_reuse;
    let check = async |expected: usize| {
        lookups.addresses("example.com").await.unwrap();
        assert_eq!(resolver.asked(), expected);
    };
    check(1).await;
    check(1).await;
    advance(reuse - Duration::from_millis(1)).await;
    check(1).await;
    advance(Duration::from_millis(1)).await;
    check(2).await;
    check(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_never_remembered() {
    let (resolver, lookups) = lookups(Limits::default());
    for (asked, name) in (1..).zip(["fails.test", "fails.test", "empty.test", "empty.test"]) {
        lookups.addresses(name).await.unwrap_err();
        assert_eq!(resolver.asked(), asked, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_takes_nothing_from_the_others() {
    let (resolver, lookups) = lookups(Limits::default());
    let ask = || {
        let lookups = Arc::clone(&lookups);
        tokio::spawn(async move { lookups.addresses("gated.test").await })
    };
    let (first, second) = (ask(), ask());
    settle().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    resolver.gate.notify_one();
    assert_eq!(*second.await.unwrap().unwrap(), [public()]);
    assert_eq!(resolver.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_name_does_not_hold_up_others() {
    let (_, lookups) = lookups(Limits {
        lookups: 2,
        ..Limits::default()
    });
    let stuck = tokio::spawn({
        let lookups = Arc::clone(&lookups);
        async move { lookups.addresses("stuck.test").await }
    });
    settle().await;
    let before = Instant::now();
    lookups.addresses("example.com").await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(stuck.await.unwrap(), Err(LookupFailure::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_waited_for_its_slot_in_vain_is_never_asked() {
    let (resolver, lookups) = lookups(Limits {
        lookups: 1,
        ..Limits::default()
    });
    // The one slot goes to a look-up that outlives its question, as the system's do.
    let gated = lookups.addresses("gated.test").await;
    assert_eq!(gated, Err(LookupFailure::TimedOut));
    for name in ["a.test", "b.test", "c.test"] {
        let answer = lookups.addresses(name).await;
        assert_eq!(answer, Err(LookupFailure::TimedOut), "{name}");
    }
    resolver.gate.notify_one();
    settle().await;
    assert_eq!(resolver.asked(), 1);
    // And with the slot back, all is well again.
    lookups.addresses("a.test").await.unwrap();
    assert_eq!(resolver.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_names_is_not_remembered_without_end() {
    let (_, lookups) = lookups(Limits::default());
    let mut most = 0;
    for number in 0..3 * REMEMBERED_NAMES {
        lookups.addresses(&format!("n{number}.test")).await.unwrap();
        most = most.max(lookups.known.lock().unwrap().len());
    }
    assert_eq!(most, REMEMBERED_NAMES);
}

#[tokio::test]
async fn a_zone_is_turned_into_a_scope_without_a_resolver() {
    let check = async |literal: &str, expected: Option<u32>| {
        let address = scoped_address(literal, 80, Limits::default().lookup).await;
        let scope = address.map(|address| match address {
            SocketAddr::V6(address) => address.scope_id(),
            SocketAddr::V4(address) => panic!("{address} for {literal}"),
        });
        assert_eq!(scope, expected, "{literal}");
    };
    check("fe80::1%7", Some(7)).await;
    check("fe80::1%no-such-interface", None).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_real_path_is_behind_all_links() {
    let directory = tempfile::tempdir().unwrap();
    let root = std::fs::read_link(directory.path()).unwrap_or(directory.path().to_owned());
    std::fs::write(root.join("socket"), "").unwrap();
    std::os::unix::fs::symlink("socket", root.join("link")).unwrap();
    std::os::unix::fs::symlink("nothing", root.join("dangling")).unwrap();
    let check = async |name: &str, expected: Option<&str>| {
        let path = SocketPath::parse(root.join(name).to_str().unwrap()).unwrap();
        let real = real_path(&path, Limits::default().lookup).await;
        let name_of_real = real.as_ref().and_then(|path| path.file_name());
        assert_eq!(name_of_real, expected.map(std::ffi::OsStr::new), "{name}");
    };
    check("socket", Some("socket")).await;
    check("link", Some("socket")).await;
    check("dangling", None).await;
    check("absent", None).await;
}
