use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::{Relay, SPARE};

const HALF_CLOSED: Duration = Duration::from_secs(900);

/// A relay between two pipes: (the client's end, the origin's end, the relay).
fn relay(
    early: &'static [u8],
    idle: Option<Duration>,
) -> (DuplexStream, DuplexStream, JoinHandle<io::Result<()>>) {
    let (client, downstream) = duplex(1000);
    let (origin, upstream) = duplex(1000);
    let relay = tokio::spawn(Relay::new(downstream, upstream, early, idle, HALF_CLOSED));
    (client, origin, relay)
}

#[tokio::test]
async fn passes_bytes_and_half_closes_both_ways() -> io::Result<()> {
    let (mut client, mut origin, relay) = relay(b"early ", None);
    client.write_all(b"question").await?;
    client.shutdown().await?;
    let mut question = String::new();
    origin.read_to_string(&mut question).await?;
    assert_eq!(question, "early question");
    origin.write_all(b"answer after the client's end").await?;
    drop(origin);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await?;
    assert_eq!(answer, "answer after the client's end");
    relay.await?
}

#[tokio::test]
async fn passes_more_than_any_buffer_holds() -> io::Result<()> {
    let (mut client, mut origin, relay) = relay(b"", None);
    let sent: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let expected = sent.clone();
    let writer = tokio::spawn(async move {
        client.write_all(&sent).await?;
        client.shutdown().await?;
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await
    });
    let mut received = Vec::new();
    origin.read_to_end(&mut received).await?;
    assert!(received == expected);
    drop(origin);
    writer.await??;
    relay.await?
}

#[tokio::test(start_paused = true)]
async fn ends_when_nothing_moves_for_the_idle_limit() -> io::Result<()> {
    let (mut client, mut origin, relay) = relay(b"", Some(Duration::from_secs(10)));
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(9)).await;
        client.write_all(b"x").await?;
        assert_eq!(origin.read_u8().await?, b'x');
    }
    assert!(!relay.is_finished());
    let error = relay.await?.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    Ok(())
}

