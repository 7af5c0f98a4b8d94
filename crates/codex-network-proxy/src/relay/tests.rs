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
