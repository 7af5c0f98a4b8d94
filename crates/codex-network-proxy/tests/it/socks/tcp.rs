//! Handshakes, CONNECT, and what is refused.

use std::time::Duration;

use crate::harness::{
    Answer, CONNECT, GREETING, Origin, Setup, UDP_ASSOCIATE, address, bound, name, request,
};

const BIND: u8 = 2;

#[tokio::test]
async fn greetings_are_answered_or_closed() {
    let world = Setup::new().start().await;
    for (greeting, answer) in [
        (&[5, 1, 0][..], &[5, 0][..]),
        (&[5, 3, 2, 1, 0], &[5, 0]),
        (&[5, 255][..], &[]),
        // Only methods that we do not offer.
        (&[5, 1, 2], &[5, 0xff]),
        (&[5, 2, 1, 2], &[5, 0xff]),
        (&[5, 0], &[5, 0xff]),
        // Other protocols.
        (&[4, 1, 0, 80, 1, 2, 3, 4, 0], &[]),
        (b"GET / HTTP/1.1\r\n\r\n", &[]),
        (&[0x16, 3, 1, 0, 0], &[]),
    ] {
        let mut client = world.socks().await;
        client.send(greeting).await;
        if answer != [5, 0] {
            client.finish().await;
            assert_eq!(client.rest().await, answer, "{greeting:?}");
        } else {
            assert_eq!(client.exactly(2).await, answer, "{greeting:?}");
        }
    }
    assert_eq!(world.events(), Vec::<String>::new());
}

#[tokio::test]
async fn requests_that_cannot_be_read_get_their_code() {
    let world = Setup::usual().start().await;
    let all = |code: u8| vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0];
    for (request, answer) in [
        (request(CONNECT, &[2, 0, 0, 0, 0, 0, 0]), all(8)),
        (request(CONNECT, &[0, 0, 0, 0, 0, 0, 0]), all(8)),
        (request(CONNECT, &name(b"", 80)), all(1)),
        (
            request(CONNECT, &name(b"origin.test\0.evil.test", 80)),
            all(1),
        ),
        (request(CONNECT, &name(b"a b.origin.test", 80)), all(1)),
        (request(CONNECT, &name(b"\xff\xfe", 80)), all(1)),
        (request(CONNECT, &name(b"127.1", 80)), all(1)),
        (request(CONNECT, &name(b"user@origin.test", 80)), all(1)),
        (request(CONNECT, &name(&[b'a'; 255], 80)), all(1)),
        (request(UDP_ASSOCIATE, &name(b"origin.test", 0)), all(8)),
        (vec![4, 1, 0, 1, 1, 2, 3, 4, 0, 80], Vec::new()),
    ] {
        let mut client = world.greeted().await;
        client.send(&request).await;
        assert_eq!(client.rest().await, answer, "{request:?}");
    }
    assert_eq!(world.events(), Vec::<String>::new());
    assert_eq!(world.history(), Vec::<String>::new());
}

#[tokio::test]
async fn a_connect_by_name_or_address_is_a_tunnel() {
    let world = Setup::usual()
        .allow(&["**.origin.test", "127.0.0.1", "::1"])
        .start()
        .await;
    let origin = Origin::start().await;
    let port = origin.port;
    for (address, host) in [
        (address("Origin.TEST.", port), "origin.test"),
        (address("127.0.0.1", port), "127.0.0.1"),
        (name(b"127.0.0.1", port), "127.0.0.1"),
        (address("::ffff:127.0.0.1", port), "127.0.0.1"),
    ] {
        let mut client = world.greeted().await;
        client.send(request(CONNECT, &address)).await;
        let mut upstream = origin.accept().await;
        // The reply names the upstream socket's local end.
        let local = bound(&client.exactly(10).await);
        assert_eq!(local, upstream.stream.peer_addr().unwrap());
        client.send("ping").await;
        assert_eq!(upstream.exactly(4).await, b"ping");
        client.finish().await;
        assert_eq!(upstream.rest().await, b"");
        upstream.send("pong").await;
        upstream.finish().await;
        assert_eq!(client.rest().await, b"pong");
        assert_eq!(
            world.events(),
            [format!(
                "socks5_tcp allow {host}:{port} reason=allow method=none source=baseline_policy scope=domain override=false"
            )]
        );
    }
}

