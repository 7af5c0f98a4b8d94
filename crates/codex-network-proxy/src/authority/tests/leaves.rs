//! What is in a leaf, when it is signed, and that TLS with it works.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, SystemTime};

use codex_network_policy::Host;
use proptest::prelude::*;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::Home;
use crate::authority::AuthorityError;
use crate::authority::leaf::{Alpn, Leaves};

const HOUR: Duration = Duration::from_secs(60 * 60);

pub(super) fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

/// The names that are hard for one client or another.
pub(super) fn long_name() -> String {
    let label = "a".repeat(48);
    let name = format!("{label}.{label}.{label}.{label}.test");
    assert_eq!(name.len(), 200);
    name
}

/// A client of rustls that trusts the authority in this home.
fn client(
    home: &Home,
    alpn: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let authority = home.open().unwrap().unwrap();
    roots
        .add(CertificateDer::from(authority.certificate_der().to_vec()))
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// Both sides after a handshake in memory.
fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    host: &Host,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = match host {
        Host::Name(name) => ServerName::try_from(name.to_string()).unwrap(),
        Host::Address(literal) => ServerName::from(literal.address()),
    };
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    let mut wire = Vec::new();
    while client.is_handshaking()
        || server.is_handshaking()
        || client.wants_write()
        || server.wants_write()
    {
        wire.clear();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok((client, server))
}

/// The certificate that this host is served with at this time.
fn leaf(leaves: &Leaves, home: &Home, host: &Host, now: SystemTime) -> Vec<u8> {
    let server = leaves.server_config_at(host, Alpn::Http1, now).unwrap();
    let client = Arc::new(client(home, &[], rustls::ALL_VERSIONS));
    let (client, _) = handshake(&client, &server, host).unwrap();
    let chain = client.peer_certificates().unwrap();
    assert_eq!(chain.len(), 1, "the chain is the leaf alone");
    chain[0].to_vec()
}

fn check_leaf(home: &Home, leaves: &Leaves, host: &Host, now: SystemTime) {
    let der = leaf(leaves, home, host, now);
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    let authority = home.open().unwrap().unwrap();
    let (_, authority) = X509Certificate::from_der(authority.certificate_der()).unwrap();
    assert_eq!(leaf.issuer().as_raw(), authority.subject().as_raw());
    leaf.verify_signature(Some(authority.public_key())).unwrap();
    assert_eq!(leaf.raw_serial().len(), 16);

    let text = match host {
        Host::Name(name) => name.to_string(),
        Host::Address(literal) => literal.address().to_string(),
    };
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let address: Option<Vec<u8>> = host.address().map(|address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    });
    let expected = match &address {
        Some(octets) => GeneralName::IPAddress(octets),
        None => GeneralName::DNSName(&text),
    };
    assert_eq!(names.value.general_names, [expected]);
    let common_names: Vec<_> = leaf
        .subject()
        .iter_common_name()
        .map(|name| name.as_str().unwrap())
        .collect();
    if text.len() <= 64 {
        assert_eq!(common_names, [text.as_str()]);
        assert!(!names.critical);
    } else {
        assert_eq!(leaf.subject().iter().count(), 0);
        assert!(names.critical, "it is the only name");
    }

    let constraints = leaf.basic_constraints().unwrap().unwrap();
    assert!(!constraints.value.ca);
    let usage = leaf.key_usage().unwrap().unwrap();
    assert_eq!(
        (usage.critical, usage.value.to_string().as_str()),
        (true, "Digital Signature")
    );
    let purpose = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(
        purpose.server_auth && !purpose.any && !purpose.client_auth && purpose.other.is_empty()
    );
    let oids: Vec<_> = leaf
        .extensions()
        .iter()
        .map(|extension| extension.oid.to_id_string())
        .collect();
    for identifier in ["2.5.29.14", "2.5.29.35"] {
        assert!(
            oids.iter().any(|oid| oid == identifier),
            "no {identifier} in {oids:?}"
        );
    }
    assert_eq!(oids.len(), 6, "{oids:?}");

    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs() as i64
    };
    assert_eq!(leaf.validity().not_before.timestamp(), seconds(now - HOUR));
    assert_eq!(
        leaf.validity().not_after.timestamp(),
        seconds(now + 24 * HOUR)
    );
}

