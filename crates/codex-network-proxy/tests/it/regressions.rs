//! Defects that were found from outside, each with the bytes that showed it.

use std::sync::Arc;

use codex_network_proxy::NetworkPolicyRequest;
use tokio::sync::Notify;

use crate::harness::{CONNECT, Event, Origin, Setup, name, request, within};

/// `CONNECT` has no content, so a length hides bytes of the tunnel, or makes them the proxy's.
#[tokio::test]
async fn a_connect_with_content_is_refused_before_it_is_judged() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let mut client = world.http().await;
        client
            .send(format!(
                "CONNECT origin.test:{} HTTP/1.1\r\n{framing}\r\n\r\nhello",
                origin.port
            ))
            .await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{framing}: {head}");
        assert!(head.contains("connection: close"), "{framing}: {head}");
    }
    assert!(world.events().is_empty());
    // Some clients say that there is none.
    let mut client = world.http().await;
    client
        .send(format!(
            "CONNECT origin.test:{} HTTP/1.1\r\nContent-Length: 0\r\n\r\nhello",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    assert_eq!(upstream.exactly(5).await, b"hello");
}

#[tokio::test]
async fn an_empty_host_is_replaced_by_the_targets() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    let mut client = world.http().await;
    let authority = format!("origin.test:{}", origin.port);
    client
        .send(format!("GET http://{authority}/ HTTP/1.1\r\nHost:\r\n\r\n"))
        .await;
    let mut upstream = origin.accept().await;
    let head = upstream.head().await;
    assert!(
        head.to_lowercase()
            .contains(&format!("\r\nhost: {authority}\r\n")),
        "{head}"
    );
    assert!(!head.to_lowercase().contains("host:\r\n"), "{head}");
}

const UPGRADE: &str = "Connection: upgrade\r\nUpgrade: websocket\r\n";

/// What is left of the body would be lost, or become the tunnel's first bytes.
#[tokio::test]
async fn a_request_with_a_body_is_not_upgraded() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    for (body, expected) in [("Content-Length: 4\r\n\r\nbody", false), ("\r\n", true)] {
        let mut client = world.http().await;
        client
            .send(format!(
                "POST http://origin.test:{}/ HTTP/1.1\r\n{UPGRADE}{body}",
                origin.port
            ))
            .await;
        let mut upstream = origin.accept().await;
        let head = upstream.head().await.to_lowercase();
        assert_eq!(
            head.contains("\r\nupgrade: websocket\r\n"),
            expected,
            "{head}"
        );
    }
}

/// The field that names the coding ends at the proxy, so the client could not undo it.
#[tokio::test]
async fn an_answer_with_another_transfer_coding_is_an_upstream_failure() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    for (coding, status) in [("gzip, chunked", 502), ("Chunked", 200)] {
        let mut client = world.http().await;
        client
            .send(format!(
                "GET http://origin.test:{}/ HTTP/1.1\r\n\r\n",
                origin.port
            ))
            .await;
        let mut upstream = origin.accept().await;
        upstream.head().await;
        upstream
            .send(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\nConnection: close\r\n\r\n0\r\n\r\n"
            ))
            .await;
        let head = client.head().await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{coding}: {head}"
        );
    }
}

/// NTLM and Negotiate authenticate a connection: whoever came next on it would be taken for its first client.
#[tokio::test]
async fn an_authenticated_connection_is_not_shared() {
    let world = Setup::usual().start().await;
    let origin = Origin::start().await;
    for (request, answer, shared) in [
        ("Authorization: NTLM abc\r\n", "200 OK\r\n", false),
        ("", "401 No\r\nWWW-Authenticate: Negotiate\r\n", false),
        (
            "Authorization: Basic abc\r\n",
            "401 No\r\nWWW-Authenticate: Basic\r\n",
            true,
        ),
    ] {
        let mut client = world.http().await;
        let url = format!("http://origin.test:{}/", origin.port);
        client
            .send(format!("GET {url} HTTP/1.1\r\n{request}\r\n"))
            .await;
        let mut upstream = origin.accept().await;
        upstream.head().await;
        upstream
            .send(format!("HTTP/1.1 {answer}Content-Length: 0\r\n\r\n"))
            .await;
        client.head().await;
        client.send(format!("GET {url} HTTP/1.1\r\n\r\n")).await;
        if shared {
            upstream.head().await;
        } else {
            // Another connection, and the end of this one.
            origin.accept().await.head().await;
            upstream.closed().await;
        }
    }
}

