use std::io::Cursor;
use std::sync::Arc;

use proptest::prelude::*;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// What rustls sends first to a server of this name.
fn hello_of_rustls(name: &str, protocols: &[&str]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

/// A hello with these extensions, as one message.
fn message(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0x13, 0x01, 0x0a, 0x0a, 1, 0]);
    let mut list = Vec::new();
    for (kind, content) in extensions {
        list.extend(kind.to_be_bytes());
        list.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        list.extend(content);
    }
    body.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
    body.extend(list);
    let mut message = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    message[0] = CLIENT_HELLO;
    message.extend(body);
    message
}

fn server_name(name: &[u8]) -> (u16, Vec<u8>) {
    let length = u16::try_from(name.len()).unwrap();
    let mut content = (length + 3).to_be_bytes().to_vec();
    content.push(HOST_NAME);
    content.extend(length.to_be_bytes());
    content.extend(name);
    (SERVER_NAME, content)
}

/// The message in records of at most this size.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for fragment in message.chunks(size) {
        bytes.extend([HANDSHAKE, 3, 1]);
        bytes.extend(u16::try_from(fragment.len()).unwrap().to_be_bytes());
        bytes.extend(fragment);
    }
    bytes
}

/// Reads it all at once.
fn read(bytes: &[u8]) -> FirstBytes {
    HelloReader::default().read(bytes)
}

fn name_in(bytes: &[u8]) -> HelloName {
    match read(bytes) {
        FirstBytes::Hello(hello) => hello.asks.server_name,
        other => panic!("{other:?}"),
    }
}

fn host(name: &str) -> HelloName {
    HelloName::Host(Host::parse(name).unwrap())
}

#[test]
fn the_name_of_a_real_client_is_read() {
    let bytes = hello_of_rustls("Example.com", &["h2", "http/1.1"]);
    let FirstBytes::Hello(hello) = read(&bytes) else {
        panic!("no hello")
    };
    assert_eq!(hello.asks.server_name, host("example.com"));
    assert!(!hello.asks.encrypted);
    assert!(hello.offers_http1 && hello.offers_http2);
    // An address is never sent as a name.
    assert_eq!(
        name_in(&hello_of_rustls("192.0.2.1", &[])),
        HelloName::Absent
    );
}

#[test]
fn one_program_is_one_program() {
    let program = |bytes: &[u8]| match read(bytes) {
        FirstBytes::Hello(hello) => hello.program,
        other => panic!("{other:?}"),
    };
    let one = program(&hello_of_rustls("a.test", &["h2"]));
    assert_eq!(one, program(&hello_of_rustls("b.test", &["h2"])));
    assert_ne!(one, program(&hello_of_rustls("a.test", &[])));
    // Browsers send other random values, in another order, each time.
    let shuffled = message(&[(0x1a1a, vec![]), (23, vec![]), server_name(b"a.test")]);
    let other = message(&[server_name(b"b.test"), (23, vec![]), (0xdada, vec![])]);
    assert_eq!(
        program(&records(&shuffled, 512)),
        program(&records(&other, 512))
    );
}

#[test]
fn every_prefix_needs_more_and_the_whole_is_enough() {
    for bytes in [
        hello_of_rustls("example.com", &["h2"]),
        records(&message(&[server_name(b"example.com")]), 3),
    ] {
        let mut reader = HelloReader::default();
        for length in 0..bytes.len() {
            assert_eq!(
                reader.read(&bytes[..length]),
                FirstBytes::NeedMore,
                "{length}"
            );
        }
        let FirstBytes::Hello(hello) = reader.read(&bytes) else {
            panic!("no hello")
        };
        assert_eq!(hello.asks.server_name, host("example.com"));
    }
}

#[test]
fn what_begins_in_another_way_is_something_else() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"GET / HTTP/1.1\r\n",
        b"\x05\x01\x00",
        // Records of another kind.
        &[21, 3, 3, 0, 2],
        &[23, 3, 3],
        // The hello of SSL 2, which knows no server name.
        &[0x80, 0x2e, 1, 3, 1],
        &[0],
    ] {
        assert_eq!(read(bytes), FirstBytes::NotTls, "{bytes:02x?}");
    }
}

