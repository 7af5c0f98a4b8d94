//! What a relay moves bytes between.
//!
//! [`Stream`] is any stream; one that is nothing but a socket can say so, and its bulk need not pass through us then.

use codex_network_gate::Connection;
#[cfg(target_os = "linux")]
use codex_network_gate::Socket;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// One side of a relay.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// The socket, where there is nothing around it and nothing was read ahead.
    #[cfg(target_os = "linux")]
    fn socket(&self) -> Option<Socket<'_>> {
        None
    }
}

impl Stream for TcpStream {
    #[cfg(target_os = "linux")]
    fn socket(&self) -> Option<Socket<'_>> {
        Some(Socket::from(self))
    }
}

impl Stream for Connection {
    #[cfg(target_os = "linux")]
    fn socket(&self) -> Option<Socket<'_>> {
        Connection::socket(self)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for TlsStream<S> {}

impl Stream for TokioIo<Upgraded> {}

#[cfg(test)]
impl Stream for tokio::io::DuplexStream {}
