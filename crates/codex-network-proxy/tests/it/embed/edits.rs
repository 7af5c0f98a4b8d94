//! Live edits: at once, within the managed limits, until the next reload.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use codex_network_proxy::config::{Environment, SystemFiles};
use codex_network_proxy::{
    Error, ErrorKind, NetworkDecision, NetworkMode, NetworkPolicyRequest, NetworkProxy,
    NetworkProxyConstraints, ParentProxies,
};
use tempfile::TempDir;

use super::{Shared, names, permits, settings};
use crate::harness::{CONNECT, Origin, Setup, address, within};

fn no_limits() -> NetworkProxyConstraints {
    NetworkProxyConstraints::default()
}

#[tokio::test]
async fn an_approval_is_for_the_next_attempt_on_every_door() {
    let world = Setup::new()
        .key("allow_local_binding", true)
        .name("asked.test", &["127.0.0.1"])
        .decider(|_: NetworkPolicyRequest| async { NetworkDecision::ask("not_allowed") })
        .start()
        .await;
    let origin = Origin::start().await;
    let get = format!("GET http://asked.test:{}/ HTTP/1.1\r\n\r\n", origin.port);
    let mut client = world.http().await;
    client.send(&get).await;
    assert!(client.message().await.contains(r#""decision":"ask""#));
    // A person was shown that refusal, and says yes.
    world.proxy.add_allowed_domain("Asked.TEST.").await.unwrap();
    client.send(&get).await;
    let mut upstream = origin.accept().await;
    upstream.head().await;
    upstream
        .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert!(client.message().await.starts_with("HTTP/1.1 200 "));
    let (_tunnel, code) = world
        .socks_request(CONNECT, &address("asked.test", origin.port))
        .await;
    assert_eq!(code, 0);
    assert_eq!(
        world.events().last().unwrap().split(" method").next(),
        Some(&*format!(
            "socks5_tcp allow asked.test:{} reason=allow",
            origin.port
        )),
    );
    let log = world.audit.log();
    assert!(
        log.contains("updated network allowlist with asked.test"),
        "{log}"
    );
}

#[tokio::test]
async fn a_denial_ends_the_tunnels_that_it_forbids() {
    let world = Setup::usual()
        .name("www.origin.test", &["127.0.0.1"])
        .start()
        .await;
    let origin = Origin::start().await;
    let mut tunnels = Vec::new();
    for host in ["origin.test", "www.origin.test"] {
        let target = address(host, origin.port);
        let (client, code) = world.socks_request(CONNECT, &target).await;
        assert_eq!(code, 0);
        tunnels.push((client, origin.accept().await));
    }
    world
        .proxy
        .add_denied_domain("www.origin.test")
        .await
        .unwrap();
    let (kept, ended) = tunnels.split_at_mut(1);
    ended[0].0.closed().await;
    kept[0].0.send("ping").await;
    assert_eq!(kept[0].1.exactly(4).await, b"ping");
    assert!(permits(&world.proxy, "origin.test").await);
    let answer = world
        .answer("GET http://www.origin.test:9/ HTTP/1.1\r\n\r\n")
        .await;
    assert!(answer.contains(r#""reason":"denied""#), "{answer}");
}

#[tokio::test]
async fn a_wider_denial_stays_and_wins() {
    let shared = Shared::start(settings(&[], &["**.c.test"]), no_limits()).await;
    shared.proxy.add_allowed_domain("x.c.test").await.unwrap();
    let (allowed, denied) = shared.state.current_patterns().await.unwrap();
    assert_eq!(
        (allowed, denied),
        (vec!["x.c.test".into()], vec!["**.c.test".into()])
    );
    assert!(!shared.permits("x.c.test").await);
    assert_eq!(
        shared
            .state
            .host_blocked("x.c.test", 443)
            .await
            .unwrap()
            .as_deref(),
        Some("denied")
    );
}

#[tokio::test]
async fn a_mode_is_in_force_at_once() {
    let shared = Shared::start(settings(&["a.test"], &[]), no_limits()).await;
    assert!(shared.state.method_allowed("POST").await.unwrap());
    shared
        .state
        .set_network_mode(NetworkMode::Limited)
        .await
        .unwrap();
    assert!(!shared.state.method_allowed("POST").await.unwrap());
    assert_eq!(
        shared.state.network_mode().await.unwrap(),
        NetworkMode::Limited
    );
    assert!(shared.permits("a.test").await);
    let log = shared.audit.log();
    assert!(log.contains("updated network mode to Limited"), "{log}");
}

/// A refused edit: its kind, its words, and the words behind them.
fn refused(edited: Result<(), Error>) -> (ErrorKind, String, String) {
    let error = edited.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    let behind = source.source().map(ToString::to_string);
    (error.kind(), error.to_string(), behind.unwrap_or_default())
}

#[tokio::test]
async fn no_edit_gets_past_a_limit() {
    let managed = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    let shared = Shared::start(
        settings(&["a.test"], &["c.test"]),
        NetworkProxyConstraints {
            mode: Some(NetworkMode::Full),
            allowed_domains: managed(&["a.test", "**.b.test"]),
            denied_domains: managed(&["c.test"]),
            ..no_limits()
        },
    )
    .await;
    let limited = |field: &str, behind: &str| {
        (
            ErrorKind::Limit,
            format!("network.{field} constrained by managed config"),
            format!("invalid value for network.{field}: {behind}"),
        )
    };
    assert_eq!(
        refused(shared.proxy.add_allowed_domain("elsewhere.test").await),
        limited(
            "allowed_domains",
            r#"["elsewhere.test"] (allowed subset of managed allowed_domains)"#
        )
    );
    // To allow what is denied by the limit would take it out of the denylist.
    assert_eq!(
        refused(shared.proxy.add_allowed_domain("c.test").await).0,
        ErrorKind::Limit
    );
    shared.proxy.add_allowed_domain("b.test").await.unwrap();
    shared.proxy.add_denied_domain("x.c.test").await.unwrap();
    assert!(shared.permits("b.test").await);
    for host in ["elsewhere.test", "c.test"] {
        assert!(!shared.permits(host).await, "{host}");
    }
    for nonsense in ["", "*", "http://a.test/", "a b", "0x7f.1"] {
        for edited in [
            shared.proxy.add_allowed_domain(nonsense).await,
            shared.proxy.add_denied_domain(nonsense).await,
        ] {
            let (kind, message, _) = refused(edited);
            assert_eq!(
                (kind, &*message),
                (ErrorKind::Host, "invalid network host"),
                "{nonsense:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_mode_stays_within_its_limit() {
    let mut narrow = settings(&["a.test"], &[]);
    narrow.mode = NetworkMode::Limited;
    let limits = NetworkProxyConstraints {
        mode: Some(NetworkMode::Limited),
        ..no_limits()
    };
    let shared = Shared::start(narrow, limits).await;
    let (kind, message, behind) = refused(shared.state.set_network_mode(NetworkMode::Full).await);
    assert_eq!(kind, ErrorKind::Limit);
    assert_eq!(message, "network.mode constrained by managed config");
    assert_eq!(
        behind,
        "invalid value for network.mode: Full (allowed Limited or more restrictive)"
    );
    assert!(!shared.state.method_allowed("POST").await.unwrap());
}

/// What stands in the user's file, with requirements of the machine beside it.
fn files(user: &str, requirements: &str) -> (TempDir, Environment) {
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join("home")).unwrap();
    fs::write(root.path().join("home/config.toml"), user).unwrap();
    fs::write(root.path().join("requirements.toml"), requirements).unwrap();
    let environment = Environment {
        codex_home: Some(root.path().join("home").into_os_string()),
        system: SystemFiles {
            requirements: Some(root.path().join("requirements.toml")),
            ..SystemFiles::default()
        },
        ..Environment::default()
    };
    (root, environment)
}

const USER: &str = "default_permissions = \"p\"\n[permissions.p.network]\nenabled = true\nallow_local_binding = true\nallowed_domains = [\"a.test\"]\n";

async fn proxy_of_files(environment: Environment) -> NetworkProxy {
    NetworkProxy::builder()
        .environment(environment)
        .http_addr("127.0.0.1:0".parse().unwrap())
        .socks_addr("127.0.0.1:0".parse().unwrap())
        .resolver(Arc::new(names()))
        .parent_proxies(ParentProxies::default())
        .build()
        .await
        .unwrap()
}

#[tokio::test]
async fn the_requirements_of_the_machine_hold_for_edits_too() {
    let requirements = "[experimental_network]\nmanaged_allowed_domains_only = true\nallowed_domains = [\"a.test\"]\ndenied_domains = [\"c.test\"]\n";
    let (_root, environment) = files(USER, requirements);
    let proxy = proxy_of_files(environment).await;
    let _handle = proxy.run().await.unwrap();
    for host in ["b.test", "c.test"] {
        let (kind, message, _) = refused(proxy.add_allowed_domain(host).await);
        assert_eq!(kind, ErrorKind::Limit, "{host}");
        assert_eq!(
            message,
            "network.allowed_domains constrained by managed config"
        );
        assert!(!permits(&proxy, host).await);
    }
    // To deny more is no breach of them, not even where the managed allowlist is fixed: it narrows.
    proxy.add_denied_domain("b.test").await.unwrap();
    assert!(permits(&proxy, "a.test").await);
    proxy.add_denied_domain("a.test").await.unwrap();
    proxy.add_denied_domain("a.test").await.unwrap();
    assert!(!permits(&proxy, "a.test").await);
    let (allowed, denied) = proxy.state().current_patterns().await.unwrap();
    assert_eq!(allowed, ["a.test"]);
    assert_eq!(denied, ["c.test", "b.test", "a.test"]);
    // And what the limit allows is allowed again.
    proxy.add_allowed_domain("a.test").await.unwrap();
    assert!(permits(&proxy, "a.test").await);
}

#[tokio::test]
async fn an_edit_lasts_until_the_next_reload_and_nothing_is_written() {
    let audit = crate::harness::Audit::start();
    let (root, environment) = files(USER, "");
    let proxy = proxy_of_files(environment).await;
    let handle = proxy.run().await.unwrap();
    let mut status = proxy.policy_status();
    assert!(!permits(&proxy, "b.test").await);
    proxy.add_allowed_domain("b.test").await.unwrap();
    proxy.add_denied_domain("a.test").await.unwrap();
    status.mark_unchanged();
    // Looked at several times, and not changed.
    let looked = tokio::time::timeout(Duration::from_millis(300), status.changed());
    assert!(looked.await.is_err());
    assert!(permits(&proxy, "b.test").await);
    let file = root.path().join("home/config.toml");
    assert_eq!(fs::read_to_string(&file).unwrap(), USER);
    // A broken file is no reload.
    fs::write(&file, "permissions = 1\n").unwrap();
    let broken = status.wait_for(|status| status.failure.is_some());
    drop(within("a broken file", broken).await.unwrap());
    assert!(permits(&proxy, "b.test").await);
    assert!(!permits(&proxy, "a.test").await);
    let before = proxy.blocked_total();
    fs::write(&file, USER).unwrap();
    let reloaded = status.wait_for(|status| status.failure.is_none());
    drop(within("a reload", reloaded).await.unwrap());
    assert!(permits(&proxy, "a.test").await);
    assert!(!permits(&proxy, "b.test").await);
    let log = audit.log();
    for line in [
        "config entry removed from allowlist: b.test",
        "config entry removed from denylist: a.test",
    ] {
        assert!(log.contains(line), "no {line:?} in {log}");
    }
    // And the history is that of before.
    assert_eq!(proxy.blocked_total(), before + 1);
    assert_eq!(proxy.blocked_snapshot().len() as u64, before + 1);
    proxy.add_allowed_domain("b.test").await.unwrap();
    proxy.state().force_reload().await.unwrap();
    assert!(!permits(&proxy, "b.test").await);
    handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn edits_at_the_same_time_are_all_in_force() {
    let shared = Shared::start(settings(&[], &[]), no_limits()).await;
    let edits = (0..100).map(|number| {
        let proxy = shared.proxy.clone();
        tokio::spawn(async move {
            let host = format!("h{number}.test");
            if number % 2 == 0 {
                proxy.add_allowed_domain(&host).await.unwrap();
            } else {
                proxy.add_denied_domain(&host).await.unwrap();
            }
        })
    });
    let edits: Vec<_> = edits.collect();
    for edit in edits {
        within("an edit", edit).await.unwrap();
    }
    let (allowed, denied) = shared.state.current_patterns().await.unwrap();
    assert_eq!((allowed.len(), denied.len()), (50, 50));
}

#[tokio::test]
async fn a_late_yes_does_not_lift_a_denial_that_came_first() {
    let denied = Arc::new(tokio::sync::Notify::new());
    let waits = Arc::clone(&denied);
    let (asked, mut asked_about) = tokio::sync::mpsc::channel(1);
    let world = Setup::new()
        .key("allow_local_binding", true)
        .name("asked.test", &["127.0.0.1"])
        .decider(move |request: NetworkPolicyRequest| {
            let (asked, waits) = (asked.clone(), Arc::clone(&waits));
            async move {
                asked.send(request.host).await.unwrap();
                waits.notified().await;
                NetworkDecision::Allow
            }
        })
        .start()
        .await;
    let mut client = world.http().await;
    client
        .send("GET http://asked.test:9/ HTTP/1.1\r\n\r\n")
        .await;
    let host = within("a question", asked_about.recv()).await.unwrap();
    world.proxy.add_denied_domain(&host).await.unwrap();
    denied.notify_one();
    let answer = client.message().await;
    assert!(answer.contains(r#""reason":"denied""#), "{answer}");
}
