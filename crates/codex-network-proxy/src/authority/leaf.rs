//! The certificates with which intercepted hosts are served.
//!
//! Main type: [`Leaves`]. Comes in: a host in its canonical form and what to offer for HTTP. Goes out: a server's side of
//! TLS with a certificate for exactly that host, signed at most once however many connections ask for it, and kept for
//! as long as it is good. One key serves for all of them, for the life of the process. It does not look at what a client
//! asks for: that the name in its hello is this host has been checked by then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use codex_network_policy::Host;
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider, sign::any_ecdsa_type};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};

use super::certificate::{common_name, random_serial, set_validity};
use super::{AuthorityError, CertificateAuthority};
use crate::meters::Meters;

/// How many hosts are kept. A client that asks for more makes us sign, and no more than that.
const KEPT_HOSTS: usize = 1_024;

const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
const BACKDATED: Duration = Duration::from_secs(60 * 60);
/// A certificate with less time left is signed anew, so that none ends in the middle of a handshake.
const RENEWED_BEFORE_END: Duration = Duration::from_secs(60 * 60);

/// A common name has at most so many characters (RFC 5280, `ub-common-name`).
const LONGEST_COMMON_NAME: usize = 64;

/// What a client may choose to speak inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpn {
    /// `http/1.1` and nothing else.
    Http1,
    /// `h2` before `http/1.1`.
    Http2OrHttp1,
}

impl Alpn {
    const COUNT: usize = 2;

    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http1 => vec![b"http/1.1".to_vec()],
            Self::Http2OrHttp1 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }
    }

    fn place(self) -> usize {
        match self {
            Self::Http1 => 0,
            Self::Http2OrHttp1 => 1,
        }
    }
}

/// Signs leaves and keeps them.
#[derive(Debug)]
pub(crate) struct Leaves {
    authority: Arc<CertificateAuthority>,
    key: KeyPair,
    signer: Arc<dyn SigningKey>,
    provider: Arc<CryptoProvider>,
    /// One for all hosts. rustls itself holds a ticket to the server name that it was made for.
    tickets: Arc<dyn ProducesTickets>,
    recent: Mutex<Recent>,
    meters: Arc<Meters>,
}

/// The hosts that were asked for last. Only looked at for a moment: signing happens in the slot of its host.
#[derive(Debug, Default)]
struct Recent {
    hosts: HashMap<Host, Entry>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    slot: Arc<Slot>,
    used: u64,
}

/// The place of one host. Whoever comes first signs, the others wait for it here and keep nobody else waiting.
type Slot = Mutex<Option<Leaf>>;

/// One certificate, and what it has been served with so far.
#[derive(Debug)]
struct Leaf {
    certified: Arc<CertifiedKey>,
    not_before: SystemTime,
    renewed_at: SystemTime,
    configs: [Option<Arc<ServerConfig>>; Alpn::COUNT],
}