#[test]
fn a_leaf_carries_the_asked_host_and_nothing_else() {
    let (home, leaves) = Home::with_leaves();
    for text in [
        "example.test",
        "a_b.example.test",
        "localhost",
        "xn--bcher-kva.test",
        &"a".repeat(63),
        &format!("{}.b", "a".repeat(62)),
        &format!("{}.bc", "a".repeat(62)),
        &long_name(),
        "192.0.2.7",
        "::ffff:192.0.2.8",
        "2001:db8::7",
        "fe80::1%eth0",
        "::",
    ] {
        check_leaf(&home, &leaves, &host(text), SystemTime::now());
    }
}

fn any_host() -> impl Strategy<Value = Host> {
    prop_oneof![
        "[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9])?(\\.[a-z]([a-z0-9-]{0,60}[a-z0-9])?){0,4}"
            .prop_filter_map("a host", |text| Host::parse(&text).ok()),
        any::<[u8; 4]>().prop_map(|octets| Host::from(IpAddr::from(octets))),
        any::<[u8; 16]>().prop_map(|octets| Host::from(IpAddr::from(octets))),
    ]
}

#[test]
fn the_name_in_a_leaf_is_exactly_the_host() {
    let (home, leaves) = Home::with_leaves();
    // One moment for all: a host that comes twice has the leaf of the first time.
    let now = SystemTime::now();
    proptest!(ProptestConfig::with_cases(200), |(host in any_host())| {
        check_leaf(&home, &leaves, &host, now);
    });
}

#[test]
fn a_client_refuses_a_leaf_for_another_host_or_of_another_authority() {
    let (home, leaves) = Home::with_leaves();
    let server = leaves.server_config(&host("a.test"), Alpn::Http1).unwrap();
    let trusting = Arc::new(client(&home, &[], rustls::ALL_VERSIONS));
    assert!(handshake(&trusting, &server, &host("a.test")).is_ok());
    assert!(handshake(&trusting, &server, &host("b.test")).is_err());
    assert!(handshake(&trusting, &server, &host("x.a.test")).is_err());
    let (stranger, _) = Home::with_authority();
    let other = Arc::new(client(&stranger, &[], rustls::ALL_VERSIONS));
    assert!(handshake(&other, &server, &host("a.test")).is_err());
}

#[test]
fn what_is_offered_is_what_was_asked_for() {
    let (home, leaves) = Home::with_leaves();
    let host = host("a.test");
    for (offer, asked, expected) in [
        (Alpn::Http1, &["h2", "http/1.1"][..], Ok(Some("http/1.1"))),
        (Alpn::Http2OrHttp1, &["http/1.1", "h2"], Ok(Some("h2"))),
        (Alpn::Http2OrHttp1, &["http/1.1"], Ok(Some("http/1.1"))),
        (Alpn::Http2OrHttp1, &[], Ok(None)),
        (Alpn::Http1, &["h2"], Err(())),
        (Alpn::Http2OrHttp1, &["spdy/3"], Err(())),
    ] {
        let server = leaves.server_config(&host, offer).unwrap();
        let client = Arc::new(client(&home, asked, rustls::ALL_VERSIONS));
        let chosen = handshake(&client, &server, &host).map(|(client, _)| {
            let protocol = client.alpn_protocol();
            protocol.map(|protocol| String::from_utf8(protocol.to_vec()).unwrap())
        });
        let chosen = chosen.as_ref().map(Option::as_deref).map_err(|_| ());
        assert_eq!(chosen, expected, "{offer:?} {asked:?}");
    }
}

#[test]
fn both_versions_of_tls_work_and_resume_with_tickets_only() {
    let (home, leaves) = Home::with_leaves();
    let host = host("a.test");
    for (version, number) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let mut client = client(&home, &["http/1.1"], &[version]);
        client.resumption = Resumption::in_memory_sessions(8);
        let client = Arc::new(client);
        let server = leaves.server_config(&host, Alpn::Http1).unwrap();
        assert_eq!(server.max_early_data_size, 0);
        let (first, _) = handshake(&client, &server, &host).unwrap();
        assert_eq!(first.protocol_version(), Some(number));
        assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
        // Another configuration of the same process knows the ticket.
        let server = leaves.server_config(&host, Alpn::Http2OrHttp1).unwrap();
        let (second, server) = handshake(&client, &server, &host).unwrap();
        assert_eq!(
            second.handshake_kind(),
            Some(HandshakeKind::Resumed),
            "{number:?}"
        );
        assert_eq!(
            server.handshake_kind(),
            Some(HandshakeKind::Resumed),
            "{number:?}"
        );
        if number == ProtocolVersion::TLSv1_3 {
            assert_eq!(first.tls13_tickets_received(), 1);
        }
    }
}