/// Servers take a record of DTLS or of no version for one of theirs, so it must not hide a name from us.
#[test]
fn the_version_of_a_record_hides_nothing() {
    let good = records(&message(&[server_name(b"example.com")]), 100);
    for version in [
        [0, 0],
        [2, 0],
        [3, 0],
        [3, 9],
        [0xfe, 0xff],
        [0xfe, 0xfd],
        [0xff, 0xff],
    ] {
        let mut bytes = good.clone();
        let mut at = 0;
        while at < bytes.len() {
            bytes[at + 1..at + 3].copy_from_slice(&version);
            at += 5 + usize::from(u16::from_be_bytes([bytes[at + 3], bytes[at + 4]]));
        }
        assert_eq!(read(&bytes), read(&good), "{version:02x?}");
    }
    assert!(matches!(read(&good), FirstBytes::Hello(_)));
}

#[test]
fn a_hidden_part_is_seen() {
    for kind in ENCRYPTED {
        let bytes = records(
            &message(&[server_name(b"front.test"), (kind, vec![0; 200])]),
            16_384,
        );
        let FirstBytes::Hello(hello) = read(&bytes) else {
            panic!("no hello")
        };
        assert!(hello.asks.encrypted);
        assert_eq!(hello.asks.server_name, host("front.test"));
    }
}

#[test]
fn a_name_that_two_programs_could_read_differently_is_unreadable() {
    let (_, good) = server_name(b"example.com");
    let list = |entries: &[u8]| {
        let mut content = u16::try_from(entries.len()).unwrap().to_be_bytes().to_vec();
        content.extend(entries);
        content
    };
    for (what, extensions) in [
        (
            "twice",
            vec![server_name(b"a.test"), server_name(b"a.test")],
        ),
        ("empty", vec![(SERVER_NAME, vec![])]),
        ("an empty list", vec![(SERVER_NAME, vec![0, 0])]),
        ("an empty name", vec![server_name(b"")]),
        (
            "two names",
            vec![(SERVER_NAME, list(&[0, 0, 1, b'a', 0, 0, 1, b'b']))],
        ),
        (
            "another kind of name",
            vec![(SERVER_NAME, list(&[1, 0, 1, b'a']))],
        ),
        (
            "a byte behind the list",
            vec![(SERVER_NAME, [&good[..], &[0]].concat())],
        ),
        ("NUL", vec![server_name(b"evil.test\0.example.com")]),
        ("space", vec![server_name(b"a.test ")]),
        ("slash", vec![server_name(b"evil.test/.example.com")]),
        ("port", vec![server_name(b"example.com:443")]),
        ("userinfo", vec![server_name(b"a@example.com")]),
        ("UTF-8", vec![server_name("b\u{fc}cher.test".as_bytes())]),
        ("no text", vec![server_name(&[0xff, 0xfe])]),
        ("two dots", vec![server_name(b"example.com..")]),
        ("an odd address", vec![server_name(b"127.1")]),
        ("too long", vec![server_name(&[b'a'; 300])]),
    ] {
        assert_eq!(
            name_in(&records(&message(&extensions), 16_384)),
            HelloName::Unreadable,
            "{what}"
        );
    }
    // What an address as a name means is for the policy to say.
    let bytes = records(&message(&[server_name(b"192.0.2.1")]), 16_384);
    assert_eq!(name_in(&bytes), host("192.0.2.1"));
    let bytes = records(&message(&[server_name(b"EXAMPLE.com.")]), 16_384);
    assert_eq!(name_in(&bytes), host("example.com"));
}

