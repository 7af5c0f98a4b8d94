//! Parent proxies (SPEC I).

use crate::harness::{Answer, Origin, Setup, Wire};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const OK_DATED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: D\r\n\r\nok";

/// `parent.test` is on the allowlist and resolves to public addresses, which nobody dials.
fn setup(parent: &Origin, credentials: &str) -> Setup {
    let url = format!("http://{credentials}127.0.0.1:{}", parent.port);
    Setup::new()
        .allow(&["**.test", "93.184.216.34", "127.0.0.1"])
        .name("public.test", &["93.184.216.34"])
        .parents(&[
            ("HTTP_PROXY", &url),
            ("NO_PROXY", "direct.test, .below.test, 198.51.100.0/24"),
        ])
}

async fn request(client: &mut Wire, parent: &Origin, request: &str) -> (Wire, String) {
    client.send(request).await;
    let mut wire = parent.accept().await;
    let head = wire.message().await;
    (wire, head)
}

#[tokio::test]
async fn plain_requests_go_to_the_parent_in_absolute_form() {
    let parent = Origin::start().await;
    let world = setup(&parent, "user:p%40ss@").start().await;
    let mut client = world.http().await;
    let (mut wire, head) = request(
        &mut client,
        &parent,
        "GET http://Public.test/a?b HTTP/1.1\r\nHost: public.test\r\nProxy-Authorization: Basic bWluZQ==\r\nX: y\r\n\r\n",
    )
    .await;
    assert_eq!(
        head,
        "GET http://public.test/a?b HTTP/1.1\r\nHost: public.test\r\nX: y\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n\r\n"
    );
    wire.send(OK).await;
    assert_eq!(client.message().await, OK_DATED);
    assert_eq!(
        world.events(),
        [
            "http allow public.test:80 reason=allow method=GET source=baseline_policy scope=domain override=false upstream=parent"
        ]
    );
    // The kept connection to the parent is used in the same form.
    client
        .send("OPTIONS * HTTP/1.1\r\nHost: public.test\r\n\r\n")
        .await;
    // An absolute form without a path would be exact (RFC 9112 section 3.2.4); the library has none.
    assert_eq!(
        wire.message().await.split("\r\n").next(),
        Some("OPTIONS http://public.test/ HTTP/1.1")
    );
    wire.send(OK).await;
    assert_eq!(client.message().await, OK_DATED);
}

#[tokio::test]
async fn tunnels_go_through_the_parent() {
    let parent = Origin::start().await;
    let world = setup(&parent, "user:pass@").start().await;
    let mut client = world.http().await;
    let (mut wire, head) = request(
        &mut client,
        &parent,
        "CONNECT public.test:443 HTTP/1.1\r\n\r\nearly",
    )
    .await;
    assert_eq!(
        head,
        "CONNECT public.test:443 HTTP/1.1\r\nHost: public.test:443\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n"
    );
    wire.send("HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\nbanner")
        .await;
    assert_eq!(client.head().await, "HTTP/1.1 200 OK\r\ndate: D\r\n\r\n");
    assert_eq!(client.exactly(6).await, b"banner");
    assert_eq!(wire.exactly(5).await, b"early");
}

