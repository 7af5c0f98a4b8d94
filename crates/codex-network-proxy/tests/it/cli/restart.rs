//! Restarts that no client notices: over a socket that outlives the process, and behind a balancer.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::{Running, binary, skip};
use crate::harness::within;

/// How many clients ask at once.
const CLIENTS: usize = 4;

/// An origin that says yes to everything.
async fn origin(tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let mut buffer = [0; 4096];
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                while let Ok(1..) = stream.read(&mut buffer).await {
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Clients that ask one request after the other, each over a connection of its own, and accept no failure.
struct Load {
    clients: JoinSet<()>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Load {
    fn start(proxy: SocketAddr, origin: SocketAddr) -> Self {
        let mut clients = JoinSet::new();
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        for _ in 0..CLIENTS {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = within("an answer", ask(proxy, origin)).await;
                    let answer = answer.unwrap_or_else(|error| panic!("a client failed: {error}"));
                    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self {
            clients,
            stop,
            answered,
        }
    }

    /// Waits until so many more were answered, and fails where a client has failed.
    async fn more(&mut self, count: usize) {
        let wanted = self.answered.load(Ordering::Relaxed) + count;
        within("answers", async {
            while self.answered.load(Ordering::Relaxed) < wanted {
                assert!(self.clients.try_join_next().is_none(), "a client ended");
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
    }
}

async fn ask(proxy: SocketAddr, origin: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(proxy).await?;
    let request =
        format!("GET http://{origin}/ HTTP/1.1\r\nHost: {origin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The binary with `socket` as its descriptor 3, the way in which systemd passes it.
fn activated(home: &Path, socket: &std::net::TcpListener) -> Command {
    const SCRIPT: &str = r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$; export LISTEN_FDS LISTEN_PID; exec "$0" "$@""#;
    let socket: std::os::fd::OwnedFd = socket.try_clone().unwrap().into();
    let mut command = Command::new("/bin/sh");
    command
        .env_clear()
        .env("CODEX_HOME", home)
        .args(["-c", SCRIPT, env!("CARGO_BIN_EXE_codex-network-proxy")])
        .stdin(Stdio::from(socket))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn nobody_is_refused_while_a_socket_that_was_handed_over_changes_hands() {
    let home = tempfile::tempdir().unwrap();
    let mut tasks = JoinSet::new();
    let origin = origin(&mut tasks).await;
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let allow = ["--allow", "127.0.0.1"];
    let mut running = Running::start_as(activated(home.path(), &socket), &allow).await;
    assert_eq!(running.http, address);
    let mut load = Load::start(address, origin);
    for _ in 0..3 {
        load.more(50).await;
        let (code, _, stderr) = running.end("TERM").await;
        assert_eq!(code, Some(0), "{stderr}");
        running = Running::start_as(activated(home.path(), &socket), &allow).await;
    }
    load.more(50).await;
    load.end().await;
}

#[tokio::test]
async fn a_socket_that_the_configuration_does_not_permit_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let socket = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let mut command = activated(home.path(), &socket);
    let output = within("its end", command.output()).await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let expected = "the HTTP socket that was handed over listens at 0.0.0.0:";
    assert!(stderr.contains(expected), "{stderr}");
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

fn haproxy() -> Option<&'static str> {
    let works = |program: &&str| {
        let mut command = std::process::Command::new(program);
        let command = command
            .arg("-v")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    ["haproxy", "/usr/sbin/haproxy"].into_iter().find(works)
}

#[tokio::test]
async fn nobody_is_refused_while_one_of_two_behind_haproxy_leaves() {
    const TEST: &str = "nobody_is_refused_while_one_of_two_behind_haproxy_leaves";
    let Some(haproxy) = haproxy() else {
        return skip(TEST, "haproxy is not installed");
    };
    let home = tempfile::tempdir().unwrap();
    let mut tasks = JoinSet::new();
    let origin = origin(&mut tasks).await;
    let mut config = String::from(
        "defaults\n mode tcp\n retries 3\n option redispatch\n timeout connect 2s\n timeout client 10s\n timeout server 10s\n",
    );
    let front = free_port();
    config.push_str(&format!(
        "listen proxies\n bind 127.0.0.1:{front}\n balance roundrobin\n option httpchk GET /readyz\n http-check expect status 200\n"
    ));
    let mut instances = Vec::new();
    for number in 0..2 {
        let metrics = free_port();
        let at = format!("127.0.0.1:{metrics}");
        let arguments = [
            ["--allow", "127.0.0.1"],
            ["--probe-addr", &at],
            ["--drain-delay", "1"],
        ];
        let instance = Running::start_as(binary(home.path()), arguments.as_flattened()).await;
        config.push_str(&format!(
            " server s{number} {} check port {metrics} inter 100ms fall 1 rise 1\n",
            instance.http
        ));
        instances.push(instance);
    }
    let file = home.path().join("haproxy.cfg");
    std::fs::write(&file, config).unwrap();
    let mut balancer = Command::new(haproxy)
        .args(["-db", "-f"])
        .arg(&file)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let front = SocketAddr::from(([127, 0, 0, 1], front));
    within("haproxy to listen", async {
        while ask(front, origin).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut load = Load::start(front, origin);
    load.more(50).await;
    let (code, _, stderr) = instances.remove(0).end("TERM").await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("not ready any more"), "{stderr}");
    load.more(50).await;
    load.end().await;
    balancer.kill().await.unwrap();
}
