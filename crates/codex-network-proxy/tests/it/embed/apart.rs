//! Several proxies in one process, and the end of one: nothing is shared by accident, and nothing stays.

use std::collections::HashMap;
use std::sync::Arc;

use codex_network_proxy::{
    NetworkDecision, NetworkPolicyRequest, NetworkProxyConstraints, ParentProxies,
    has_proxy_url_env_vars, proxy_url_env_value,
};
use tokio::net::TcpStream;

use super::{Reloader, Shared, config_state, permits, proxy_of, settings};
use crate::harness::tls::{Client, Issuer};
use crate::harness::{Origin, Setup, within};

#[tokio::test]
async fn two_proxies_have_policies_deciders_and_histories_of_their_own() {
    let setup = |allowed: &str, decision: NetworkDecision| {
        Setup::new()
            .allow(&[allowed])
            .key("allow_local_binding", true)
            .name("a.test", &["127.0.0.1"])
            .name("b.test", &["127.0.0.1"])
            .name("asked.test", &["127.0.0.1"])
            .decider(move |request: NetworkPolicyRequest| {
                let decision = match &*request.host {
                    "asked.test" => decision.clone(),
                    _ => NetworkDecision::deny("other"),
                };
                async move { decision }
            })
    };
    let one = setup("a.test", NetworkDecision::Allow).start().await;
    let other = setup("b.test", NetworkDecision::ask("not_allowed"))
        .start()
        .await;
    for (world, allowed, refused) in [(&one, "a.test", "b.test"), (&other, "b.test", "a.test")] {
        assert!(permits(&world.proxy, allowed).await);
        assert!(!permits(&world.proxy, refused).await);
    }
    assert!(permits(&one.proxy, "asked.test").await);
    assert!(!permits(&other.proxy, "asked.test").await);
    assert_eq!(one.proxy.blocked_total(), 1);
    assert_eq!(other.proxy.blocked_total(), 2);
    one.proxy.add_allowed_domain("b.test").await.unwrap();
    one.proxy.add_denied_domain("a.test").await.unwrap();
    assert!(permits(&other.proxy, "b.test").await);
    assert!(!permits(&other.proxy, "a.test").await);
    assert_ne!(one.proxy, other.proxy);
    assert_eq!(one.proxy, one.proxy.clone());
    // One ends, and the other does not notice.
    drop(one);
    assert!(permits(&other.proxy, "b.test").await);
}

