//! From when until when a certificate is valid.
//!
//! Main type: [`Validity`]. Comes in: a certificate. Goes out: whether a time is within it, or an error that says on which
//! side it is. It never asks for the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::certificate::X509Certificate;

use super::error::AuthorityError;

/// Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Validity {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self {
            not_before: system_time(validity.not_before.timestamp()),
            not_after: system_time(validity.not_after.timestamp()),
        }
    }

    pub(super) fn check(self, now: SystemTime) -> Result<(), AuthorityError> {
        if now < self.not_before {
            Err(AuthorityError::NotYetValid(self.not_before))
        } else if now > self.not_after {
            Err(AuthorityError::Expired(self.not_after))
        } else {
            Ok(())
        }
    }
}

fn system_time(timestamp: i64) -> SystemTime {
    let seconds = Duration::from_secs(timestamp.unsigned_abs());
    if timestamp < 0 {
        UNIX_EPOCH - seconds
    } else {
        UNIX_EPOCH + seconds
    }
}
