//! A client's stream whose first bytes are looked at before anybody else gets them.
//!
//! [`Screen`] reads like the stream inside, but for its beginning: it holds the first bytes back until it can tell what
//! they are, says so once, and lets go of them when it is told to. Writing passes through from the start, so that a
//! server that speaks first is not kept waiting. It deliberately judges nothing.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
#[cfg(target_os = "linux")]
use codex_network_gate::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::hello::{FirstBytes, Hello, HelloReader};
use crate::relay::Stream;

/// Enough for nearly every hello to come in one piece.
const CHUNK_BYTES: usize = 4096;

/// A stream with a beginning.
#[derive(Debug)]
pub(super) struct Screen<D> {
    stream: D,
    beginning: Beginning,
}

#[derive(Debug)]
enum Beginning {
    /// It is not known yet what the client sends.
    Unknown(Box<Unknown>),
    /// Held back until somebody says what becomes of it.
    Held(Bytes),
    /// Given out before anything else is read.
    Released(Bytes),
    Over,
}

#[derive(Debug)]
struct Unknown {
    received: Vec<u8>,
    reader: HelloReader,
    /// Came with the request for the tunnel, not looked at yet.
    early: Bytes,
    /// How long a hello that has begun may take.
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What a client begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// Nothing: it has ended its side.
    Nothing,
    NotTls,
    Hello(Hello),
}

impl<D: AsyncRead + Unpin> Screen<D> {
    /// `early` was read from the stream already. A hello that has begun must be complete within `limit`.
    pub(super) fn new(stream: D, early: Bytes, limit: Duration) -> Self {
        let unknown = Unknown {
            received: Vec::new(),
            reader: HelloReader::default(),
            early,
            limit,
            timer: None,
        };
        Self {
            stream,
            beginning: Beginning::Unknown(Box::new(unknown)),
        }
    }

    /// What the client begins with, told once. From then on nothing is read before [`Screen::release`].
    pub(super) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<First>> {
        let Beginning::Unknown(unknown) = &mut self.beginning else {
            return Poll::Pending;
        };
        let first = ready!(unknown.poll(cx, &mut self.stream))?;
        let held = std::mem::take(&mut unknown.received);
        self.beginning = Beginning::Held(held.into());
        Poll::Ready(Ok(first))
    }

    /// Lets the first bytes go where they were meant to.
    pub(super) fn release(&mut self) {
        if let Beginning::Held(bytes) = &mut self.beginning {
            self.beginning = Beginning::Released(std::mem::take(bytes));
        }
    }

    /// The stream, without the first bytes.
    pub(super) fn into_stream(self) -> D {
        self.stream
    }
}

impl Unknown {
    fn poll<D: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut D,
    ) -> Poll<io::Result<First>> {
        if !self.early.is_empty() {
            self.received = std::mem::take(&mut self.early).into();
            if let Some(first) = self.look() {
                return Poll::Ready(Ok(first));
            }
        }
        loop {
            // On the stack, so that a tunnel that waits for its client's first word costs no buffer.
            let mut chunk = [MaybeUninit::uninit(); CHUNK_BYTES];
            let mut unfilled = ReadBuf::uninit(&mut chunk);
            match Pin::new(&mut *stream).poll_read(cx, &mut unfilled)? {
                Poll::Ready(()) if unfilled.filled().is_empty() => {
                    return Poll::Ready(if self.received.is_empty() {
                        Ok(First::Nothing)
                    } else {
                        // A part of a hello is nothing that an origin could answer.
                        Err(io::ErrorKind::UnexpectedEof.into())
                    });
                }
                Poll::Ready(()) => {
                    self.received.extend_from_slice(unfilled.filled());
                    if let Some(first) = self.look() {
                        return Poll::Ready(Ok(first));
                    }
                }
                Poll::Pending => break,
            }
        }
        if self.received.is_empty() {
            return Poll::Pending;
        }
        let limit = self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn look(&mut self) -> Option<First> {
        match self.reader.read(&self.received) {
            FirstBytes::NeedMore => None,
            FirstBytes::NotTls => Some(First::NotTls),
            FirstBytes::Hello(hello) => Some(First::Hello(hello)),
        }
    }
}

impl<D: AsyncRead + Unpin> AsyncRead for Screen<D> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &mut this.beginning {
            Beginning::Over => Pin::new(&mut this.stream).poll_read(cx, buffer),
            // Whoever runs the screen looks after it, and wakes by what it waits for.
            Beginning::Unknown(_) | Beginning::Held(_) => Poll::Pending,
            Beginning::Released(bytes) => {
                if bytes.is_empty() {
                    this.beginning = Beginning::Over;
                    return Pin::new(&mut this.stream).poll_read(cx, buffer);
                }
                let length = bytes.len().min(buffer.remaining());
                buffer.put_slice(&bytes[..length]);
                bytes.advance(length);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl<D: AsyncWrite + Unpin> AsyncWrite for Screen<D> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<D: Stream> Stream for Screen<D> {
    #[cfg(target_os = "linux")]
    fn socket(&self) -> Option<Socket<'_>> {
        match self.beginning {
            Beginning::Over => self.stream.socket(),
            Beginning::Unknown(_) | Beginning::Held(_) | Beginning::Released(_) => None,
        }
    }
}
