//! What judgements and connections are counted as.

use codex_network_policy::Decision;

use super::*;

#[tokio::test]
async fn every_judgement_is_counted_by_door_verdict_and_reason() {
    let world = Script {
        rules: rules(&["example.com", "absent.test"], &["denied.test"]),
        decision: Some(NetworkDecision::ask("a_word_of_its_own")),
        ..Script::default()
    }
    .build();
    for (protocol, target) in [
        (Protocol::Http, "example.com"),
        (Protocol::Http, "example.com"),
        (Protocol::Http, "denied.test"),
        (Protocol::HttpsConnect, "absent.test"),
        (Protocol::Socks5Tcp, "unlisted.test"),
        (Protocol::Socks5Udp, "10.0.0.1"),
    ] {
        let _ = world.authorize(access(protocol, target, None)).await;
    }
    let meters = world.gate.meters();
    let counted: Vec<_> = meters.decisions.occurred().collect();
    assert_eq!(
        counted,
        [
            (Protocol::Http, Decision::Allow, "allow", 2),
            (Protocol::Http, Decision::Deny, "denied", 1),
            (
                Protocol::HttpsConnect,
                Decision::Deny,
                "dns_lookup_failed",
                1
            ),
            (Protocol::Socks5Tcp, Decision::Ask, "decider", 1),
            (Protocol::Socks5Udp, Decision::Deny, "not_allowed_local", 1),
        ]
    );
    assert_eq!(meters.decision_time.observed().count(), 6);
    // The second question for one name is answered from memory.
    assert_eq!(meters.lookups.good.value(), 1);
    assert_eq!(meters.lookups.failed.value(), 1);
    assert_eq!(meters.lookup_time.observed().count(), 2);
}

#[tokio::test]
async fn a_judgement_that_is_given_up_is_counted_as_cancelled() {
    let world = Script {
        rules: rules(&["example.com"], &[]),
        ..Script::default()
    }
    .build();
    // Polled once, so that it waits for the resolver, and dropped.
    let waiting = world.authorize(access(Protocol::Http, "example.com", Some("GET")));
    let _ = polled_once(waiting).await;
    let counted: Vec<_> = world.gate.meters().decisions.occurred().collect();
    assert_eq!(counted, [(Protocol::Http, Decision::Deny, "cancelled", 1)]);
}

/// Polls once and gives up.
async fn polled_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn what_goes_through_a_connection_is_counted_at_its_door() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let origin = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = origin.local_addr().unwrap().port();
    let world = Script {
        rules: rules(&["127.0.0.1"], &[]),
        ..Script::default()
    }
    .build();
    let target = Target::Host {
        host: codex_network_policy::Host::parse("127.0.0.1").unwrap(),
        port,
    };
    let access = Access {
        target,
        ..access(Protocol::Socks5Tcp, "127.0.0.1", None)
    };
    let permit = world.authorize(access).await.unwrap();
    let traffic = world.gate.meters().traffic(Protocol::Socks5Tcp);
    let mut connection = world.gate.upstream().open(&permit).await.unwrap();
    assert_eq!(traffic.open.value(), 1);
    let (mut accepted, _) = origin.accept().await.unwrap();
    connection.write_all(b"four").await.unwrap();
    accepted.write_all(b"seven b").await.unwrap();
    connection.read_exact(&mut [0; 7]).await.unwrap();
    assert_eq!((traffic.sent.value(), traffic.received.value()), (4, 7));
    drop(connection);
    assert_eq!(traffic.open.value(), 0);
    assert_eq!(world.gate.meters().dials.good.value(), 1);
    drop((accepted, origin));
    world.gate.upstream().open(&permit).await.unwrap_err();
    assert_eq!(world.gate.meters().dials.failed.value(), 1);
}
