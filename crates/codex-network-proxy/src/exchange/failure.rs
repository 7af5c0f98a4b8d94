//! Why an exchange with an origin has no answer.
//!
//! [`ExchangeError`] is for the log and for choosing between 502 and 504; a client reads neither.

use codex_network_gate::{TlsFailure, UpstreamError};

/// Why there is no answer to forward.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// The origin could not be reached.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The origin's answer did not begin in time.
    #[error("the origin did not answer in time")]
    Timeout,
    /// The origin, or the client's body, broke the protocol or the connection.
    #[error("the exchange with the origin failed")]
    Http(#[source] hyper::Error),
}

impl ExchangeError {
    pub(crate) fn is_timeout(&self) -> bool {
        match self {
            Self::Upstream(error) => error.is_timeout(),
            Self::Timeout => true,
            Self::Http(_) => false,
        }
    }

    /// How TLS with the origin failed, where it did.
    pub(crate) fn tls_failure(&self) -> Option<TlsFailure> {
        match self {
            Self::Upstream(error) => error.tls_failure(),
            Self::Timeout | Self::Http(_) => None,
        }
    }
}
