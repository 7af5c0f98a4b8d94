//! Bulk that goes from socket to socket without passing through us, on Linux.
//!
//! [`Bulk`] notices when a direction carries much at a time; [`BorrowedPipe`] is what the bytes go through then. A pipe is
//! borrowed only while bytes are in it, and few are kept, so that a tunnel that rests costs none. Nothing is moved here.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll};

use codex_network_gate::{Pipe, Socket};

/// How many unused pipes each worker thread keeps; each has two descriptors.
const SPARE_PIPES: usize = 4;

/// A read of so much is one of bulk: copying it costs more than a pipe does.
const MUCH: usize = 32 * 1024;

/// A read of less is none any more.
const LITTLE: usize = 8 * 1024;

/// How many reads in a row make bulk.
const ENOUGH: u8 = 2;

thread_local! {
    static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// Whether a direction carries bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bulk {
    /// So many of its last reads were large.
    Perhaps(u8),
    Yes,
    /// The system cannot move this stream's bytes by itself.
    Never,
}

impl Bulk {
    /// Takes note of a read of this size.
    pub(super) fn note(&mut self, length: usize) {
        *self = match *self {
            Self::Perhaps(large) if length >= MUCH && large + 1 >= ENOUGH => Self::Yes,
            Self::Perhaps(large) if length >= MUCH => Self::Perhaps(large + 1),
            Self::Perhaps(_) => Self::Perhaps(0),
            Self::Yes if length < LITTLE => Self::Perhaps(0),
            Self::Yes => Self::Yes,
            Self::Never => Self::Never,
        };
    }
}

/// A pipe that goes back to its thread's spares.
#[derive(Debug)]
pub(super) struct BorrowedPipe(Option<Pipe>);

impl BorrowedPipe {
    /// A spare one, or a new one where the system gives one.
    pub(super) fn take() -> Option<Self> {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        let pipe = spare.or_else(|| Pipe::new().ok())?;
        Some(Self(Some(pipe)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(Pipe::is_empty)
    }

    /// Moves what has arrived into the pipe; zero is the end of the stream.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: Socket<'_>,
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(pipe) => from.poll_fill(cx, pipe),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Moves what is in the pipe on.
    pub(super) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        to: Socket<'_>,
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(pipe) => to.poll_drain(cx, pipe),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl Drop for BorrowedPipe {
    fn drop(&mut self) {
        // INVARIANT: a spare is empty. What is left in one belongs to a tunnel that has ended, and to nobody else.
        let Some(pipe) = self.0.take().filter(Pipe::is_empty) else {
            return;
        };
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_PIPES {
                spare.push(pipe);
            }
        });
    }
}
