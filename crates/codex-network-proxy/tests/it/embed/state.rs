//! A program that brings its configuration itself: the state, its reloader, its session.

use std::sync::Arc;
use std::time::Duration;

use codex_network_proxy::{
    ErrorKind, NetworkProxyAuditMetadata, NetworkProxyConfig, NetworkProxyConstraints,
    NetworkProxySettings, NetworkProxyState, build_config_state,
};

use super::{Next, Reloader, Shared, config_state, permits, proxy_of, settings};
use crate::harness::{Audit, within};

fn no_limits() -> NetworkProxyConstraints {
    NetworkProxyConstraints::default()
}

fn allowing(hosts: &[&str]) -> Next {
    Next::Config(Box::new(config_state(settings(hosts, &[]), no_limits())))
}

#[tokio::test]
async fn what_the_reloader_has_comes_into_force_without_being_asked_for() {
    let shared = Shared::start(settings(&["a.test"], &[]), no_limits()).await;
    let mut status = shared.proxy.policy_status();
    assert!(shared.permits("a.test").await);
    shared.reloader.will(allowing(&["b.test"]));
    let taken_up =
        status.wait_for(|status| status.config.settings.allowed_domains == ["b.test".to_owned()]);
    drop(within("another configuration", taken_up).await.unwrap());
    assert!(shared.permits("b.test").await);
    assert!(!shared.permits("a.test").await);
    let log = shared.audit.log();
    for line in [
        "config entry added to allowlist: b.test",
        "config entry removed from allowlist: a.test",
        "reloaded config from the test",
    ] {
        assert!(log.contains(line), "no {line:?} in {log}");
    }
}

#[tokio::test]
async fn a_reloader_that_fails_leaves_in_force_what_is() {
    let shared = Shared::start(settings(&["a.test"], &[]), no_limits()).await;
    for (next, why) in [
        (Next::Failure("it is broken"), "it is broken"),
        (Next::Panic, "the reloader failed"),
    ] {
        shared.reloader.will(next.clone());
        let mut status = shared.proxy.policy_status();
        let told = status.wait_for(|status| status.failure.as_deref() == Some(why));
        drop(within("the failure", told).await.unwrap());
        shared.reloader.will(next);
        let forced = shared.state.force_reload().await.unwrap_err();
        assert_eq!(forced.kind(), ErrorKind::Reload);
        assert!(shared.permits("a.test").await);
        let log = shared.audit.log();
        let line = format!("failed to reload config from the test: {why}; keeping previous config");
        assert!(log.contains(&line), "no {line:?} in {log}");
    }
    shared.reloader.will(allowing(&["b.test"]));
    shared.state.force_reload().await.unwrap();
    assert!(shared.permits("b.test").await);
}

/// It has 10 seconds for its answer, and neither a request nor the end of the proxy waits for that.
#[tokio::test]
async fn nobody_waits_for_a_reloader_that_hangs_but_who_asks_it() {
    let shared = Shared::start(settings(&["a.test"], &[]), no_limits()).await;
    shared.reloader.will(Next::Silence);
    let asks = tokio::time::timeout(Duration::from_millis(300), shared.state.current_cfg());
    assert!(asks.await.is_err());
    assert!(shared.permits("a.test").await);
    assert!(!shared.permits("b.test").await);
    let ended = tokio::time::timeout(Duration::from_secs(5), shared.handle.shutdown());
    ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_state_answers_for_the_policy_in_force() {
    let mut network = settings(&["a.test"], &["**.c.test"]);
    network.allow_local_binding = false;
    network.allow_upstream_proxy = false;
    let shared = Shared::start(network.clone(), no_limits()).await;
    let state = &shared.state;
    assert_eq!(
        state.current_cfg().await.unwrap(),
        NetworkProxyConfig { network }
    );
    assert!(state.enabled().await.unwrap());
    assert!(!state.allow_upstream_proxy().await.unwrap());
    assert!(state.mitm_state().await.unwrap().is_none());
    assert!(!state.is_unix_socket_allowed("/run/x.sock").await.unwrap());
    for (host, reason) in [
        ("a.test", None),
        ("A.TEST.", None),
        ("b.test", Some("not_allowed")),
        ("x.c.test", Some("denied")),
        ("10.0.0.1", Some("not_allowed_local")),
        ("localhost", Some("not_allowed_local")),
    ] {
        let blocked = state.host_blocked(host, 443).await.unwrap();
        assert_eq!(blocked.as_deref(), reason, "{host}");
    }
    let nonsense = state.host_blocked("a b", 443).await.unwrap_err();
    assert_eq!(nonsense.kind(), ErrorKind::Host);
}

#[tokio::test]
async fn what_is_settled_at_start_is_not_replaced() {
    let shared = Shared::start(settings(&["a.test"], &[]), no_limits()).await;
    type Change = fn(&mut NetworkProxySettings);
    let changes: [(&str, Change); 5] = [
        ("enabled", |network| network.enabled = false),
        ("proxy_url", |network| {
            network.proxy_url = "127.0.0.1:1".into()
        }),
        ("socks_url", |network| {
            network.socks_url = "127.0.0.1:1".into()
        }),
        ("enable_socks5", |network| network.enable_socks5 = false),
        ("enable_socks5_udp", |network| {
            network.enable_socks5_udp = false
        }),
    ];
    for (key, change) in changes {
        let mut network = settings(&["b.test"], &[]);
        change(&mut network);
        let state = config_state(network, no_limits());
        let error = shared.state.replace_config_state(state).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot update network.{key} on a running proxy")
        );
        assert!(shared.permits("a.test").await);
    }
}

#[tokio::test]
async fn a_configuration_beyond_its_limits_is_not_built() {
    let limits = NetworkProxyConstraints {
        allowed_domains: Some(vec!["a.test".to_owned()]),
        ..no_limits()
    };
    let network = settings(&["a.test", "b.test"], &[]);
    let error = build_config_state(NetworkProxyConfig { network }, limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.to_string(),
        r#"network proxy constraints: invalid value for network.allowed_domains: ["b.test"] (allowed subset of managed allowed_domains)"#
    );
    let network = settings(&["*"], &[]);
    let error = build_config_state(NetworkProxyConfig { network }, no_limits()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn the_session_is_in_each_audit_event() {
    let audit = Audit::start();
    let metadata = |id: &str| NetworkProxyAuditMetadata {
        conversation_id: Some(id.to_owned()),
        model: Some("a model".to_owned()),
        ..NetworkProxyAuditMetadata::default()
    };
    let state = Arc::new(NetworkProxyState::with_reloader_and_audit_metadata(
        config_state(settings(&[], &[]), no_limits()),
        Arc::new(Reloader::idle()),
        metadata("one"),
    ));
    assert_eq!(state.audit_metadata(), &metadata("one"));
    let of_state = proxy_of(&state, |builder| builder).await;
    let of_builder = proxy_of(&state, |builder| builder.audit_metadata(metadata("two"))).await;
    for (proxy, id) in [(of_state, "one"), (of_builder, "two")] {
        let handle = proxy.run().await.unwrap();
        assert!(!permits(&proxy, "a.test").await);
        let events = audit.take();
        assert_eq!(events.len(), 1);
        let field = |name: &str| events[0].field(name);
        assert_eq!(field("conversation.id"), Some(id));
        assert_eq!(field("model"), Some("a model"));
        assert_eq!(field("user.email"), None);
        handle.shutdown().await.unwrap();
    }
}
