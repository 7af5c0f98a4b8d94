//! What the clients of a soak do: everything that is allowed at every door, and everything that is not.
//!
//! Main function: [`one`]. Each thing checks its own verdict and tells it to the tally.

use std::time::Duration;

use http::Version;
use http_body_util::BodyExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::time::{sleep, timeout};

use super::Soak;
use super::dice::Dice;
use super::origins::{BULK, FAULTS};
use crate::harness::http2::{END_HEADERS, Frame, HEADERS, RST_STREAM, block};
use crate::harness::site::{Browser, frames, text};
use crate::harness::tls::Client;
use crate::harness::{CONNECT, Wire, address, name, within};

/// Longer than any limit of the proxies.
const PATIENCE: Duration = Duration::from_secs(8);

/// One thing that a client does.
pub(super) async fn one(soak: &Soak, dice: &mut Dice) {
    let pages = soak.stage.pages.port;
    match dice.below(20) {
        0 | 1 => kept(soak, dice).await,
        2 => tunnel(soak, dice).await,
        3 => bulk(soak).await,
        4 | 5 => socks(soak, dice).await,
        6 => datagrams(soak).await,
        7 | 8 => fault(soak, dice).await,
        9 => fault_in_tunnel(soak, dice).await,
        10 | 11 => names(soak, dice).await,
        12 => inward(soak).await,
        13 => vanish(soak, dice).await,
        14 => slow(soak, dice).await,
        15 => reads_nothing(soak).await,
        16 | 17 => inside(soak, dice).await,
        18 => flood_inside(soak).await,
        _ => {
            let mut client = Wire::connect(soak.stage.full.proxy.http_addr()).await;
            let host = dice.pick(&["denied.pages.soak.test", "other.soak.test"]);
            ask(soak, &mut client, host, pages, "/", &[403]).await;
        }
    }
}

/// Asks for a page of the good origin and demands this status.
pub(super) async fn page(soak: &Soak, client: &mut Wire, host: &'static str, status: u16) {
    ask(soak, client, host, soak.stage.pages.port, "/", &[status]).await;
}

/// Sends a request and waits for a whole answer with one of these statuses.
async fn ask(
    soak: &Soak,
    client: &mut Wire,
    host: &'static str,
    port: u16,
    path: &str,
    statuses: &[u16],
) {
    client
        .send(format!("GET http://{host}:{port}{path} HTTP/1.1\r\n\r\n"))
        .await;
    let answer = client.message().await;
    let status = status(&answer);
    assert!(statuses.contains(&status), "{host}{path}: {answer}");
    if status == 200 && path == "/" {
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    }
    let mut tally = soak.tally.lock().unwrap();
    if host.starts_with("flips.") {
        // It may have led to where nobody listens, which was permitted.
        tally.unheard(host);
    } else {
        // A name that does not resolve is refused.
        tally.told(host, status == 200);
    }
}

fn status(answer: &str) -> u16 {
    let word = answer.split(' ').nth(1).unwrap_or_default();
    word.parse()
        .unwrap_or_else(|_| panic!("no status: {answer}"))
}

/// Several requests on one connection, permitted and refused.
async fn kept(soak: &Soak, dice: &mut Dice) {
    let mut client = Wire::connect(soak.stage.full.proxy.http_addr()).await;
    for _ in 0..=dice.below(5) {
        let (host, status) = dice.pick(&[
            ("kept.pages.soak.test", 200),
            ("denied.pages.soak.test", 403),
            ("other.soak.test", 403),
        ]);
        page(soak, &mut client, host, status).await;
    }
}

