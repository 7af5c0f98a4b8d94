//! What ends up in the file, and what must not be taken for one.

use super::*;
use crate::export::event::{AuditEvent, Value};

fn event(number: u64) -> Arc<AuditEvent> {
    let mut event = AuditEvent::at(std::time::SystemTime::now(), 2);
    event.push("n", Value::Count(number));
    event.push("text", Value::Text("a\r\n\u{1b}[31m\""));
    Arc::new(event)
}

fn line(number: u64) -> String {
    format!("{{\"n\":{number},\"text\":\"a\\r\\n\\u001b[31m\\\"\"}}\n")
}

#[cfg(unix)]
#[test]
fn only_a_file_of_the_owners_alone_is_written() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("audit.jsonl");
    let health: Arc<AuditLogHealth> = Arc::default();
    let opened = AuditFile::open(&path, Arc::clone(&health));
    assert!(opened.is_ok() && health.is_kept());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let refused = |path: &Path| {
        let opened = AuditFile::open(path, Arc::default());
        opened.map(drop).unwrap_err().to_string()
    };
    let link = home.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(refused(&link), "it is a link; name the file itself");
    let dangling = home.path().join("dangling");
    std::os::unix::fs::symlink(home.path().join("victim"), &dangling).unwrap();
    assert_eq!(refused(&dangling), "it is a link; name the file itself");
    assert!(!home.path().join("victim").exists());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(
        refused(&path),
        "it is open to others (mode 640); chmod 600 mends it"
    );
    assert!(AuditFile::open(home.path(), Arc::default()).is_err());
}

#[test]
fn a_line_is_an_object_whatever_a_client_put_into_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("audit.jsonl");
    let queue = Queue::new(NAME, 8, 8);
    let mut file = AuditFile::open(&path, Arc::default()).unwrap();
    queue.push(event(1));
    queue.push(event(2));
    assert!(file.write(&queue));
    assert!(!file.write(&queue));
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, format!("{}{}", line(1), line(2)));
    assert_eq!(queue.meters.exported.value(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_makes_events_wait_and_they_follow_when_there_is_room() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("audit.jsonl");
    let health: Arc<AuditLogHealth> = Arc::default();
    let queue = Queue::new(NAME, 2, 8);
    let mut file = AuditFile::open(&path, Arc::clone(&health)).unwrap();
    file.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
    queue.push(event(1));
    assert!(!file.write(&queue));
    assert!(file.failing && !health.is_kept());
    for number in 2..=5 {
        queue.push(event(number));
    }
    assert!(!file.write(&queue));
    assert_eq!(queue.meters.failures.value(), 2);
    assert_eq!(queue.meters.dropped.value(), 2);
    // Somebody made room, and a first line got half way before.
    file.written = 10;
    file.reopen();
    while file.write(&queue) {}
    assert!(!file.failing && health.is_kept());
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, format!("{}{}{}", line(1), line(2), line(3)));
}
