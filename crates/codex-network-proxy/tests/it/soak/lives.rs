//! Proxies of a short life: the real program, started in need, loaded, and ended by a signal in the middle.
//!
//! Main function: [`one`]. What no test in one process can do to its proxy is done here: descriptors that run out, little
//! memory, a clock that jumps (where `libfaketime` is installed), SIGTERM while everybody talks.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::Soak;
use super::dice::Dice;

/// Longer than the proxy waits for open connections at its end.
const PATIENCE: Duration = Duration::from_secs(20);

/// What it may have had in memory at most, in KiB.
const MOST_MEMORY: u64 = 128 * 1024;

const LIBFAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// What is wrong with the world that it lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    FewFiles,
    LittleMemory,
    JumpingClock,
}

pub(super) async fn one(soak: &Soak, dice: &mut Dice) {
    let needs = [
        Need::Nothing,
        Need::FewFiles,
        Need::LittleMemory,
        Need::JumpingClock,
    ];
    let need = dice.pick(&needs);
    let home = tempfile::tempdir().unwrap();
    let clock = home.path().join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let mut life = Life::start(need, home.path(), &clock).await;
    let clients = Arc::new(Clients::default());
    let mut tasks = JoinSet::new();
    for number in 0..8 {
        let port = soak.stage.pages.port;
        tasks.spawn(Arc::clone(&clients).ask(life.http, port, number));
    }
    match need {
        Need::Nothing | Need::LittleMemory => sleep(Duration::from_millis(600)).await,
        Need::FewFiles => hog(life.http).await,
        Need::JumpingClock => {
            for jump in ["+2h", "-30d", "+400d", "+0"] {
                std::fs::write(&clock, jump).unwrap();
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
    // It serves, whatever was.
    let before = clients.answered.load(Ordering::Relaxed);
    let served = timeout(PATIENCE, async {
        while clients.answered.load(Ordering::Relaxed) < before + 8 {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(served.await.is_ok(), "{need:?}: nobody is served any more");
    let memory = life.most_memory();
    assert!(memory < MOST_MEMORY, "{need:?}: {memory} KiB");
    clients.ending.store(true, Ordering::Relaxed);
    life.end(need).await;
    let ended = timeout(PATIENCE, async {
        while tasks.join_next().await.is_some() {}
    });
    assert!(ended.await.is_ok(), "{need:?}: a client still waits");
    let events = life.events.await.unwrap();
    let answers = clients.answered.load(Ordering::Relaxed);
    assert!(
        events >= answers,
        "{need:?}: {answers} answers, {events} events"
    );
}

/// Takes all descriptors that there are, and gives them back.
async fn hog(http: SocketAddr) {
    let mut held = Vec::new();
    for _ in 0..150 {
        if let Ok(Ok(stream)) = timeout(Duration::from_secs(1), TcpStream::connect(http)).await {
            held.push(stream);
        }
    }
    sleep(Duration::from_millis(300)).await;
}

struct Life {
    child: Child,
    http: SocketAddr,
    /// Counts the audit events that it writes.
    events: JoinHandle<u64>,
}

impl Life {
    async fn start(need: Need, home: &Path, clock: &Path) -> Self {
        let limit = match need {
            Need::FewFiles => "ulimit -n 64",
            Need::LittleMemory => "ulimit -v 1000000",
            Need::Nothing | Need::JumpingClock => "true",
        };
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{limit}; exec \"$@\""), "sh"])
            .arg(env!("CARGO_BIN_EXE_codex-network-proxy"))
            .args(["-v", "--log-format", "json", "--allow", "127.0.0.1"])
            .args(["--http-addr", "127.0.0.1:0", "--socks-addr", "127.0.0.1:0"])
            .env("CODEX_HOME", home)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if need == Need::JumpingClock && Path::new(LIBFAKETIME).exists() {
            command
                .env("LD_PRELOAD", LIBFAKETIME)
                .env("FAKETIME_TIMESTAMP_FILE", clock)
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let events = tokio::spawn(async move {
            let mut events = 0;
            while let Ok(Some(line)) = lines.next_line().await {
                assert!(!line.contains("panicked"), "{line}");
                events += u64::from(line.contains("policy_decision"));
            }
            events
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let http = loop {
            let line = timeout(PATIENCE, lines.next_line()).await;
            let line = line.expect("a start").unwrap().expect("the exports");
            if let Some(address) = line.strip_prefix("export HTTP_PROXY=http://") {
                break address.parse().unwrap();
            }
        };
        Self {
            child,
            http,
            events,
        }
    }

    /// In KiB.
    fn most_memory(&self) -> u64 {
        let pid = self.child.id().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    async fn end(&mut self, need: Need) {
        let pid = self.child.id().unwrap().cast_signed();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let status = ended.expect("an end").unwrap();
        assert!(status.success(), "{need:?}: {status}");
    }
}

#[derive(Default)]
struct Clients {
    answered: AtomicU64,
    ending: AtomicBool,
}

impl Clients {
    /// Asks on and on, until the proxy is gone. Refused connections and broken ones happen; wrong verdicts do not.
    async fn ask(self: Arc<Self>, http: SocketAddr, port: u16, number: u64) {
        loop {
            let connecting = timeout(PATIENCE, TcpStream::connect(http)).await;
            let Ok(Ok(mut stream)) = connecting else {
                if self.ending.load(Ordering::Relaxed) {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            let (host, verdict) = if number.is_multiple_of(2) {
                ("127.0.0.1", "HTTP/1.1 200 ")
            } else {
                ("denied.soak.test", "HTTP/1.1 403 ")
            };
            for _ in 0..20 {
                let request = format!("GET http://{host}:{port}/ HTTP/1.1\r\n\r\n");
                let mut answer = [0; 2048];
                let answered = timeout(PATIENCE, async {
                    stream.write_all(request.as_bytes()).await?;
                    stream.read(&mut answer).await
                });
                let Ok(Ok(length @ 1..)) = answered.await else {
                    break;
                };
                let answer = String::from_utf8_lossy(&answer[..length]);
                // Without a descriptor there is no way to the origin.
                let out = answer.starts_with("HTTP/1.1 502 ");
                assert!(out || answer.starts_with(verdict), "{host}: {answer}");
                self.answered.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(2)).await;
            }
        }
    }
}
