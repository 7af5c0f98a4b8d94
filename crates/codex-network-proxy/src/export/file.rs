//! The audit log: one JSON object a line, appended to a file.
//!
//! [`AuditFile`] is opened without following a link, as its owner's alone, and is written by a thread of its own. A write that
//! fails is said once and tried again until it succeeds; whether requests are refused meanwhile is decided by the policy, from
//! the flag that is kept here. It rotates nothing: that is for others, who ask for it to be opened again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use codex_network_gate::{AuditLogHealth, record_audit_loss};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::queue::Queue;

mod line;

pub(super) use line::line;

/// The label of this exporter.
pub(super) const NAME: &str = "file";

/// How many events may wait while the file cannot be written, and how many are written at once.
pub(super) const CAPACITY: usize = 8_192;
pub(super) const BATCH: usize = 512;

/// How long events are gathered, so that a busy proxy does not write for each.
const GATHER: Duration = Duration::from_millis(20);

/// How long to wait after a write that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// An open audit log.
#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    file: File,
    health: Arc<AuditLogHealth>,
    /// Lines that are not yet written, and how much of them is.
    lines: Vec<u8>,
    written: usize,
    events: u64,
    failing: bool,
}

impl AuditFile {
    pub(super) fn open(path: &Path, health: Arc<AuditLogHealth>) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let file = open(&path)?;
        health.set_kept(true);
        Ok(Self {
            path,
            file,
            health,
            lines: Vec::new(),
            written: 0,
            events: 0,
            failing: false,
        })
    }

    /// Writes what comes until it is told to stop, and then the rest.
    pub(super) async fn run(
        mut self,
        queue: Arc<Queue>,
        reopen: Arc<Notify>,
        mut stop: watch::Receiver<bool>,
    ) {
        loop {
            let stopping = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                () = reopen.notified() => {
                    self.reopen();
                    false
                }
                () = sleep(PAUSE), if self.failing => false,
                () = gathered(&queue), if !self.failing => false,
            };
            while self.write(&queue) {}
            if stopping {
                self.health.set_kept(false);
                let left = self.events + u64::try_from(queue.len()).unwrap_or(u64::MAX);
                queue.meters.dropped.add(left);
                return;
            }
        }
    }

    /// Writes one batch, if there is one. Says whether there may be more to write.
    fn write(&mut self, queue: &Queue) -> bool {
        if self.lines.is_empty() {
            let batch = queue.take();
            self.events = u64::try_from(batch.events).unwrap_or(u64::MAX);
            queue.give_back(std::mem::replace(&mut self.lines, batch.bytes));
        }
        if self.lines.is_empty() {
            return false;
        }
        match self.write_lines() {
            Ok(()) => {
                queue.meters.exported.add(self.events);
                self.lines.clear();
                self.written = 0;
                self.events = 0;
                self.went_well(queue);
                true
            }
            Err(error) => {
                queue.meters.failures.increment();
                self.failed("written", &error);
                false
            }
        }
    }

    /// Goes on where the last write ended, so that no line is torn by a disk that was full in its middle.
    fn write_lines(&mut self) -> io::Result<()> {
        while let Some(rest) = self.lines.get(self.written..)
            && !rest.is_empty()
        {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn went_well(&mut self, queue: &Queue) {
        if self.failing {
            self.failing = false;
            tracing::warn!("the audit log is written again");
        }
        self.health.set_kept(true);
        let lost = queue.take_untold();
        if lost > 0 {
            record_audit_loss(NAME, lost);
        }
    }

    fn failed(&mut self, what: &str, error: &io::Error) {
        self.health.set_kept(false);
        if !self.failing {
            self.failing = true;
            let path = self.path.display();
            tracing::error!("the audit log `{path}` cannot be {what}: {error}");
        }
    }

    /// Opens the path again. What is there may be another file by now, and a line that was begun is begun again.
    fn reopen(&mut self) {
        match open(&self.path) {
            Ok(file) => {
                self.file = file;
                let begun = self.lines.get(..self.written).unwrap_or_default();
                let whole = begun.iter().rposition(|byte| *byte == b'\n');
                self.written = whole.map_or(0, |end| end + 1);
                if !self.failing {
                    self.health.set_kept(true);
                }
            }
            // The old file is still open, and better than none.
            Err(error) => {
                let path = self.path.display();
                tracing::error!("the audit log `{path}` cannot be opened again: {error}");
            }
        }
    }
}

async fn gathered(queue: &Queue) {
    queue.some().await;
    tokio::select! {
        () = queue.full_batch() => {}
        () = sleep(GATHER) => {}
    }
}

/// Opens for appending. Neither a link nor a pipe that somebody put there shall hold us up or lead elsewhere.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    if path.is_symlink() {
        return Err(io::Error::other("it is a link; name the file itself"));
    }
    let file = options.open(path)?;
    refuse_exposed(&file)?;
    Ok(file)
}

#[cfg(unix)]
fn refuse_exposed(file: &File) -> io::Result<()> {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    if kind.is_fifo() || kind.is_socket() || kind.is_block_device() {
        return Err(io::Error::other("it is no file"));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if kind.is_file() && mode & 0o077 != 0 {
        let message = format!("it is open to others (mode {mode:o}); chmod 600 mends it");
        return Err(io::Error::other(message));
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_exposed(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests;
