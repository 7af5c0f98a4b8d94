//! The bearer token of an endpoint that has an address.
//!
//! [`BearerToken`] is read from a file that only its owner reads, and is compared in constant time. It keeps no copy of the
//! token itself, so that nothing can print it.

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use ring::hmac;
use ring::rand::SystemRandom;

/// Shorter ones can be guessed.
const SHORTEST: usize = 16;
const LONGEST: u64 = 4_096;

/// What a scraper must know.
#[derive(Clone)]
pub struct BearerToken(Arc<Proof>);

/// What tells the token from others, without it.
struct Proof {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken")
    }
}

impl BearerToken {
    /// Reads the token from a file of one line.
    ///
    /// # Errors
    /// Where the file cannot be read, is open to others, or holds no token of 16 to 4,096 printable characters.
    pub fn from_file(path: &Path) -> io::Result<Self> {
        let file = fs::File::open(path)?;
        refuse_exposed(&file.metadata()?)?;
        let mut text = String::new();
        file.take(LONGEST + 1).read_to_string(&mut text)?;
        Self::new(text.trim())
    }

    /// Takes a token.
    ///
    /// # Errors
    /// Where it is not 16 to 4,096 printable characters without a space.
    pub fn new(token: &str) -> io::Result<Self> {
        let printable = token.bytes().all(|byte| byte.is_ascii_graphic());
        if !printable || token.len() < SHORTEST || token.len() as u64 > LONGEST {
            let message = "a token is one word of 16 to 4096 printable characters";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| io::Error::other("the system has no random numbers"))?;
        let tag = hmac::sign(&key, token.as_bytes());
        Ok(Self(Arc::new(Proof { key, tag })))
    }

    /// Whether a request has the token. How long this takes says nothing about it.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        let Some((scheme, token)) = value.as_bytes().split_at_checked("Bearer ".len()) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"Bearer ")
            && hmac::verify(&self.0.key, token, self.0.tag.as_ref()).is_ok()
    }
}

#[cfg(unix)]
fn refuse_exposed(metadata: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        let message =
            format!("others can read it (mode {mode:o}); make it yours alone with chmod 600");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_exposed(_: &fs::Metadata) -> io::Result<()> {
    Ok(())
}
