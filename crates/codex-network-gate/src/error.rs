//! Why an upstream that a permit names could not be opened or used.
//!
//! [`UpstreamError`] is about origins and parents that fail, never about policy: a no of the gate is a
//! [`Denial`](crate::Denial), and uncertainty in the gate is a denial too.

use std::io;

/// An upstream failed after the gate had permitted it.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No admitted address accepted a connection. The error is that of the last address tried.
    #[error("could not connect")]
    Connect(#[source] io::Error),
    /// Connecting, a handshake or an answer took longer than its limit.
    #[error("timed out while {0}")]
    Timeout(&'static str),
    /// TLS with the origin or the parent failed: untrusted, expired, wrong name, or no common parameters.
    #[error("TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The parent proxy refused the CONNECT request, with this status.
    #[error("the parent proxy answered {0}")]
    ParentRefused(u16),
    /// The parent proxy's name did not resolve.
    #[error("the parent proxy's name did not resolve")]
    ParentLookup,
    /// The other side broke its protocol.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
}

impl UpstreamError {
    /// Whether the failure was a limit of time (504, SOCKS5 reply 0x06) rather than an error.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Timeout(_) => true,
            Self::Connect(error) | Self::Tls(error) => error.kind() == io::ErrorKind::TimedOut,
            Self::ParentRefused(_) | Self::ParentLookup | Self::Protocol(_) => false,
        }
    }

    /// The kind of the operating system's error where there was one.
    #[must_use]
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Connect(error) | Self::Tls(error) => Some(error.kind()),
            Self::Timeout(_) | Self::ParentRefused(_) | Self::ParentLookup | Self::Protocol(_) => {
                None
            }
        }
    }
}
