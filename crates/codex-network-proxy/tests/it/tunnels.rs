//! One identity per tunnel (THREATS 22): what a client may begin with in a tunnel that was permitted for one name.

use std::time::Duration;

use crate::harness::tls::{Issuer, client_hello, client_hello_with, in_records};
use crate::harness::{CONNECT, Origin, Setup, Wire, World, address};

/// A fatal alert that says `access_denied`.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

#[derive(Clone, Copy, Debug)]
enum Door {
    Connect,
    Socks,
}

const DOORS: [Door; 2] = [Door::Connect, Door::Socks];

impl Door {
    /// A tunnel to this target, from both ends.
    async fn open(self, world: &World, origin: &Origin, host: &str) -> (Wire, Wire) {
        let client = match self {
            Self::Connect => {
                let mut client = world.http().await;
                let request = format!("CONNECT {host}:{} HTTP/1.1\r\n\r\n", origin.port);
                client.send(request).await;
                let head = client.head().await;
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                client
            }
            Self::Socks => {
                let (client, code) = world
                    .socks_request(CONNECT, &address(host, origin.port))
                    .await;
                assert_eq!(code, 0);
                client
            }
        };
        world.events();
        (client, origin.accept().await)
    }

    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Connect => ("https_connect", "http-connect", "CONNECT"),
            Self::Socks => ("socks5_tcp", "socks5", "none"),
        }
    }
}

/// The client is told no, the origin has not got one byte, and the evidence says why.
async fn check_refused(
    world: &World,
    door: Door,
    (mut client, mut upstream): (Wire, Wire),
    host: &str,
    reason: &str,
    name: Option<&str>,
) {
    assert_eq!(client.rest().await, ALERT);
    assert_eq!(upstream.rest().await, b"");
    let (word, history, method) = door.words();
    let port = upstream.local().port();
    let mut events = world.events();
    events.retain(|event| event.contains(" deny "));
    let name = name
        .map(|name| format!(" server_name={name}"))
        .unwrap_or_default();
    assert_eq!(
        events,
        [format!(
            "{word} deny {host}:{port} reason={reason} method={method} source=baseline_policy scope=domain override=false{name}"
        )]
    );
    let method = if method == "none" { "-" } else { method };
    assert_eq!(
        world.history(),
        [format!(
            "{history} {host}:{port} reason={reason} method={method} mode=- decision=deny source=baseline_policy"
        )]
    );
    assert!(world.audit.take_connections().is_empty());
}

#[tokio::test]
async fn a_hello_for_the_permitted_name_passes_unchanged() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    for door in DOORS {
        for hello in [
            client_hello("origin.test"),
            client_hello("ORIGIN.test"),
            in_records(&client_hello("origin.test"), 7),
        ] {
            let (mut client, mut upstream) = door.open(&world, &origin, "origin.test").await;
            client.send(&hello).await;
            assert_eq!(upstream.exactly(hello.len()).await, hello);
            let event = world.audit.next_connection().await;
            assert_eq!(
                event.proof(),
                format!(
                    "{} origin.test 127.0.0.1 origin.test - - allowlist `**.origin.test` (network.allowed_domains)",
                    door.words().0
                )
            );
            // And so does everything behind it, both ways.
            client.send([0, 22, 3]).await;
            assert_eq!(upstream.exactly(3).await, [0, 22, 3]);
            upstream.send("answer").await;
            assert_eq!(client.exactly(6).await, b"answer");
            assert_eq!(world.events(), [""; 0]);
            assert_eq!(world.history(), [""; 0]);
        }
    }
}

#[tokio::test]
async fn a_hello_for_another_name_goes_nowhere() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    for door in DOORS {
        for name in [
            "other.test",
            "www.origin.test",
            "test",
            "origin.test.other.test",
        ] {
            let (mut client, upstream) = door.open(&world, &origin, "origin.test").await;
            client.send(client_hello(name)).await;
            let ends = (client, upstream);
            let reason = "server_name_mismatch";
            check_refused(&world, door, ends, "origin.test", reason, Some(name)).await;
        }
    }
}

