//! Refusals that help: `Proxy-Status` (RFC 9209), problem details (RFC 9457), and the switch that hides the details.

use codex_network_proxy::config::UnixSockets;
use codex_network_proxy::{NetworkDecision, NetworkPolicyRequest};
use serde_json::{Value, json};

use crate::harness::tls::{Client, Issuer};
use crate::harness::{Answer, Origin, Setup, Wire, World};

const ASKS: &str = "Accept: text/html, application/problem+json\r\n";

/// The status, the `Proxy-Status` and the content type of an answer, and its body.
async fn told(world: &World, request: &str) -> (u16, String, String, String) {
    let mut client = world.http().await;
    client.send(request).await;
    parts(&client.message_with_status().await)
}

fn parts(message: &str) -> (u16, String, String, String) {
    let (head, body) = message.split_once("\r\n\r\n").unwrap();
    let field = |name: &str| {
        let found = head.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or("-").trim().to_owned()
    };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (
        status,
        field("proxy-status:"),
        field("content-type:"),
        body.to_owned(),
    )
}

/// A proxy that has something against most hosts.
fn setup() -> Setup {
    Setup::new()
        .allow(&["gone.test", "slow.test", "inward.test", "shut.test"])
        .deny(&["*.denied.test"])
        .name("inward.test", &["10.0.0.1"])
        .answer("gone.test", Answer::Error(std::io::ErrorKind::NotFound))
        .answer("slow.test", Answer::Silence)
        .limits(|limits| limits.lookup = std::time::Duration::from_millis(10))
}

#[tokio::test]
async fn every_refusal_says_its_kind_and_what_helps() {
    let world = setup().start().await;
    for (host, status, expected) in [
        (
            "other.test",
            403,
            r#"http_request_denied; details="not_allowed; to allow it, add \"other.test\" to allowed_domains""#,
        ),
        (
            "a.denied.test",
            403,
            r#"http_request_denied; details="denied; denied by denylist `*.denied.test`""#,
        ),
        (
            "inward.test",
            403,
            r#"destination_ip_prohibited; details="not_allowed_local; the name leads to an address that is not public""#,
        ),
        (
            "10.0.0.1",
            403,
            r#"destination_ip_prohibited; details="not_allowed_local; private; to allow it, add \"10.0.0.1\" to allowed_domains""#,
        ),
        (
            "gone.test",
            502,
            r#"dns_error; details="dns_lookup_failed; the name does not resolve""#,
        ),
        (
            "slow.test",
            504,
            r#"dns_timeout; details="dns_lookup_failed; the resolver did not answer in time""#,
        ),
    ] {
        for request in [
            format!("GET http://{host}/ HTTP/1.1\r\n\r\n"),
            format!("CONNECT {host}:443 HTTP/1.1\r\n\r\n"),
        ] {
            let (code, field, _, _) = told(&world, &request).await;
            assert_eq!(code, status, "{request}");
            assert_eq!(
                field,
                format!("codex-network-proxy; error={expected}"),
                "{request}"
            );
        }
    }
    let (_, field, _, _) = told(&world, "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").await;
    assert_eq!(field, "codex-network-proxy; error=http_request_error");
}

#[tokio::test]
async fn an_origin_that_fails_is_told_of_by_its_kind() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let port = origin.port;
    let broken = async {
        let mut upstream = origin.accept().await;
        upstream.head().await;
        upstream.send("no HTTP at all\r\n\r\n").await;
    };
    let request = format!("GET http://origin.test:{port}/ HTTP/1.1\r\n\r\n");
    let (answer, ()) = tokio::join!(told(&world, &request), broken);
    assert_eq!(answer.1, "codex-network-proxy; error=http_protocol_error");
    drop(origin);
    for request in [
        request,
        format!("CONNECT origin.test:{port} HTTP/1.1\r\n\r\n"),
        format!("CONNECT origin.test:{port} HTTP/1.1\r\n{ASKS}\r\n"),
    ] {
        let (code, field, _, body) = told(&world, &request).await;
        assert_eq!(code, 502);
        assert_eq!(field, "codex-network-proxy; error=connection_refused");
        if request.contains(ASKS) {
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(
                body,
                json!({
                    "type": "urn:codex-network-proxy:problem:connection_refused",
                    "title": "upstream failure",
                    "status": 502,
                })
            );
        } else {
            assert_eq!(body, "upstream failure");
        }
    }
}

