//! One file of everything that a client needs to trust: the authority and the trust roots of this machine.
//!
//! Main function: [`CertificateAuthority::write_bundle`]. Comes in: the authority, the roots that the platform (or
//! `SSL_CERT_FILE` and `SSL_CERT_DIR`) gives. Goes out: a PEM file that is replaced as a whole, and only if it would
//! change, so that clients which watch it are left alone. It takes certificates only, so no key can get into it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::certificate::certificate_pem;
use super::{AuthorityError, AuthorityFiles, CertificateAuthority};

/// An old bundle that is longer is none of ours, and is written anew.
const LONGEST_BUNDLE: u64 = 8 * 1024 * 1024;

/// By this a bundle is known to be ours. Readers of PEM skip what stands outside its sections.
const HEADER: &str = "# Written by codex-network-proxy: its certificate authority, then the trust roots of this machine.\n";

impl CertificateAuthority {
    /// Brings the bundle up to date, and says where it is. A machine without trust roots gets one that holds the
    /// authority alone.
    ///
    /// # Errors
    /// The file cannot be written, or its directory is not for the owner alone.
    pub fn write_bundle(&self, files: &AuthorityFiles) -> Result<PathBuf, AuthorityError> {
        let loaded = rustls_native_certs::load_native_certs();
        for error in &loaded.errors {
            tracing::debug!(%error, "some trust roots are not in the bundle");
        }
        self.write_bundle_with(loaded.certs, files)
    }

    pub(super) fn write_bundle_with(
        &self,
        roots: Vec<CertificateDer<'static>>,
        files: &AuthorityFiles,
    ) -> Result<PathBuf, AuthorityError> {
        files.make_directory()?;
        let path = files.bundle();
        let old = read_old(&path);
        let new = self.bundle(roots, authority_in(&old).as_ref());
        if new.as_bytes() != old {
            AuthorityFiles::replace_public(&path, new.as_bytes())?;
        }
        Ok(path)
    }

    /// Without the authority of the old bundle: where `SSL_CERT_FILE` names the bundle itself, it comes back among the
    /// roots, and after a rotation it must not stay trusted.
    fn bundle(
        &self,
        mut roots: Vec<CertificateDer<'static>>,
        former: Option<&CertificateDer<'_>>,
    ) -> String {
        // In an order of their own: directories list their files in any.
        roots.sort_unstable_by(|one, other| one.cmp(other));
        roots.dedup();
        let is_root = |der: &CertificateDer<'_>| {
            *der != self.pair.certificate
                && Some(der) != former
                // Many clients refuse a whole file for one part that they cannot read.
                && X509Certificate::from_der(der).is_ok_and(|(rest, _)| rest.is_empty())
        };
        let mut text = format!("{HEADER}{}", self.certificate_pem());
        for root in roots.iter().filter(|root| is_root(root)) {
            text.push_str(&certificate_pem(root));
        }
        text
    }
}

/// The bundle as it is; nothing if there is none that can be read.
fn read_old(path: &Path) -> Vec<u8> {
    let mut content = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(LONGEST_BUNDLE).read_to_end(&mut content));
    if read.is_err() {
        content.clear();
    }
    content
}

/// The authority for which a bundle was written: the first certificate, if the bundle is ours.
fn authority_in(bundle: &[u8]) -> Option<CertificateDer<'static>> {
    let certificates = bundle.strip_prefix(HEADER.as_bytes())?;
    CertificateDer::pem_slice_iter(certificates).next()?.ok()
}
