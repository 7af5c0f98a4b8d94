//! Whom the proxy trusts as an issuer of certificates, when it speaks TLS itself.
//!
//! [`TrustRoots`] is the system's store, or a list of an embedder's. It holds certificates and verifies nothing.

use std::io;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The issuers whose certificates are accepted from origins and from a parent with TLS.
#[derive(Clone, Debug, Default)]
pub struct TrustRoots(Option<Arc<[CertificateDer<'static>]>>);

impl TrustRoots {
    /// Those of the system, read at the first use. `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
    #[must_use]
    pub fn of_system() -> Self {
        Self(None)
    }

    /// These and no others, from certificates in PEM.
    ///
    /// # Errors
    /// Where the text is no PEM, or holds no certificate.
    pub fn from_pem(pem: &[u8]) -> io::Result<Self> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        if certificates.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "there is no certificate in this PEM text",
            ));
        }
        Ok(Self(Some(certificates.into())))
    }

    /// The certificates. Reads files where they are the system's; one that cannot be read is left out.
    pub(crate) fn load(&self) -> Vec<CertificateDer<'static>> {
        match &self.0 {
            Some(certificates) => certificates.to_vec(),
            None => rustls_native_certs::load_native_certs().certs,
        }
    }
}
