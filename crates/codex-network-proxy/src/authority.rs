//! The certificate authority that signs for the hosts of intercepted tunnels.
//!
//! Main type: [`CertificateAuthority`], one pair of certificate and key that has been found to be whole, to belong
//! together and to be in force. Comes in: [`AuthorityFiles`]. Goes out: what a client must trust, the leaves that are
//! signed with it (`leaf.rs`), and the bundle for clients that take one file (`bundle.rs`). It renews nothing by itself,
//! for every client would have to trust anew: that is for the user to ask for. All of it blocks on files: keep it off the
//! tasks that serve.

mod bundle;
mod certificate;
mod error;
mod files;
pub(crate) mod leaf;
mod pair;
mod staged;
#[cfg(test)]
mod tests;
mod validity;

use std::fmt;
use std::time::{Duration, SystemTime};

pub use error::AuthorityError;
pub use files::AuthorityFiles;

use certificate::certificate_pem;
use error::rfc3339;
use files::{Found, Patience};
use pair::Pair;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// When to begin to say that the end is near.
const WARNED_BEFORE_END: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How often to look again where other processes make and remove the files all the time.
const ATTEMPTS: usize = 8;

/// A certificate authority, ready to sign.
pub struct CertificateAuthority {
    pair: Pair,
}

impl CertificateAuthority {
    /// The authority in these files, which are made if neither is there. Processes that start at the same time agree on
    /// one authority.
    ///
    /// # Errors
    /// The files cannot be made, or they are there and [`CertificateAuthority::open`] fails: a broken authority is
    /// never replaced without being asked for.
    pub fn open_or_create(files: &AuthorityFiles) -> Result<Self, AuthorityError> {
        files.make_directory()?;
        let now = SystemTime::now();
        for _ in 0..ATTEMPTS {
            if let Some(authority) = Self::open(files)? {
                return Ok(authority);
            }
            // Whoever was faster has made the files; ours or theirs are read in the next round.
            files.create(&Pair::generate(now)?)?;
        }
        Err(files.half())
    }

    /// The authority in these files; none if neither is there.
    ///
    /// # Errors
    /// The files are not for the owner alone, only one is there, they cannot be read or do not belong together, or the
    /// certificate is none that can sign now.
    pub fn open(files: &AuthorityFiles) -> Result<Option<Self>, AuthorityError> {
        let mut patience = Patience::for_a_pair();
        Self::open_with(files, SystemTime::now(), || patience.pause())
    }

    /// Reads the files again and again while another process may be between the two, for as long as `pause` says so.
    fn open_with(
        files: &AuthorityFiles,
        now: SystemTime,
        mut pause: impl FnMut() -> bool,
    ) -> Result<Option<Self>, AuthorityError> {
        loop {
            let error = match files.read()? {
                Found::Neither => return Ok(None),
                Found::Half => files.half(),
                Found::Both(text) => match Pair::parse(&text, files, now) {
                    Err(error @ AuthorityError::Mismatch { .. }) => error,
                    pair => return pair.map(|pair| Some(Self { pair })),
                },
            };
            if !pause() {
                return Err(error);
            }
        }
    }

    /// Puts a new authority in the place of whatever is in these files. Everybody who trusts the old one must trust the
    /// new one instead, and proxies that run go on with the old one.
    ///
    /// # Errors
    /// The files cannot be written, or others than their owner could replace them.
    pub fn rotate(files: &AuthorityFiles) -> Result<Self, AuthorityError> {
        let now = SystemTime::now();
        files.make_directory()?;
        let text = Pair::generate(now)?;
        files.replace(&text)?;
        let pair = Pair::parse(&text, files, now)?;
        Ok(Self { pair })
    }

    /// SHA-256 of the certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.pair.certificate);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Fingerprint(bytes)
    }

    /// Whom the certificate names, in the form `CN=network_proxy MITM CA`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.pair.subject
    }

    /// From when on the certificate is valid.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.pair.validity.not_before
    }

    /// Until when the certificate is valid.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.pair.validity.not_after
    }

    /// The certificate in DER.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        &self.pair.certificate
    }

    /// The certificate in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        certificate_pem(&self.pair.certificate)
    }

    /// A sentence for the user if the certificate ends within 30 days.
    #[must_use]
    pub fn expiry_warning(&self) -> Option<String> {
        self.expiry_warning_at(SystemTime::now())
    }

    fn expiry_warning_at(&self, now: SystemTime) -> Option<String> {
        let left = self
            .pair
            .validity
            .not_after
            .duration_since(now)
            .unwrap_or_default();
        (left < WARNED_BEFORE_END).then(|| {
            format!(
                "the MITM CA certificate expires on {}, in {} days; run `codex-network-proxy ca rotate` before that, \
                 and let clients trust the new one",
                rfc3339(self.pair.validity.not_after),
                left.as_secs() / DAY.as_secs()
            )
        })
    }
}

impl fmt::Debug for CertificateAuthority {
    /// Nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("subject", &self.pair.subject)
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// A digest by which a certificate is known. Shown in the way of OpenSSL: `AB:CD:...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let colon = if place == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}