#[tokio::test]
async fn the_whole_handshake_may_come_at_once_with_early_bytes() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.socks().await;
    let asked = request(CONNECT, &address("origin.test", origin.port));
    client
        .send([&GREETING, asked.as_slice(), b"early"].concat())
        .await;
    let mut upstream = origin.accept().await;
    assert_eq!(upstream.exactly(5).await, b"early");
    assert_eq!(client.exactly(2).await, [5, 0]);
    bound(&client.exactly(10).await);
}

#[tokio::test]
async fn a_handshake_may_come_byte_by_byte() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.socks().await;
    let asked = request(CONNECT, &address("origin.test", origin.port));
    for byte in [&GREETING, asked.as_slice()].concat() {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    origin.accept().await;
    client.exactly(2).await;
    bound(&client.exactly(10).await);
}

#[tokio::test]
async fn refusals_by_policy_are_two() {
    let world = Setup::new()
        .allow(&["denied.test", "inward.test"])
        .deny(&["denied.test"])
        .name("inward.test", &["10.0.0.1"])
        .start()
        .await;
    for (host, reason) in [
        ("other.test", "not_allowed"),
        ("denied.test", "denied"),
        ("inward.test", "not_allowed_local"),
        ("10.0.0.1", "not_allowed_local"),
        ("::1", "not_allowed_local"),
        ("8.8.8.8", "not_allowed"),
    ] {
        let mut client = world.greeted().await;
        // Nothing behind a refused request is read as another one.
        client
            .send(
                [
                    request(CONNECT, &address(host, 443)),
                    request(CONNECT, &address(host, 444)),
                ]
                .concat(),
            )
            .await;
        assert_eq!(
            client.rest().await,
            [5, 2, 0, 1, 0, 0, 0, 0, 0, 0],
            "{host}"
        );
        assert_eq!(
            world.events(),
            [format!(
                "socks5_tcp deny {host}:443 reason={reason} method=none source=baseline_policy scope=domain override=false"
            )]
        );
        assert_eq!(
            world.history(),
            [format!(
                "socks5 {host}:443 reason={reason} method=- mode=- decision=deny source=baseline_policy"
            )]
        );
    }
    assert_eq!(world.script.asked(), ["inward.test"]);
}

#[tokio::test]
async fn limited_mode_refuses_before_it_looks_at_the_host() {
    let world = Setup::usual()
        .limited()
        .deny(&["denied.test"])
        .start()
        .await;
    for (command, word, history) in [
        (CONNECT, "socks5_tcp", "socks5"),
        (UDP_ASSOCIATE, "socks5_udp", "socks5-udp"),
    ] {
        for host in ["127.0.0.1", "8.8.8.8"] {
            let mut client = world.greeted().await;
            client.send(request(command, &address(host, 443))).await;
            assert_eq!(client.rest().await, [5, 2, 0, 1, 0, 0, 0, 0, 0, 0]);
            assert_eq!(
                world.events(),
                [format!(
                    "{word} deny {host}:443 reason=method_not_allowed method=none source=mode_guard scope=non_domain override=false"
                )]
            );
            assert_eq!(
                world.history(),
                [format!(
                    "{history} {host}:443 reason=method_not_allowed method=- mode=limited decision=deny source=mode_guard"
                )]
            );
        }
    }
}

