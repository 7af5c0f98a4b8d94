//! A certificate and its key as they are written in files: made anew, or read with care.
//!
//! Main type: [`Pair`]. Comes in: a time, or two texts. Goes out: two texts, or a pair whose leaves will be accepted by
//! whoever trusts its certificate; anything less is an error that says what is wrong. It touches no file, and names them
//! in its errors only.

use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::certificate::{certificate_pem, common_name, pem_section, random_serial, set_validity};
use super::error::AuthorityError;
use super::files::{AuthorityFiles, PairText};
use super::validity::Validity;

const NAME: &str = "network_proxy MITM CA";
/// Clocks of other machines, containers among them, may be behind.
const BACKDATED: Duration = Duration::from_secs(24 * 60 * 60);
const LIFETIME: Duration = Duration::from_secs(3_652 * 24 * 60 * 60);

/// A certificate and its key that belong together, and can sign.
pub(super) struct Pair {
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) subject: String,
    pub(super) validity: Validity,
}

impl Pair {
    /// A new pair, valid from now.
    pub(super) fn generate(now: SystemTime) -> Result<PairText, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::sign)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
        ];
        params.serial_number = Some(random_serial()?);
        set_validity(&mut params, now - BACKDATED, now + LIFETIME)?;
        let certificate = params.self_signed(&key).map_err(AuthorityError::sign)?;
        Ok(PairText {
            certificate: certificate_pem(certificate.der()).into_bytes(),
            key: pem_section("PRIVATE KEY", key.serialize_der()).into_bytes(),
        })
    }

    /// Takes two texts for a pair only if a leaf that is signed with it will be accepted by who trusts it.
    pub(super) fn parse(
        text: &PairText,
        files: &AuthorityFiles,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let key = parse_key(&text.key).map_err(|why| AuthorityError::KeyUnreadable {
            path: files.key(),
            why,
        })?;
        let path = files.certificate();
        let unreadable = |why| AuthorityError::CertificateUnreadable {
            path: path.clone(),
            why,
        };
        let der: CertificateDer<'static> =
            only_section(&text.certificate, "CERTIFICATE").map_err(unreadable)?;
        let certificate = match X509Certificate::from_der(&der) {
            Ok(([], certificate)) => certificate,
            Ok(_) => return Err(unreadable("bytes follow the certificate".to_owned())),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        if key.public_key_raw() != certificate.public_key().subject_public_key.data.as_ref() {
            return Err(AuthorityError::Mismatch {
                certificate: path,
                key: files.key(),
            });
        }
        if let Some(why) = no_authority(&certificate) {
            return Err(AuthorityError::NoAuthority { path, why });
        }
        let pair = Self {
            issuer: Issuer::from_ca_cert_der(&der, key)
                .map_err(|error| unreadable(error.to_string()))?,
            subject: certificate.subject().to_string(),
            validity: Validity::of(&certificate),
            certificate: der.clone(),
        };
        if !pair.is_named_by_what_it_signs(&certificate)? {
            let why = "has a subject that cannot be written into the certificates that it signs";
            return Err(AuthorityError::NoAuthority { path, why });
        }
        pair.validity.check(now)?;
        Ok(pair)
    }

    /// Signs a certificate for a key.
    pub(super) fn sign(
        &self,
        params: &CertificateParams,
        key: &KeyPair,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        params
            .signed_by(key, &self.issuer)
            .map(CertificateDer::from)
            .map_err(AuthorityError::sign)
    }

    /// The library writes the issuer's name afresh. With a name that it does not write back byte by byte, no client
    /// would find our certificate for a leaf.
    fn is_named_by_what_it_signs(
        &self,
        certificate: &X509Certificate<'_>,
    ) -> Result<bool, AuthorityError> {
        let probe = self.sign(&CertificateParams::default(), self.issuer.key())?;
        let probe = X509Certificate::from_der(&probe);
        Ok(probe.is_ok_and(|(_, probe)| probe.issuer().as_raw() == certificate.subject().as_raw()))
    }
}

fn parse_key(text: &[u8]) -> Result<KeyPair, String> {
    let key: PrivatePkcs8KeyDer<'static> = only_section(text, "PRIVATE KEY")?;
    KeyPair::try_from(&key).map_err(|_| "it holds no key that can sign".to_owned())
}

/// What keeps a certificate from being an authority, as the end of a sentence about it.
fn no_authority(certificate: &X509Certificate<'_>) -> Option<&'static str> {
    let may_sign = match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => false,
    };
    let subject = certificate.subject();
    // The library that writes names takes it for granted that no part is empty.
    let no_part_is_empty = subject.iter().all(|part| part.iter().next().is_some());
    if !certificate.is_ca() {
        Some("is not the one of a CA")
    } else if !may_sign {
        Some("must not sign certificates, by its key usage")
    } else if subject.iter().next().is_none() || !no_part_is_empty {
        Some("has no subject that other certificates could name")
    } else if !is_signed_by_itself(certificate) {
        Some("is not signed by itself, so that no client could trust it alone")
    } else {
        None
    }
}

/// The signature does not cover itself, nor the second mention of its algorithm. That these are written as they must be
/// is for the stricter reader to say, which clients of rustls have too.
fn is_signed_by_itself(certificate: &X509Certificate<'_>) -> bool {
    let strictly = RootCertStore::empty().add(CertificateDer::from(certificate.as_raw()));
    strictly.is_ok()
        && certificate.signature_algorithm == certificate.tbs_certificate.signature
        && certificate.verify_signature(None).is_ok()
}

/// The only section in a PEM file, which must have this label.
fn only_section<T: PemObject>(text: &[u8], label: &str) -> Result<T, String> {
    let mut sections = T::pem_slice_iter(text);
    match (sections.next(), sections.next()) {
        (Some(Ok(section)), None) => Ok(section),
        (None, _) => Err(format!("it has no section `BEGIN {label}`")),
        // The library's words quote the file, and this may be a key.
        (Some(Err(_)), _) | (_, Some(Err(_))) => Err("it is damaged".to_owned()),
        (Some(Ok(_)), Some(Ok(_))) => Err(format!("it has several sections `BEGIN {label}`")),
    }
}
