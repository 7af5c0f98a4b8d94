//! The unix socket door (SPEC E5): refused where the platform has none, and its transport where it is switched on.

use std::path::Path;

use codex_network_proxy::config::UnixSockets;
use tokio::net::UnixListener;

use crate::harness::{Setup, Wire, within};

/// A refusal in the short form.
fn blocked(error: &str, reason: &str) -> String {
    let body = format!(r#"{{"status":"blocked","host":"unix-socket","reason":"{reason}"}}"#);
    format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\nx-proxy-error: {error}\r\ncontent-length: {}\r\ndate: D\r\n\r\n{body}",
        body.len()
    )
}

fn asking(method: &str, path: &Path) -> String {
    format!(
        "{method} http://localhost/v1/info?x=y HTTP/1.1\r\nHost: Docker\r\nX-Unix-Socket: {}\r\nX-Other: 1\r\n\r\n",
        path.display()
    )
    .replace("http://localhost", "")
}

#[tokio::test]
async fn the_platform_switch_refuses_with_501() {
    let world = Setup::new()
        .key("allow_unix_sockets", vec!["/run/a.sock"])
        .start()
        .await;
    assert_eq!(
        world.answer(asking("GET", Path::new("/run/a.sock"))).await,
        "HTTP/1.1 501 Not Implemented\r\ncontent-type: text/plain\r\ncontent-length: 24\r\ndate: D\r\n\r\nunix sockets unsupported"
    );
    assert_eq!(
        world.events(),
        [
            "http deny unix-socket:0 reason=unix_socket_unsupported method=GET source=proxy_state scope=non_domain override=false"
        ]
    );
    assert_eq!(
        world.history(),
        [
            "http unix-socket:0 reason=unix_socket_unsupported method=GET mode=- decision=deny source=proxy_state"
        ]
    );
}

#[tokio::test]
async fn a_listed_socket_is_reached_by_any_path_that_leads_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("real.sock");
    let link = directory.path().join("link.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::os::unix::fs::symlink(&socket, &link).unwrap();
    let dotted = directory.path().join("x/../real.sock");
    for (listed, asked) in [
        (&socket, &socket),
        (&socket, &link),
        (&link, &socket),
        (&link, &link),
        (&socket, &dotted),
    ] {
        let world = Setup::new()
            .key("allow_unix_sockets", vec![listed.to_str().unwrap()])
            .unix_sockets(UnixSockets::Supported)
            .start()
            .await;
        let mut client = world.http().await;
        client.send(asking("GET", asked)).await;
        let (stream, _) = within("the socket", listener.accept()).await.unwrap();
        let mut upstream = Wire::new(stream);
        assert_eq!(
            upstream.message().await,
            "GET /v1/info?x=y HTTP/1.1\r\nHost: Docker\r\nX-Other: 1\r\n\r\n"
        );
        upstream
            .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
        assert!(client.message().await.ends_with("ok"));
        assert_eq!(
            world.events(),
            [
                "http allow unix-socket:0 reason=allow method=GET source=proxy_state scope=non_domain override=false"
            ]
        );
    }
}

#[tokio::test]
async fn sockets_that_are_not_listed_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let listed = directory.path().join("listed.sock");
    let other = directory.path().join("other.sock");
    let _listener = UnixListener::bind(&other).unwrap();
    let world = Setup::new()
        .key("allow_unix_sockets", vec![listed.to_str().unwrap()])
        .unix_sockets(UnixSockets::Supported)
        .start()
        .await;
    for path in [
        &other,
        &directory.path().join("absent"),
        Path::new("/"),
        &listed.join("../other.sock"),
    ] {
        assert_eq!(
            world.answer(asking("GET", path)).await,
            blocked("blocked-by-allowlist", "not_allowed"),
            "{}",
            path.display()
        );
        assert_eq!(
            world.events(),
            [
                "http deny unix-socket:0 reason=not_allowed method=GET source=proxy_state scope=non_domain override=false"
            ]
        );
        assert_eq!(
            world.history(),
            [
                "http unix-socket:0 reason=not_allowed method=GET mode=- decision=deny source=proxy_state"
            ]
        );
    }
}

#[tokio::test]
async fn allow_all_reaches_any_absolute_path() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("any.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let world = Setup::new()
        .key("dangerously_allow_all_unix_sockets", true)
        .unix_sockets(UnixSockets::Supported)
        .start()
        .await;
    let mut client = world.http().await;
    client.send(asking("POST", &socket)).await;
    let (stream, _) = within("the socket", listener.accept()).await.unwrap();
    assert!(
        Wire::new(stream)
            .head()
            .await
            .starts_with("POST /v1/info?x=y ")
    );
}

#[tokio::test]
async fn relative_paths_are_refused() {
    let world = Setup::new()
        .key("dangerously_allow_all_unix_sockets", true)
        .unix_sockets(UnixSockets::Supported)
        .start()
        .await;
    for path in ["relative.sock", "./a.sock", "~/a.sock", "C:\\a.sock"] {
        assert_eq!(
            world.answer(asking("GET", Path::new(path))).await,
            blocked("blocked-by-allowlist", "not_allowed"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn limited_mode_refuses_the_method_before_the_platform() {
    for unix_sockets in [UnixSockets::Supported, UnixSockets::Unsupported] {
        let world = Setup::new()
            .limited()
            .unix_sockets(unix_sockets)
            .start()
            .await;
        assert_eq!(
            world.answer(asking("POST", Path::new("/a"))).await,
            blocked("blocked-by-method-policy", "method_not_allowed")
        );
        assert_eq!(
            world.events(),
            [
                "http deny unix-socket:0 reason=method_not_allowed method=POST source=mode_guard scope=non_domain override=false"
            ]
        );
        assert_eq!(
            world.history(),
            [
                "http unix-socket:0 reason=method_not_allowed method=POST mode=limited decision=deny source=mode_guard"
            ]
        );
    }
}

#[tokio::test]
async fn a_listed_socket_that_nobody_serves_is_a_502() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("absent.sock");
    let world = Setup::new()
        .key("allow_unix_sockets", vec![path.to_str().unwrap()])
        .unix_sockets(UnixSockets::Supported)
        .start()
        .await;
    assert_eq!(
        world.answer(asking("GET", &path)).await,
        "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain\r\ncontent-length: 24\r\ndate: D\r\n\r\nunix socket proxy failed"
    );
}