#[tokio::test]
async fn commands_that_are_not_served_are_seven_and_leave_evidence() {
    let world = Setup::usual().key("enable_socks5_udp", false).start().await;
    for (command, word, history) in [
        (BIND, "socks5_tcp", "socks5"),
        (0, "socks5_tcp", "socks5"),
        (9, "socks5_tcp", "socks5"),
        (UDP_ASSOCIATE, "socks5_udp", "socks5-udp"),
    ] {
        let mut client = world.greeted().await;
        client
            .send(request(command, &address("127.0.0.1", 99)))
            .await;
        assert_eq!(
            client.rest().await,
            [5, 7, 0, 1, 0, 0, 0, 0, 0, 0],
            "{command}"
        );
        assert_eq!(
            world.events(),
            [format!(
                "{word} deny 127.0.0.1:99 reason=policy_denied method=none source=proxy_state scope=non_domain override=false"
            )]
        );
        assert_eq!(
            world.history(),
            [format!(
                "{history} 127.0.0.1:99 reason=policy_denied method=- mode=- decision=deny source=proxy_state"
            )]
        );
    }
}

#[tokio::test]
async fn failures_of_the_dial_have_their_codes() {
    let origin = Origin::start().await;
    let closed = origin.port;
    drop(origin);
    let world = Setup::usual()
        .allow(&["**.test", "127.0.0.1"])
        .answer("gone.test", Answer::Error(std::io::ErrorKind::NotFound))
        .answer("slow.test", Answer::Silence)
        .limits(|limits| limits.lookup = Duration::from_millis(20))
        .start()
        .await;
    for (host, code) in [("127.0.0.1", 5), ("gone.test", 4), ("slow.test", 4)] {
        let (_, reply) = world.socks_request(CONNECT, &address(host, closed)).await;
        assert_eq!(reply, code, "{host}");
    }
    // None of these is a refusal by policy.
    assert_eq!(world.history(), Vec::<String>::new());
}

#[tokio::test]
async fn the_decider_s_wait_does_not_count_against_the_handshake() {
    use codex_network_proxy::{NetworkDecision, NetworkPolicyRequest};
    let world = Setup::usual()
        .allow(&[])
        .limits(|limits| limits.handshake = Duration::from_millis(150))
        .decider(|request: NetworkPolicyRequest| async move {
            assert_eq!(request.method, None);
            // Longer than a handshake may take.
            tokio::time::sleep(Duration::from_millis(200)).await;
            NetworkDecision::Allow
        })
        .start()
        .await;
    let origin = Origin::start().await;
    let (_, reply) = world
        .socks_request(CONNECT, &address("origin.test", origin.port))
        .await;
    assert_eq!(reply, 0);
}

#[tokio::test]
async fn socks_can_be_left_out() {
    let world = Setup::new().key("enable_socks5", false).start().await;
    assert_eq!(world.proxy.socks_addr(), None);
    let handle = world.handle.as_ref().unwrap();
    assert_eq!(handle.addresses().unwrap().socks, None);
}

/// An address where nobody answers a connection attempt: the queue of those who wait to be accepted is full.
#[cfg(target_os = "linux")]
async fn silent() -> (socket2::Socket, Vec<tokio::net::TcpStream>, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    loop {
        let connect = tokio::net::TcpStream::connect(address);
        match tokio::time::timeout(Duration::from_millis(100), connect).await {
            Ok(stream) => waiting.push(stream.unwrap()),
            Err(_) => return (socket, waiting, address.port()),
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_upstream_that_does_not_answer_is_a_timeout_at_every_door() {
    let (_socket, _waiting, port) = silent().await;
    let world = Setup::usual()
        .limits(|limits| limits.connect = Duration::from_millis(50))
        .start()
        .await;
    let (_, code) = world
        .socks_request(CONNECT, &address("origin.test", port))
        .await;
    assert_eq!(code, 6);
    for request in [
        format!("GET http://origin.test:{port}/ HTTP/1.1\r\n\r\n"),
        format!("CONNECT origin.test:{port} HTTP/1.1\r\n\r\n"),
    ] {
        let answer = world.answer(request).await;
        assert!(
            answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"),
            "{answer}"
        );
        assert!(answer.ends_with("\r\n\r\nupstream failure"), "{answer}");
    }
}
