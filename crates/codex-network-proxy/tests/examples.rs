//! Runs the examples as their readers would: as programs of their own, with a config file, an origin and a client.
//!
//! `cargo test` has built them; where only this test was asked for, it has them built.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and is a client and an origin"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(20);

/// A running example. It ends with the value.
struct Example {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    _home: TempDir,
}

impl Example {
    /// With a config that permits this machine to whoever is approved.
    fn start(name: &str, arguments: &[&str]) -> Self {
        let home = TempDir::new().unwrap();
        let config = "default_permissions = \"p\"\n[permissions.p.network]\nenabled = true\nallow_local_binding = true\nenable_socks5 = false\nallowed_domains = [\"listed.localhost\"]\n";
        std::fs::write(home.path().join("config.toml"), config).unwrap();
        let mut child = Command::new(executable(name))
            .args(arguments)
            .current_dir(home.path())
            .env("CODEX_HOME", home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            _home: home,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The address at the end of the next line.
    fn address(&mut self) -> SocketAddr {
        let line = self.line();
        let address = line.rsplit(' ').next().unwrap();
        address
            .parse()
            .unwrap_or_else(|_| panic!("no address in {line:?}"))
    }

    fn answer(&mut self, answer: &str) {
        writeln!(self.input.as_mut().unwrap(), "{answer}").unwrap();
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Beside the directory of this test's own executable.
fn executable(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let profile = own.parent().and_then(|deps| deps.parent()).unwrap();
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let path = profile.join("examples").join(file);
    if !path.exists() {
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--package",
                "codex-network-proxy",
                "--example",
                name,
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.unwrap().success() && path.exists(), "no {path:?}");
    }
    path
}

/// Sends a request for this host and port through the proxy; the answer comes when there is one.
fn request(proxy: SocketAddr, host: &str, port: u16) -> TcpStream {
    let mut client = TcpStream::connect(proxy).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let head = format!("GET http://{host}:{port}/ HTTP/1.1\r\nConnection: close\r\n\r\n");
    client.write_all(head.as_bytes()).unwrap();
    client
}

fn answer(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

/// Answers every request, for as long as the test runs.
fn origin() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while stream.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            stream.get_mut().write_all(answer).unwrap();
        }
    });
    port
}

#[test]
fn embed_does_what_the_files_say() {
    let mut example = Example::start("embed", &[]);
    let proxy = example.address();
    let refused = answer(request(proxy, "127.0.0.1", 9));
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert!(refused.contains("blocked-by-allowlist"), "{refused}");
}

#[test]
fn approved_commands_get_what_they_need_and_no_more() {
    let port = origin();
    let mut example = Example::start("approved_commands", &["make=127.0.0.1", "npm=::1"]);
    let make = example.address();
    let npm = example.address();
    let served = answer(request(make, "127.0.0.1", port));
    assert!(served.starts_with("HTTP/1.1 200 "), "{served}");
    for (proxy, host) in [(npm, "127.0.0.1"), (make, "[::1]"), (make, "localhost")] {
        let refused = answer(request(proxy, host, port));
        assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
        assert!(refused.contains(r#""decision":"ask""#), "{refused}");
    }
}

#[test]
fn the_approval_prompt_holds_the_request_until_a_person_has_answered() {
    let port = origin();
    let mut example = Example::start("approval_prompt", &[]);
    let proxy = example.address();
    let question =
        |host: &str| format!("http to {host}:{port}? [y]es, [a]lways, [d]eny always, [N]o:");

    let (one, other) = (
        request(proxy, "127.0.0.1", port),
        request(proxy, "127.0.0.1", port),
    );
    assert_eq!(example.line(), question("127.0.0.1"));
    example.answer("no");
    // Whether the other came in time for that question or put one of its own, a no is its answer.
    let refused = answer(one);
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    drop(other);

    let once = request(proxy, "localhost", port);
    assert_eq!(
        next_question(&mut example, &question("localhost")),
        question("localhost")
    );
    example.answer("y");
    assert!(answer(once).starts_with("HTTP/1.1 200 "));

    let always = request(proxy, "localhost", port);
    assert_eq!(example.line(), question("localhost"));
    example.answer("a");
    assert!(answer(always).starts_with("HTTP/1.1 200 "));
    // Nobody is asked any more.
    assert!(answer(request(proxy, "localhost", port)).starts_with("HTTP/1.1 200 "));

    let never = request(proxy, "[::1]", port);
    assert_eq!(example.line(), question("::1"));
    example.answer("d");
    assert!(answer(never).starts_with("HTTP/1.1 403 "));
    let denied = answer(request(proxy, "[::1]", port));
    assert!(denied.contains("blocked-by-denylist"), "{denied}");

    // At the end of the input the program ends, once there is a question that nobody will answer.
    drop(example.input.take());
    let last = request(proxy, "127.0.0.1", port);
    assert!(answer(last).starts_with("HTTP/1.1 403 "));
    assert!(example.child.wait().unwrap().success());
}

/// The next question, past one that a client left behind when it hung up.
fn next_question(example: &mut Example, wanted: &str) -> String {
    let line = example.line();
    if line == wanted {
        return line;
    }
    example.answer("no");
    example.line()
}
