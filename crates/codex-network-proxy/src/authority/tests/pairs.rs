//! What is in a new pair, and what a pair must not be.

use std::fs;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::Home;
use crate::authority::files::PairText;
use crate::authority::{AuthorityError, CertificateAuthority};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn open_at(home: &Home, now: SystemTime) -> Result<CertificateAuthority, AuthorityError> {
    CertificateAuthority::open_with(&home.files, now, || false).map(Option::unwrap)
}

#[test]
fn a_new_authority_is_what_the_documents_say() {
    let before = SystemTime::now();
    let (_home, authority) = Home::with_authority();
    let (_, certificate) = X509Certificate::from_der(authority.certificate_der()).unwrap();
    assert_eq!(authority.subject(), "CN=network_proxy MITM CA");
    assert_eq!(
        certificate.subject().as_raw(),
        certificate.issuer().as_raw()
    );
    certificate.verify_signature(None).unwrap();
    assert_eq!(
        certificate.signature_algorithm.algorithm,
        x509_parser::oid_registry::OID_SIG_ECDSA_WITH_SHA256
    );

    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, None);
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical);
    assert_eq!(
        usage.value.to_string(),
        "Digital Signature, Key Encipherment, Key Cert Sign"
    );
    assert_eq!(
        certificate.extensions().len(),
        3,
        "and a subject key identifier"
    );
    assert!(
        certificate.iter_extensions().any(|extension| extension.oid
            == x509_parser::oid_registry::OID_X509_EXT_SUBJECT_KEY_IDENTIFIER)
    );

    let serial = certificate.raw_serial();
    assert_eq!(serial.len(), 16, "positive and random");
    let begun = before.duration_since(authority.not_before()).unwrap();
    assert!(begun >= DAY - Duration::from_secs(1) && begun < 2 * DAY);
    let whole = authority
        .not_after()
        .duration_since(authority.not_before())
        .unwrap();
    assert_eq!(whole, 3_653 * DAY);
}

#[test]
fn no_two_authorities_have_anything_in_common() {
    let (_one_home, one) = Home::with_authority();
    let (_other_home, other) = Home::with_authority();
    let (_, first) = X509Certificate::from_der(one.certificate_der()).unwrap();
    let (_, second) = X509Certificate::from_der(other.certificate_der()).unwrap();
    assert_ne!(first.raw_serial(), second.raw_serial());
    assert_ne!(first.public_key().raw, second.public_key().raw);
}

#[test]
fn a_fingerprint_is_shown_as_openssl_shows_it() {
    let (_home, authority) = Home::with_authority();
    let shown = authority.fingerprint().to_string();
    let bytes: Vec<_> = shown.split(':').collect();
    assert_eq!(bytes.len(), 32, "{shown}");
    for (shown, byte) in bytes.iter().zip(authority.fingerprint().0) {
        assert_eq!(*shown, format!("{byte:02X}"));
    }
}

#[test]
fn nothing_of_the_key_is_shown_for_debugging() {
    let (home, authority) = Home::with_authority();
    let shown = format!("{authority:?}");
    assert!(shown.contains("network_proxy MITM CA"), "{shown}");
    for line in fs::read_to_string(home.files.key()).unwrap().lines() {
        assert!(!shown.contains(line), "{shown}");
    }
}

#[test]
fn an_authority_that_is_over_or_has_not_begun_is_an_error() {
    let (home, authority) = Home::with_authority();
    let moment = Duration::from_secs(1);
    assert!(open_at(&home, authority.not_before()).is_ok());
    assert!(open_at(&home, authority.not_after()).is_ok());
    let error = open_at(&home, authority.not_before() - moment).unwrap_err();
    assert!(matches!(error, AuthorityError::NotYetValid(_)), "{error}");
    assert!(error.to_string().contains("clock"), "{error}");
    let error = open_at(&home, authority.not_after() + moment).unwrap_err();
    assert!(matches!(error, AuthorityError::Expired(_)), "{error}");
    assert!(
        error.to_string().contains("codex-network-proxy ca rotate"),
        "{error}"
    );
}

#[test]
fn the_last_thirty_days_are_warned_of() {
    let (_home, authority) = Home::with_authority();
    assert_eq!(authority.expiry_warning(), None);
    let end = authority.not_after();
    assert_eq!(authority.expiry_warning_at(end - 30 * DAY), None);
    let warning = authority.expiry_warning_at(end - 29 * DAY).unwrap();
    for part in ["in 29 days", "codex-network-proxy ca rotate"] {
        assert!(warning.contains(part), "{warning}");
    }
}