impl Leaves {
    /// Makes the key for all leaves.
    pub(crate) fn new(
        authority: Arc<CertificateAuthority>,
        meters: Arc<Meters>,
    ) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::sign)?;
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Self {
            authority,
            key,
            signer: any_ecdsa_type(&private).map_err(AuthorityError::sign)?,
            provider: Arc::new(default_provider()),
            tickets: Ticketer::new().map_err(AuthorityError::sign)?,
            recent: Mutex::default(),
            meters,
        })
    }

    /// The server's side of TLS for this host. The first call for a host signs, which takes a fraction of a millisecond.
    pub(crate) fn server_config(
        &self,
        host: &Host,
        offer: Alpn,
    ) -> Result<Arc<ServerConfig>, AuthorityError> {
        self.server_config_at(host, offer, SystemTime::now())
    }

    pub(super) fn server_config_at(
        &self,
        host: &Host,
        offer: Alpn,
        now: SystemTime,
    ) -> Result<Arc<ServerConfig>, AuthorityError> {
        let counts = &self.meters.leaves;
        let slot = {
            let mut recent = lock(&self.recent);
            let slot = recent.slot(host);
            counts.kept.set(recent.hosts.len());
            slot
        };
        let mut slot = lock(&slot);
        let leaf = match slot.take() {
            Some(leaf) if leaf.is_good_at(now) => {
                counts.reused.increment();
                leaf
            }
            Some(_) | None => {
                counts.signed.increment();
                self.issue(host, now)?
            }
        };
        let leaf = slot.insert(leaf);
        let config = &mut leaf.configs[offer.place()];
        if let Some(config) = config {
            return Ok(Arc::clone(config));
        }
        let made = Arc::new(self.configure(&leaf.certified, offer)?);
        Ok(Arc::clone(config.insert(made)))
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        lock(&self.recent).hosts.len()
    }

    fn issue(&self, host: &Host, now: SystemTime) -> Result<Leaf, AuthorityError> {
        let authority = &self.authority.pair;
        authority.validity.check(now)?;
        let not_before = now - BACKDATED;
        let end = now + LIFETIME;
        let last = authority.validity.not_after;
        // Nothing later comes after the authority's own end, so there is nothing to renew towards.
        let (not_after, renewed_at) = if end < last {
            (end, end - RENEWED_BEFORE_END)
        } else {
            (last, last)
        };
        let mut params = params(host)?;
        set_validity(&mut params, not_before, not_after)?;
        let certificate = authority.sign(&params, &self.key)?;
        let certified = CertifiedKey::new(vec![certificate], Arc::clone(&self.signer));
        Ok(Leaf {
            certified: Arc::new(certified),
            not_before,
            renewed_at,
            configs: Default::default(),
        })
    }

    fn configure(
        &self,
        certified: &Arc<CertifiedKey>,
        offer: Alpn,
    ) -> Result<ServerConfig, AuthorityError> {
        let resolver = SingleCertAndKey::from(Arc::clone(certified));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(AuthorityError::sign)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = offer.protocols();
        // Tickets hold all there is to a session, so a client costs no memory once it has gone.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::clone(&self.tickets);
        config.send_tls13_tickets = 1;
        // What is sent early can be sent twice by who listens in.
        config.max_early_data_size = 0;
        Ok(config)
    }
}

impl Recent {
    fn slot(&mut self, host: &Host) -> Arc<Slot> {
        self.clock += 1;
        if let Some(entry) = self.hosts.get_mut(host) {
            entry.used = self.clock;
            return Arc::clone(&entry.slot);
        }
        if self.hosts.len() >= KEPT_HOSTS {
            self.forget_oldest();
        }
        let slot = Arc::<Slot>::default();
        let entry = Entry {
            slot: Arc::clone(&slot),
            used: self.clock,
        };
        self.hosts.insert(host.clone(), entry);
        slot
    }

    /// Looks at all of them, which takes less time than the signature that follows.
    fn forget_oldest(&mut self) {
        let oldest = self.hosts.iter().min_by_key(|(_, entry)| entry.used);
        if let Some(host) = oldest.map(|(host, _)| host.clone()) {
            self.hosts.remove(&host);
        }
    }
}

impl Leaf {
    /// A clock that was set back counts too: a client would say that the certificate is not valid yet.
    fn is_good_at(&self, now: SystemTime) -> bool {
        now >= self.not_before && now < self.renewed_at
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A certificate for a server of this host and for nothing else.
fn params(host: &Host) -> Result<CertificateParams, AuthorityError> {
    let (name, alternative) = match host {
        Host::Name(name) => {
            let text = Ia5String::try_from(name.as_str()).map_err(AuthorityError::sign)?;
            (name.to_string(), SanType::DnsName(text))
        }
        // A zone means something on one machine only, and has no place in a certificate.
        Host::Address(literal) => {
            let address = literal.address();
            (address.to_string(), SanType::IpAddress(address))
        }
    };
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![alternative];
    params.distinguished_name = if name.len() <= LONGEST_COMMON_NAME {
        common_name(&name)
    } else {
        // The library marks the alternative name as critical then, as it must be.
        DistinguishedName::new()
    };
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(random_serial()?);
    Ok(params)
}
