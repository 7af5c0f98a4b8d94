//! A client's stream on which writing may not stand still for ever, and which is not closed in a client's face.
//!
//! [`Patient`] passes everything through; a write that makes no progress for its limit fails, and a shutdown reads on
//! for a moment. Reads have limits of their own, those of heads and bodies.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use codex_network_gate::Limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How much is written as one slice rather than as two, in bytes.
const SHORT: usize = 2048;

/// A stream whose writer loses its patience.
#[derive(Debug)]
pub(crate) struct Patient<S> {
    stream: S,
    /// How long a write may be stuck.
    limit: Duration,
    /// Runs while a write is stuck.
    timer: Option<Pin<Box<Sleep>>>,
    /// How long the client is read on after our side is shut down.
    farewell_limit: Duration,
    /// Runs once our side is shut down, until the client closes its own.
    farewell: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Patient<S> {
    pub(crate) fn new(stream: S, limits: &Limits) -> Self {
        Self {
            stream,
            limit: limits.body_idle,
            timer: None,
            farewell_limit: limits.farewell,
            farewell: None,
        }
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.timer = None;
            return progress;
        }
        let limit = self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let written = match slices {
            [only] => stream.poll_write(cx, only),
            // A head and a short body. The system takes one slice more cheaply, by more than it costs to make one of two.
            [first, second] if first.len() + second.len() <= SHORT => {
                let mut scratch = [MaybeUninit::uninit(); SHORT];
                let mut both = ReadBuf::uninit(&mut scratch);
                both.put_slice(first);
                both.put_slice(second);
                stream.poll_write(cx, both.filled())
            }
            _ => stream.poll_write_vectored(cx, slices),
        };
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.as_mut().get_mut();
        if this.farewell.is_none() {
            let shut_down = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.bounded(cx, shut_down))?;
        }
        let farewell = this
            .farewell
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(this.farewell_limit)));
        let mut scratch = [MaybeUninit::uninit(); 4096];
        loop {
            let mut unread = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(cx, &mut unread) {
                Poll::Ready(Ok(())) if !unread.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        farewell.as_mut().poll(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::{Limits, Patient};

    fn limits() -> Limits {
        Limits {
            body_idle: Duration::from_secs(10),
            ..Limits::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_on_a_reader_that_does_not_read() -> io::Result<()> {
        let (stream, mut peer) = duplex(4);
        let mut patient = Patient::new(stream, &limits());
        patient.write_all(b"1234").await?;
        assert_eq!(
            patient.write_all(b"5").await.unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
        // One that goes on reading, slowly, is waited for.
        let mut read = [0; 2];
        peer.read_exact(&mut read).await?;
        patient.write_all(b"67").await
    }
    #[tokio::test(start_paused = true)]
    async fn throws_away_what_comes_after_the_last_word() -> io::Result<()> {
        let (stream, mut peer) = duplex(4);
        let mut patient = Patient::new(stream, &limits());
        let talk = async {
            // More than fits: whoever writes it needs a reader, although nobody wants it.
            peer.write_all(b"an upload that nobody wants").await?;
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).await?;
            drop(peer);
            Ok::<_, io::Error>(answer)
        };
        let refuse = async {
            patient.write_all(b"no").await?;
            patient.shutdown().await
        };
        let (answer, refused) = tokio::join!(talk, refuse);
        refused?;
        assert_eq!(answer?, b"no");
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_closes_is_left_after_a_moment() -> io::Result<()> {
        let (stream, _peer) = duplex(4);
        let started = tokio::time::Instant::now();
        Patient::new(stream, &limits()).shutdown().await?;
        assert_eq!(started.elapsed().as_secs(), limits().farewell.as_secs());
        Ok(())
    }
}
