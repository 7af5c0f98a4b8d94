//! Bytes both ways between two streams, until both have ended.
//!
//! [`Relay`] keeps half-closes exact: one side's end of stream becomes the other side's, and the other
//! direction goes on. A buffer is held only while bytes are in flight, so that an idle tunnel costs no buffer. On Linux
//! bulk between two bare sockets does not even pass through a buffer (`splice`). It deliberately does not look at the
//! bytes, and knows no policy.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

#[cfg(target_os = "linux")]
use codex_network_gate::Socket;
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep};

#[cfg(target_os = "linux")]
mod splice;
mod stream;

#[cfg(target_os = "linux")]
use splice::{BorrowedPipe, Bulk};
pub(crate) use stream::Stream;

/// Size of a buffer. Large enough for bulk transfers to amortise their system calls.
const BUFFER_BYTES: usize = 64 * 1024;

/// How many unused buffers each worker thread keeps.
const SPARE_BUFFERS: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer that goes back to its thread's spares.
#[derive(Debug)]
struct Buffer(Box<[u8]>);

impl Buffer {
    fn take() -> Self {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        Self(spare.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice()))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_BUFFERS {
                spare.push(buffer);
            }
        });
    }
}

/// A future that relays between `downstream` and `upstream` until both directions have ended.
#[derive(Debug)]
pub(crate) struct Relay<D, U> {
    downstream: D,
    upstream: U,
    up: Direction,
    down: Direction,
    idle: Option<Idle>,
    /// The limit once one direction has ended.
    half_closed: Duration,
}

impl<D: Stream, U: Stream> Relay<D, U> {
    /// Relays. `early` came from downstream already and goes upstream first; without traffic for `idle` the
    /// relay ends with an error of kind [`io::ErrorKind::TimedOut`]; with one direction ended, without traffic for
    /// `half_closed`.
    pub(crate) fn new(
        downstream: D,
        upstream: U,
        early: &[u8],
        idle: Option<Duration>,
        half_closed: Duration,
    ) -> Self {
        Self {
            downstream,
            upstream,
            up: Direction::starting_with(early),
            down: Direction::new(Step::Reading),
            idle: idle.map(Idle::new),
            half_closed,
        }
    }

    pub(crate) fn downstream_mut(&mut self) -> &mut D {
        &mut self.downstream
    }

    pub(crate) fn upstream(&self) -> &U {
        &self.upstream
    }

    /// The streams, downstream first. What is in flight between them is lost.
    pub(crate) fn into_streams(self) -> (D, U) {
        (self.downstream, self.upstream)
    }
}

impl<D: Stream, U: Stream> Future for Relay<D, U> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut moved = false;
        let up = this
            .up
            .poll(cx, &mut this.downstream, &mut this.upstream, &mut moved)?;
        let down = this
            .down
            .poll(cx, &mut this.upstream, &mut this.downstream, &mut moved)?;
        if up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if (up.is_ready() || down.is_ready())
            && this
                .idle
                .as_ref()
                .is_none_or(|idle| idle.limit > this.half_closed)
        {
            this.idle = Some(Idle::new(this.half_closed));
        }
        match &mut this.idle {
            Some(idle) => idle.poll(cx, moved),
            None => Poll::Pending,
        }
    }
}

/// One way through the relay.
#[derive(Debug)]
struct Direction {
    step: Step,
    #[cfg(target_os = "linux")]
    bulk: Bulk,
}

/// What one direction is about to do.
#[derive(Debug)]
enum Step {
    Reading,
    /// Bytes `from..to` of the buffer still have to be written.
    Writing {
        buffer: Buffer,
        from: usize,
        to: usize,
    },
    /// Everything is written; the writer may still hold some of it (TLS).
    Flushing,
    /// Bytes go from socket to socket.
    #[cfg(target_os = "linux")]
    Splicing(BorrowedPipe),
    /// The reader has ended; the writer is to learn of it.
    ShuttingDown,
    Done,
}

impl Direction {
    fn new(step: Step) -> Self {
        Self {
            step,
            #[cfg(target_os = "linux")]
            bulk: Bulk::Perhaps(0),
        }
    }

