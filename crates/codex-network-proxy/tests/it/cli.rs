//! The binary, as a person or a script runs it.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::harness::{Wire, within};

mod ca;
mod commands;
mod evidence;
mod export;
#[cfg(target_os = "linux")]
mod hardening;
mod managed;
#[cfg(unix)]
mod restart;
mod shipped;

/// Told past the test runner, so that it is counted.
fn skip(test: &str, why: &str) {
    use std::io::Write as _;
    let mut stderr = std::io::stderr();
    writeln!(stderr, "SKIPPED {test}: {why}").unwrap();
}

fn binary(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_codex-network-proxy"));
    command
        .env_clear()
        .env("CODEX_HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs it to its end: exit code, stdout, stderr.
async fn run(home: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = within("the binary to end", binary(home).args(arguments).output())
        .await
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr)
            .unwrap()
            .replace(home.to_str().unwrap(), "HOME"),
    )
}

/// A running proxy of the binary.
struct Running {
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
    http: std::net::SocketAddr,
    /// What it said until it listened.
    said: Vec<String>,
}

impl Running {
    /// Starts it on ports that the system chooses, and waits until it listens.
    async fn start(home: &Path, arguments: &[&str]) -> Self {
        Self::start_as(binary(home), arguments).await
    }

    async fn start_as(mut command: Command, arguments: &[&str]) -> Self {
        let mut child = command
            .args(["--http-addr", "127.0.0.1:0", "--socks-addr", "127.0.0.1:0"])
            .args(arguments)
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        loop {
            let line = within("the binary to listen", stderr.next_line())
                .await
                .unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended after {said:?}"));
            said.push(line.clone());
            if let Some((_, rest)) = line.split_once("listening on http://") {
                let http = rest.split(',').next().unwrap().parse().unwrap();
                return Self {
                    child,
                    stderr,
                    http,
                    said,
                };
            }
        }
    }

    async fn answer(&self, request: &str) -> String {
        let mut client = Wire::connect(self.http).await;
        client.send(request).await;
        client.message().await
    }

    async fn line(&mut self) -> String {
        within("a line", self.stderr.next_line())
            .await
            .unwrap()
            .expect("a line")
    }

    /// Sends a signal; exit code, stdout and the rest of stderr.
    #[cfg(unix)]
    async fn end(mut self, signal: &str) -> (Option<i32>, String, String) {
        let id = self.child.id().unwrap().to_string();
        let killed = Command::new("kill")
            .args(["-s", signal, &id])
            .status()
            .await;
        assert!(killed.unwrap().success());
        let status = within("the binary to end", self.child.wait())
            .await
            .unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let mut pipe = self.child.stdout.take().unwrap();
        pipe.read_to_string(&mut stdout).await.unwrap();
        while let Some(line) = self.stderr.next_line().await.unwrap() {
            stderr.push_str(&line);
            stderr.push('\n');
        }
        (status.code(), stdout, stderr)
    }
}

fn home(config: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    if !config.is_empty() {
        std::fs::write(home.path().join("config.toml"), config).unwrap();
    }
    home
}

