//! How the HTTPS origin shows itself at each of its addresses: its certificate, made anew for every run, and its ALPN.
//!
//! Main type: [`Certificates`]: a good one, which origins with different versions of HTTP share, and two bad ones.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Here the certificate comes from an issuer that nobody trusts.
pub(crate) const UNKNOWN_ISSUER_ADDRESS: &str = "8.8.4.4";

/// Here the certificate has expired.
pub(crate) const EXPIRED_ADDRESS: &str = "8.8.4.5";

/// Origins that say by ALPN what they speak. All the others speak HTTP/1.1 and know no ALPN.
pub(crate) const HTTP1_ADDRESS: &str = "151.101.2.1";
pub(crate) const HTTP2_ADDRESS: &str = "151.101.2.2";
pub(crate) const BOTH_ADDRESS: &str = "151.101.2.3";

pub(super) struct Certificates {
    authority: String,
    good: Arc<ServerConfig>,
    unknown_issuer: Arc<ServerConfig>,
    expired: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
    http2: Arc<ServerConfig>,
    both: Arc<ServerConfig>,
}

impl Certificates {
    pub(super) fn new(names: Vec<String>) -> Result<Self> {
        let (authority, pem) = issuer("The suite's authority")?;
        let (stranger, _) = issuer("Nobody's authority")?;
        let mut params = CertificateParams::new(names)?;
        // Newer Pythons want to know whose key has signed.
        params.use_authority_key_identifier_extension = true;
        let mut expired = params.clone();
        expired.not_before = date_time_ymd(2001, 1, 1);
        expired.not_after = date_time_ymd(2002, 1, 1);
        let good = server(&params, &authority)?;
        Ok(Self {
            authority: pem,
            unknown_issuer: Arc::new(server(&params, &stranger)?),
            expired: Arc::new(server(&expired, &authority)?),
            http1: Arc::new(speaking(&good, &["http/1.1"])),
            http2: Arc::new(speaking(&good, &["h2"])),
            both: Arc::new(speaking(&good, &["h2", "http/1.1"])),
            good: Arc::new(good),
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
            HTTP1_ADDRESS => &self.http1,
            HTTP2_ADDRESS => &self.http2,
            BOTH_ADDRESS => &self.both,
            _ => &self.good,
        };
        Arc::clone(config)
    }
}

fn speaking(server: &ServerConfig, versions: &[&str]) -> ServerConfig {
    let mut server = server.clone();
    let versions = versions.iter().map(|version| version.as_bytes().to_vec());
    server.alpn_protocols = versions.collect();
    server
}

fn issuer(name: &str) -> Result<(Issuer<'static, KeyPair>, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

fn server(params: &CertificateParams, issuer: &Issuer<'static, KeyPair>) -> Result<ServerConfig> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .context("cannot use a certificate")
}