#[tokio::test]
async fn splitting_a_hello_hides_nothing() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let (good, bad) = (client_hello("origin.test"), client_hello("other.test"));
    for at in 1..good.len() {
        let (mut client, mut upstream) = Door::Connect.open(&world, &origin, "origin.test").await;
        client.send(&good[..at]).await;
        tokio::task::yield_now().await;
        client.send(&good[at..]).await;
        assert_eq!(upstream.exactly(good.len()).await, good, "split at {at}");
    }
    world.audit.take_connections();
    for at in 1..bad.len() {
        let (mut client, upstream) = Door::Socks.open(&world, &origin, "origin.test").await;
        client.send(&bad[..at]).await;
        tokio::task::yield_now().await;
        client.send(&bad[at..]).await;
        let ends = (client, upstream);
        let reason = "server_name_mismatch";
        check_refused(
            &world,
            Door::Socks,
            ends,
            "origin.test",
            reason,
            Some("other.test"),
        )
        .await;
    }
}

#[tokio::test]
async fn records_and_size_hide_nothing() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    // As large as a post-quantum key share makes them, and larger than a record may be.
    for padding in [0, 2_000, 40_000] {
        let one_record = client_hello_with("other.test", 21, &vec![0; padding]);
        for size in [1, 5, 100, 16_384] {
            if padding / size > 10_000 {
                continue;
            }
            let (mut client, upstream) = Door::Connect.open(&world, &origin, "origin.test").await;
            client.send(in_records(&one_record, size)).await;
            let ends = (client, upstream);
            let reason = "server_name_mismatch";
            check_refused(
                &world,
                Door::Connect,
                ends,
                "origin.test",
                reason,
                Some("other.test"),
            )
            .await;
        }
    }
    let large = in_records(
        &client_hello_with("origin.test", 21, &vec![0; 40_000]),
        16_384,
    );
    let (mut client, mut upstream) = Door::Connect.open(&world, &origin, "origin.test").await;
    client.send(&large).await;
    assert_eq!(upstream.exactly(large.len()).await, large);
}

#[tokio::test]
async fn a_hello_that_comes_with_the_request_is_held_back_as_well() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    let request = format!("CONNECT origin.test:{} HTTP/1.1\r\n\r\n", origin.port);
    client
        .send([request.as_bytes(), &client_hello("other.test")].concat())
        .await;
    let upstream = origin.accept().await;
    client.head().await;
    let ends = (client, upstream);
    let reason = "server_name_mismatch";
    check_refused(
        &world,
        Door::Connect,
        ends,
        "origin.test",
        reason,
        Some("other.test"),
    )
    .await;
    let mut client = world.greeted().await;
    let request = crate::harness::request(CONNECT, &address("origin.test", origin.port));
    let good = client_hello("origin.test");
    client.send([request, good.clone()].concat()).await;
    let mut upstream = origin.accept().await;
    assert_eq!(upstream.exactly(good.len()).await, good);
}

#[tokio::test]
async fn a_name_that_cannot_be_read_goes_nowhere() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut nul = client_hello("evil.test.origin.test");
    let at = nul
        .windows(9)
        .position(|window| window == b"evil.test")
        .unwrap()
        + 9;
    nul[at] = 0;
    let mut cut = client_hello("origin.test");
    // One byte less of extensions than the message has.
    let last = cut.len() - 1;
    cut.truncate(last);
    let length = u16::try_from(last - 5).unwrap().to_be_bytes();
    cut[3..5].copy_from_slice(&length);
    let length = u16::try_from(last - 9).unwrap().to_be_bytes();
    cut[7..9].copy_from_slice(&length);
    for hello in [nul, cut, vec![22, 3, 1, 0, 1, 2], vec![22, 3, 1, 0, 0]] {
        let (mut client, upstream) = Door::Connect.open(&world, &origin, "origin.test").await;
        client.send(&hello).await;
        let ends = (client, upstream);
        let reason = "server_name_mismatch";
        check_refused(&world, Door::Connect, ends, "origin.test", reason, None).await;
    }
}

