//! Why a command ends without success.

/// Decides the exit code.
pub(super) enum Failure {
    /// The command line or the configuration cannot be used.
    Usage(String),
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}