#[tokio::test]
async fn a_parent_that_refuses_is_a_502() {
    for answer in [
        "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "nonsense\r\n\r\n",
        "",
    ] {
        let parent = Origin::start().await;
        let world = setup(&parent, "").start().await;
        let mut client = world.http().await;
        let (mut wire, _) = request(
            &mut client,
            &parent,
            "CONNECT public.test:443 HTTP/1.1\r\n\r\n",
        )
        .await;
        wire.send(answer).await;
        wire.finish().await;
        let got = client.message().await;
        assert!(
            got.starts_with("HTTP/1.1 502 ") && got.ends_with("upstream failure"),
            "{answer:?} {got}"
        );
        assert_eq!(world.history(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_private_answer_is_refused_before_the_parent() {
    let parent = Origin::start().await;
    let world = setup(&parent, "")
        .name("inward.test", &["10.1.2.3"])
        .start()
        .await;
    for request in [
        "GET http://inward.test/ HTTP/1.1\r\n\r\n",
        "CONNECT inward.test:443 HTTP/1.1\r\n\r\n",
    ] {
        assert!(world.answer(request).await.starts_with("HTTP/1.1 403 "));
        assert!(world.events()[0].contains("reason=not_allowed_local"));
    }
    assert!(!parent.was_reached().await);
}

#[tokio::test]
async fn an_unlisted_name_never_reaches_the_parent_or_the_resolver() {
    let parent = Origin::start().await;
    let world = setup(&parent, "").allow(&["x.test"]).start().await;
    assert!(
        world
            .answer("GET http://public.test/ HTTP/1.1\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 403 ")
    );
    assert!(!parent.was_reached().await);
    assert_eq!(world.script.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_name_that_does_not_resolve_here_goes_to_the_parent() {
    let parent = Origin::start().await;
    let world = setup(&parent, "")
        .answer("inside.test", Answer::Error(std::io::ErrorKind::NotFound))
        .start()
        .await;
    let mut client = world.http().await;
    let (_, head) = request(
        &mut client,
        &parent,
        "GET http://inside.test:8080/ HTTP/1.1\r\n\r\n",
    )
    .await;
    assert!(
        head.starts_with("GET http://inside.test:8080/ HTTP/1.1\r\n"),
        "{head}"
    );
    let mut client = world.http().await;
    let (_, head) = request(
        &mut client,
        &parent,
        "CONNECT inside.test:443 HTTP/1.1\r\n\r\n",
    )
    .await;
    assert!(
        head.starts_with("CONNECT inside.test:443 HTTP/1.1\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn what_no_proxy_lists_and_local_targets_leave_directly() {
    let parent = Origin::start().await;
    let origin = Origin::start().await;
    let world = setup(&parent, "")
        .key("allow_local_binding", true)
        .name("direct.test", &["127.0.0.1"])
        .name("a.below.test", &["127.0.0.1"])
        .start()
        .await;
    for host in ["direct.test", "a.below.test", "127.0.0.1"] {
        let mut client = world.http().await;
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: {host}:{}\r\n\r\n",
                origin.port
            ))
            .await;
        let head = origin.accept().await.head().await;
        assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    }
    assert!(!parent.was_reached().await);
}

#[tokio::test]
async fn a_parent_that_is_gone_is_a_502() {
    let parent = Origin::start().await;
    let world = setup(&parent, "").start().await;
    drop(parent);
    for request in [
        "GET http://public.test/ HTTP/1.1\r\n\r\n",
        "CONNECT public.test:443 HTTP/1.1\r\n\r\n",
    ] {
        assert!(world.answer(request).await.starts_with("HTTP/1.1 502 "));
    }
}

#[tokio::test]
async fn parents_are_ignored_unless_permitted() {
    let parent = Origin::start().await;
    let origin = Origin::start().await;
    let world = setup(&parent, "")
        .key("allow_upstream_proxy", false)
        .key("allow_local_binding", true)
        .name("public.test", &["127.0.0.1"])
        .start()
        .await;
    let mut client = world.http().await;
    client
        .send(format!(
            "GET http://public.test:{}/ HTTP/1.1\r\n\r\n",
            origin.port
        ))
        .await;
    origin.accept().await.head().await;
    assert!(!parent.was_reached().await);
}

#[tokio::test]
async fn our_own_fields_never_choose_the_parent() {
    let parent = Origin::start().await;
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    client
        .send(format!(
            "GET http://origin.test:{}/ HTTP/1.1\r\nProxy: http://127.0.0.1:{}\r\n\r\n",
            origin.port, parent.port
        ))
        .await;
    origin.accept().await.head().await;
    assert!(!parent.was_reached().await);
}
