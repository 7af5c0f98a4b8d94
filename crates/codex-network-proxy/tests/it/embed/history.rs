//! The history of refusals, its log lines, and whoever observes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use codex_network_proxy::{
    BlockedRequest, BlockedRequestArgs, NetworkProxyConstraints, NetworkProxyState,
};
use tokio::sync::mpsc;

use super::{Reloader, Shared, config_state, permits, proxy_of, settings};
use crate::harness::{Setup, within};

const REFUSED: &str = "GET http://refused.test/ HTTP/1.1\r\n\r\n";

#[tokio::test]
async fn each_refusal_is_in_the_log_as_json() {
    let world = Setup::new().start().await;
    world.answer(REFUSED).await;
    world.answer(REFUSED).await;
    let log = world.audit.log();
    for part in [
        r#"CODEX_NETWORK_POLICY_VIOLATION {"host":"refused.test","reason":"not_allowed","client":"127.0.0.1:"#,
        r#""method":"GET","mode":null,"protocol":"http","decision":"deny","source":"baseline_policy","port":80,"timestamp":"#,
        r#"recorded blocked request telemetry (total=1, host="refused.test", reason=not_allowed, decision=Some("deny"), source=Some("baseline_policy"), protocol=http, port=Some(80), buffered=1)"#,
        "total=2",
        "buffered=2",
    ] {
        assert!(log.contains(part), "no {part:?} in {log}");
    }
}

#[tokio::test]
async fn the_newest_stay_and_all_are_counted() {
    let world = Setup::new()
        .limits(|limits| limits.history = 3)
        .start()
        .await;
    for number in 0..5 {
        world
            .answer(format!("GET http://h{number}.test/ HTTP/1.1\r\n\r\n"))
            .await;
    }
    let hosts = |entries: Vec<BlockedRequest>| -> Vec<String> {
        entries.into_iter().map(|entry| entry.host).collect()
    };
    let newest = ["h2.test", "h3.test", "h4.test"];
    assert_eq!(hosts(world.proxy.blocked_snapshot()), newest);
    assert_eq!(hosts(world.proxy.drain_blocked()), newest);
    assert_eq!(hosts(world.proxy.blocked_snapshot()), [""; 0]);
    assert_eq!(world.proxy.blocked_total(), 5);
}

#[tokio::test]
async fn an_observer_hears_of_each_refusal_in_order_and_delays_none() {
    let (tell, mut told) = mpsc::channel(16);
    let world = Setup::new()
        .observer(move |entry: BlockedRequest| {
            let tell = tell.clone();
            async move { tell.send(entry).await.unwrap() }
        })
        .start()
        .await;
    for number in 0..3 {
        let request = format!("GET http://h{number}.test/ HTTP/1.1\r\n\r\n");
        world.answer(request).await;
    }
    for expected in world.proxy.blocked_snapshot() {
        let entry = within("an entry", told.recv()).await.unwrap();
        assert_eq!(entry, expected);
    }
}

#[tokio::test]
async fn an_observer_that_hangs_or_panics_holds_nobody_up() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let mut world = Setup::new()
        .limits(|limits| limits.drain = std::time::Duration::from_millis(50))
        .observer(move |_: BlockedRequest| {
            let call = count.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(call > 0, "an observer of somebody else");
                std::future::pending().await
            }
        })
        .start()
        .await;
    for _ in 0..5 {
        assert!(world.answer(REFUSED).await.contains("not_allowed"));
    }
    assert_eq!(world.proxy.blocked_total(), 5);
    assert!(world.audit.log().contains("an observer of refusals failed"));
    let handle = world.handle.take().unwrap();
    within("the shutdown", handle.shutdown()).await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

/// An observer that passes on which of them it is.
fn named(
    name: &'static str,
    tell: &mpsc::UnboundedSender<&'static str>,
) -> Arc<dyn codex_network_proxy::BlockedRequestObserver> {
    let tell = tell.clone();
    Arc::new(move |_: BlockedRequest| {
        tell.send(name).unwrap();
        std::future::ready(())
    })
}

#[tokio::test]
async fn the_builders_observer_replaces_the_states_and_so_does_none() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let state = Arc::new(NetworkProxyState::with_reloader_and_blocked_observer(
        config_state(settings(&[], &[]), NetworkProxyConstraints::default()),
        Arc::new(Reloader::idle()),
        Some(named("the state's", &tell)),
    ));
    let entry = || {
        BlockedRequest::new(BlockedRequestArgs {
            host: "elsewhere.test".to_owned(),
            reason: "not_allowed".to_owned(),
            client: None,
            method: None,
            mode: None,
            protocol: "http".to_owned(),
            decision: None,
            source: None,
            port: None,
        })
    };
    state.record_blocked(entry()).await.unwrap();
    assert_eq!(told.recv().await, Some("the state's"));
    let builders = named("the builder's", &tell);
    let proxy = proxy_of(&state, |builder| {
        builder.blocked_request_observer_arc(builders)
    })
    .await;
    let handle = proxy.run().await.unwrap();
    assert!(!permits(&proxy, "a.test").await);
    assert_eq!(told.recv().await, Some("the builder's"));
    state
        .set_blocked_request_observer(Some(named("a later one", &tell)))
        .await;
    assert!(!permits(&proxy, "a.test").await);
    assert_eq!(told.recv().await, Some("a later one"));
    let silent = proxy_of(&state, |builder| builder).await;
    assert!(!permits(&proxy, "a.test").await);
    assert_eq!(state.blocked_snapshot().await.unwrap().len(), 4);
    assert!(told.try_recv().is_err());
    drop(silent);
    handle.shutdown().await.unwrap();
    let json = serde_json::to_string(&entry()).unwrap();
    assert!(
        json.starts_with(
            r#"{"host":"elsewhere.test","reason":"not_allowed","client":null,"method":null,"mode":null,"protocol":"http","timestamp":"#
        ),
        "{json}"
    );
}

#[tokio::test]
async fn history_and_total_survive_every_kind_of_reload() {
    let shared = Shared::start(
        settings(&["a.test"], &[]),
        NetworkProxyConstraints::default(),
    )
    .await;
    assert!(!shared.permits("b.test").await);
    let next = || {
        Box::new(config_state(
            settings(&["b.test"], &[]),
            NetworkProxyConstraints::default(),
        ))
    };
    shared.reloader.will(super::Next::Config(next()));
    assert_eq!(shared.state.current_patterns().await.unwrap().0, ["b.test"]);
    shared.reloader.will(super::Next::Config(next()));
    shared.state.force_reload().await.unwrap();
    shared.state.replace_config_state(*next()).await.unwrap();
    assert!(shared.permits("b.test").await);
    assert!(!shared.permits("a.test").await);
    assert_eq!(shared.proxy.blocked_total(), 2);
    let hosts: Vec<String> = shared
        .state
        .drain_blocked()
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.host)
        .collect();
    assert_eq!(hosts, ["b.test", "a.test"]);
    assert_eq!(shared.proxy.blocked_total(), 2);
}