#[tokio::test]
async fn a_hello_without_a_name_passes() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let (mut client, mut upstream) = Door::Socks.open(&world, &origin, "origin.test").await;
    // A client of an address names none.
    let hello = client_hello("192.0.2.1");
    client.send(&hello).await;
    assert_eq!(upstream.exactly(hello.len()).await, hello);
    let event = world.audit.next_connection().await;
    assert_eq!(event.field("tls.client.server_name"), None);
}

#[tokio::test]
async fn behind_an_address_no_denied_name_is_reached() {
    let setup = Setup::new().allow(&["127.0.0.1"]).deny(&["**.denied.test"]);
    let world = setup.start().await;
    let origin = Origin::start().await;
    for door in DOORS {
        let (mut client, mut upstream) = door.open(&world, &origin, "127.0.0.1").await;
        let hello = client_hello("unlisted.test");
        client.send(&hello).await;
        assert_eq!(upstream.exactly(hello.len()).await, hello);
        assert_eq!(
            world.audit.next_connection().await.proof(),
            format!(
                "{} 127.0.0.1 127.0.0.1 unlisted.test - - allowlist `127.0.0.1` (network.allowed_domains)",
                door.words().0
            )
        );
        let (mut client, upstream) = door.open(&world, &origin, "127.0.0.1").await;
        client.send(client_hello("a.denied.test")).await;
        let ends = (client, upstream);
        check_refused(
            &world,
            door,
            ends,
            "127.0.0.1",
            "denied",
            Some("a.denied.test"),
        )
        .await;
    }
}

#[tokio::test]
async fn a_hidden_name_passes_and_is_noted_unless_the_policy_denies_it() {
    let origin = Origin::start().await;
    let hidden = client_hello_with("origin.test", 0xfe0d, &[7; 200]);
    let world = Setup::usual().start().await;
    let (mut client, mut upstream) = Door::Connect.open(&world, &origin, "origin.test").await;
    client.send(&hidden).await;
    assert_eq!(upstream.exactly(hidden.len()).await, hidden);
    let event = world.audit.next_connection().await;
    assert_eq!(event.field("tls.client.encrypted_hello"), Some("true"));
    // The name that can be read is compared all the same.
    let (mut client, upstream) = Door::Connect.open(&world, &origin, "origin.test").await;
    let front = client_hello_with("front.test", 0xfe0d, &[7; 200]);
    client.send(front).await;
    let ends = (client, upstream);
    let reason = "server_name_mismatch";
    check_refused(
        &world,
        Door::Connect,
        ends,
        "origin.test",
        reason,
        Some("front.test"),
    )
    .await;
    drop(world);
    let world = Setup::usual()
        .key("encrypted_client_hello", "deny")
        .start()
        .await;
    for door in DOORS {
        let (mut client, upstream) = door.open(&world, &origin, "origin.test").await;
        client.send(&hidden).await;
        let ends = (client, upstream);
        let reason = "encrypted_client_hello";
        check_refused(
            &world,
            door,
            ends,
            "origin.test",
            reason,
            Some("origin.test"),
        )
        .await;
    }
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard_at_once() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    for door in DOORS {
        let (mut client, mut upstream) = door.open(&world, &origin, "origin.test").await;
        upstream.send("SSH-2.0-server\r\n").await;
        assert_eq!(client.until("\r\n").await, "SSH-2.0-server\r\n");
        client.send("SSH-2.0-client\r\n").await;
        assert_eq!(upstream.until("\r\n").await, "SSH-2.0-client\r\n");
        let event = world.audit.next_connection().await;
        assert_eq!(event.field("tls.client.server_name"), None);
    }
}

