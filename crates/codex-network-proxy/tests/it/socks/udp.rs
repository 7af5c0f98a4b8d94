//! UDP associations.

use std::time::Duration;

use tokio::net::UdpSocket;

use crate::harness::{
    Answer, CONNECT, Datagrams, Setup, UDP_ASSOCIATE, World, address, bound, name, request, within,
};

/// A peer that the test drives.
struct Peer(UdpSocket);

impl Peer {
    async fn start() -> Self {
        Self(UdpSocket::bind("127.0.0.1:0").await.unwrap())
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// The next datagram's payload, and an address for answers.
    async fn receive(&self) -> (Vec<u8>, std::net::SocketAddr) {
        let mut buffer = vec![0; 65_535];
        let (length, from) = within("a datagram at the peer", self.0.recv_from(&mut buffer))
            .await
            .unwrap();
        buffer.truncate(length);
        (buffer, from)
    }

    /// Whether a datagram has arrived. Ask only after something that would have come later has happened.
    fn was_reached(&self) -> bool {
        self.0.try_recv_from(&mut [0; 16]).is_ok()
    }
}

fn header(port: u16) -> Vec<u8> {
    [&[0, 0, 0], address("127.0.0.1", port).as_slice()].concat()
}

/// Waits until everything that was sent before has been read: datagrams are read in order.
async fn settle(association: &Datagrams, peer: &Peer) {
    association
        .send(&address("origin.test", peer.port()), b"settled")
        .await;
    assert_eq!(peer.receive().await.0, b"settled");
}

async fn usual() -> World {
    Setup::usual()
        .allow(&["**.origin.test", "127.0.0.1"])
        .start()
        .await
}

#[tokio::test]
async fn datagrams_go_to_names_and_addresses_and_replies_come_back() {
    let world = usual().await;
    let peer = Peer::start().await;
    let association = world.associate().await;
    assert!(association.relay.ip().is_loopback());
    for target in [
        address("Origin.test.", peer.port()),
        address("127.0.0.1", peer.port()),
        name(b"127.0.0.1", peer.port()),
        address("::ffff:127.0.0.1", peer.port()),
    ] {
        for payload in [&b"one"[..], b"", &[7; 9000]] {
            association.send(&target, payload).await;
            let (got, from) = peer.receive().await;
            assert_eq!(got, payload);
            peer.0
                .send_to(&[payload, b"!"].concat(), from)
                .await
                .unwrap();
            assert_eq!(
                association.receive().await,
                [header(peer.port()), payload.to_vec(), b"!".to_vec()].concat()
            );
        }
    }
    // Once per target, not per datagram; three spellings are one address.
    let port = peer.port();
    assert_eq!(
        world.events(),
        ["origin.test", "127.0.0.1"].map(|host| format!(
            "socks5_udp allow {host}:{port} reason=allow method=none source=baseline_policy scope=domain override=false"
        ))
    );
}

#[tokio::test]
async fn a_refused_datagram_is_dropped_and_the_association_lives() {
    let world = Setup::usual().deny(&["denied.origin.test"]).start().await;
    let peer = Peer::start().await;
    let association = world.associate().await;
    for (host, reason) in [
        ("denied.origin.test", "denied"),
        ("other.test", "not_allowed"),
        ("10.0.0.1", "not_allowed"),
    ] {
        association.send(&address(host, 53), b"x").await;
        association.send(&address(host, 53), b"x").await;
        let event: Vec<String> = world
            .audit
            .next()
            .await
            .iter()
            .map(crate::harness::Event::line)
            .collect();
        assert_eq!(
            event,
            [format!(
                "socks5_udp deny {host}:53 reason={reason} method=none source=baseline_policy scope=domain override=false"
            )]
        );
        assert_eq!(
            world.history(),
            [format!(
                "socks5-udp {host}:53 reason={reason} method=- mode=- decision=deny source=baseline_policy"
            )]
        );
    }
    settle(&association, &peer).await;
    // The second datagram to each was no second judgement.
    assert_eq!(world.events().len(), 1);
}

#[tokio::test]
async fn a_name_that_leads_inward_is_judged_by_its_address() {
    let world = Setup::new()
        .allow(&["inward.test"])
        .name("inward.test", &["127.0.0.1"])
        .start()
        .await;
    let peer = Peer::start().await;
    let association = world.associate().await;
    association
        .send(&address("inward.test", peer.port()), b"x")
        .await;
    assert!(
        world.audit.next().await[0]
            .line()
            .contains("reason=not_allowed_local")
    );
    assert!(!peer.was_reached());
}

#[tokio::test]
async fn fragments_and_what_cannot_be_read_are_dropped() {
    let world = usual().await;
    let peer = Peer::start().await;
    let association = world.associate().await;
    let target = address("127.0.0.1", peer.port());
    for datagram in [
        [&[0, 0, 1], target.as_slice(), b"x"].concat(),
        [&[0, 0, 0x80], target.as_slice(), b"x"].concat(),
        vec![],
        vec![0, 0, 0],
        vec![0, 0, 0, 1, 127, 0],
        [&[0, 0, 0], name(b"a\0b.origin.test", 1).as_slice(), b"x"].concat(),
        [&[0, 0, 0, 9], b"x".as_slice()].concat(),
    ] {
        association.send_raw(&datagram).await;
    }
    settle(&association, &peer).await;
    assert!(!peer.was_reached());
    assert_eq!(world.events().len(), 1);
}

#[tokio::test]
async fn only_the_first_source_counts() {
    let world = usual().await;
    let peer = Peer::start().await;
    let association = world.associate().await;
    settle(&association, &peer).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let datagram = [header(peer.port()), b"stranger".to_vec()].concat();
    stranger
        .send_to(&datagram, association.relay)
        .await
        .unwrap();
    settle(&association, &peer).await;
    assert!(!peer.was_reached());
}

#[tokio::test]
async fn an_announced_port_must_be_the_source() {
    let world = usual().await;
    let peer = Peer::start().await;
    let (announced, other) = (
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
    );
    let mut control = world.greeted().await;
    let port = announced.local_addr().unwrap().port();
    control
        .send(request(UDP_ASSOCIATE, &address("127.0.0.1", port)))
        .await;
    let relay = bound(&control.exactly(10).await);
    for (socket, payload) in [(&other, "no"), (&announced, "yes")] {
        let datagram = [header(peer.port()), payload.into()].concat();
        socket.send_to(&datagram, relay).await.unwrap();
    }
    assert_eq!(peer.receive().await.0, b"yes");
}

#[tokio::test]
async fn replies_come_only_from_permitted_peers() {
    let world = usual().await;
    let peer = Peer::start().await;
    let stranger = Peer::start().await;
    let association = world.associate().await;
    association
        .send(&address("origin.test", peer.port()), b"x")
        .await;
    let (_, from) = peer.receive().await;
    stranger.0.send_to(b"stranger", from).await.unwrap();
    peer.0.send_to(b"reply", from).await.unwrap();
    assert_eq!(
        association.receive().await,
        [header(peer.port()), b"reply".to_vec()].concat()
    );
    assert_eq!(world.events().len(), 1);
}

#[tokio::test]
async fn an_association_ends_with_its_control_connection() {
    let world = usual().await;
    let mut association = world.associate().await;
    // What the client says on it changes nothing.
    association.control.send("noise").await;
    let peer = Peer::start().await;
    settle(&association, &peer).await;
    let relay = association.relay;
    association.control.finish().await;
    assert_eq!(association.control.rest().await, b"");
    // Its port is free again.
    let again = UdpSocket::bind(relay).await;
    assert!(again.is_ok(), "{again:?}");
}

#[tokio::test]
async fn an_idle_association_ends() {
    let world = Setup::usual()
        .limits(|limits| limits.association_idle = Duration::from_millis(20))
        .start()
        .await;
    let mut association = world.associate().await;
    assert_eq!(association.control.rest().await, b"");
}

#[tokio::test]
async fn associations_are_bounded() {
    let world = Setup::usual()
        .limits(|limits| limits.associations = 1)
        .start()
        .await;
    let mut first = world.associate().await;
    let none = address("0.0.0.0", 0);
    let (_, code) = world.socks_request(UDP_ASSOCIATE, &none).await;
    assert_eq!(code, 1);
    first.control.finish().await;
    first.control.rest().await;
    world.associate().await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_asked_for_again_later() {
    let world = Setup::usual()
        .allow(&["**.test"])
        .answer("gone.test", Answer::Error(std::io::ErrorKind::NotFound))
        .start()
        .await;
    let peer = Peer::start().await;
    let association = world.associate().await;
    association.send(&address("gone.test", 9), b"x").await;
    let events = world.audit.next().await;
    assert!(events[0].line().contains("reason=dns_lookup_failed"));
    settle(&association, &peer).await;
    assert_eq!(world.history(), Vec::<String>::new());
}

#[tokio::test]
async fn an_association_is_no_way_to_our_own_listeners() {
    let world = usual().await;
    let own = world.proxy.http_addr().port();
    let (_, code) = world
        .socks_request(CONNECT, &address("127.0.0.1", own))
        .await;
    assert_eq!(code, 2);
    let association = world.associate().await;
    association.send(&address("127.0.0.1", own), b"x").await;
    let events: Vec<String> = std::iter::chain(
        world.events(),
        world
            .audit
            .next()
            .await
            .iter()
            .map(crate::harness::Event::line),
    )
    .collect();
    for event in events {
        assert!(event.contains("reason=not_allowed_local"), "{event}");
    }
}