#[test]
fn a_malformed_hello_is_unreadable() {
    let good = message(&[server_name(b"example.com")]);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = good.clone();
        change(&mut message);
        let length = u32::try_from(message.len() - MESSAGE_HEADER).unwrap();
        message[1..4].copy_from_slice(&length.to_be_bytes()[1..]);
        records(&message, 16_384)
    };
    let unreadable = FirstBytes::Hello(Hello::unreadable());
    for (what, bytes) in [
        (
            "bytes behind the extensions",
            with(&|message| message.push(0)),
        ),
        (
            "a cut extension",
            with(&|message| message.truncate(message.len() - 1)),
        ),
        (
            "no suites",
            with(&|message| message.splice(39..45, []).for_each(drop)),
        ),
        ("another message", with(&|message| message[0] = 2)),
        ("an empty record", vec![HANDSHAKE, 3, 1, 0, 0]),
        ("a record too long", vec![HANDSHAKE, 3, 1, 0x40, 1]),
        (
            "a message too long",
            vec![HANDSHAKE, 3, 1, 0, 4, 1, 1, 0, 0],
        ),
        (
            "another record in between",
            [&records(&good[..20], 20)[..], &[21, 3, 1, 0, 2, 1, 0]].concat(),
        ),
    ] {
        assert_eq!(read(&bytes), unreadable, "{what}");
    }
    // Without extensions there is no name, and nothing wrong.
    let bytes = with(&|message| message.truncate(MESSAGE_HEADER + 2 + 32 + 1 + 6 + 2));
    assert_eq!(name_in(&bytes), HelloName::Absent);
}

#[test]
fn a_hello_as_large_as_they_may_be_is_read() {
    let large = |size: usize| {
        let extensions = [(21, vec![0; size]), server_name(b"example.com")];
        message(&extensions)
    };
    let fits = large(LONGEST_HELLO - 150);
    assert_eq!(
        name_in(&records(&fits, LONGEST_FRAGMENT)),
        host("example.com")
    );
    let many = records(&fits, 64);
    assert_eq!(name_in(&many), host("example.com"));
    // One that would never end is given up.
    let endless = records(&large(40_000), 1);
    let FirstBytes::Hello(hello) = read(&endless[..LONGEST_RECEIVED]) else {
        panic!("read on for ever")
    };
    assert_eq!(hello, Hello::unreadable());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn however_it_is_split_it_is_the_same(
        label in "[a-z]{1,20}",
        size in 1_usize..200,
        cuts in prop::collection::vec(0_usize..2000, 0..20),
    ) {
        let name = format!("{label}.test");
        let bytes = records(&message(&[(21, vec![0; 300]), server_name(name.as_bytes())]), size);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len() - 1)).collect();
        cuts.sort_unstable();
        let mut reader = HelloReader::default();
        for cut in cuts {
            prop_assert_eq!(reader.read(&bytes[..cut]), FirstBytes::NeedMore);
        }
        prop_assert_eq!(reader.read(&bytes), read(&bytes));
        prop_assert_eq!(name_in(&bytes), host(&name));
    }

    /// A hello that rustls understands says the same to us, or we refuse it.
    #[test]
    fn what_rustls_reads_we_read_alike(
        flips in prop::collection::vec((0_usize..400, any::<u8>()), 0..4),
        name in "[a-z0-9.-]{1,30}",
    ) {
        let Ok(valid) = ServerName::try_from(name.clone()) else { return Ok(()) };
        prop_assume!(matches!(valid, ServerName::DnsName(_)));
        let mut bytes = hello_of_rustls(&name, &["h2"]);
        for (place, value) in flips {
            let place = RECORD_HEADER + place % (bytes.len() - RECORD_HEADER);
            bytes[place] = value;
        }
        let ours = read(&bytes);
        let mut acceptor = rustls::server::Acceptor::default();
        acceptor.read_tls(&mut Cursor::new(&bytes)).unwrap();
        if let Ok(Some(accepted)) = acceptor.accept() {
            let theirs = accepted.client_hello().server_name().map(str::to_owned);
            let FirstBytes::Hello(hello) = ours else { panic!("{ours:?}") };
            match (theirs, hello.asks.server_name) {
                (_, HelloName::Unreadable) => {}
                // It leaves out a name that is an address; we read it, and the policy compares it.
                (None, HelloName::Host(host)) => prop_assert!(host.address().is_some()),
                (None, HelloName::Absent) => {}
                (Some(theirs), HelloName::Host(host)) => {
                    prop_assert_eq!(Host::parse(&theirs).ok(), Some(host));
                }
                (Some(theirs), HelloName::Absent) => panic!("only rustls sees {theirs}"),
            }
        }
    }

    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), tls in any::<bool>()) {
        let mut bytes = bytes;
        if tls && bytes.len() > 9 {
            bytes[..3].copy_from_slice(&[HANDSHAKE, 3, 1]);
            bytes[5] = CLIENT_HELLO;
        }
        read(&bytes);
    }
}