#[tokio::test]
async fn problem_details_go_to_those_who_ask_at_every_door() {
    let world = setup().unix_sockets(UnixSockets::Supported).start().await;
    let (code, _, kind, body) = told(
        &world,
        &format!("GET http://Other.test/secret HTTP/1.1\r\n{ASKS}\r\n"),
    )
    .await;
    assert_eq!((code, kind.as_str()), (403, "application/problem+json"));
    let message =
        "Codex blocked this request: domain not in allowlist (this is not a denylist block).";
    assert_eq!(
        body,
        format!(
            r#"{{"type":"urn:codex-network-proxy:problem:not_allowed","title":"{message}","status":403,"detail":"to allow it, add \"other.test\" to allowed_domains","permitted_by":"allowed_domains = [\"other.test\"]","host":"other.test","reason":"not_allowed","decision":"deny","source":"baseline_policy","protocol":"http","port":80,"message":"{message}"}}"#
        )
    );
    for (request, code, word) in [
        (
            format!("CONNECT other.test:443 HTTP/1.1\r\n{ASKS}\r\n"),
            403,
            "not_allowed",
        ),
        (
            format!("GET / HTTP/1.1\r\nx-unix-socket: /run/secret.sock\r\n{ASKS}\r\n"),
            403,
            "not_allowed",
        ),
        (
            format!("GET http://gone.test/ HTTP/1.1\r\n{ASKS}\r\n"),
            502,
            "dns_lookup_failed",
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n{ASKS}\r\n"),
            400,
            "http_request_error",
        ),
    ] {
        let (status, _, kind, body) = told(&world, &request).await;
        assert_eq!(
            (status, kind.as_str()),
            (code, "application/problem+json"),
            "{request}"
        );
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["status"], code);
        assert_eq!(
            problem["type"],
            format!("urn:codex-network-proxy:problem:{word}")
        );
        assert!(!body.contains("secret"), "{body}");
    }
    // Nobody else gets them.
    let (_, _, kind, _) = told(
        &world,
        "GET http://other.test/ HTTP/1.1\r\nAccept: */*\r\n\r\n",
    )
    .await;
    assert_eq!(kind, "application/json");
}

#[tokio::test]
async fn what_a_decider_makes_up_is_one_type() {
    let world = Setup::new()
        .decider(|_: NetworkPolicyRequest| async { NetworkDecision::deny("quota_used_up") })
        .start()
        .await;
    let request = format!("GET http://other.test/ HTTP/1.1\r\n{ASKS}\r\n");
    let (_, field, _, body) = told(&world, &request).await;
    assert_eq!(field, "codex-network-proxy; error=http_request_denied");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["type"], "urn:codex-network-proxy:problem:decider");
    assert_eq!(problem["reason"], "quota_used_up");
    assert_eq!(problem.get("detail"), None);
}

#[tokio::test]
async fn details_can_be_hidden() {
    let world = setup().key("hide_refusal_details", true).start().await;
    for host in ["other.test", "a.denied.test"] {
        let request = format!("GET http://{host}/ HTTP/1.1\r\n{ASKS}\r\n");
        let (_, field, _, body) = told(&world, &request).await;
        assert_eq!(field, "codex-network-proxy; error=http_request_denied");
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem.get("detail"), None);
        assert_eq!(problem.get("permitted_by"), None);
        assert_eq!(problem["host"], host);
    }
    // The log tells its reader as much as before.
    assert!(
        world
            .audit
            .log()
            .contains("denied by denylist `*.denied.test`")
    );
}

#[tokio::test]
async fn no_file_of_the_operator_is_named_to_a_client() {
    let world = setup().start().await;
    let request = format!("GET http://a.denied.test/ HTTP/1.1\r\n{ASKS}\r\n");
    let (_, field, _, body) = told(&world, &request).await;
    // Where the rule stands is in the log only.
    let place = "(network.denied_domains";
    assert!(world.audit.log().contains(place), "{}", world.audit.log());
    assert!(
        !field.contains(place) && !body.contains(place),
        "{field} {body}"
    );
}

#[tokio::test]
async fn what_is_refused_inside_of_tls_says_the_same() {
    let issuer = Issuer::new();
    let certified = issuer.certify("origin.test", &["http/1.1"]);
    let world = Setup::intercepting(&issuer).start().await;
    let origin = Origin::start().await;
    let client = world.connected("origin.test", origin.port).await;
    let upstream = origin.accept().await;
    let tls = Client {
        name: "origin.test",
        ..Client::default()
    };
    let (client, upstream) =
        tokio::join!(tls.handshake(&world, client), certified.accept(upstream));
    let (mut client, _upstream) = (Wire::new(client.unwrap()), upstream.unwrap());
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: origin.test:{}\r\n{ASKS}\r\n",
            origin.port
        ))
        .await;
    let (code, field, kind, body) = parts(&client.message_with_status().await);
    assert_eq!((code, kind.as_str()), (403, "application/problem+json"));
    assert_eq!(
        field,
        r#"codex-network-proxy; error=http_request_denied; details="method_not_allowed; mode = \"limited\" permits GET, HEAD and OPTIONS without upgrades, and no SOCKS5""#
    );
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        problem["type"],
        "urn:codex-network-proxy:problem:method_not_allowed"
    );
    assert_eq!(problem["protocol"], "https");
}