#[test]
fn torn_files_are_errors_and_never_a_new_authority() {
    let (home, _) = Home::with_authority();
    for (path, begin) in [
        (home.files.key(), "failed to parse CA key"),
        (home.files.certificate(), "failed to parse CA cert"),
    ] {
        let whole = fs::read(&path).unwrap();
        // Without its last line feed it still is whole.
        for length in (0..whole.len() - 1).step_by(7) {
            fs::write(&path, &whole[..length]).unwrap();
            let error = home.error();
            assert!(error.starts_with(begin), "{length} bytes: {error}");
            assert!(error.contains("ca rotate"), "{error}");
            assert!(CertificateAuthority::open_or_create(&home.files).is_err());
            assert_eq!(fs::read(&path).unwrap(), &whole[..length]);
        }
        fs::write(&path, &whole).unwrap();
    }
    assert!(home.open().unwrap().is_some());
}

#[test]
fn a_changed_byte_is_noticed() {
    let (home, authority) = Home::with_authority();
    let der = authority.certificate_der();
    for place in 0..der.len() {
        let mut changed = der.to_vec();
        changed[place] ^= 1;
        let pem = crate::authority::certificate::certificate_pem(&changed);
        fs::write(home.files.certificate(), pem).unwrap();
        assert!(home.open().is_err(), "byte {place}");
    }
}

#[test]
fn an_error_shows_nothing_of_a_damaged_key() {
    let (home, _) = Home::with_authority();
    let key = fs::read_to_string(home.files.key()).unwrap();
    let secret = key.lines().nth(1).unwrap();
    for damaged in [
        key.replace("-----END PRIVATE KEY-----", ""),
        key.replace("BEGIN PRIVATE", "BEGIN EC PRIVATE"),
        key.replacen('M', "*", 1),
        format!("-----BEGIN {secret}"),
        format!("{key}{key}"),
    ] {
        fs::write(home.files.key(), damaged).unwrap();
        let error = home.error();
        assert!(error.starts_with("failed to parse CA key"), "{error}");
        assert!(!error.contains(secret), "{error}");
    }
}

#[test]
fn files_of_different_pairs_are_an_error() {
    let (home, _) = Home::with_authority();
    let (other, _) = Home::with_authority();
    fs::copy(other.files.certificate(), home.files.certificate()).unwrap();
    let error = home.error();
    assert!(
        error.starts_with(
            "the MITM CA key HOME/proxy/ca.key does not belong to the certificate HOME/proxy/ca.pem"
        ),
        "{error}"
    );
    assert!(error.contains("ca rotate"), "{error}");
}

/// Puts a certificate of a new key in the files, by another than our own hand.
fn put(home: &Home, params: &CertificateParams, issuer: Option<&Issuer<'_, KeyPair>>) {
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    let pair = PairText {
        certificate: crate::authority::certificate::certificate_pem(certificate.der()).into_bytes(),
        key: crate::authority::certificate::pem_section("PRIVATE KEY", key.serialize_der())
            .into_bytes(),
    };
    home.files.make_directory().unwrap();
    home.files.replace(&pair).unwrap();
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

#[test]
fn certificates_that_cannot_sign_are_errors() {
    let mut no_signing = authority_params();
    no_signing.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let mut nameless = authority_params();
    nameless.distinguished_name = rcgen::DistinguishedName::new();
    for (params, why) in [
        (CertificateParams::default(), "is not the one of a CA"),
        (no_signing, "must not sign certificates"),
        (nameless, "has no subject"),
    ] {
        let home = Home::empty();
        put(&home, &params, None);
        let error = home.error();
        assert!(error.contains(why), "{error}");
        assert!(error.contains("ca rotate"), "{error}");
    }
    let home = Home::empty();
    let mut above = authority_params();
    above.distinguished_name.push(DnType::CommonName, "above");
    let issuer = Issuer::new(above, KeyPair::generate().unwrap());
    put(&home, &authority_params(), Some(&issuer));
    let error = home.error();
    assert!(error.contains("is not signed by itself"), "{error}");
}

#[test]
fn an_authority_of_another_hand_is_taken_with_its_own_name() {
    let home = Home::empty();
    let mut params = authority_params();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let names = &mut params.distinguished_name;
    names.push(DnType::CountryName, "DE");
    names.push(DnType::OrganizationName, "Example \u{e9}");
    names.push(
        DnType::CommonName,
        rcgen::DnValue::PrintableString("Printable".try_into().unwrap()),
    );
    put(&home, &params, None);
    let authority = home.open().unwrap().unwrap();
    assert!(
        authority.subject().contains("Printable"),
        "{}",
        authority.subject()
    );
}