    fn starting_with(early: &[u8]) -> Self {
        if early.is_empty() {
            return Self::new(Step::Reading);
        }
        let buffer = Buffer(early.into());
        Self::new(Step::Writing {
            to: buffer.0.len(),
            from: 0,
            buffer,
        })
    }

    fn poll<R: Stream, W: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        moved: &mut bool,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.step {
                Step::Reading => {
                    #[cfg(target_os = "linux")]
                    if self.bulk == Bulk::Yes
                        && let (Some(_), Some(_)) = (reader.socket(), writer.socket())
                        && let Some(pipe) = BorrowedPipe::take()
                    {
                        self.step = Step::Splicing(pipe);
                        continue;
                    }
                    let mut buffer = Buffer::take();
                    let mut unfilled = ReadBuf::new(&mut buffer.0);
                    ready!(Pin::new(&mut *reader).poll_read(cx, &mut unfilled))?;
                    let to = unfilled.filled().len();
                    #[cfg(target_os = "linux")]
                    self.bulk.note(to);
                    self.step = match to {
                        0 => Step::ShuttingDown,
                        _ => Step::Writing {
                            buffer,
                            from: 0,
                            to,
                        },
                    };
                    *moved = true;
                }
                Step::Writing { buffer, from, to } => {
                    let unwritten = &buffer.0[*from..*to];
                    let written = ready!(Pin::new(&mut *writer).poll_write(cx, unwritten))?;
                    if written == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    *moved = true;
                    *from += written;
                    if from == to {
                        self.step = Step::Flushing;
                    }
                }
                Step::Flushing => {
                    ready!(Pin::new(&mut *writer).poll_flush(cx))?;
                    self.step = Step::Reading;
                }
                #[cfg(target_os = "linux")]
                Step::Splicing(pipe) => {
                    let (Some(from), Some(to)) = (reader.socket(), writer.socket()) else {
                        return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                    };
                    self.step = match poll_splice(cx, pipe, from, to, &mut self.bulk, moved) {
                        Poll::Ready(next) => next?,
                        // What is in the pipe stays in it; an empty one is for others to use.
                        Poll::Pending if !pipe.is_empty() => return Poll::Pending,
                        Poll::Pending => {
                            self.step = Step::Reading;
                            return Poll::Pending;
                        }
                    };
                }
                Step::ShuttingDown => {
                    match ready!(Pin::new(&mut *writer).poll_shutdown(cx)) {
                        // A peer that has closed already needs no telling.
                        Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                            return Poll::Ready(Err(error));
                        }
                        Ok(()) | Err(_) => self.step = Step::Done,
                    }
                }
                Step::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// Moves bytes through the pipe until one of the sockets has no more, and says what is to be done then.
#[cfg(target_os = "linux")]
fn poll_splice(
    cx: &mut Context<'_>,
    pipe: &mut BorrowedPipe,
    from: Socket<'_>,
    to: Socket<'_>,
    bulk: &mut Bulk,
    moved: &mut bool,
) -> Poll<io::Result<Step>> {
    loop {
        while !pipe.is_empty() {
            if ready!(pipe.poll_drain(cx, to))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *moved = true;
        }
        if *bulk != Bulk::Yes {
            return Poll::Ready(Ok(Step::Reading));
        }
        match ready!(pipe.poll_fill(cx, from)) {
            Ok(0) => {
                *moved = true;
                return Poll::Ready(Ok(Step::ShuttingDown));
            }
            Ok(length) => {
                *moved = true;
                bulk.note(length);
            }
            // Nothing was taken from the socket, so that it can be read in the other way.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                *bulk = Bulk::Never;
                return Poll::Ready(Ok(Step::Reading));
            }
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// Ends a relay that stands still.
#[derive(Debug)]
struct Idle {
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    last_moved: Instant,
}

impl Idle {
    fn new(limit: Duration) -> Self {
        let timer = Box::pin(tokio::time::sleep(limit));
        Self {
            limit,
            timer,
            last_moved: Instant::now(),
        }
    }

    /// The timer is moved only when it fires, not with every byte.
    fn poll(&mut self, cx: &mut Context<'_>, moved: bool) -> Poll<io::Result<()>> {
        if moved {
            self.last_moved = Instant::now();
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let deadline = self.last_moved + self.limit;
            if deadline <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests;