#[tokio::test]
async fn two_proxies_in_two_homes_have_an_authority_each() {
    let issuer = Issuer::new();
    let one = Setup::intercepting(&issuer).start().await;
    let other = Setup::intercepting(&issuer).start().await;
    let bundle = |world: &crate::harness::World| {
        std::fs::read_to_string(world.proxy.trust_bundle().unwrap()).unwrap()
    };
    assert!(
        one.proxy
            .trust_bundle()
            .unwrap()
            .starts_with(one.home.path())
    );
    assert_ne!(bundle(&one), bundle(&other));
    for world in [&one, &other] {
        let origin = Origin::start().await;
        let certified = issuer.certify("origin.test", &["http/1.1"]);
        // It trusts the authority of this world and no other.
        let (mut client, mut upstream) = tokio::join!(
            Client::default().open(world, origin.port),
            certified.next(&origin)
        );
        let request = format!(
            "GET / HTTP/1.1\r\nHost: origin.test:{}\r\n\r\n",
            origin.port
        );
        client.send(request).await;
        upstream.head().await;
        upstream
            .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
        assert!(client.message().await.starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn proxies_of_one_state_are_one_to_whoever_edits() {
    let shared = Shared::start(
        settings(&["a.test"], &[]),
        NetworkProxyConstraints::default(),
    )
    .await;
    let second = proxy_of(&shared.state, |builder| builder).await;
    let handle = second.run().await.unwrap();
    assert_ne!(shared.proxy.http_addr(), second.http_addr());
    assert!(!permits(&second, "b.test").await);
    shared.proxy.add_allowed_domain("b.test").await.unwrap();
    assert!(permits(&second, "b.test").await);
    assert_eq!(shared.state.blocked_snapshot().await.unwrap().len(), 1);
    // The end of one is not the other's.
    handle.shutdown().await.unwrap();
    assert!(shared.permits("b.test").await);
    second.add_denied_domain("a.test").await.unwrap();
    assert!(!shared.permits("a.test").await);
}

#[tokio::test]
async fn dropping_the_handle_stops_the_proxy() {
    let mut world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let (mut tunnel, code) = world
        .socks_request(
            crate::harness::CONNECT,
            &crate::harness::address("origin.test", origin.port),
        )
        .await;
    assert_eq!(code, 0);
    let mut upstream = origin.accept().await;
    let (http, socks) = (world.proxy.http_addr(), world.socks_addr());
    drop(world.handle.take());
    tunnel.closed().await;
    upstream.closed().await;
    for address in [http, socks] {
        within("the port to be free", async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    // Whoever has kept the proxy can run it again, at the addresses of the configuration.
    let handle = world.proxy.run().await.unwrap();
    handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_proxy_of_a_state_has_its_ports_when_it_is_built() {
    let state = Arc::new(codex_network_proxy::NetworkProxyState::with_reloader(
        config_state(settings(&[], &[]), NetworkProxyConstraints::default()),
        Arc::new(Reloader::idle()),
    ));
    let built = proxy_of(&state, |builder| builder).await;
    assert!(built.http_addr().ip().is_loopback());
    assert_ne!(built.http_addr().port(), 3128);
    let taken = TcpStream::connect(built.http_addr()).await;
    assert!(taken.is_ok(), "the socket is there already");
    let (http, socks) = (built.http_addr(), built.socks_addr());
    let handle = built.run().await.unwrap();
    assert_eq!(
        handle.addresses().map(|it| (it.http, it.socks)),
        Some((http, socks))
    );
    // Unmanaged, it listens where the configuration says.
    let mut fixed = settings(&[], &[]);
    fixed.proxy_url = "http://127.0.0.1:1".to_owned();
    fixed.enable_socks5 = false;
    let state = Arc::new(codex_network_proxy::NetworkProxyState::with_reloader(
        config_state(fixed, NetworkProxyConstraints::default()),
        Arc::new(Reloader::idle()),
    ));
    let proxy = proxy_of(&state, |builder| builder.managed_by_codex(false)).await;
    assert_eq!(proxy.http_addr(), "127.0.0.1:1".parse().unwrap());
    assert_eq!(proxy.socks_addr(), None);
    // And an address that was asked for wins, managed or not.
    let asked = "127.0.0.1:2".parse().unwrap();
    for managed in [true, false] {
        let proxy = proxy_of(&state, |builder| {
            builder.managed_by_codex(managed).http_addr(asked)
        })
        .await;
        assert_eq!(proxy.http_addr(), asked);
    }
}

#[tokio::test]
async fn a_child_gets_every_variable() {
    let shared = Shared::start(settings(&[], &[]), NetworkProxyConstraints::default()).await;
    let mut env: HashMap<String, String> = HashMap::new();
    env.insert(
        "HTTP_PROXY".to_owned(),
        "http://elsewhere.test:1".to_owned(),
    );
    shared.proxy.apply_to_env(&mut env);
    let http = format!("http://{}", shared.proxy.http_addr());
    let socks = format!("socks5h://{}", shared.proxy.socks_addr().unwrap());
    let get = |key: &str| env.get(key).map(String::as_str);
    for key in [
        "HTTP_PROXY",
        "https_proxy",
        "PIP_PROXY",
        "WSS_PROXY",
        "npm_config_proxy",
    ] {
        assert_eq!(get(key), Some(&*http), "{key}");
    }
    for key in ["ALL_PROXY", "ftp_proxy"] {
        assert_eq!(get(key), Some(&*socks), "{key}");
    }
    assert_eq!(get("CODEX_NETWORK_ALLOW_LOCAL_BINDING"), Some("1"));
    assert!(has_proxy_url_env_vars(&env));
    for key in codex_network_proxy::PROXY_URL_ENV_KEYS {
        assert!(proxy_url_env_value(&env, key).is_some(), "{key}");
    }
    let parents = ParentProxies::from_environment(|key| env.get(key).cloned());
    assert_eq!(parents.1, Vec::<String>::new());
}
