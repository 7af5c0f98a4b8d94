//! What all the certificates that we make have in common: names, serial numbers, times, and how they are written.
//!
//! Functions only, for [`super::pair`] and [`super::leaf`]. What a certificate is for is decided there.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DistinguishedName, DnType, SerialNumber};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::AuthorityError;

pub(super) fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// 127 random bits. All leaves have one key, so a serial number that is derived from the key would repeat, and some
/// clients refuse a second certificate of the same issuer and number.
pub(super) fn random_serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| AuthorityError::sign(io::Error::other("the system gave no random numbers")))?;
    // Positive, and never shorter.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

pub(super) fn set_validity(
    params: &mut CertificateParams,
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<(), AuthorityError> {
    // Beyond the year 9999 there is no date that a certificate could hold.
    const LAST_SECOND: u64 = 253_402_300_799;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since = |time: SystemTime| match time.duration_since(UNIX_EPOCH) {
        Ok(since) if since.as_secs() <= LAST_SECOND => Ok(Duration::from_secs(since.as_secs())),
        Ok(_) => Err(AuthorityError::sign(io::Error::other(
            "the clock is beyond the year 9999",
        ))),
        Err(error) => Err(AuthorityError::sign(error)),
    };
    params.not_before = epoch + since(not_before)?;
    params.not_after = epoch + since(not_after)?;
    Ok(())
}

pub(super) fn certificate_pem(der: &[u8]) -> String {
    pem_section("CERTIFICATE", der)
}

pub(super) fn pem_section(label: &str, content: impl Into<Vec<u8>>) -> String {
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, content), lines)
}
