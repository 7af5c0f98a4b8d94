//! The library leaves the process that it is in alone: no logger, no TLS provider, no panic hook, no environment.
//!
//! A test binary of its own, for these belong to the whole process and every other test has some of them.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, speaks to the proxy as a client, and looks at its own environment"
)]

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use codex_network_proxy::config::Environment;
use codex_network_proxy::{
    NetworkDecision, NetworkMode, NetworkPolicyRequest, NetworkProxy, NetworkProxyConfig,
    NetworkProxySettings,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn ask(proxy: &NetworkProxy, request: &str) -> String {
    let mut client = TcpStream::connect(proxy.http_addr()).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_proxy_that_opens_tls_leaves_the_process_as_it_was() {
    let hooked = Arc::new(AtomicBool::new(false));
    let ours = Arc::clone(&hooked);
    panic::set_hook(Box::new(move |_| ours.store(true, Ordering::SeqCst)));
    let environment: Vec<_> = std::env::vars_os().collect();
    let home = tempfile::tempdir().unwrap();

    let proxy = NetworkProxy::builder()
        .config(NetworkProxyConfig {
            network: NetworkProxySettings {
                enabled: true,
                mode: NetworkMode::Limited,
                mitm: true,
                ..NetworkProxySettings::default()
            },
        })
        .environment(Environment {
            codex_home: Some(home.path().into()),
            ..Environment::default()
        })
        .http_addr("127.0.0.1:0".parse().unwrap())
        .socks_addr("127.0.0.1:0".parse().unwrap())
        .policy_decider(|request: NetworkPolicyRequest| async move {
            assert_ne!(request.host, "panic.test");
            NetworkDecision::ask("not_allowed")
        })
        .build()
        .await
        .unwrap();
    let handle = proxy.run().await.unwrap();
    for host in ["asked.test", "panic.test"] {
        let answer = ask(
            &proxy,
            &format!("GET http://{host}/ HTTP/1.1\r\nconnection: close\r\n\r\n"),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    handle.shutdown().await.unwrap();

    assert!(
        rustls::crypto::CryptoProvider::get_default().is_none(),
        "a TLS provider was installed for the process"
    );
    assert!(
        !tracing::dispatcher::has_been_set(),
        "a logger was installed"
    );
    assert!(
        hooked.load(Ordering::SeqCst),
        "another panic hook than ours was called"
    );
    assert_eq!(std::env::vars_os().collect::<Vec<_>>(), environment);
    drop(panic::take_hook());
}
