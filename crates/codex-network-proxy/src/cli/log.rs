//! What the binary says on stderr, written by a thread of its own.
//!
//! Whoever reads our stderr may stop reading, or go away; neither may stop the proxy, for every client could bring
//! it about by being refused. [`Log`] takes what there is room for, counts what it drops, and never waits. The audit
//! for machines is the embedder's `tracing` subscriber and not this.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// How many lines may wait to be written.
const WAITING_LINES: usize = 1_024;

/// How long the last lines may take at the end.
const FLUSH: Duration = Duration::from_secs(1);

/// A writer to stderr that never waits and never fails. Each write is one piece: written whole, or dropped.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pieces: SyncSender<Piece>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Piece {
    Text(Vec<u8>),
    /// Everything before it has been written.
    Flushed(SyncSender<()>),
}

impl Log {
    /// Starts the thread that writes.
    pub(super) fn start() -> io::Result<Self> {
        let (pieces, waiting) = sync_channel(WAITING_LINES);
        let lost = Arc::<AtomicU64>::default();
        let lost_so_far = Arc::clone(&lost);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write(&waiting, &lost_so_far))?;
        Ok(Self { pieces, lost })
    }

    /// Says something that is no log line.
    pub(super) fn say(&self, line: &str) {
        let _ = writeln!(self.clone(), "codex-network-proxy: {line}");
    }

    /// Waits for what has been said so far, for a moment.
    pub(super) fn flush_for_exit(&self) {
        let (flushed, done) = sync_channel(1);
        if self.pieces.try_send(Piece::Flushed(flushed)).is_ok() {
            let _ = done.recv_timeout(FLUSH);
        }
    }
}

impl Write for Log {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.pieces.try_send(Piece::Text(piece.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(piece.len())
    }

    // `write!` would hand over a line in parts, which could then be dropped in part.
    fn write_fmt(&mut self, arguments: std::fmt::Arguments<'_>) -> io::Result<()> {
        self.write(arguments.to_string().as_bytes()).map(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes until nobody is left to say anything. A stderr that is gone swallows the rest.
fn write(waiting: &Receiver<Piece>, lost: &AtomicU64) {
    let mut stderr = io::stderr();
    while let Ok(piece) = waiting.recv() {
        match piece {
            Piece::Text(text) => {
                let _ = stderr.write_all(&text);
                let lost = lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let _ = writeln!(
                        stderr,
                        "codex-network-proxy: {lost} log lines were dropped, for stderr was not read"
                    );
                }
            }
            Piece::Flushed(done) => {
                let _ = done.try_send(());
            }
        }
    }
}
