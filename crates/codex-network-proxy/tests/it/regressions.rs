//! Defects that were found from outside, each with the bytes that showed it.

use crate::harness::{Origin, Setup};

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
