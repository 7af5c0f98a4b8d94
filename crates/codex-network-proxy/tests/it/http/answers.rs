//! The proxy's own answers (SPEC F1, F2, F4).

use codex_network_proxy::{NetworkDecision, NetworkPolicyRequest};

use crate::harness::{Answer, Origin, Setup};

/// A refusal in JSON.
fn json(status: &str, error: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-proxy-error: {error}\r\ncontent-length: {}\r\ndate: D\r\n\r\n{body}",
        body.len()
    )
}

/// A bad request.
fn bad(text: &str) -> String {
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\ndate: D\r\n\r\n{text}",
        text.len()
    )
}

#[tokio::test]
async fn refusals_by_the_lists_are_json() {
    let world = Setup::new()
        .allow(&["ok.test", "denied.test"])
        .deny(&["denied.test"])
        .start()
        .await;
    let rows = [
        (
            "http://8.8.8.8/",
            "blocked-by-allowlist",
            r#"{"status":"blocked","host":"8.8.8.8","reason":"not_allowed","decision":"deny","source":"baseline_policy","protocol":"http","port":80,"message":"Codex blocked this request: domain not in allowlist (this is not a denylist block)."}"#,
        ),
        (
            "http://Denied.TEST.:8080/secret",
            "blocked-by-denylist",
            r#"{"status":"blocked","host":"denied.test","reason":"denied","decision":"deny","source":"baseline_policy","protocol":"http","port":8080,"message":"Codex blocked this request: domain denied by policy."}"#,
        ),
        (
            "http://[::1]:81/",
            "blocked-by-allowlist",
            r#"{"status":"blocked","host":"::1","reason":"not_allowed_local","decision":"deny","source":"baseline_policy","protocol":"http","port":81,"message":"Codex blocked this request: local/private addresses not allowed."}"#,
        ),
        (
            "https://other.test/",
            "blocked-by-allowlist",
            r#"{"status":"blocked","host":"other.test","reason":"not_allowed","decision":"deny","source":"baseline_policy","protocol":"http","port":443,"message":"Codex blocked this request: domain not in allowlist (this is not a denylist block)."}"#,
        ),
    ];
    // All over one connection: a refusal without a body to read keeps it.
    let mut client = world.http().await;
    for (target, error, body) in rows {
        client.send(format!("GET {target} HTTP/1.1\r\n\r\n")).await;
        assert_eq!(client.message().await, json("403 Forbidden", error, body));
    }
    assert_eq!(world.script.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_decider_s_words_reach_the_answer() {
    let world = Setup::new()
        .decider(|request: NetworkPolicyRequest| async move {
            match request.host.as_str() {
                "ask.test" => NetworkDecision::ask("not_allowed"),
                "word.test" => NetworkDecision::deny("quota_used_up"),
                "empty.test" => NetworkDecision::deny(""),
                _ => NetworkDecision::deny("Bad Word\r\nx: y"),
            }
        })
        .start()
        .await;
    let policy = "Codex blocked this request by network policy.";
    for (host, reason, decision, error, message) in [
        (
            "ask.test",
            "not_allowed",
            "ask",
            "blocked-by-allowlist",
            "Codex blocked this request: domain not in allowlist (this is not a denylist block).",
        ),
        (
            "word.test",
            "quota_used_up",
            "deny",
            "blocked-by-policy",
            policy,
        ),
        (
            "empty.test",
            "policy_denied",
            "deny",
            "blocked-by-policy",
            policy,
        ),
        (
            "forged.test",
            "policy_denied",
            "deny",
            "blocked-by-policy",
            policy,
        ),
    ] {
        let body = format!(
            r#"{{"status":"blocked","host":"{host}","reason":"{reason}","decision":"{decision}","source":"decider","protocol":"http","port":80,"message":"{message}"}}"#
        );
        assert_eq!(
            world
                .answer(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
                .await,
            json("403 Forbidden", error, &body)
        );
    }
}

#[tokio::test]
async fn limited_mode_permits_three_methods_in_upper_case() {
    let world = Setup::usual().limited().start().await;
    let origin = Origin::start().await;
    for method in ["GET", "HEAD", "OPTIONS"] {
        let mut client = world.http().await;
        client
            .send(format!(
                "{method} http://origin.test:{}/ HTTP/1.1\r\n\r\n",
                origin.port
            ))
            .await;
        origin.accept().await.head().await;
    }
    world.events();
    for start in [
        "POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "Get", "HEADS", "PROPFIND", "QUERY",
    ] {
        let body = r#"{"status":"blocked","host":"origin.test","reason":"method_not_allowed","decision":"deny","source":"mode_guard","protocol":"http","port":80,"message":"Codex blocked this request: method not allowed in limited mode."}"#;
        assert_eq!(
            world
                .answer(format!(
                    "{start} / HTTP/1.1\r\nHost: origin.test\r\nX-HTTP-Method-Override: GET\r\n\r\n"
                ))
                .await,
            json("403 Forbidden", "blocked-by-method-policy", body)
        );
        assert_eq!(
            world.events(),
            [
                format!(
                    "http allow origin.test:80 reason=allow method={start} source=baseline_policy scope=domain override=false"
                ),
                format!(
                    "http deny origin.test:80 reason=method_not_allowed method={start} source=mode_guard scope=non_domain override=false"
                ),
            ]
        );
        assert_eq!(
            world.history(),
            [format!(
                "http origin.test:80 reason=method_not_allowed method={start} mode=limited decision=deny source=mode_guard"
            )]
        );
    }
}

#[tokio::test]
async fn an_unlisted_host_reads_not_allowed_whatever_the_method() {
    let world = Setup::usual().limited().start().await;
    let answer = world
        .answer("POST http://other.test/ HTTP/1.1\r\n\r\n")
        .await;
    assert!(answer.contains(r#""reason":"not_allowed""#), "{answer}");
}

#[tokio::test]
async fn names_that_do_not_resolve_are_an_upstream_failure() {
    let world = Setup::new()
        .allow(&["**.test"])
        .answer("gone.test", Answer::Error(std::io::ErrorKind::NotFound))
        .answer("slow.test", Answer::Silence)
        .answer("late.test", Answer::Error(std::io::ErrorKind::TimedOut))
        .name("empty.test", &[])
        .limits(|limits| limits.lookup = std::time::Duration::from_millis(20))
        .start()
        .await;
    for (name, status) in [
        ("gone.test", "502 Bad Gateway"),
        ("empty.test", "502 Bad Gateway"),
        ("slow.test", "504 Gateway Timeout"),
        ("late.test", "504 Gateway Timeout"),
    ] {
        let text = format!("upstream failure: could not resolve {name}");
        let length = text.len();
        assert_eq!(
            world
                .answer(format!("GET http://{name}/ HTTP/1.1\r\n\r\n"))
                .await,
            format!(
                "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\ndate: D\r\n\r\n{text}"
            )
        );
        assert_eq!(
            world
                .exchange(format!("CONNECT {name}:443 HTTP/1.1\r\n\r\n"))
                .await,
            format!(
                "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\ndate: D\r\n\r\n{text}"
            )
        );
        assert_eq!(
            world.events(),
            [
                format!(
                    "http deny {name}:80 reason=dns_lookup_failed method=GET source=baseline_policy scope=domain override=false"
                ),
                format!(
                    "https_connect deny {name}:443 reason=dns_lookup_failed method=CONNECT source=baseline_policy scope=domain override=false"
                ),
            ]
        );
    }
    assert_eq!(world.history(), Vec::<String>::new());
}

#[tokio::test]
async fn a_name_that_leads_inward_is_refused_as_local() {
    let world = Setup::new()
        .allow(&["**.test"])
        .name("inward.test", &["127.0.0.1"])
        .name("mixed.test", &["93.184.216.34", "10.0.0.1"])
        .name("metadata.test", &["169.254.169.254"])
        .name("mapped.test", &["::ffff:10.0.0.1"])
        .name("nat64.test", &["64:ff9b::7f00:1"])
        .start()
        .await;
    for name in ["inward", "mixed", "metadata", "mapped", "nat64"] {
        let answer = world
            .answer(format!("GET http://{name}.test/ HTTP/1.1\r\n\r\n"))
            .await;
        assert!(
            answer.contains(r#""reason":"not_allowed_local""#),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn targets_that_cannot_be_read_are_400() {
    let world = Setup::usual().start().await;
    for (request, text) in [
        ("GET / HTTP/1.1\r\n\r\n", "missing host"),
        ("GET / HTTP/1.0\r\n\r\n", "missing host"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "missing host"),
        ("OPTIONS * HTTP/1.1\r\n\r\n", "missing host"),
        (
            "GET http://user@origin.test/ HTTP/1.1\r\n\r\n",
            "invalid host",
        ),
        (
            "GET http://user:pw@origin.test/ HTTP/1.1\r\n\r\n",
            "invalid host",
        ),
        ("GET http://127.1/ HTTP/1.1\r\n\r\n", "invalid host"),
        ("GET http://origin..test/ HTTP/1.1\r\n\r\n", "invalid host"),
        (
            "GET ftp://origin.test/ HTTP/1.1\r\n\r\n",
            "unsupported scheme",
        ),
        (
            "GET ws://origin.test/ HTTP/1.1\r\n\r\n",
            "unsupported scheme",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "invalid Host header",
        ),
        (
            "GET http://a/ HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
            "invalid Host header",
        ),
        (
            "GET / HTTP/1.1\r\nHost: user@origin.test\r\n\r\n",
            "invalid Host header",
        ),
        (
            "GET / HTTP/1.1\r\nHost: origin.test:http\r\n\r\n",
            "invalid Host header",
        ),
        (
            "GET / HTTP/1.1\r\nHost: origin.test:99999\r\n\r\n",
            "invalid Host header",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            "invalid Host header",
        ),
        (
            "GET / HTTP/1.1\r\nHost: http://origin.test\r\n\r\n",
            "invalid Host header",
        ),
        ("GET / HTTP/1.1\r\nHost: \u{e9}\u{ff}.test\u{0}\r\n\r\n", ""),
        ("CONNECT origin.test HTTP/1.1\r\n\r\n", "missing authority"),
        (
            "CONNECT http://origin.test:443 HTTP/1.1\r\n\r\n",
            "missing authority",
        ),
        (
            "CONNECT http://origin.test:443/x HTTP/1.1\r\n\r\n",
            "missing authority",
        ),
        (
            "CONNECT / HTTP/1.1\r\nHost: origin.test:443\r\n\r\n",
            "missing authority",
        ),
        ("CONNECT * HTTP/1.1\r\n\r\n", "missing authority"),
        ("CONNECT 0x7f.1:443 HTTP/1.1\r\n\r\n", "invalid host"),
        (
            "CONNECT origin.test:443 HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "invalid Host header",
        ),
        (
            "CONNECT origin.test:443 HTTP/1.1\r\nHost: a b\r\n\r\n",
            "invalid Host header",
        ),
        (
            "CONNECT origin.test:443 HTTP/1.1\r\nx-unix-socket: /a\r\n\r\n",
            "invalid x-unix-socket header",
        ),
        (
            "GET / HTTP/1.1\r\nx-unix-socket: \u{e9}\r\n\r\n",
            "invalid x-unix-socket header",
        ),
        (
            "GET / HTTP/1.1\r\nx-unix-socket: /a\r\nx-unix-socket: /a\r\n\r\n",
            "invalid x-unix-socket header",
        ),
    ] {
        let answer = world.exchange(request).await;
        let answer = answer.replace("HTTP/1.0", "HTTP/1.1");
        let expected = match text {
            "" => "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: D\r\n\r\n".to_owned(),
            text => bad(text),
        };
        assert_eq!(answer, expected, "{request:?}");
    }
    assert_eq!(world.events(), Vec::<String>::new());
    assert_eq!(world.history(), Vec::<String>::new());
}

#[tokio::test]
async fn host_and_target_must_agree() {
    let world = Setup::new()
        .allow(&["a.test", "2001:4860:4860::8888"])
        .start()
        .await;
    let mismatch = bad("Host header does not match request target");
    for (target, host, agrees) in [
        ("http://a.test/", "a.test", true),
        ("http://a.test/", "A.TEST", true),
        ("http://a.test/", "a.test.", true),
        ("http://a.test/", "a.test:80", true),
        ("http://a.test:80/", "a.test", true),
        ("http://a.test:81/", "a.test:81", true),
        ("https://a.test/", "a.test", true),
        ("https://a.test/", "a.test:443", true),
        (
            "http://[2001:4860:4860::8888]/",
            "[2001:4860:4860:0::8888]",
            true,
        ),
        ("http://a.test/", "b.test", false),
        ("http://a.test/", "a.test:81", false),
        ("http://a.test:81/", "a.test", false),
        ("http://a.test/", "a.test:443", false),
        ("https://a.test/", "a.test:80", false),
    ] {
        // What agrees is judged, and goes wrong only at the resolver or the dial.
        let mut client = world.http().await;
        client
            .send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        if agrees {
            continue;
        }
        assert_eq!(client.message().await, mismatch, "{target} {host}");
    }
}

#[tokio::test]
async fn a_refused_head_request_has_no_body() {
    let world = Setup::new().start().await;
    let answer = world
        .exchange("HEAD http://a.test/ HTTP/1.1\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\nx-proxy-error: blocked-by-allowlist\r\ncontent-length: "), "{answer}");
    assert!(
        answer.ends_with("\r\nconnection: close\r\ndate: D\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_refused_http_1_0_client_gets_http_1_0_and_a_close() {
    let world = Setup::new().start().await;
    let mut client = world.http().await;
    client.send("GET http://a.test/ HTTP/1.0\r\n\r\n").await;
    let answer = client.rest().await;
    assert!(answer.starts_with(b"HTTP/1.0 403 Forbidden\r\n"));
}

#[tokio::test]
async fn a_refusal_does_not_read_the_body_as_the_next_request() {
    let world = Setup::usual().start().await;
    let inner = "GET http://origin.test:9/ HTTP/1.1\r\n\r\n";
    let request = format!(
        "POST http://other.test/ HTTP/1.1\r\ncontent-length: {}\r\n\r\n{inner}",
        inner.len()
    );
    let mut client = world.http().await;
    client.send(&request).await;
    assert!(client.message().await.starts_with("HTTP/1.1 403 "));
    // The body was read, and the next request is the one behind it.
    client.send("GET http://third.test/ HTTP/1.1\r\n\r\n").await;
    assert!(client.message().await.contains("third.test"));
    assert_eq!(world.events().len(), 2);
    // A body that never comes is not waited for.
    let mut client = world.http().await;
    client
        .send("POST http://other.test/ HTTP/1.1\r\ncontent-length: 10\r\n\r\n")
        .await;
    assert!(client.message().await.starts_with("HTTP/1.1 403 "));
    client.closed().await;
}
