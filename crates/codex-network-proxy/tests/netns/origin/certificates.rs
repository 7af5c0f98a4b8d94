//! The certificates of the HTTPS origin, made anew for every run.
//!
//! Main type: [`Certificates`]: one good one, and two bad ones which an origin shows on addresses of their own.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Here the certificate comes from an issuer that nobody trusts.
pub(crate) const UNKNOWN_ISSUER_ADDRESS: &str = "8.8.4.4";

/// Here the certificate has expired.
pub(crate) const EXPIRED_ADDRESS: &str = "8.8.4.5";

pub(super) struct Certificates {
    authority: String,
    good: Arc<ServerConfig>,
    unknown_issuer: Arc<ServerConfig>,
    expired: Arc<ServerConfig>,
}

impl Certificates {
    pub(super) fn new(names: Vec<String>) -> Result<Self> {
        let (authority, pem) = issuer("The suite's authority")?;
        let (stranger, _) = issuer("Nobody's authority")?;
        let params = CertificateParams::new(names)?;
        let mut expired = params.clone();
        expired.not_before = date_time_ymd(2001, 1, 1);
        expired.not_after = date_time_ymd(2002, 1, 1);
        Ok(Self {
            authority: pem,
            good: server(&params, &authority)?,
            unknown_issuer: server(&params, &stranger)?,
            expired: server(&expired, &authority)?,
        })
    }

    /// The trusted authority, in PEM.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// What the origin shows at this address.
    pub(super) fn of(&self, address: IpAddr) -> Arc<ServerConfig> {
        let config = match address.to_string().as_str() {
            UNKNOWN_ISSUER_ADDRESS => &self.unknown_issuer,
            EXPIRED_ADDRESS => &self.expired,
            _ => &self.good,
        };
        Arc::clone(config)
    }
}

fn issuer(name: &str) -> Result<(Issuer<'static, KeyPair>, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

fn server(
    params: &CertificateParams,
    issuer: &Issuer<'static, KeyPair>,
) -> Result<Arc<ServerConfig>> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .context("cannot use a certificate")?;
    Ok(Arc::new(config))
}
