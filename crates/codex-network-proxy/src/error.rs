//! The library's error.
//!
//! [`Error`] is opaque: a kind to act on, a message for people, the source chain for logs. Refusals are no errors
//! and never appear here.

use std::error::Error as StdError;
use std::fmt;

/// What went wrong while a proxy was built, started or stopped.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration cannot be used. The message says where and why.
    Config,
    /// There is no certificate authority to open TLS with. The message says what mends it.
    Authority,
    /// A host that was to be allowed or denied is none. The source says what is wrong with it.
    Host,
    /// A change of a running proxy is beyond a managed limit, or cannot be made before it is started again.
    Limit,
    /// A configuration could not be loaded again. The one in force stays.
    Reload,
    /// A listener's address cannot be bound.
    Bind,
    /// Evidence cannot go where it is to go: a metrics endpoint, an exporter.
    Evidence,
    /// A task of the proxy ended abnormally.
    Task,
}

impl Error {
    pub(crate) fn new(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            message: message.into(),
            source: Some(source.into()),
        }
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
