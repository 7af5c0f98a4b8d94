//! An open connection to an upstream, whatever carries it.
//!
//! [`Connection`] reads and writes like any stream. It deliberately exposes neither the socket nor a way to
//! aim it elsewhere.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::fingerprint::Fingerprint;
use crate::meter::Metered;
#[cfg(target_os = "linux")]
use crate::splice::Socket;

/// A stream to the target of a permit, or to the parent proxy.
#[derive(Debug)]
pub struct Connection {
    io: Io,
    /// What was dialled, where this is a direct connection over IP.
    peer: Option<SocketAddr>,
    /// Bytes that came with a parent's answer and belong to the tunnel.
    early: Bytes,
    /// Counts the bytes, where this is what the rest of the proxy sees.
    meter: Option<Metered>,
}

#[derive(Debug)]
pub(super) enum Io {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// TLS with the origin inside of TLS with the parent.
    Nested(Box<TlsStream<Connection>>),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

impl Connection {
    pub(super) fn new(io: Io, peer: Option<SocketAddr>) -> Self {
        Self {
            io,
            peer,
            early: Bytes::new(),
            meter: None,
        }
    }

    /// Puts back bytes that were read ahead; they are read again first.
    #[must_use]
    pub fn with_early(mut self, early: Bytes) -> Self {
        self.early = early;
        self
    }

    /// Counts what goes through from here on.
    pub(super) fn metered(mut self, meter: Metered) -> Self {
        self.meter = Some(meter);
        self
    }

    /// Counts no more, for something else that counts goes around it.
    pub(super) fn unmetered(mut self) -> Self {
        self.meter = None;
        self
    }

    /// The bare TCP stream, where there is nothing else around it.
    pub(super) fn into_tcp(self) -> Result<TcpStream, Box<Self>> {
        match self {
            Self {
                io: Io::Tcp(stream),
                early,
                ..
            } if early.is_empty() => Ok(stream),
            other => Err(Box::new(other)),
        }
    }

    /// The address that was dialled, where this is a direct connection over IP.
    #[must_use]
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Our end's address, where this is a connection over IP.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.tcp()?.local_addr().ok()
    }

    /// The socket, where bytes may go in and out of it without passing through us: bare TCP, with nothing read ahead.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn socket(&self) -> Option<Socket<'_>> {
        match &self.io {
            Io::Tcp(stream) if self.early.is_empty() => {
                Some(Socket::of_upstream(stream, self.meter.as_ref()))
            }
            Io::Tcp(_) | Io::Tls(_) | Io::Nested(_) | Io::Unix(_) => None,
        }
    }

    /// Whether the target has chosen HTTP/2 in its TLS.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.session()
            .is_some_and(|session| session.alpn_protocol() == Some(b"h2"))
    }

    /// The certificate that the target has shown, where the proxy speaks TLS with it.
    #[must_use]
    pub fn certificate(&self) -> Option<Fingerprint> {
        let certificate = self.session()?.peer_certificates()?.first()?;
        Some(Fingerprint::of(certificate))
    }

    fn session(&self) -> Option<&rustls::ClientConnection> {
        match &self.io {
            Io::Tls(stream) => Some(stream.get_ref().1),
            Io::Nested(stream) => Some(stream.get_ref().1),
            Io::Tcp(_) => None,
            #[cfg(unix)]
            Io::Unix(_) => None,
        }
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match &self.io {
            Io::Tcp(stream) => Some(stream),
            Io::Tls(stream) => Some(stream.get_ref().0),
            Io::Nested(stream) => stream.get_ref().0.tcp(),
            #[cfg(unix)]
            Io::Unix(_) => None,
        }
    }

    fn count_sent(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let (Some(meter), Poll::Ready(Ok(written))) = (&self.meter, &written) {
            meter.sent(*written);
        }
        written
    }

    fn poll_io<T>(
        self: Pin<&mut Self>,
        poll: impl FnOnce(Pin<&mut (dyn Stream + 'static)>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.get_mut().io {
            Io::Tcp(stream) => poll(Pin::new(stream as &mut dyn Stream)),
            Io::Tls(stream) => poll(Pin::new(stream.as_mut() as &mut dyn Stream)),
            Io::Nested(stream) => poll(Pin::new(stream.as_mut() as &mut dyn Stream)),
            #[cfg(unix)]
            Io::Unix(stream) => poll(Pin::new(stream as &mut dyn Stream)),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.early.has_remaining() {
            let length = self.early.len().min(buffer.remaining());
            buffer.put_slice(&self.early.split_to(length));
        } else {
            ready!(self.as_mut().poll_io(|stream| stream.poll_read(cx, buffer)))?;
        }
        if let Some(meter) = &self.meter {
            meter.received(buffer.filled().len() - before);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.as_mut().poll_io(|stream| stream.poll_write(cx, bytes));
        self.count_sent(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_io(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_io(|stream| stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // One slice by itself is written more cheaply.
        if let [only] = slices {
            return self.poll_write(cx, only);
        }
        let written = self
            .as_mut()
            .poll_io(|stream| stream.poll_write_vectored(cx, slices));
        self.count_sent(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Tcp(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
            Io::Nested(stream) => stream.is_write_vectored(),
            #[cfg(unix)]
            Io::Unix(stream) => stream.is_write_vectored(),
        }
    }
}
