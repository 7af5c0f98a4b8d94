//! Clients that do not trust our authority, each told of once.
//!
//! [`Distrust`] recognises them by the alert with which they end a handshake. A client that retries would fill the log,
//! so each program is mentioned once for each host; a program is known by the shape of its hello.

use std::collections::HashSet;
use std::io;
use std::sync::{Mutex, PoisonError};

use codex_network_policy::Target;
use rustls::AlertDescription;

use crate::hello::Hello;
use crate::watch::Watch;

/// How many programs and hosts are remembered.
const KEPT: usize = 1_024;

/// The programs and hosts that were told of.
#[derive(Debug, Default)]
pub(super) struct Distrust(Mutex<HashSet<(u64, Target)>>);

impl Distrust {
    /// Records a failed handshake where the client did not like our certificate.
    pub(super) fn note(&self, watch: &Watch, hello: &Hello, error: &io::Error) {
        let Some(alert) = rejection(error) else {
            tracing::debug!(target = %watch.permit, %error, "a client's TLS handshake failed");
            return;
        };
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= KEPT {
            told.clear();
        }
        let is_new = told.insert((hello.program, watch.permit.target().clone()));
        drop(told);
        if is_new {
            watch.gate.record_distrust(&watch.permit, alert);
        }
    }
}

/// The alert by which a client says that it does not accept a certificate (RFC 8446 section 6.2).
fn rejection(error: &io::Error) -> Option<&'static str> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::AlertReceived(alert) = error else {
        return None;
    };
    match alert {
        AlertDescription::UnknownCA => Some("unknown_ca"),
        AlertDescription::BadCertificate => Some("bad_certificate"),
        AlertDescription::CertificateUnknown => Some("certificate_unknown"),
        AlertDescription::UnsupportedCertificate => Some("unsupported_certificate"),
        AlertDescription::CertificateExpired => Some("certificate_expired"),
        AlertDescription::CertificateRevoked => Some("certificate_revoked"),
        _ => None,
    }
}
