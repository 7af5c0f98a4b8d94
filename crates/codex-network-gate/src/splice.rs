//! Moving bytes between sockets without taking them in: `splice(2)` through a pipe, on Linux.
//!
//! [`Socket`] is a TCP stream as far as that needs it, [`Pipe`] what holds the bytes on their way. A [`Connection`] lends
//! its socket for this and for nothing else: it can be neither aimed elsewhere nor read. What is moved, and when it is worth
//! the system calls, is for the caller to say.
//!
//! [`Connection`]: crate::Connection

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::meter::Metered;

/// How much a pipe is asked to hold. More than a usual socket buffer brings nothing; where the system gives less, less is
/// moved at once.
const PIPE_BYTES: usize = 256 * 1024;

/// The most that is moved by one call.
const CHUNK_BYTES: usize = 1024 * 1024;

/// A pipe that bytes pass through.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// How many bytes are in it.
    held: usize,
}

impl Pipe {
    /// Makes an empty one.
    ///
    /// # Errors
    /// Where the system gives none, for want of descriptors.
    pub fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A user's pipes may hold so much in all; then this one is as small as it came.
        let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
        Ok(Self {
            read,
            write,
            held: 0,
        })
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }
}

/// A TCP stream that lends its bytes to pipes.
#[derive(Clone, Copy, Debug)]
pub struct Socket<'a> {
    stream: &'a TcpStream,
    /// Counts the bytes of an upstream connection.
    meter: Option<&'a Metered>,
}

impl<'a> From<&'a TcpStream> for Socket<'a> {
    fn from(stream: &'a TcpStream) -> Self {
        Self {
            stream,
            meter: None,
        }
    }
}

impl<'a> Socket<'a> {
    pub(crate) fn of_upstream(stream: &'a TcpStream, meter: Option<&'a Metered>) -> Self {
        Self { stream, meter }
    }

    /// Moves what has arrived into `pipe`, and says how much; zero is the end of the stream.
    ///
    /// # Errors
    /// What the system reports; [`io::ErrorKind::InvalidInput`] where it cannot do this with this socket.
    pub fn poll_fill(self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            let moved = self.stream.try_io(Interest::READABLE, || {
                let moved = splice(self.stream, None, &pipe.write, None, CHUNK_BYTES, FLAGS)?;
                Ok(moved)
            });
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(moved) => {
                    pipe.held += moved;
                    if let Some(meter) = self.meter {
                        meter.received(moved);
                    }
                    return Poll::Ready(Ok(moved));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Moves what is in `pipe` on, as far as the other side takes it, and says how much.
    ///
    /// # Errors
    /// What the system reports.
    pub fn poll_drain(self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let moved = self.stream.try_io(Interest::WRITABLE, || {
                let moved = splice(&pipe.read, None, self.stream, None, pipe.held, FLAGS)?;
                Ok(moved)
            });
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(moved) => {
                    pipe.held = pipe.held.saturating_sub(moved);
                    if let Some(meter) = self.meter {
                        meter.sent(moved);
                    }
                    return Poll::Ready(Ok(moved));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test's own two ends")]
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (one, other) = tokio::join!(connecting, listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_pass_through_in_order_up_to_the_end() {
        let (mut client, from) = pair().await;
        let (to, mut server) = pair().await;
        let mut pipe = Pipe::new().unwrap();
        let sent: Vec<u8> = (0..1_000_000_u32)
            .map(|number| (number % 251) as u8)
            .collect();
        let expected = sent.clone();
        let sending = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
        });
        let moving = async {
            loop {
                let filled = poll_fn(|cx| Socket::from(&from).poll_fill(cx, &mut pipe)).await;
                if filled.unwrap() == 0 {
                    break;
                }
                while !pipe.is_empty() {
                    poll_fn(|cx| Socket::from(&to).poll_drain(cx, &mut pipe))
                        .await
                        .unwrap();
                }
            }
            drop(to);
        };
        let mut got = Vec::new();
        let (read, ()) = tokio::join!(server.read_to_end(&mut got), moving);
        read.unwrap();
        sending.await.unwrap();
        assert!(got == expected, "other bytes arrived");
    }

    #[tokio::test]
    async fn a_reset_is_an_error() {
        let (client, from) = pair().await;
        socket2::SockRef::from(&client)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
        drop(client);
        let mut pipe = Pipe::new().unwrap();
        let filled = poll_fn(|cx| Socket::from(&from).poll_fill(cx, &mut pipe)).await;
        assert_eq!(filled.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
