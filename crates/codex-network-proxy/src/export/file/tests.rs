//! What ends up in the file, and what must not be taken for one.

use super::*;
use crate::export::queue::tests::heard;

fn queue(capacity: usize) -> Arc<Queue> {
    Queue::new(NAME, capacity, 8, line)
}

fn tell(queue: &Arc<Queue>, number: u64) {
    heard(queue, || {
        tracing::event!(
            target: codex_network_gate::AUDIT_TARGET,
            tracing::Level::INFO,
            { "n" = number, "absent" = None::<u64>, "text" = "a\r\n\u{1b}[31m\"", "shown" = %"b\n" }
        );
    });
}

fn told(number: u64) -> String {
    let texts = "\"text\":\"a\\r\\n\\u001b[31m\\\"\",\"shown\":\"b\\n\"";
    format!("{{\"n\":{number},{texts}}}\n")
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
    let queue = queue(8);
    let mut file = AuditFile::open(&path, Arc::default()).unwrap();
    tell(&queue, 1);
    tell(&queue, 2);
    assert!(file.write(&queue));
    assert!(!file.write(&queue));
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, format!("{}{}", told(1), told(2)));
    assert_eq!(queue.meters.exported.value(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_makes_events_wait_and_they_follow_when_there_is_room() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("audit.jsonl");
    let health: Arc<AuditLogHealth> = Arc::default();
    let queue = queue(2);
    let mut file = AuditFile::open(&path, Arc::clone(&health)).unwrap();
    file.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
    tell(&queue, 1);
    assert!(!file.write(&queue));
    assert!(file.failing && !health.is_kept());
    for number in 2..=5 {
        tell(&queue, number);
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
    assert_eq!(text, format!("{}{}{}", told(1), told(2), told(3)));
}
