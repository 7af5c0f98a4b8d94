//! Metrics as a scraper sees them, and as nobody else does.

use codex_network_proxy::{BearerToken, MetricsEndpoint};

use crate::harness::{CONNECT, Origin, Setup, Wire, World, address};

/// The value of a sample.
pub(crate) fn sample(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

/// Fails unless this is OpenMetrics as far as a scraper relies on it.
fn well_formed(text: &str) {
    let (mut family, mut kind, mut below) = (String::new(), String::new(), 0.0);
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in text.lines() {
        if line == "# EOF" {
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, type_) = rest.split_once(' ').unwrap();
            (family, kind) = (name.to_owned(), type_.to_owned());
            continue;
        }
        if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert!(name.ends_with(&format!("_{unit}")), "{line}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.starts_with(&format!("{family} ")), "{line}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let bare = name.split('{').next().unwrap();
        let suffix = bare
            .strip_prefix(&family)
            .unwrap_or_else(|| panic!("{line}"));
        match kind.as_str() {
            "counter" => assert_eq!(suffix, "_total", "{line}"),
            "gauge" => assert_eq!(suffix, "", "{line}"),
            "histogram" => {
                assert!(["_bucket", "_count", "_sum"].contains(&suffix), "{line}");
                if suffix == "_bucket" {
                    if name.contains("le=\"1e-5\"") {
                        below = 0.0;
                    }
                    assert!(value >= below, "{line}");
                    below = value;
                } else if suffix == "_count" {
                    assert!((value - below).abs() < f64::EPSILON, "{line}");
                }
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn what_happens_is_counted() {
    let world = Setup::usual().deny(&["denied.test"]).start().await;
    let origin = Origin::start().await;
    let port = origin.port;
    // Two requests over one connection each way.
    let mut client = world.http().await;
    let mut upstream: Option<Wire> = None;
    for _ in 0..2 {
        client
            .send(format!("GET http://origin.test:{port}/ HTTP/1.1\r\n\r\n"))
            .await;
        let wire = match &mut upstream {
            Some(wire) => wire,
            None => upstream.insert(origin.accept().await),
        };
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
        client.message().await;
    }
    world
        .answer("GET http://denied.test/ HTTP/1.1\r\n\r\n")
        .await;
    let mut tunnel = world.connected("origin.test", port).await;
    let mut at_origin = origin.accept().await;
    tunnel.send("12345").await;
    assert_eq!(at_origin.exactly(5).await, b"12345");
    at_origin.send("123").await;
    assert_eq!(tunnel.exactly(3).await, b"123");
    let (_socks, code) = world
        .socks_request(CONNECT, &address("other.test", 1))
        .await;
    assert_eq!(code, 2);
    let association = world.associate().await;

    let text = world.proxy.metrics().to_string();
    well_formed(&text);
    for (name, value) in [
        (
            r#"decisions_total{door="http",decision="allow",reason="allow"}"#,
            2.0,
        ),
        (
            r#"decisions_total{door="http",decision="deny",reason="denied"}"#,
            1.0,
        ),
        (
            r#"decisions_total{door="https_connect",decision="allow",reason="allow"}"#,
            1.0,
        ),
        (
            r#"decisions_total{door="socks5_tcp",decision="deny",reason="not_allowed"}"#,
            1.0,
        ),
        (r#"decision_duration_seconds_count"#, 5.0),
        (r#"lookups_total{result="good"}"#, 1.0),
        (r#"dials_total{result="good"}"#, 2.0),
        (r#"connections{listener="http"}"#, 2.0),
        (r#"connections_accepted_total{listener="http"}"#, 3.0),
        (r#"tunnels{door="https_connect"}"#, 1.0),
        (r#"upstream_connections{door="https_connect"}"#, 1.0),
        (r#"upstream_connections{door="http"}"#, 1.0),
        (r#"upstream_sent_bytes_total{door="https_connect"}"#, 5.0),
        (
            r#"upstream_received_bytes_total{door="https_connect"}"#,
            3.0,
        ),
        (r#"pool_requests_total{result="reused"}"#, 1.0),
        (r#"pool_requests_total{result="opened"}"#, 1.0),
        (r#"pool_connections"#, 1.0),
        (r#"associations"#, 1.0),
        (r#"policy_generation"#, 1.0),
        (r#"reloads_total{result="failed"}"#, 0.0),
    ] {
        let name = format!("codex_network_proxy_{name}");
        assert_eq!(sample(&text, &name), Some(value), "{name} in {text}");
    }
    assert!(!text.contains(".test"), "{text}");
    drop((tunnel, association));
}

/// Much at a time goes from socket to socket without passing through us, where the system can do that.
#[tokio::test]
async fn bulk_is_counted_too() {
    const MUCH: usize = 8 * 1024 * 1024;
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut tunnel = world.connected("origin.test", origin.port).await;
    let mut at_origin = origin.accept().await;
    let bulk = vec![7; MUCH];
    let ((), got) = tokio::join!(tunnel.send(&bulk), at_origin.exactly(MUCH));
    assert!(got == bulk);
    let ((), got) = tokio::join!(at_origin.send(&bulk), tunnel.exactly(MUCH));
    assert!(got == bulk);
    let text = world.proxy.metrics().to_string();
    for way in ["sent", "received"] {
        let name =
            format!(r#"codex_network_proxy_upstream_{way}_bytes_total{{door="https_connect"}}"#);
        assert_eq!(sample(&text, &name), Some(MUCH as f64), "{text}");
    }
}

async fn scrape<S>(wire: &mut Wire<S>, more: &str) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    wire.send(format!(
        "GET /metrics HTTP/1.1\r\nHost: proxy\r\n{more}\r\n"
    ))
    .await;
    wire.message().await
}

const TOKEN: &str = "correct-horse-battery";

fn with_address() -> Setup {
    let token = BearerToken::new(TOKEN).unwrap();
    Setup::usual().metrics(MetricsEndpoint::Address(
        "127.0.0.1:0".parse().unwrap(),
        token,
    ))
}

/// Where the metrics are, as the log says.
fn place(world: &World) -> std::net::SocketAddr {
    let log = world.audit.log();
    let (_, place) = log.split_once("metrics at http://").unwrap();
    place.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_address_answers_to_its_token_and_to_nothing_else() {
    let world = with_address().start().await;
    let mut wire = Wire::connect(place(&world)).await;
    let answer = scrape(&mut wire, &format!("Authorization: Bearer {TOKEN}\r\n")).await;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(head.contains(kind), "{head}");
    well_formed(text);
    for more in [
        String::new(),
        "Authorization: Bearer wrong-horse-battery\r\n".to_owned(),
        format!("Authorization: Bearer {TOKEN}x\r\n"),
        format!("Proxy-Authorization: Bearer {TOKEN}\r\n"),
    ] {
        let answer = scrape(&mut wire, &more).await;
        assert!(
            answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"),
            "{answer}"
        );
        assert!(answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
        assert!(!answer.contains("codex_network_proxy"), "{answer}");
    }
    // It is no proxy, and has one page.
    for (request, status) in [
        ("GET /other HTTP/1.1", 404),
        ("POST /metrics HTTP/1.1", 405),
        ("GET /other HTTP/1.1", 404),
    ] {
        wire.send(format!(
            "{request}\r\nHost: proxy\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        ))
        .await;
        let answer = wire.message().await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    wire.send("GET /other HTTP/1.1\r\nHost: proxy\r\n\r\n")
        .await;
    assert!(wire.message().await.starts_with("HTTP/1.1 401 "));
}

#[tokio::test]
async fn the_address_is_no_target_at_any_door() {
    let world = with_address()
        .allow(&["**.origin.test", "127.0.0.1", "localhost"])
        .start()
        .await;
    let port = place(&world).port();
    for host in [
        "127.0.0.1",
        "127.9.9.9",
        "localhost",
        "origin.test",
        "[::1]",
    ] {
        let request = format!(
            "GET http://{host}:{port}/metrics HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        );
        let answer = world.answer(request).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
        let answer = world
            .answer(format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
    }
    let (_, code) = world
        .socks_request(CONNECT, &address("127.0.0.1", port))
        .await;
    assert_eq!(code, 2);
}

#[cfg(unix)]
mod socket {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use codex_network_proxy::config::UnixSockets;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_socket_is_its_owner_s_and_goes_with_the_proxy() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("m.sock");
        for round in 0..2 {
            let setup = Setup::usual().metrics(MetricsEndpoint::UnixSocket(path.clone()));
            let mut world = setup.start().await;
            assert_eq!(mode(&path), 0o600);
            let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
            let mut wire = Wire::new(stream);
            let answer = scrape(&mut wire, "").await;
            well_formed(answer.split_once("\r\n\r\n").unwrap().1);
            if round == 0 {
                // As a proxy that was killed leaves it behind.
                std::fs::rename(&path, home.path().join("kept")).unwrap();
            }
            world.handle.take().unwrap().shutdown().await.unwrap();
            assert!(!path.exists());
            if round == 0 {
                std::fs::rename(home.path().join("kept"), &path).unwrap();
            }
        }
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_stays() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        std::fs::write(&path, "mine").unwrap();
        let endpoint = MetricsEndpoint::UnixSocket(path.clone());
        let error = Setup::usual()
            .metrics(endpoint)
            .try_start()
            .await
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            format!("bind metrics endpoint: {}", path.display())
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }

    #[tokio::test]
    async fn the_socket_is_no_target() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("m.sock");
        let world = Setup::usual()
            .unix_sockets(UnixSockets::Supported)
            .key("dangerously_allow_all_unix_sockets", true)
            .metrics(MetricsEndpoint::UnixSocket(path.clone()))
            .start()
            .await;
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for path in [&path, &link] {
            let answer = world
                .answer(format!(
                    "GET /metrics HTTP/1.1\r\nHost: x\r\nx-unix-socket: {}\r\n\r\n",
                    path.display()
                ))
                .await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        }
        assert!(world.audit.log().contains("it is a listener of this proxy"));
    }
}
