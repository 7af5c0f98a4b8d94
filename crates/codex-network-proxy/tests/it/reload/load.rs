//! Reloading under load: every answer is that of one policy or the other, and soon that of the newer one; a large policy
//! delays nobody.

use std::collections::VecDeque;
use std::fmt::Write as _;

use tokio::task::JoinSet;

use super::*;

/// The answer to a request for `a.test`, and when it was asked.
struct Asked {
    at: Instant,
    permitted: bool,
}

const CLIENTS: u64 = 8;
const EVERY: Duration = Duration::from_millis(CLIENTS);

/// One of the clients that together ask a thousand times a second, until the time is over.
async fn ask(address: std::net::SocketAddr, end: Instant) -> Vec<Asked> {
    let mut client = Wire::connect(address).await;
    let mut beat = tokio::time::interval(EVERY);
    let mut answers = Vec::new();
    while Instant::now() < end {
        beat.tick().await;
        let at = Instant::now();
        client.send("GET http://a.test:9/ HTTP/1.1\r\n\r\n").await;
        let answer = client.message().await;
        let permitted = answer.starts_with("HTTP/1.1 502");
        assert!(
            permitted || answer.contains("\"reason\":\"not_allowed\""),
            "{answer}"
        );
        answers.push(Asked { at, permitted });
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_a_second_agree_with_one_of_two_policies() {
    let watched = Watched::with(&allowing(&["a.test"])).await;
    let start = Instant::now();
    let end = start + Duration::from_secs(4);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(ask(watched.proxy.http_addr(), end));
    }
    // What holds from when on.
    let mut flips = VecDeque::from([(start, true)]);
    let mut beat = tokio::time::interval(Duration::from_millis(400));
    beat.tick().await;
    let mut number = 0;
    while Instant::now() + Duration::from_millis(400) < end {
        beat.tick().await;
        number += 1;
        let permits = number % 2 == 0;
        let text = allowing(if permits { &["a.test"] } else { &["b.test"] });
        // In place, and as a replacement.
        if number % 4 < 2 {
            watched.write("home/config.toml", &text);
        } else {
            watched.write("home/new.toml", &text);
            fs::rename(
                watched.path("home/new.toml"),
                watched.path("home/config.toml"),
            )
            .unwrap();
        }
        flips.push_back((Instant::now(), permits));
    }
    let mut answers = 0;
    while let Some(asked) = clients.join_next().await {
        for Asked { at, permitted } in asked.unwrap() {
            answers += 1;
            let before = flips.iter().rev().find(|(from, _)| *from <= at);
            let (from, permits) = before.copied().unwrap();
            let settled = at >= from + Duration::from_millis(200);
            if settled {
                assert_eq!(permitted, permits, "{:?} after the change", at - from);
            }
        }
    }
    assert!(
        number >= 8 && answers > 1_000,
        "{number} flips, {answers} answers"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_patterns_delay_nobody() {
    // Fewer without optimisation, where reading them takes a hundred times as long.
    let count: usize = if cfg!(debug_assertions) {
        20_000
    } else {
        100_000
    };
    let many = |first: usize| {
        let mut text = allowing(&["a.test"]);
        text.push_str("denied_domains = [\n");
        for number in first..first + count {
            writeln!(text, "  \"*.host-{number}.example.com\",").unwrap();
        }
        text + "]\n"
    };
    let mut watched = Watched::with(&many(0)).await;
    let end = Instant::now() + Duration::from_secs(2);
    let client = tokio::spawn(ask_alone(watched.proxy.http_addr(), end));
    watched.write("home/new.toml", &many(count / 2));
    let last_pattern = format!("*.host-{}.example.com", count / 2 + count - 1);
    let changed = Instant::now();
    fs::rename(
        watched.path("home/new.toml"),
        watched.path("home/config.toml"),
    )
    .unwrap();
    watched
        .until("the new list", |status| {
            status
                .config
                .rules
                .denied
                .iter()
                .next_back()
                .is_some_and(|last| last.pattern.to_string() == last_pattern)
        })
        .await;
    let taken = changed.elapsed();
    let delays = client.await.unwrap();
    let slow = delays.into_iter().max().unwrap();
    // Without optimisation, and beside other tests, only the order of magnitude can be held.
    let (reload, delay) = if cfg!(debug_assertions) {
        (Duration::from_secs(8), Duration::from_secs(2))
    } else {
        (Duration::from_millis(300), Duration::from_millis(5))
    };
    println!("reloaded after {taken:?}; the slowest answer took {slow:?}");
    assert!(taken < reload, "{taken:?}");
    assert!(slow < delay, "{slow:?}");
}

/// How long each answer took.
async fn ask_alone(address: std::net::SocketAddr, end: Instant) -> Vec<Duration> {
    let mut client = Wire::connect(address).await;
    let mut beat = tokio::time::interval(Duration::from_millis(1));
    let mut delays = Vec::new();
    while Instant::now() < end {
        beat.tick().await;
        let at = Instant::now();
        client
            .send("GET http://refused.test/ HTTP/1.1\r\n\r\n")
            .await;
        client.message().await;
        delays.push(at.elapsed());
    }
    delays
}