#[tokio::test]
async fn an_idle_relay_holds_no_buffer() -> io::Result<()> {
    let (mut client, mut origin, _relay) = relay(b"", None);
    client.write_all(b"x").await?;
    assert_eq!(origin.read_u8().await?, b'x');
    tokio::task::yield_now().await;
    assert_eq!(
        SPARE.with_borrow(Vec::len),
        1,
        "the one buffer that was used is spare again"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn gives_up_on_a_side_that_never_ends_after_the_other_has() -> io::Result<()> {
    let (mut client, mut origin, relay) = relay(b"", None);
    // Open on both sides it may be idle for ever.
    tokio::time::sleep(10 * HALF_CLOSED).await;
    client.shutdown().await?;
    tokio::time::sleep(HALF_CLOSED / 2).await;
    // Traffic the other way is life.
    origin.write_all(b"late").await?;
    let mut late = [0; 4];
    client.read_exact(&mut late).await?;
    tokio::time::sleep(HALF_CLOSED * 2 / 3).await;
    assert!(!relay.is_finished());
    let ended = relay.await?;
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    drop(origin);
    Ok(())
}

/// Bulk between real sockets, which the system moves by itself where it can.
mod sockets {
    use std::net::Ipv4Addr;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test's own two ends")]
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (one, other) = tokio::join!(connecting, listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    /// A relay between two sockets: (the client's end, the origin's end, the relay).
    async fn relay(idle: Option<Duration>) -> (TcpStream, TcpStream, JoinHandle<io::Result<()>>) {
        let (client, downstream) = pair().await;
        let (origin, upstream) = pair().await;
        let relay = tokio::spawn(Relay::new(downstream, upstream, b"", idle, HALF_CLOSED));
        (client, origin, relay)
    }

    fn pattern(length: usize, seed: usize) -> Vec<u8> {
        (0..length)
            .map(|place| ((place * 31 + seed) % 251) as u8)
            .collect()
    }

    /// Sends it all and ends the side, while reading all that comes.
    async fn talk(mut stream: TcpStream, sent: Vec<u8>) -> Vec<u8> {
        let (mut from, mut to) = stream.split();
        let send = async {
            to.write_all(&sent).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let (read, ()) = tokio::join!(from.read_to_end(&mut got), send);
        read.unwrap();
        got
    }

    #[tokio::test]
    async fn bulk_arrives_as_it_was_sent_both_ways_at_once() {
        let (client, origin, relay) = relay(None).await;
        let (up, down) = (pattern(20_000_000, 1), pattern(15_000_000, 2));
        let (at_client, at_origin) =
            tokio::join!(talk(client, up.clone()), talk(origin, down.clone()));
        assert!(at_client == down && at_origin == up, "other bytes arrived");
        relay.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn bulk_and_small_talk_take_turns() {
        let (mut client, mut origin, relay) = relay(None).await;
        for round in 0..4 {
            let bulk = pattern(3_000_000, round);
            let mut got = vec![0; bulk.len()];
            let (sent, read) = tokio::join!(origin.write_all(&bulk), client.read_exact(&mut got));
            sent.unwrap();
            read.unwrap();
            assert!(got == bulk, "other bytes arrived");
            for word in [&b"ping"[..], b"pong"] {
                origin.write_all(word).await.unwrap();
                let mut got = [0; 4];
                client.read_exact(&mut got).await.unwrap();
                assert_eq!(got, word);
            }
        }
        drop((client, origin));
        relay.await.unwrap().unwrap();
    }

    /// What a tunnel leaves in its pipe when it ends reaches nobody else.
    #[tokio::test]
    async fn a_tunnel_that_is_cut_leaves_nothing_to_the_next() {
        for round in 0..20 {
            let (client, mut origin, relay) = relay(None).await;
            let flood = tokio::spawn(async move {
                let bulk = vec![b'x'; 1_000_000];
                while origin.write_all(&bulk).await.is_ok() {}
            });
            // The client does not read, so that the pipe is full when all of it is dropped.
            tokio::task::yield_now().await;
            for _ in 0..50 * round {
                tokio::task::yield_now().await;
            }
            relay.abort();
            drop(client);
            let _ = relay.await;
            flood.await.unwrap();
        }
        let (client, origin, _relay) = self::relay(None).await;
        let (up, down) = (pattern(2_000_000, 1), pattern(2_000_000, 2));
        let (at_client, at_origin) =
            tokio::join!(talk(client, up.clone()), talk(origin, down.clone()));
        assert!(at_client == down && at_origin == up, "other bytes arrived");
    }

    #[tokio::test]
    async fn bulk_that_nobody_reads_ends_with_the_idle_limit() {
        let (client, mut origin, relay) = relay(Some(Duration::from_millis(300))).await;
        let flood = tokio::spawn(async move {
            let bulk = vec![b'x'; 1_000_000];
            while origin.write_all(&bulk).await.is_ok() {}
        });
        let ended = relay.await.unwrap().unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        drop(client);
        flood.await.unwrap();
    }

    #[tokio::test]
    async fn a_reset_in_the_middle_of_bulk_ends_both_sides() {
        let (mut client, origin, relay) = relay(None).await;
        let flood = tokio::spawn(async move {
            let mut origin = origin;
            let bulk = vec![b'x'; 1_000_000];
            for _ in 0..8 {
                origin.write_all(&bulk).await.unwrap();
            }
            socket2::SockRef::from(&origin)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        });
        let mut sink = vec![0; 1 << 20];
        let mut ended = false;
        while !ended {
            ended = matches!(client.read(&mut sink).await, Ok(0) | Err(_));
        }
        flood.await.unwrap();
        assert!(relay.await.unwrap().is_err());
    }
}