/// A CONNECT that was answered.
async fn connected(soak: &Soak, host: &'static str, port: u16) -> (Wire, u16) {
    let mut client = Wire::connect(soak.stage.full.proxy.http_addr()).await;
    client
        .send(format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n"))
        .await;
    let status = status(&client.head().await);
    soak.tally.lock().unwrap().told(host, status != 403);
    (client, status)
}

async fn echo(mut client: Wire, length: usize) {
    let text = "echo ".repeat(length);
    client.send(&text).await;
    assert_eq!(client.exactly(text.len()).await, text.as_bytes());
    client.finish().await;
    assert_eq!(client.rest().await, b"");
}

async fn tunnel(soak: &Soak, dice: &mut Dice) {
    let port = soak.stage.pages.port;
    if dice.below(3) == 0 {
        let (_, status) = connected(soak, "denied.pages.soak.test", port).await;
        assert_eq!(status, 403);
    } else {
        let (client, status) = connected(soak, "tunnel.pages.soak.test", port).await;
        assert_eq!(status, 200);
        echo(client, 1 + usize::try_from(dice.below(500)).unwrap()).await;
    }
}

async fn bulk(soak: &Soak) {
    let port = soak.stage.pages.port;
    let (mut client, status) = connected(soak, "bulk.pages.soak.test", port).await;
    assert_eq!(status, 200);
    client.send("GET /bulk HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.message().await.matches('x').count(), BULK);
}

async fn socks(soak: &Soak, dice: &mut Dice) {
    let permitted = dice.below(3) != 0;
    let host = if permitted {
        "socks.pages.soak.test"
    } else {
        "denied.pages.soak.test"
    };
    let target = name(host.as_bytes(), soak.stage.pages.port);
    let (client, code) = soak.stage.full.socks_request(CONNECT, &target).await;
    assert_eq!(code, if permitted { 0 } else { 2 });
    soak.tally.lock().unwrap().told(host, permitted);
    if permitted {
        echo(client, 1 + usize::try_from(dice.below(500)).unwrap()).await;
    }
}

/// A change of the policy has the targets judged anew, so nobody knows how often that is.
async fn datagrams(soak: &Soak) {
    let port = soak.stage.pages.port;
    let association = soak.stage.full.associate().await;
    {
        let mut tally = soak.tally.lock().unwrap();
        for host in ["datagrams.pages.soak.test", "denied-datagrams.soak.test"] {
            tally.unheard(host);
        }
    }
    for number in 0..5 {
        let refused = address("denied-datagrams.soak.test", port);
        association.send(&refused, b"refused").await;
        let text = format!("permitted {number}");
        let permitted = address("datagrams.pages.soak.test", port);
        // What is under way while the policy changes may be lost, as any datagram may.
        let back = async {
            loop {
                association.send(&permitted, text.as_bytes()).await;
                let back = timeout(Duration::from_millis(300), association.receive());
                if let Ok(back) = back.await {
                    return back;
                }
            }
        };
        let back = within("an answer to one of many datagrams", back).await;
        assert!(back.windows(9).any(|word| word == b"permitted"));
    }
}

/// An origin that fails. Whatever it does, the client gets an end, and no second answer.
async fn fault(soak: &Soak, dice: &mut Dice) {
    let path = dice.pick(&FAULTS);
    let port = soak.stage.faulty.port;
    let host = "forward.faulty.soak.test";
    let mut client = Wire::connect(soak.stage.full.proxy.http_addr()).await;
    client
        .send(format!("GET http://{host}:{port}{path} HTTP/1.1\r\n\r\n"))
        .await;
    if path == "/flood" {
        let head = client.head().await;
        assert_eq!(status(&head), 200, "{head}");
        client.exactly(1 << 20).await;
        soak.tally.lock().unwrap().told(host, true);
        return;
    }
    let head = client.head().await;
    let status = status(&head);
    let good = match path {
        "/trickle" | "/short" | "/long" | "/greets" | "/chunks" => status < 300,
        "/reset" | "/close" | "/twice" | "/garbage" => status == 502,
        // Too long, and on a busy machine too late as well.
        "/head" => status == 502 || status == 504,
        "/stall" => status == 504,
        other => panic!("nothing is known of {other}"),
    };
    assert!(good, "{path}: {head}");
    soak.tally.lock().unwrap().told(host, true);
    client.finish().await;
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, client.stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "{path} has no end");
    let rest = String::from_utf8_lossy(&rest);
    assert!(!rest.contains("evil"), "{path}: {rest}");
}

async fn fault_in_tunnel(soak: &Soak, dice: &mut Dice) {
    let path = dice.pick(&FAULTS);
    let port = soak.stage.faulty.port;
    let (mut client, status) = connected(soak, "tunnel.faulty.soak.test", port).await;
    assert_eq!(status, 200);
    client.send(format!("GET {path} HTTP/1.1\r\n\r\n")).await;
    let end = async {
        let mut buffer = vec![0; 16 * 1024];
        let mut all = 0;
        while let Ok(length @ 1..) = client.stream.read(&mut buffer).await {
            all += length;
            if all > 1 << 20 {
                break;
            }
        }
    };
    let ended = timeout(PATIENCE, end).await;
    assert!(ended.is_ok(), "{path} has no end in a tunnel");
}

/// Names that fail, stall, are slow and change.
async fn names(soak: &Soak, dice: &mut Dice) {
    let (host, statuses): (_, &[u16]) = dice.pick(&[
        ("fails.pages.soak.test", &[502][..]),
        ("unknown.pages.soak.test", &[502]),
        ("empty.pages.soak.test", &[502]),
        ("stalls.pages.soak.test", &[504]),
        ("slow.pages.soak.test", &[200]),
        ("flips.pages.soak.test", &[200, 502]),
    ]);
    let mut client = Wire::connect(soak.stage.full.proxy.http_addr()).await;
    let port = soak.stage.pages.port;
    ask(soak, &mut client, host, port, "/", statuses).await;
}

/// Permitted names that lead inward are refused at each door.
async fn inward(soak: &Soak) {
    let strict = &soak.stage.strict;
    let port = soak.stage.pages.port;
    let host = "strict.test";
    let mut client = strict.http().await;
    ask(soak, &mut client, host, port, "/", &[403]).await;
    let mut client = strict.http().await;
    client
        .send(format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n"))
        .await;
    assert_eq!(status(&client.head().await), 403);
    let target = name(host.as_bytes(), port);
    let (_, code) = strict.socks_request(CONNECT, &target).await;
    assert_eq!(code, 2);
    let mut tally = soak.tally.lock().unwrap();
    tally.told(host, false);
    tally.told(host, false);
}

/// A client that goes away in the middle of anything.
async fn vanish(soak: &Soak, dice: &mut Dice) {
    let full = &soak.stage.full;
    let (pages, faulty) = (soak.stage.pages.port, soak.stage.faulty.port);
    let bytes = match dice.below(6) {
        0 => String::new(),
        1 => "GET http://vanish.pages.soak.test/ HT".to_owned(),
        2 => format!("GET http://vanish.pages.soak.test:{pages}/ HTTP/1.1\r\n\r\n"),
        3 => format!("GET http://slow.vanish.pages.soak.test:{pages}/bulk HTTP/1.1\r\n\r\n"),
        4 => format!(
            "POST http://vanish.faulty.soak.test:{faulty}/stall HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf"
        ),
        _ => format!("CONNECT vanish.pages.soak.test:{pages} HTTP/1.1\r\n\r\nearly"),
    };
    for host in [
        "vanish.pages.soak.test",
        "slow.vanish.pages.soak.test",
        "vanish.faulty.soak.test",
    ] {
        soak.tally.lock().unwrap().unheard(host);
    }
    let mut client = full.http().await;
    client.send(bytes).await;
    sleep(Duration::from_millis(dice.below(60))).await;
    if dice.below(2) == 0 {
        client.reset();
    }
}

/// A client that sends a byte now and then, until it is cut off.
async fn slow(soak: &Soak, dice: &mut Dice) {
    let full = &soak.stage.full;
    let (mut client, bytes): (_, &[u8]) = if dice.below(2) == 0 {
        (
            full.http().await,
            b"GET http://slow.soak.test/ HTTP/1.1\r\nx: ",
        )
    } else {
        (full.socks().await, &[5, 3, 0, 1])
    };
    let cut = async {
        for byte in bytes.iter().chain(std::iter::repeat(&b'x')) {
            let sent = tokio::io::AsyncWriteExt::write_all(&mut client.stream, &[*byte]).await;
            let mut answer = [0; 512];
            let read = timeout(Duration::from_millis(100), client.stream.read(&mut answer)).await;
            if sent.is_err() || matches!(read, Ok(Ok(0) | Err(_))) {
                return;
            }
        }
    };
    let ended = timeout(PATIENCE, cut).await;
    assert!(ended.is_ok(), "a slow client was never cut off");
}

/// A client that asks for much and reads nothing of it is cut off, once all buffers on the way are full. On a busy machine
/// that takes its time.
async fn reads_nothing(soak: &Soak) {
    for pause in [3, 9, 27] {
        if is_cut_off_after(soak, Duration::from_secs(pause)).await {
            return;
        }
    }
    panic!("a client that did not read was never cut off");
}

/// Whether all that there is to be read is what was sent during the pause.
async fn is_cut_off_after(soak: &Soak, pause: Duration) -> bool {
    let faulty = soak.stage.faulty.port;
    let host = "unread.faulty.soak.test";
    soak.tally.lock().unwrap().unheard(host);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let connecting = socket.connect(soak.stage.full.proxy.http_addr());
    let stream = within("a connection", connecting).await.unwrap();
    let mut client = Wire::new(stream);
    client
        .send(format!("GET http://{host}:{faulty}/flood HTTP/1.1\r\n\r\n"))
        .await;
    sleep(pause).await;
    let end = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(1..) = client.stream.read(&mut buffer).await {}
    };
    timeout(PATIENCE, end).await.is_ok()
}

/// Requests inside of opened TLS, over both versions.
async fn inside(soak: &Soak, dice: &mut Dice) {
    let (reading, site) = (&soak.stage.reading, &soak.stage.site);
    let version = dice.pick(&[Version::HTTP_11, Version::HTTP_2]);
    let mut browser = Browser::open(reading, site.port, version).await;
    soak.tally.lock().unwrap().told("origin.test", true);
    for _ in 0..=dice.below(4) {
        let permitted = dice.below(2) == 0;
        let method = if permitted { "GET" } else { "DELETE" };
        let request = http::Request::builder().method(method).uri("/");
        let answer = browser
            .ask(site.port, request.body(frames([])).unwrap())
            .await;
        {
            // Host and address are permitted before the method is looked at, and both are on record.
            let mut tally = soak.tally.lock().unwrap();
            tally.told("origin.test", true);
            if !permitted {
                tally.told("origin.test", false);
            }
        }
        assert_eq!(answer.status().as_u16(), if permitted { 200 } else { 403 });
        if permitted {
            assert_eq!(text(answer.into_body()).await, "small");
        } else {
            within("a refusal", answer.into_body().collect())
                .await
                .unwrap();
        }
    }
}

/// Requests that are taken back at once, until the connection is ended.
async fn flood_inside(soak: &Soak) {
    let (reading, site) = (&soak.stage.reading, &soak.stage.flooded);
    let host = "flood.origin.test";
    soak.tally.lock().unwrap().unheard(host);
    let tunnel = reading.connected(host, site.port).await;
    let flooding = Client {
        name: host,
        ..Client::speaking(&["h2"])
    };
    let stream = flooding.handshake(reading, tunnel).await.unwrap();
    let mut client = Wire::new(stream);
    client.begin_http2().await;
    let fields = block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/"),
        (":authority", host),
    ]);
    for stream in (1..4_000).step_by(2) {
        let both = [
            Frame::new(HEADERS, END_HEADERS | 1, stream, fields.clone()),
            Frame::new(RST_STREAM, 0, stream, 8_u32.to_be_bytes()),
        ];
        if !client.flood(both.into_iter()).await {
            return;
        }
    }
}
