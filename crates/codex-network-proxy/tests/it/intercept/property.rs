//! Whatever a client sends inside of a tunnel: what reaches the origin was permitted by the policy, for exactly the tunnel's
//! authority and for that method.

use codex_network_policy::{
    AccessRequest, Host, HostPattern, Interception, Mode, Origin as Written, Outcome, Policy,
    Protocol, Rule, Rules, Target, TlsRules,
};
use http::Version;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use crate::harness::site::Site;
use crate::harness::tls::{Client, Issuer};
use crate::harness::{Setup, World, within};

/// The head of a request as a client may come to write it, with `HERE` for the tunnel's authority.
#[derive(Clone, Debug)]
struct Head {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
}

fn head() -> impl Strategy<Value = Head> {
    let authority = || {
        select(vec![
            "HERE",
            "HERE",
            "HERE",
            "HERE",
            "here.test",
            "origin.test",
            "ORIGIN.test.",
            "origin.test:443",
            "evil.test",
            "www.origin.test",
            "127.0.0.1",
            "u@HERE",
            "HERE, evil.test",
            "",
        ])
    };
    let method = prop_oneof![
        3 => select(vec!["GET", "HEAD", "OPTIONS"]).prop_map(str::to_owned),
        3 => select(vec!["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get", "Get", "BREW"])
            .prop_map(str::to_owned),
        1 => "[A-Za-z!#$]{1,9}",
    ];
    let target = prop_oneof![
        4 => select(vec!["/", "/a?b", "*", "//evil.test/", "/%2e%2e/", "evil.test:443"])
            .prop_map(str::to_owned),
        2 => (select(vec!["http", "https", "ws"]), authority())
            .prop_map(|(scheme, authority)| format!("{scheme}://{authority}/a")),
        1 => authority().prop_map(str::to_owned),
    ];
    let field = prop_oneof![
        4 => authority().prop_map(|host| ("Host".to_owned(), host.to_owned())),
        1 => select(vec![
            ("X-HTTP-Method-Override", "POST"),
            ("Content-Length", "0"),
            ("Content-Length", "5"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "upgrade"),
            ("Upgrade", "websocket"),
            ("Upgrade", "h2c"),
            ("Connection", "host"),
            ("Connection", "close"),
            ("X-Unix-Socket", "/run/x"),
            ("X-Forwarded-Host", "evil.test"),
            ("TE", "trailers"),
            ("Expect", "100-continue"),
            (":authority", "evil.test"),
        ])
        .prop_map(|(name, value)| (name.to_owned(), value.to_owned())),
    ];
    (method, target, prop::collection::vec(field, 0..5)).prop_map(|(method, target, fields)| Head {
        method,
        target,
        fields,
    })
}

/// The policy that [`World`] has, made here once more.
fn policy() -> Policy {
    Policy::compile(Rules {
        enabled: true,
        mode: Mode::Limited,
        allow_local_binding: true,
        allowed: vec![Rule {
            pattern: HostPattern::parse("**.origin.test").unwrap(),
            origin: Written::flag("test"),
        }]
        .into(),
        tls: TlsRules {
            interception: Interception::WhenLimited,
            ..TlsRules::default()
        },
        ..Rules::default()
    })
}

/// Sends a head inside of a tunnel of its own, and a body that may or may not be one.
async fn send(world: &World, port: u16, head: &Head) {
    let here = format!("origin.test:{port}");
    let mut text = format!("{} {} HTTP/1.1\r\n", head.method, head.target);
    for (name, value) in &head.fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let text = text.replace("HERE", &here);
    let mut client = Client::default().open(world, port).await;
    // What follows could be taken for a second request, and has to be judged as one then.
    client
        .send(format!(
            "{text}0\r\n\r\nPOST /smuggled HTTP/1.1\r\nHost: {here}\r\nContent-Length: 0\r\n\r\n"
        ))
        .await;
    client.finish().await;
    within("the end", client.rest_or_reset()).await;
}

#[test]
fn what_reaches_an_origin_was_permitted() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let issuer = Issuer::new();
    let (world, site) = runtime.block_on(async {
        let site = Site::start(issuer.certify("origin.test", &["http/1.1"])).await;
        (Setup::intercepting(&issuer).start().await, site)
    });
    let policy = policy();
    let target = Target::Host {
        host: Host::parse("origin.test").unwrap(),
        port: site.port,
    };
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(400)
    };
    let reached = std::cell::Cell::new(0);
    let ran = TestRunner::new(config).run(&head(), |head| {
        runtime.block_on(send(&world, site.port, &head));
        for asked in site.asked() {
            let request = AccessRequest {
                protocol: Protocol::Https,
                target: &target,
                method: Some(&asked.method),
                upgrade: asked.headers.contains_key("upgrade"),
            };
            prop_assert_eq!(
                policy.evaluate(&request).outcome,
                Outcome::Allow,
                "{:?}",
                asked
            );
            prop_assert_eq!(&asked.host, &format!("origin.test:{}", site.port));
            prop_assert_eq!(asked.version, Version::HTTP_11);
            for name in ["x-unix-socket", "x-forwarded-host", "connection"] {
                let gone = !asked.headers.contains_key(name)
                    || (name == "connection" && asked.headers[name] == "te");
                prop_assert!(
                    gone || asked.method != head.method,
                    "{} in {:?}",
                    name,
                    asked
                );
            }
            prop_assert!(asked.path != "/smuggled", "{:?}", asked);
            reached.set(reached.get() + 1);
        }
        Ok(())
    });
    ran.unwrap();
    let reached = reached.get();
    assert!(
        reached > 20,
        "only {reached} requests reached the origin, which proves little"
    );
}
