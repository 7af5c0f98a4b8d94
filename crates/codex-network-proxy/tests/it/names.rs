//! Names under load: how often a resolver is asked, and who waits for a slow one.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::harness::{Answer, Setup, within};

/// An origin that answers each connection once.
async fn origin(tasks: &mut JoinSet<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(1..) = stream.read(&mut buffer).await {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

async fn get(proxy: std::net::SocketAddr, host: &str, port: u16) -> String {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let request = format!("GET http://{host}:{port}/ HTTP/1.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_thousand_connections_to_a_hundred_names_ask_a_hundred_times() {
    const NAMES: usize = 100;
    let mut tasks = JoinSet::new();
    let port = origin(&mut tasks).await;
    let mut setup = Setup::usual();
    for number in 0..NAMES {
        setup = setup.name(&format!("n{number}.origin.test"), &["127.0.0.1"]);
    }
    let world = setup.start().await;
    let proxy = world.proxy.http_addr();
    let mut clients = JoinSet::new();
    for number in 0..10 * NAMES {
        clients.spawn(async move {
            let host = format!("n{}.origin.test", number % NAMES);
            get(proxy, &host, port).await
        });
    }
    let answers = within("a thousand answers", clients.join_all()).await;
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert_eq!(world.script.asked().len(), NAMES);
}

#[tokio::test]
async fn a_name_that_nobody_answers_for_delays_no_other() {
    let mut tasks = JoinSet::new();
    let port = origin(&mut tasks).await;
    let world = Setup::usual()
        .answer("silent.origin.test", Answer::Silence)
        .start()
        .await;
    let proxy = world.proxy.http_addr();
    let mut stuck = JoinSet::new();
    for _ in 0..500 {
        stuck.spawn(get(proxy, "silent.origin.test", port));
    }
    within("the silent name to be asked for", async {
        while world.script.asked().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The silent ones give up after the limit of a look-up, which is longer than the patience of this test.
    for _ in 0..20 {
        let answer = within("an answer", get(proxy, "origin.test", port)).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    assert!(stuck.try_join_next().is_none());
    let asked = world.script.asked();
    let silent = asked.iter().filter(|name| *name == "silent.origin.test");
    assert_eq!(silent.count(), 1);
}