#[tokio::test]
async fn the_first_byte_of_another_protocol_is_not_held_back() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    for first in [b'G', 0, 0x80, 21, 23] {
        let (mut client, mut upstream) = Door::Connect.open(&world, &origin, "origin.test").await;
        client.send([first]).await;
        assert_eq!(upstream.exactly(1).await, [first]);
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_leaves_its_proof() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let (mut client, mut upstream) = Door::Connect.open(&world, &origin, "origin.test").await;
    client.finish().await;
    assert_eq!(upstream.rest().await, b"");
    upstream.finish().await;
    assert_eq!(client.rest().await, b"");
    let event = world.audit.next_connection().await;
    assert_eq!(event.field("network.peer.address"), Some("127.0.0.1"));
}

#[tokio::test]
async fn a_part_of_a_hello_goes_nowhere() {
    let world = Setup::usual()
        .limits(|limits| limits.handshake = Duration::from_millis(200))
        .start()
        .await;
    let origin = Origin::start().await;
    for length in [1, 5, 60] {
        let (mut client, mut upstream) = Door::Connect.open(&world, &origin, "origin.test").await;
        client.send(&client_hello("origin.test")[..length]).await;
        assert_eq!(upstream.rest().await, b"", "a slow client");
        client.closed().await;
        let (mut client, mut upstream) = Door::Connect.open(&world, &origin, "origin.test").await;
        client.send(&client_hello("origin.test")[..length]).await;
        client.finish().await;
        assert_eq!(upstream.rest().await, b"", "a client that ends");
        client.closed().await;
    }
    assert_eq!(world.history(), [""; 0]);
}

#[tokio::test]
async fn an_origin_is_looked_at_before_it_gets_the_hello() {
    let issuer = Issuer::new();
    let good = issuer.certify("origin.test", &[]);
    let setup = Setup::usual().key("verify_origin", true).trust(&issuer.1);
    let world = setup.start().await;
    let origin = Origin::start().await;
    let hello = client_hello("origin.test");
    for (round, door) in DOORS.into_iter().enumerate() {
        let (mut client, mut upstream) = door.open(&world, &origin, "origin.test").await;
        client.send(&hello).await;
        // The second tunnel knows already.
        if round == 0 {
            let look = origin.accept().await;
            good.accept(look).await.unwrap();
        }
        assert_eq!(upstream.exactly(hello.len()).await, hello);
        let event = world.audit.next_connection().await;
        let fingerprint = ring_sha256(&good.certificate);
        assert_eq!(
            event.field("tls.server.hash.sha256"),
            Some(fingerprint.as_str())
        );
    }
    // What is no TLS has no certificate to look at.
    let (mut client, mut upstream) = Door::Socks.open(&world, &origin, "origin.test").await;
    client.send("SSH-2.0-client\r\n").await;
    upstream.until("\r\n").await;
    assert!(!origin.was_reached().await);
}

#[tokio::test]
async fn an_origin_without_a_valid_certificate_gets_nothing() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    for bad in [
        issuer.certify("other.test", &[]),
        stranger.certify("origin.test", &[]),
    ] {
        let setup = Setup::usual().key("verify_origin", true).trust(&issuer.1);
        let world = setup.start().await;
        let origin = Origin::start().await;
        for (round, door) in DOORS.into_iter().enumerate() {
            let (mut client, upstream) = door.open(&world, &origin, "origin.test").await;
            client.send(client_hello("origin.test")).await;
            if round == 0 {
                let look = origin.accept().await;
                assert!(
                    bad.accept(look).await.is_err(),
                    "the certificate was accepted"
                );
            }
            let ends = (client, upstream);
            check_refused(
                &world,
                door,
                ends,
                "origin.test",
                "origin_not_verified",
                None,
            )
            .await;
        }
    }
}

fn ring_sha256(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
