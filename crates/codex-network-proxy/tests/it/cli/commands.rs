//! `run`, `status` and `env`, as a person runs them beside proxies that live and die.

#![cfg(unix)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;

const WEB: &str = "default_permissions = \"web\"\n[permissions.web.network]\nenabled = true\nallowed_domains = [\"a.invalid\"]\n";

/// The files of running proxies.
fn records(home: &Path) -> Vec<PathBuf> {
    let directory = std::fs::read_dir(home.join("proxy/run"));
    directory.map_or_else(
        |_| Vec::new(),
        |entries| entries.map(|entry| entry.unwrap().path()).collect(),
    )
}

async fn signal(id: u32, name: &str) {
    let killed = Command::new("kill")
        .args(["-s", name, &id.to_string()])
        .status();
    assert!(killed.await.unwrap().success());
}

#[tokio::test]
async fn run_gives_the_command_a_proxy_and_ends_with_its_code() {
    let home = home(WEB);
    let (code, stdout, stderr) = run(
        home.path(),
        &[
            "run",
            "--",
            "/bin/sh",
            "-c",
            "echo $HTTPS_PROXY $ALL_PROXY $NO_PROXY- $CODEX_NETWORK_PROXY_ACTIVE; exit 9",
        ],
    )
    .await;
    assert_eq!(code, Some(9), "{stderr}");
    assert!(
        stdout.starts_with("http://127.0.0.1:") && stdout.contains("socks5h://127.0.0.1:"),
        "{stdout}"
    );
    assert!(stdout.ends_with("- 1\n"), "{stdout}");
    // One line, and nothing about refusals where there were none.
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("not contained"), "{stderr}");
    assert_eq!(records(home.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn run_lists_what_was_refused_and_what_it_would_need() {
    let home = home(WEB);
    // A client that a shell has: the proxy's own address, a request, and nothing else.
    let request = "import os, urllib.request, urllib.error\n\
        for url in ['http://b.invalid/', 'http://b.invalid/x', 'http://c.invalid/', 'http://a.invalid/']:\n\
        \x20   try: urllib.request.urlopen(url)\n\
        \x20   except urllib.error.HTTPError as error: print(error.code)\n";
    let mut command = binary(home.path());
    command
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .args(["run", "python3", "-c", request]);
    let output = within("the command", command.output()).await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    if output.status.code() == Some(127) {
        skip("run_lists_what_was_refused", "python3 is not installed");
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "403\n403\n403\n502\n"
    );
    for part in [
        "3 requests were refused:",
        "b.invalid (not_allowed, 2 times): add \"b.invalid\" to allowed_domains, or pass --allow b.invalid",
        "c.invalid (not_allowed): ",
    ] {
        assert!(stderr.contains(part), "no {part:?} in {stderr}");
    }
    assert!(!stderr.contains("a.invalid"), "{stderr}");
}

#[tokio::test]
async fn run_says_when_a_command_cannot_be_started() {
    let home = home(WEB);
    let file = home.path().join("no-program");
    std::fs::write(&file, "").unwrap();
    for (program, expected) in [("/nonexistent/program", 127), (file.to_str().unwrap(), 126)] {
        let (code, _, stderr) = run(home.path(), &["run", "--", program]).await;
        assert_eq!(code, Some(expected), "{stderr}");
        assert!(stderr.contains("could not start"), "{stderr}");
    }
    // And without a proxy there is no command either.
    let (code, stdout, stderr) = run(
        home.path(),
        &[
            "run",
            "-c",
            "permissions.web.network.enabled=false",
            "--",
            "/bin/echo",
            "loose",
        ],
    )
    .await;
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(stderr.contains("the command was not started"), "{stderr}");
}

/// Starts `run` with a shell that says that it is ready and then does `then`.
async fn wrapped(
    home: &Path,
    then: &str,
) -> (Child, Lines<BufReader<tokio::process::ChildStdout>>) {
    let mut child = binary(home)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .args(["run", "-q", "--", "/bin/sh", "-c", then])
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, stdout)
}

#[tokio::test]
async fn run_passes_signals_on() {
    let home = home(WEB);
    for (name, code) in [
        ("TERM", 143),
        ("HUP", 129),
        ("USR1", 138),
        ("INT", 130),
        ("QUIT", 131),
    ] {
        // What the command does with it is its own affair: here it says so and ends as if by the signal.
        let script = format!(
            "trap 'echo got; exit {code}' {name}; echo ready; while :; do read line || sleep 0.01; done"
        );
        let (mut child, mut stdout) = wrapped(home.path(), &script).await;
        let ready = within("the command", stdout.next_line()).await.unwrap();
        assert_eq!(ready.as_deref(), Some("ready"));
        // No terminal has sent it, so only the wrapper has it.
        signal(child.id().unwrap(), name).await;
        let got = within("the signal", stdout.next_line()).await.unwrap();
        assert_eq!(got.as_deref(), Some("got"), "{name}");
        let status = within("the wrapper", child.wait()).await.unwrap();
        assert_eq!(status.code(), Some(code), "{name}");
    }
    // A command that a signal ends: 128 and its number.
    let (mut child, _) = wrapped(home.path(), "kill -KILL $$").await;
    let status = within("the wrapper", child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(137));
}

#[tokio::test]
async fn status_shows_what_runs_and_env_how_to_reach_it() {
    let home = home(WEB);
    let (code, stdout, _) = run(home.path(), &["status", "--json"]).await;
    assert_eq!((code, stdout.as_str()), (Some(1), "[]\n"));
    let first = Running::start(home.path(), &["-c", "permissions.web.network.mitm=false"]).await;
    let id = first.child.id().unwrap().to_string();
    // The record follows the greeting.
    let status = loop {
        let (code, stdout, stderr) = run(home.path(), &["status", "--json"]).await;
        if code == Some(0) {
            break stdout;
        }
        assert_eq!(stderr, "", "{stdout}");
    };
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status[0]["pid"].to_string(), id);
    assert_eq!(status[0]["http"], first.http.to_string());
    assert_eq!(status[0]["command"], "serve");
    let policy = &status[0]["policy"];
    assert_eq!(
        (&policy["enabled"], &policy["mode"]),
        (&true.into(), &"full".into())
    );
    assert!(
        policy["files"][0]
            .as_str()
            .unwrap()
            .ends_with("/config.toml")
    );
    let (code, stdout, _) = run(home.path(), &["status"]).await;
    assert_eq!(code, Some(0));
    for part in [
        id.as_str(),
        "HOME/config.toml",
        "profile \"web\"",
        "enabled, mode full",
    ] {
        let shown = stdout.replace(home.path().to_str().unwrap(), "HOME");
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    for record in records(home.path()) {
        assert_eq!(
            record.metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let (code, stdout, stderr) = run(home.path(), &["env"]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(
        stdout.contains(&format!("export HTTP_PROXY=http://{}\n", first.http)),
        "{stdout}"
    );
    let second = Running::start(home.path(), &[]).await;
    while records(home.path()).len() < 2 {
        tokio::task::yield_now().await;
    }
    let (code, _, stderr) = run(home.path(), &["env"]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("--pid") && stderr.contains(&id), "{stderr}");
    let (code, stdout, _) = run(home.path(), &["env", "--pid", &id, "--shell", "git"]).await;
    assert_eq!(code, Some(0));
    assert!(
        stdout.starts_with(&format!("[http]\n\tproxy = http://{}\n", first.http)),
        "{stdout}"
    );
    assert_eq!(first.end("TERM").await.0, Some(0));
    assert_eq!(second.end("INT").await.0, Some(0));
    assert_eq!(records(home.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn env_speaks_every_language() {
    let home = home(WEB);
    let running = Running::start(home.path(), &[]).await;
    while records(home.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    let http = running.http;
    for (language, expected) in [
        ("sh", format!("export https_proxy=http://{http}\n")),
        ("fish", format!("set -gx https_proxy 'http://{http}'\n")),
        (
            "powershell",
            format!("$env:https_proxy = 'http://{http}'\n"),
        ),
        ("dotenv", format!("https_proxy=http://{http}\n")),
        ("docker", format!("--env=https_proxy=http://{http}\n")),
        (
            "jvm",
            format!(
                "-Dhttps.proxyHost=127.0.0.1\n-Dhttps.proxyPort={}\n-Dhttp.nonProxyHosts=\n",
                http.port()
            ),
        ),
        (
            "gradle",
            format!("systemProp.http.proxyPort={}\n", http.port()),
        ),
        ("npm", format!("https-proxy=http://{http}/\n")),
        ("git", format!("proxy = http://{http}\n")),
    ] {
        let (code, stdout, stderr) = run(home.path(), &["env", "--shell", language]).await;
        assert_eq!(code, Some(0), "{language}: {stderr}");
        assert!(stdout.contains(&expected), "{language}: {stdout}");
    }
    assert_eq!(running.end("TERM").await.0, Some(0));
}

#[tokio::test]
async fn a_proxy_that_is_killed_while_it_reloads_leaves_nothing_that_hinders() {
    let home = home(WEB);
    for round in 0..3 {
        let running = Running::start(home.path(), &[]).await;
        while records(home.path()).is_empty() {
            tokio::task::yield_now().await;
        }
        // A list that takes a moment to read, and a signal that cannot be caught in the middle of it.
        let many: String = (0..20_000)
            .map(|number| format!("\"h{number}.invalid\",\n"))
            .collect();
        let text = WEB.replace("[\"a.invalid\"]", &format!("[\"a.invalid\",\n{many}]"));
        std::fs::write(home.path().join("new.toml"), text).unwrap();
        std::fs::rename(
            home.path().join("new.toml"),
            home.path().join("config.toml"),
        )
        .unwrap();
        for _ in 0..round * 20 {
            tokio::task::yield_now().await;
        }
        running.end("KILL").await;
        assert_eq!(records(home.path()).len(), 1);
        let (code, _, _) = run(home.path(), &["status"]).await;
        assert_eq!(code, Some(1));
        assert_eq!(records(home.path()), Vec::<PathBuf>::new());
    }
    let running = Running::start(home.path(), &[]).await;
    let answer = running
        .answer("GET http://b.invalid/ HTTP/1.1\r\n\r\n")
        .await;
    assert!(answer.contains(r#""reason":"not_allowed""#), "{answer}");
    assert_eq!(running.end("TERM").await.0, Some(0));
}

#[tokio::test]
async fn status_tells_of_a_file_that_is_not_in_force() {
    let home = home(WEB);
    let running = Running::start(home.path(), &[]).await;
    std::fs::write(
        home.path().join("config.toml"),
        "default_permissions = \"x\"\n[permissions]\n",
    )
    .unwrap();
    loop {
        let (code, stdout, _) = run(home.path(), &["status"]).await;
        if code == Some(0) && stdout.contains("not in force") {
            assert!(stdout.contains("undefined profile `x`"), "{stdout}");
            break;
        }
    }
    let answer = running
        .answer("GET http://b.invalid/ HTTP/1.1\r\n\r\n")
        .await;
    assert!(answer.contains(r#""reason":"not_allowed""#), "{answer}");
    assert_eq!(running.end("TERM").await.0, Some(0));
}

/// Runs the wrapper on a terminal of its own, types Ctrl-C, and prints what comes back.
const TERMINAL: &str = r#"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
shown = b''
typed = False
while True:
    try:
        piece = os.read(terminal, 1024)
    except OSError:
        break
    if not piece:
        break
    shown += piece
    if b'ready' in shown and not typed:
        os.write(terminal, b'\x03')
        typed = True
_, status = os.waitpid(pid, 0)
sys.stdout.write(shown.decode())
sys.exit(os.waitstatus_to_exitcode(status))
"#;

/// Counts interrupts, and waits for a second one a while after the first.
const COUNTER: &str = r"
import signal, sys, time
count = 0
def heard(*_):
    global count
    count += 1
signal.signal(signal.SIGINT, heard)
print('ready', sys.stdin.isatty(), flush=True)
while count == 0:
    time.sleep(0.01)
time.sleep(0.3)
print('heard', count, flush=True)
sys.exit(5)
";

#[tokio::test]
async fn what_is_typed_reaches_the_command_once() {
    let home = home(WEB);
    let mut command = Command::new("python3");
    command
        .args(["-c", TERMINAL, env!("CARGO_BIN_EXE_codex-network-proxy")])
        .args(["run", "-q", "--", "python3", "-c", COUNTER])
        .env("CODEX_HOME", home.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let Ok(output) = within("the terminal", command.output()).await else {
        skip(
            "what_is_typed_reaches_the_command_once",
            "python3 is not installed",
        );
        return;
    };
    let shown = String::from_utf8(output.stdout).unwrap();
    // The terminal is passed through, and so is the exit code.
    assert!(
        shown.contains("ready") && shown.contains(" True"),
        "{shown}"
    );
    assert!(shown.contains("heard 1"), "{shown}");
    assert_eq!(output.status.code(), Some(5), "{shown}");
}