/// Nobody is asked about a client that has gone, and the record says that it has.
#[tokio::test]
async fn a_socks_client_that_hangs_up_while_it_is_judged_is_noticed() {
    let asked = Arc::new(Notify::new());
    let at_decider = Arc::clone(&asked);
    let world = Setup::new()
        .decider(move |_: NetworkPolicyRequest| {
            at_decider.notify_one();
            std::future::pending()
        })
        .start()
        .await;
    let mut client = world.greeted().await;
    client
        .send(request(CONNECT, &name(b"target.test", 443)))
        .await;
    within("the question", asked.notified()).await;
    drop(client);
    let events: Vec<String> = world.audit.next().await.iter().map(Event::line).collect();
    assert_eq!(
        events,
        [
            "socks5_tcp deny target.test:443 reason=cancelled method=none source=baseline_policy scope=domain override=false"
        ]
    );
}

#[cfg(all(unix, feature = "cli"))]
mod binary {
    //! What clients do to the process as a whole.

    use std::process::Stdio;
    use std::time::Duration;

    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpStream;
    use tokio::process::{Child, Command};
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_secs(20);
    /// Their log lines fill any pipe.
    const REFUSALS: usize = 1_500;

    /// The binary with a piped stderr, and the address of its HTTP listener.
    async fn start() -> (tempfile::TempDir, Child, String) {
        start_after("true").await
    }

    /// The same, after a shell's command.
    async fn start_after(command: &str) -> (tempfile::TempDir, Child, String) {
        let home = tempfile::tempdir().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", &format!("{command}; exec \"$@\""), "sh"])
            .arg(env!("CARGO_BIN_EXE_codex-network-proxy"))
            .args([
                "--allow",
                "127.0.0.1",
                "--http-addr",
                "127.0.0.1:0",
                "--socks-addr",
                "127.0.0.1:0",
            ])
            .env("CODEX_HOME", home.path())
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap();
            let line = line.expect("the exports");
            if let Some(address) = line.strip_prefix("export HTTP_PROXY=http://") {
                break address.to_owned();
            }
        };
        (home, child, address)
    }

    async fn is_refused(client: &mut TcpStream) -> bool {
        let request = b"GET http://unlisted.test/ HTTP/1.1\r\nHost: unlisted.test\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut answer = [0; 4096];
        let read = timeout(LIMIT, client.read(&mut answer)).await;
        let length = read.expect("an answer").unwrap();
        answer[..length].starts_with(b"HTTP/1.1 403 ")
    }

    async fn ends_at_a_signal(mut child: Child) {
        let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = timeout(LIMIT, child.wait()).await.expect("an end").unwrap();
        assert!(status.success(), "{status}");
    }

    #[tokio::test]
    async fn refusals_go_on_when_stderr_is_closed() {
        let (_home, mut child, address) = start().await;
        drop(child.stderr.take());
        let mut client = TcpStream::connect(&address).await.unwrap();
        assert!(is_refused(&mut client).await);
        assert!(is_refused(&mut client).await);
        drop(client);
        ends_at_a_signal(child).await;
    }

    #[tokio::test]
    async fn refusals_go_on_when_nobody_reads_stderr() {
        let (_home, child, address) = start().await;
        let mut client = TcpStream::connect(&address).await.unwrap();
        for _ in 0..REFUSALS {
            assert!(is_refused(&mut client).await);
        }
        drop(client);
        ends_at_a_signal(child).await;
    }

    #[tokio::test]
    async fn clients_that_take_every_descriptor_leave_enough_to_serve_one() {
        let (_home, _child, address) = start_after("ulimit -n 64").await;
        let origin = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = origin.local_addr().unwrap().port();
        let mut clients = Vec::new();
        for _ in 0..100 {
            clients.push(TcpStream::connect(&address).await.unwrap());
        }
        let first = &mut clients[0];
        let request = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n");
        first.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 1024];
        let length = timeout(LIMIT, first.read(&mut answer)).await;
        let length = length.expect("an answer").unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}
