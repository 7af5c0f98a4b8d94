//! Many clients at once, and clients that hold on to what they were given (THREATS 32).

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use crate::harness::{
    CONNECT, Datagrams, GREETING, Setup, UDP_ASSOCIATE, Wire, address, bound, name, request, within,
};

/// An origin for many: HTTP/1.1 where a request comes, else an echo. Ends with the set.
async fn origin(tasks: &mut JoinSet<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = UdpSocket::bind(("127.0.0.1", port)).await.unwrap();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    let got = &buffer[..length];
                    let answer = if got.starts_with(b"GET /") {
                        &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"[..]
                    } else {
                        got
                    };
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    tasks.spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            socket.send_to(&buffer[..length], from).await.unwrap();
        }
    });
    port
}

/// One client, which checks its own verdict.
async fn client(number: usize, http: std::net::SocketAddr, socks: std::net::SocketAddr, port: u16) {
    let allowed = number.is_multiple_of(2);
    let host = if allowed { "origin.test" } else { "other.test" };
    match (number / 2) % 4 {
        0 => {
            let mut client = Wire::connect(http).await;
            for _ in 0..3 {
                client
                    .send(format!("GET http://{host}:{port}/ HTTP/1.1\r\n\r\n"))
                    .await;
                let answer = client.message().await;
                let status = if allowed {
                    "HTTP/1.1 200 "
                } else {
                    "HTTP/1.1 403 "
                };
                assert!(answer.starts_with(status), "{number} {answer}");
            }
        }
        1 => {
            let mut client = Wire::connect(http).await;
            client
                .send(format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n"))
                .await;
            let answer = client.message().await;
            if allowed {
                assert!(answer.starts_with("HTTP/1.1 200 "), "{number} {answer}");
                echo(client, number).await;
            } else {
                assert!(answer.starts_with("HTTP/1.1 403 "), "{number} {answer}");
            }
        }
        2 => {
            let mut client = greeted(socks).await;
            client
                .send(request(CONNECT, &name(host.as_bytes(), port)))
                .await;
            let reply = client.exactly(10).await;
            assert_eq!(reply[1], if allowed { 0 } else { 2 }, "{number}");
            if allowed {
                echo(client, number).await;
            }
        }
        _ => {
            let mut control = greeted(socks).await;
            control
                .send(request(UDP_ASSOCIATE, &address("0.0.0.0", 0)))
                .await;
            let relay = bound(&control.exactly(10).await);
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let association = Datagrams {
                control,
                socket,
                relay,
            };
            association
                .send(&address("other.test", port), b"refused")
                .await;
            association
                .send(&address("origin.test", port), b"permitted")
                .await;
            // The refused one comes back to nobody.
            assert!(
                association.receive().await.ends_with(b"permitted"),
                "{number}"
            );
        }
    }
}

async fn greeted(socks: std::net::SocketAddr) -> Wire {
    let mut client = Wire::connect(socks).await;
    client.send(GREETING).await;
    assert_eq!(client.exactly(2).await, [5, 0]);
    client
}

async fn echo(mut client: Wire, number: usize) {
    let text = format!("tunnel {number}");
    client.send(&text).await;
    assert_eq!(client.exactly(text.len()).await, text.as_bytes());
    client.finish().await;
    assert_eq!(client.rest().await, b"");
}

/// Open file descriptors of this process, where the system tells. Other tests have some as well, so this is run in a process of its own.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Runs the named test of this binary alone in a new process.
fn alone(test: &str) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--test-threads=1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[test]
fn five_hundred_mixed_clients_get_their_verdicts_and_nothing_is_left() {
    alone("load::five_hundred_clients");
}

#[tokio::test]
#[ignore = "counts the descriptors of its process; run by the test above in one of its own"]
async fn five_hundred_clients() {
    let mut origins = JoinSet::new();
    let port = origin(&mut origins).await;
    let world = Setup::usual()
        .limits(|limits| limits.pooled_idle = Duration::from_millis(50))
        .start()
        .await;
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = (descriptors(), metrics.num_alive_tasks());
    let mut clients = JoinSet::new();
    for number in 0..500 {
        clients.spawn(client(
            number,
            world.proxy.http_addr(),
            world.socks_addr(),
            port,
        ));
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    drop(clients);
    // Kept upstream connections are closed after their time.
    within("descriptors and tasks to be given back", async {
        while descriptors() > before.0 || metrics.num_alive_tasks() > before.1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let world = Setup::usual()
        .limits(|limits| {
            limits.request_head = Duration::from_millis(30);
            limits.handshake = Duration::from_millis(30);
        })
        .start()
        .await;
    for bytes in [
        "",
        "GET / HT",
        "GET / HTTP/1.1\r\nHost: origin.test\r\nX: ",
        "CONNECT origin.test:443 HTTP/1.1\r\n",
    ] {
        let mut client = world.http().await;
        client.send(bytes).await;
        // Whatever is answered, it ends.
        client.rest().await;
    }
    for bytes in [
        &[][..],
        &[5],
        &[5, 2, 0],
        &[5, 1, 0],
        &[5, 1, 0, 5, 1, 0, 3, 200, b'a'],
    ] {
        let mut client = world.socks().await;
        client.send(bytes).await;
        client.rest().await;
    }
    assert_eq!(world.events(), Vec::<String>::new());
}

#[tokio::test]
async fn an_idle_kept_connection_is_closed() {
    let world = Setup::new()
        .limits(|limits| limits.request_head = Duration::from_millis(50))
        .start()
        .await;
    let mut client = world.http().await;
    client.send("GET http://other.test/ HTTP/1.1\r\n\r\n").await;
    client.message().await;
    client.rest().await;
}

#[tokio::test]
async fn a_body_that_stands_still_is_cut_off_on_both_sides() {
    let world = Setup::usual()
        .limits(|limits| limits.body_idle = Duration::from_millis(30))
        .start()
        .await;
    let origin = crate::harness::Origin::start().await;
    let target = format!("http://origin.test:{}/", origin.port);
    let mut client = world.http().await;
    client
        .send(format!(
            "POST {target} HTTP/1.1\r\ncontent-length: 10\r\n\r\nhalf"
        ))
        .await;
    let mut upstream = origin.accept().await;
    upstream.head().await;
    upstream.rest().await;
    client.rest().await;
    let mut client = world.http().await;
    client.send(format!("GET {target} HTTP/1.1\r\n\r\n")).await;
    let mut upstream = origin.accept().await;
    upstream.head().await;
    upstream
        .send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        .await;
    client.rest().await;
    upstream.rest().await;
}

#[tokio::test]
async fn connections_are_bounded_and_the_next_waits_its_turn() {
    let world = Setup::new()
        .limits(|limits| limits.connections = 2)
        .start()
        .await;
    let mut first = world.http().await;
    let mut second = world.socks().await;
    first.send("GET http://a.test/ HTTP/1.1\r\n\r\n").await;
    first.message().await;
    second.send(GREETING).await;
    second.exactly(2).await;
    // The system has accepted it, the proxy has not.
    let mut third = world.http().await;
    third.send("GET http://b.test/ HTTP/1.1\r\n\r\n").await;
    first.send("GET http://c.test/ HTTP/1.1\r\n\r\n").await;
    first.message().await;
    assert_eq!(world.audit.take().len(), 2);
    drop(second);
    assert!(third.message().await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn shutdown_drains_and_then_closes() {
    let mut world = Setup::usual()
        .limits(|limits| limits.drain = Duration::from_millis(50))
        .start()
        .await;
    let origin = crate::harness::Origin::start().await;
    let mut tunnel = world.http().await;
    tunnel
        .send(format!(
            "CONNECT origin.test:{} HTTP/1.1\r\n\r\n",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    tunnel.head().await;
    let mut idle = world.http().await;
    idle.send("GET http://other.test/ HTTP/1.1\r\n\r\n").await;
    idle.message().await;
    let handle = world.handle.take().unwrap();
    let (ended, ()) = tokio::join!(handle.shutdown(), async {
        // An idle connection ends at once; a tunnel goes on for as long as the limit says.
        idle.closed().await;
        tunnel.send("x").await;
        assert_eq!(upstream.exactly(1).await, b"x");
    });
    ended.unwrap();
    tunnel.closed().await;
    assert!(
        tokio::net::TcpStream::connect(world.proxy.http_addr())
            .await
            .is_err()
    );
}
