//! Why an upstream that a permit names could not be opened or used.
//!
//! [`UpstreamError`] is about origins and parents that fail, never about policy: a no of the gate is a
//! [`Denial`](crate::Denial), and uncertainty in the gate is a denial too.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// An upstream failed after the gate had permitted it.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No admitted address accepted a connection. The error is that of the last address tried.
    #[error("could not connect")]
    Connect(#[source] io::Error),
    /// Connecting, a handshake or an answer took longer than its limit.
    #[error("timed out while {0}")]
    Timeout(&'static str),
    /// TLS with the origin or the parent failed.
    #[error("{0}")]
    Tls(TlsFailure, #[source] io::Error),
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

/// How TLS with an origin or a parent failed. Its `Display` is fit for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsFailure {
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is for another name.
    WrongName,
    /// Nobody who is trusted has issued the certificate, or it is unfit in another way.
    Untrusted,
    /// There is nobody who is trusted on this machine.
    NoTrustRoots,
    /// The other side offers no HTTP version of those that were offered to it.
    NoCommonProtocol,
    /// The handshake failed before or beside the certificate.
    Handshake,
}

impl TlsFailure {
    /// The failure in a few words, the same for every client and log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "certificate expired",
            Self::NotYetValid => "certificate not valid yet",
            Self::WrongName => "certificate is for another name",
            Self::Untrusted => "certificate not trusted",
            Self::NoTrustRoots => "no trust roots",
            Self::NoCommonProtocol => "no common protocol",
            Self::Handshake => "TLS handshake failed",
        }
    }

    fn of(error: &io::Error) -> Self {
        let error = error
            .get_ref()
            .and_then(|error| error.downcast_ref::<rustls::Error>());
        match error {
            Some(rustls::Error::InvalidCertificate(error)) => match error {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Self::Expired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
                _ => Self::Untrusted,
            },
            Some(
                rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)
                | rustls::Error::NoApplicationProtocol,
            ) => Self::NoCommonProtocol,
            Some(_) | None => Self::Handshake,
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl UpstreamError {
    pub(crate) fn tls(error: io::Error) -> Self {
        Self::Tls(TlsFailure::of(&error), error)
    }

    /// How TLS failed, where it did.
    #[must_use]
    pub fn tls_failure(&self) -> Option<TlsFailure> {
        match self {
            Self::Tls(failure, _) => Some(*failure),
            Self::Connect(_)
            | Self::Timeout(_)
            | Self::ParentRefused(_)
            | Self::ParentLookup
            | Self::Protocol(_) => None,
        }
    }

    /// Whether the failure was a limit of time (504, SOCKS5 reply 0x06) rather than an error.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Timeout(_) => true,
            Self::Connect(error) | Self::Tls(_, error) => error.kind() == io::ErrorKind::TimedOut,
            Self::ParentRefused(_) | Self::ParentLookup | Self::Protocol(_) => false,
        }
    }

    /// The kind of the operating system's error where there was one.
    #[must_use]
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Connect(error) | Self::Tls(_, error) => Some(error.kind()),
            Self::Timeout(_) | Self::ParentRefused(_) | Self::ParentLookup | Self::Protocol(_) => {
                None
            }
        }
    }
}

/// An error with its causes on one line, for a log.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
