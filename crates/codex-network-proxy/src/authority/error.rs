//! Why there is no certificate authority to work with, and what mends it.
//!
//! Main type: [`AuthorityError`]. Every message ends with what to do about it where there is something to do. None
//! carries anything of a key.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

const ROTATE: &str = "run `codex-network-proxy ca rotate` to make a new pair";

/// Why the authority's files cannot be used, or a certificate not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// Only one of the two files is there.
    #[error("both managed MITM CA files must exist (cert={}, key={}); {ROTATE}", certificate.display(), key.display())]
    HalfPair {
        /// Where the certificate is or should be.
        certificate: PathBuf,
        /// Where the key is or should be.
        key: PathBuf,
    },

    /// The key's place is taken by a link, which somebody else may have set.
    #[error("refusing to use symlink for managed MITM CA key {}; replace it by the file itself, or {ROTATE}", .0.display())]
    KeyIsSymlink(PathBuf),

    /// The key is a directory, a pipe or the like.
    #[error("managed MITM CA key is not a regular file: {}; remove it and {ROTATE}", .0.display())]
    KeyIsNoFile(PathBuf),

    /// Others than the owner may read or write the key.
    #[error(
        "managed MITM CA key {} must not be group/world accessible (mode={mode:o}; expected <= 600); \
         run `chmod 600` on it or, if somebody may have read it, {ROTATE}",
        key.display()
    )]
    KeyIsExposed {
        /// The key's file.
        key: PathBuf,
        /// Its permission bits.
        mode: u32,
    },

    /// The directory of the files is a link, which somebody else may have set.
    #[error("refusing to use symlink for managed MITM CA directory {}; replace it by the directory itself", .0.display())]
    DirectoryIsSymlink(PathBuf),

    /// What should be the directory of the files is none.
    #[error("managed MITM CA directory is not a directory: {}; move it away", .0.display())]
    NoDirectory(PathBuf),

    /// Others than the owner could replace the files.
    #[error(
        "managed MITM CA directory {} must not be writable by others, who could replace the key (mode={mode:o}; \
         expected <= 755); run `chmod go-w` on it or, if somebody may have replaced it, {ROTATE} after that",
        directory.display()
    )]
    DirectoryIsExposed {
        /// The directory.
        directory: PathBuf,
        /// Its permission bits.
        mode: u32,
    },

    /// The key's file does not hold one private key in PKCS#8 PEM.
    #[error("failed to parse CA key {}: {why}; {ROTATE}", path.display())]
    KeyUnreadable {
        /// The key's file.
        path: PathBuf,
        /// What is wrong with it, in words that tell nothing of the key.
        why: String,
    },

    /// The certificate's file does not hold one X.509 certificate in PEM.
    #[error("failed to parse CA cert {}: {why}; {ROTATE}", path.display())]
    CertificateUnreadable {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },

    /// The two files are of different pairs.
    #[error("the MITM CA key {} does not belong to the certificate {}; {ROTATE}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },

    /// The certificate is not one under which clients accept others.
    #[error("the MITM CA certificate {} {why}; {ROTATE}", path.display())]
    NoAuthority {
        /// The certificate's file.
        path: PathBuf,
        /// What it lacks, as the end of a sentence about it.
        why: &'static str,
    },

    /// The certificate is over.
    #[error("the MITM CA certificate expired on {}; {ROTATE}, which must then be trusted anew", rfc3339(*.0))]
    Expired(SystemTime),

    /// The certificate has not begun.
    #[error("the MITM CA certificate is not valid before {}; is the clock right? If so, {ROTATE}", rfc3339(*.0))]
    NotYetValid(SystemTime),

    /// Another process holds the files for longer than writing them can take.
    #[error("the MITM CA files in {} are being written by another process; try again", .0.display())]
    Busy(PathBuf),

    /// A file or the directory cannot be read or written.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },

    /// A certificate cannot be made.
    #[error("could not make a certificate")]
    Sign(#[source] Box<dyn StdError + Send + Sync>),
}

impl AuthorityError {
    pub(super) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    pub(super) fn sign(source: impl StdError + Send + Sync + 'static) -> Self {
        Self::Sign(Box::new(source))
    }
}

/// A time for people and machines.
pub(super) fn rfc3339(time: SystemTime) -> String {
    match jiff::Timestamp::try_from(time) {
        Ok(time) => time.to_string(),
        Err(_) => "a time beyond reckoning".to_owned(),
    }
}
