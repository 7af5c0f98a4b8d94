//! The audit log of the binary.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value as Json;

use super::*;

const REQUIRED: &str = "default_permissions = \"p\"\n[permissions.p.network]\nenabled = true\nrequire_audit_log = true\nallowed_domains = [\"**.invalid\"]\n";

/// The hosts in a log, each line of which must be an object.
fn hosts(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .map(|line| {
            let object: Json = serde_json::from_str(line).unwrap();
            object["server.address"].as_str().unwrap_or("-").to_owned()
        })
        .collect()
}

/// Waits for a file that another process writes.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let mut look = tokio::time::interval(std::time::Duration::from_millis(5));
    within(what, async {
        while !holds() {
            look.tick().await;
        }
    })
    .await;
}

async fn signal(proxy: &Running, signal: &str) {
    let id = proxy.child.id().unwrap().to_string();
    let killed = Command::new("kill").args(["-s", signal, &id]).status();
    assert!(killed.await.unwrap().success());
}

#[tokio::test]
async fn every_decision_is_a_line_and_a_file_that_was_moved_is_made_anew() {
    let home = home("");
    let log = home.path().join("audit.jsonl");
    let name = log.to_str().unwrap();
    let proxy = Running::start(home.path(), &["--audit-log", name]).await;
    let mode = std::fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    proxy.answer(&get("one.test")).await;
    until("the first line", || hosts(&log) == ["one.test"]).await;
    let old = home.path().join("audit.jsonl.1");
    std::fs::rename(&log, &old).unwrap();
    proxy.answer(&get("two.test")).await;
    until("the second line", || {
        hosts(&old) == ["one.test", "two.test"]
    })
    .await;
    signal(&proxy, "HUP").await;
    until("a new file", || log.exists()).await;
    proxy.answer(&get("three.test")).await;
    until("the third line", || hosts(&log) == ["three.test"]).await;
    proxy.answer(&get("four.test")).await;
    assert_eq!(proxy.end("TERM").await.0, Some(0));
    assert_eq!(hosts(&log), ["three.test", "four.test"]);
    assert_eq!(hosts(&old), ["one.test", "two.test"]);
    // The next proxy goes on where this one ended.
    let proxy = Running::start(home.path(), &["--audit-log", name]).await;
    proxy.answer(&get("five.test")).await;
    assert_eq!(proxy.end("TERM").await.0, Some(0));
    assert_eq!(hosts(&log), ["three.test", "four.test", "five.test"]);
}

#[tokio::test]
async fn a_link_and_an_exposed_file_are_refused_before_anything_is_served() {
    let home = home("");
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let link = home.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let (code, _, stderr) = run(home.path(), &["--audit-log", link.to_str().unwrap()]).await;
    assert_eq!(
        (code, stderr.as_str()),
        (
            Some(2),
            "error: cannot write the audit log `HOME/link`: it is a link; name the file itself\n"
        )
    );
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, stderr) = run(home.path(), &["--audit-log", file.to_str().unwrap()]).await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("chmod 600 mends it"), "{stderr}");
}

/// A full disk: `/dev/full` takes nothing.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_said_once_and_traffic_goes_on() {
    let home = home("");
    let mut proxy = Running::start(
        home.path(),
        &["--allow", "**.invalid", "--audit-log", "/dev/full"],
    )
    .await;
    proxy.answer(&get("a.invalid")).await;
    while !proxy
        .line()
        .await
        .contains("the audit log `/dev/full` cannot be written")
    {}
    for _ in 0..3 {
        let answer = proxy.answer(&get("a.invalid")).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
    let (code, _, stderr) = proxy.end("TERM").await;
    assert_eq!(code, Some(0));
    assert!(!stderr.contains("cannot be written"), "{stderr}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_refuses_everything_where_the_log_is_required() {
    let home = home(REQUIRED);
    let mut proxy = Running::start(home.path(), &["--audit-log", "/dev/full"]).await;
    proxy.answer(&get("a.invalid")).await;
    while !proxy.line().await.contains("cannot be written") {}
    let answer = proxy.answer(&get("a.invalid")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.ends_with("the audit log cannot be written."),
        "{answer}"
    );
}

#[tokio::test]
async fn where_the_log_is_required_it_must_be_asked_for() {
    let home = home(REQUIRED);
    let proxy = Running::start(home.path(), &[]).await;
    let answer = proxy.answer(&get("a.invalid")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let log = home.path().join("audit.jsonl");
    let proxy = Running::start(home.path(), &["--audit-log", log.to_str().unwrap()]).await;
    let answer = proxy.answer(&get("a.invalid")).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test]
async fn what_a_client_sends_breaks_no_line() {
    let home = home("");
    let log = home.path().join("audit.jsonl");
    let proxy = Running::start(home.path(), &["--audit-log", log.to_str().unwrap()]).await;
    let method = "A\u{1b}[31m\"x";
    for request in [
        format!("{method} http://one.test/ HTTP/1.1\r\n\r\n"),
        "GET http://two.test%0d%0ax/ HTTP/1.1\r\n\r\n".to_owned(),
        "GET http://three.test/\u{1b}[31m HTTP/1.1\r\n\r\n".to_owned(),
        "M'%0A\\n http://four.test/ HTTP/1.1\r\n\r\n".to_owned(),
        get("five.test"),
    ] {
        proxy.answer(&request).await;
    }
    assert_eq!(proxy.end("TERM").await.0, Some(0));
    assert_eq!(hosts(&log).last().map(String::as_str), Some("five.test"));
    let text = std::fs::read(&log).unwrap();
    assert!(
        text.iter()
            .all(|byte| *byte == b'\n' || !byte.is_ascii_control())
    );
}