#[test]
fn a_host_is_signed_for_once_however_many_ask() {
    let (home, leaves) = Home::with_leaves();
    let host = host("a.test");
    let start = Barrier::new(100);
    let configs: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..100)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    leaves.server_config(&host, Alpn::Http1).unwrap()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(
        configs
            .iter()
            .all(|config| Arc::ptr_eq(config, &configs[0]))
    );
    // The other offers are served with the same certificate.
    let client = Arc::new(client(&home, &[], rustls::ALL_VERSIONS));
    let certificates: HashSet<_> = [Alpn::Http1, Alpn::Http2OrHttp1]
        .map(|offer| {
            let server = leaves.server_config(&host, offer).unwrap();
            let (client, _) = handshake(&client, &server, &host).unwrap();
            client.peer_certificates().unwrap()[0].to_vec()
        })
        .into();
    assert_eq!(certificates.len(), 1);
}

#[test]
fn no_two_leaves_have_the_same_serial_number() {
    let (home, leaves) = Home::with_leaves();
    let now = SystemTime::now();
    let serials: HashSet<_> = (0..50)
        .map(|number| leaf(&leaves, &home, &host(&format!("h{number}.test")), now))
        .chain((1..50).map(|day| {
            // The same host again: its old certificate is over.
            let now = now + day * 24 * HOUR;
            let server = leaves
                .server_config_at(&host("h.test"), Alpn::Http1, now)
                .unwrap();
            served(&server)
        }))
        .map(|der| {
            let (_, leaf) = X509Certificate::from_der(&der).unwrap();
            leaf.raw_serial().to_vec()
        })
        .collect();
    assert_eq!(serials.len(), 99);
}

/// The certificate of a configuration, whatever the time.
pub(super) fn served(server: &Arc<ServerConfig>) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(provider)))
        .with_no_client_auth();
    client.enable_sni = false;
    let (client, _) = handshake(&Arc::new(client), server, &host("x.test")).unwrap();
    client.peer_certificates().unwrap()[0].to_vec()
}

#[derive(Debug)]
struct Anything(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn a_leaf_is_signed_anew_before_it_ends_and_when_the_clock_was_set_back() {
    let (_home, leaves) = Home::with_leaves();
    let host = host("a.test");
    let start = SystemTime::now();
    let at = |now| leaves.server_config_at(&host, Alpn::Http1, now).unwrap();
    let first = at(start);
    let last_moment = start + 23 * HOUR - Duration::from_secs(1);
    assert!(Arc::ptr_eq(&first, &at(last_moment)));
    let second = at(start + 23 * HOUR);
    assert_ne!(served(&first), served(&second));
    assert!(Arc::ptr_eq(&second, &at(start + 23 * HOUR)));
    // A certificate from the future is not valid yet.
    let back = at(start);
    assert_ne!(served(&second), served(&back));
    assert!(Arc::ptr_eq(
        &back,
        &at(start - HOUR + Duration::from_secs(1))
    ));
}

#[test]
fn near_its_end_an_authority_signs_no_further_than_that_and_then_no_more() {
    let (home, leaves) = Home::with_leaves();
    let end = home.open().unwrap().unwrap().not_after();
    let host = host("a.test");
    let at = |now| leaves.server_config_at(&host, Alpn::Http1, now);
    let last = at(end - HOUR / 2).unwrap();
    let der = served(&last);
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    let seconds = end
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert_eq!(leaf.validity().not_after.timestamp() as u64, seconds);
    // Not once for every connection, although less than an hour is left.
    assert!(Arc::ptr_eq(&last, &at(end - HOUR / 3).unwrap()));
    let error = at(end + Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, AuthorityError::Expired(_)), "{error}");
}

#[test]
fn hosts_without_end_cost_no_memory_without_end() {
    let (_home, leaves) = Home::with_leaves();
    let config = |text: &str| leaves.server_config(&host(text), Alpn::Http1).unwrap();
    let first = config("first.test");
    let second = config("second.test");
    for number in 0..1_023 {
        config(&format!("h{number}.test"));
        config("first.test");
    }
    // The one that was asked for again and again has stayed, the other has not.
    assert!(Arc::ptr_eq(&first, &config("first.test")));
    assert_eq!(leaves.kept(), 1_024);
    assert!(!Arc::ptr_eq(&second, &config("second.test")));
    assert_eq!(leaves.kept(), 1_024);
}
