//! What a serving process has given up, as the system tells, and that it still serves (`--harden`).

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

struct Hardened {
    child: Child,
    address: String,
    log: BufReader<ChildStderr>,
}

/// `None` where it does not start, for want of Landlock.
async fn start(home: &Path, arguments: &[&str]) -> Option<Hardened> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_codex-network-proxy"))
        .args(["--http-addr", "127.0.0.1:0", "--socks-addr", "127.0.0.1:0"])
        .args(arguments)
        .env("CODEX_HOME", home)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = loop {
        let line = timeout(LIMIT, lines.next_line()).await.unwrap().unwrap();
        let Some(line) = line else {
            let mut why = String::new();
            log.read_to_string(&mut why).await.unwrap();
            assert!(why.contains("no Landlock"), "{why}");
            return None;
        };
        if let Some(address) = line.strip_prefix("export HTTP_PROXY=http://") {
            break address.to_owned();
        }
    };
    Some(Hardened {
        child,
        address,
        log,
    })
}

fn policy(hosts: &[&str]) -> String {
    format!(
        "default_permissions = \"p\"\n[permissions.p.network]\nenabled = true\nallowed_domains = {hosts:?}\n"
    )
}

impl Hardened {
    /// A line of what the system says about the process.
    fn status(&self, field: &str) -> String {
        let path = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.expect(field).trim().to_owned()
    }

    async fn ask(&self, port: u16) -> String {
        let mut client = TcpStream::connect(&self.address).await.unwrap();
        let request = format!("GET http://127.0.0.1:{port}/ HTTP/1.1\r\nconnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = client.read_to_string(&mut answer);
        timeout(LIMIT, read).await.expect("an answer").unwrap();
        answer
    }

    /// Waits for a line of the log that holds the words.
    async fn says(&mut self, words: &str) {
        let mut line = String::new();
        loop {
            line.clear();
            let read = timeout(LIMIT, self.log.read_line(&mut line)).await;
            assert_ne!(read.expect(words).unwrap(), 0, "it ended without `{words}`");
            if line.contains(words) {
                return;
            }
        }
    }
}

async fn origin() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await;
        }
    });
    port
}

#[tokio::test]
async fn a_serving_process_has_no_privileges_and_leaves_no_core() {
    let home = tempfile::tempdir().unwrap();
    let proxy = start(home.path(), &[]).await.unwrap();
    assert_eq!(proxy.status("NoNewPrivs:"), "1");
    // CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_NET_BIND_SERVICE, as far as whoever started it had them.
    let held = u64::from_str_radix(&proxy.status("CapEff:"), 16).unwrap();
    assert_eq!(held & !0b100_0000_0110, 0, "{held:b}");
    let limits = format!("/proc/{}/limits", proxy.child.id().unwrap());
    let limits = std::fs::read_to_string(limits).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let words: Vec<&str> = core.unwrap().split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"]);
}

#[tokio::test]
async fn a_hardened_proxy_serves_reloads_and_reaches_no_other_file() {
    let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = home.path().join("config.toml");
    std::fs::write(&config, policy(&["127.0.0.1"])).unwrap();
    let port = origin().await;
    let Some(mut proxy) = start(home.path(), &["--harden"]).await else {
        use std::io::Write as _;
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED a_hardened_proxy_serves_reloads_and_reaches_no_other_file: this kernel has no Landlock"
        );
        return;
    };
    assert_eq!(proxy.status("Seccomp:"), "2");
    assert!(proxy.ask(port).await.starts_with("HTTP/1.1 200 "));
    // A change of its own file is taken up.
    std::fs::write(&config, policy(&["elsewhere.test"])).unwrap();
    let refused = async {
        while !proxy.ask(port).await.starts_with("HTTP/1.1 403 ") {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, refused).await.expect("the new policy");
    // A file that it has no business with cannot be read, not even through its own.
    let secret = elsewhere.path().join("secret.toml");
    std::fs::write(&secret, policy(&["127.0.0.1"])).unwrap();
    std::fs::remove_file(&config).unwrap();
    std::os::unix::fs::symlink(&secret, &config).unwrap();
    proxy.says("ermission denied").await;
    assert!(proxy.ask(port).await.starts_with("HTTP/1.1 403 "));
    let pid = rustix::process::Pid::from_raw(proxy.child.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = timeout(LIMIT, proxy.child.wait()).await.expect("an end");
    assert!(ended.unwrap().success());
}