#[cfg(unix)]
#[tokio::test]
async fn without_a_config_it_refuses_everything_and_says_how_to_allow() {
    let home = home("");
    let mut running = Running::start(home.path(), &[]).await;
    let mut said = running.said.join("\n");
    while !(said.contains("--allow") && said.contains("allowed_domains")) {
        said.push_str(&running.line().await);
    }
    let answer = running
        .answer("GET http://example.test/ HTTP/1.1\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    // One line for the refusal, with its reason and the way out.
    let mut line = running.line().await;
    while !line.contains("blocked") {
        line = running.line().await;
    }
    for part in ["example.test", "not_allowed", "allowed_domains"] {
        assert!(line.contains(part), "{line}");
    }
    let (code, stdout, _) = running.end("TERM").await;
    assert_eq!(code, Some(0));
    for export in ["HTTP_PROXY=", "HTTPS_PROXY=", "ALL_PROXY=", "NO_PROXY="] {
        assert!(stdout.contains(&format!("export {export}")), "{stdout}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn allow_and_deny_on_the_command_line_are_rules() {
    let home = home("");
    let running = Running::start(
        home.path(),
        &["--allow", "**.invalid", "--deny", "no.invalid"],
    )
    .await;
    // Permitted, and then not found: `.invalid` never resolves.
    let answer = running
        .answer("GET http://a.invalid/ HTTP/1.1\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
    let answer = running
        .answer("GET http://no.invalid/ HTTP/1.1\r\n\r\n")
        .await;
    assert!(answer.contains(r#""reason":"denied""#), "{answer}");
    assert_eq!(running.end("INT").await.0, Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn a_config_governs_and_the_mode_can_be_set() {
    let home = home(
        "default_permissions = \"p\"\n[permissions.p.network]\nenabled = true\nallowed_domains = [\"a.invalid\"]\n",
    );
    let running = Running::start(home.path(), &["--mode", "limited"]).await;
    let answer = running
        .answer("POST http://a.invalid/ HTTP/1.1\r\n\r\n")
        .await;
    assert!(
        answer.contains(r#""reason":"method_not_allowed""#),
        "{answer}"
    );
    let answer = running
        .answer("GET http://b.invalid/ HTTP/1.1\r\n\r\n")
        .await;
    assert!(answer.contains(r#""reason":"not_allowed""#), "{answer}");
    assert_eq!(running.end("TERM").await.0, Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn sighup_reads_the_config_again_and_ends_nothing() {
    let home = home(
        "default_permissions = \"p\"\n[permissions.p.network]\nenabled = true\nallowed_domains = [\"a.invalid\"]\n",
    );
    let mut running = Running::start(home.path(), &["-v"]).await;
    // Nothing has changed, so only the signal can be the reason.
    let id = running.child.id().unwrap().to_string();
    let killed = Command::new("kill").args(["-s", "HUP", &id]).status().await;
    assert!(killed.unwrap().success());
    while !running
        .line()
        .await
        .contains("reloaded config from config layers")
    {}
    let answer = running
        .answer("GET http://b.invalid/ HTTP/1.1\r\n\r\n")
        .await;
    assert!(answer.contains(r#""reason":"not_allowed""#), "{answer}");
    assert_eq!(running.end("TERM").await.0, Some(0));
}

#[tokio::test]
async fn a_mistake_in_the_config_is_shown_and_exits_with_two() {
    let home = home(
        "default_permissions = \"p\"\n[permissions.p.network]\nenabled = true\nallowed_domain = [\"a.test\"]\n",
    );
    let (code, stdout, stderr) = run(home.path(), &[]).await;
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    for part in [
        "error",
        "config.toml",
        "4",
        "allowed_domain",
        "allowed_domains",
        "^",
    ] {
        assert!(stderr.contains(part), "no {part:?} in {stderr}");
    }
}

#[tokio::test]
async fn a_command_line_that_cannot_be_used_exits_with_two() {
    let home = home("");
    for arguments in [
        &["--mode", "half"][..],
        &["--allow", "*"],
        &["--allow", "a/b"],
        &["--http-addr", "nowhere"],
        &["--config", "/nonexistent/config.toml"],
        &["--profile", "absent"],
        &["--quiet", "--verbose"],
        &["surplus"],
        &["--nonsense"],
    ] {
        let (code, stdout, stderr) = run(home.path(), arguments).await;
        assert_eq!(
            (code, stdout.as_str()),
            (Some(2), ""),
            "{arguments:?} {stderr}"
        );
        assert!(stderr.contains("error"), "{arguments:?} {stderr}");
    }
}

#[tokio::test]
async fn a_disabled_proxy_says_so_and_exits_with_zero() {
    let home = home("default_permissions = \"p\"\n[permissions.p.network]\nenabled = false\n");
    let (code, stdout, stderr) = run(home.path(), &[]).await;
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for part in ["enabled", "config.toml"] {
        assert!(stderr.contains(part), "{stderr}");
    }
}

#[tokio::test]
async fn a_taken_port_exits_with_one_and_names_the_port_and_the_key() {
    let home = home("");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, other, key) in [
        ("--http-addr", "--socks-addr", "proxy_url"),
        ("--socks-addr", "--http-addr", "socks_url"),
    ] {
        let (code, stdout, stderr) =
            run(home.path(), &[flag, &address, other, "127.0.0.1:0"]).await;
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        for part in [address.as_str(), key, flag] {
            assert!(stderr.contains(part), "no {part:?} in {stderr}");
        }
    }
}

#[tokio::test]
async fn help_and_version_are_printed() {
    let home = home("");
    let (code, stdout, stderr) = run(home.path(), &["--help"]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for part in [
        "Usage:",
        "Examples:",
        "--allow",
        "--config",
        "--profile",
        "--mode",
        "--log-format",
    ] {
        assert!(stdout.contains(part), "{stdout}");
    }
    let (code, stdout, stderr) = run(home.path(), &["--version"]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(
        stdout,
        format!("codex-network-proxy {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[cfg(unix)]
#[tokio::test]
async fn the_log_can_be_json_and_quiet_is_quiet() {
    let home = home("");
    let mut running = Running::start(home.path(), &["--log-format", "json"]).await;
    running
        .answer("CONNECT example.test:443 HTTP/1.1\r\n\r\n")
        .await;
    loop {
        let line = running.line().await;
        if !line.starts_with('{') {
            continue;
        }
        let event: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
        assert_eq!(event["fields"]["reason"], "not_allowed", "{line}");
        break;
    }
    assert_eq!(running.end("TERM").await.0, Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn open_connections_may_finish_after_a_signal() {
    let home = home("");
    let origin = crate::harness::Origin::start().await;
    let mut running = Running::start(home.path(), &["--allow", "127.0.0.1"]).await;
    let mut client = Wire::connect(running.http).await;
    client
        .send(format!(
            "GET http://127.0.0.1:{}/ HTTP/1.1\r\n\r\n",
            origin.port
        ))
        .await;
    let mut upstream = origin.accept().await;
    upstream.message().await;
    let id = running.child.id().unwrap().to_string();
    assert!(
        Command::new("kill")
            .args(["-s", "TERM", &id])
            .status()
            .await
            .unwrap()
            .success()
    );
    while !running.line().await.contains("SIGTERM") {}
    upstream
        .send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
        .await;
    assert!(client.message().await.ends_with("done"));
    drop(client);
    let status = within("the binary to end", running.child.wait())
        .await
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn a_flood_that_takes_all_descriptors_passes() {
    let home = home("");
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "ulimit -n 40 && exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_codex-network-proxy"))
        .env("CODEX_HOME", home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let running = Running::start_as(command, &[]).await;
    let request = "GET http://example.test/ HTTP/1.1\r\n\r\n";
    let mut served = Wire::connect(running.http).await;
    served.send(request).await;
    served.message().await;
    let mut flood = Vec::new();
    for _ in 0..60 {
        flood.push(Wire::connect(running.http).await);
    }
    // Who is in is served on, the others wait to be accepted.
    served.send(request).await;
    assert!(served.message().await.starts_with("HTTP/1.1 403 "));
    drop((served, flood));
    assert!(running.answer(request).await.starts_with("HTTP/1.1 403 "));
    assert_eq!(running.end("TERM").await.0, Some(0));
}
