use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

/// A request with this command and these address bytes, to port 443.
fn request(command: u8, address: &[u8]) -> Vec<u8> {
    [&[5, command, 0], address, &[0x01, 0xbb]].concat()
}

fn name(text: &[u8]) -> Vec<u8> {
    [&[3, u8::try_from(text.len()).unwrap()], text].concat()
}

const V4: [u8; 5] = [1, 192, 0, 2, 7];
const V6: [u8; 17] = [4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Every prefix wants more, the whole is the value, and what follows is left alone.
fn check_steps<T: std::fmt::Debug + PartialEq, E: std::fmt::Debug>(
    parse: impl Fn(&[u8]) -> Result<Step<T>, E>,
    message: &[u8],
    value: T,
) {
    for length in 0..message.len() {
        let step = parse(&message[..length]).unwrap();
        assert_eq!(step, Step::NeedMore, "{:02x?}", &message[..length]);
    }
    let done = Step::Done {
        value,
        consumed: message.len(),
    };
    assert_eq!(parse(message).unwrap(), done, "{message:02x?}");
    let longer = [message, b"\x05\x00early"].concat();
    assert_eq!(parse(&longer).unwrap(), done, "{longer:02x?}");
}

#[test]
fn only_no_authentication_is_chosen() {
    use MethodSelection::{NoAuthentication, NoneAcceptable};
    check_steps(parse_greeting, &[5, 1, 0], NoAuthentication);
    check_steps(parse_greeting, &[5, 3, 1, 2, 0], NoAuthentication);
    check_steps(parse_greeting, &[5, 1, 2], NoneAcceptable);
    check_steps(parse_greeting, &[5, 2, 1, 0xff], NoneAcceptable);
    check_steps(parse_greeting, &[5, 0], NoneAcceptable);
    assert_eq!(NoAuthentication.encode(), [5, 0]);
    assert_eq!(NoneAcceptable.encode(), [5, 0xff]);
}

#[test]
fn the_longest_messages_fit_the_handshake_buffer() {
    let greeting = [&[5, 255], [2; 255].as_slice()].concat();
    assert!(greeting.len() <= LONGEST_HANDSHAKE_MESSAGE);
    check_steps(parse_greeting, &greeting, MethodSelection::NoneAcceptable);
    let longest = request(1, &name(&[b'a'; 255]));
    assert_eq!(longest.len(), LONGEST_HANDSHAKE_MESSAGE);
    assert_eq!(
        parse_request(&longest[..longest.len() - 3]).unwrap(),
        Step::NeedMore
    );
    // A name of 255 octets is no host name, so this is an end as well.
    assert_eq!(
        parse_request(&longest).unwrap_err().reply(),
        Some(Reply::GeneralFailure)
    );
}

#[test]
fn another_protocol_is_seen_at_its_first_byte() {
    for first in [0, 4, b'G', b'C', 0x16, 0xff] {
        assert_eq!(parse_greeting(&[first]), Err(GreetingError::Version(first)));
        let error = parse_request(&[first, 1, 0]).unwrap_err();
        assert_eq!(error.reply(), None, "{error}");
    }
}

#[test]
fn requests_name_their_target() {
    let rows: &[(Command, u8, Vec<u8>, &str)] = &[
        (Command::Connect, 1, V4.to_vec(), "192.0.2.7"),
        (Command::Connect, 1, V6.to_vec(), "2001:db8::1"),
        (Command::Connect, 1, name(b"Example.COM"), "example.com"),
        (Command::UdpAssociate, 3, V4.to_vec(), "192.0.2.7"),
        (Command::UdpAssociate, 3, vec![1, 0, 0, 0, 0], "0.0.0.0"),
        (Command::UdpAssociate, 3, V6.to_vec(), "2001:db8::1"),
        // Parsed all the same, so that the refusal can be recorded.
        (Command::Bind, 2, V4.to_vec(), "192.0.2.7"),
        (Command::Bind, 2, name(b"example.com"), "example.com"),
        (Command::Unknown(0), 0, V4.to_vec(), "192.0.2.7"),
        (
            Command::Unknown(0xf0),
            0xf0,
            name(b"a.example"),
            "a.example",
        ),
    ];
    for (command, code, address, target) in rows {
        let value = Request {
            command: *command,
            host: host(target),
            port: 443,
        };
        check_steps(parse_request, &request(*code, address), value);
    }
}

#[test]
fn an_address_sent_as_a_name_is_an_address() {
    for (text, address) in [
        ("127.0.0.1", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ("127.0.0.1.", Ipv4Addr::LOCALHOST.into()),
        ("::ffff:127.0.0.1", Ipv4Addr::LOCALHOST.into()),
        ("::1", Ipv6Addr::LOCALHOST.into()),
        ("0:0:0:0:0:0:0:1", Ipv6Addr::LOCALHOST.into()),
    ] {
        let value = Request {
            command: Command::Connect,
            host: Host::from(address),
            port: 443,
        };
        check_steps(parse_request, &request(1, &name(text.as_bytes())), value);
    }
}

#[test]
fn the_reserved_byte_says_nothing() {
    let mut odd = request(1, &V4);
    odd[2] = 0xff;
    let parsed = parse_request(&odd).unwrap();
    assert_eq!(parsed, parse_request(&request(1, &V4)).unwrap());
}

#[test]
fn errors_carry_their_reply() {
    let malformed: &[&[u8]] = &[
        b"",
        b"evil\0.example.com",
        b"evil example.com",
        b" example.com",
        b"example.com\n",
        b"ex%41mple.com",
        b"a/b",
        b"a\\b",
        b"user@example.com",
        b"example.com:80",
        b"example.com..",
        b"127.1",
        b"0x7f.1",
        b"2130706433",
        b"\xff\xfe.example.com",
    ];
    let rows = malformed
        .iter()
        .map(|text| (1, name(text), Reply::GeneralFailure))
        // What is wrong with the command outweighs what is wrong with its address.
        .chain(
            malformed
                .iter()
                .map(|text| (2, name(text), Reply::CommandNotSupported)),
        )
        .chain(
            malformed
                .iter()
                .map(|text| (3, name(text), Reply::AddressTypeNotSupported)),
        )
        .chain([
            (1, vec![0], Reply::AddressTypeNotSupported),
            (1, vec![2, 1, 2, 3, 4], Reply::AddressTypeNotSupported),
            (3, vec![5], Reply::AddressTypeNotSupported),
            (3, name(b"example.com"), Reply::AddressTypeNotSupported),
            (3, name(b"127.0.0.1"), Reply::AddressTypeNotSupported),
            (2, vec![9], Reply::CommandNotSupported),
            (0x80, vec![9], Reply::CommandNotSupported),
        ]);
    for (command, address, reply) in rows {
        let error = parse_request(&request(command, &address)).unwrap_err();
        assert_eq!(
            error.reply(),
            Some(reply),
            "{command} {address:02x?}: {error}"
        );
    }
}

#[test]
fn replies_as_bytes() {
    let v4 = Reply::Succeeded("127.0.0.1:8080".parse().unwrap());
    assert_eq!(
        v4.encode().as_bytes(),
        [5, 0, 0, 1, 127, 0, 0, 1, 0x1f, 0x90]
    );
    let mapped = Reply::Succeeded("[::ffff:127.0.0.1]:8080".parse().unwrap());
    assert_eq!(mapped.encode(), v4.encode());
    let v6 = Reply::Succeeded("[2001:db8::1]:443".parse().unwrap());
    let bytes = [&[5, 0, 0], V6.as_slice(), &[0x01, 0xbb]].concat();
    assert_eq!(v6.encode().as_bytes(), bytes);
    for (reply, code) in [
        (Reply::GeneralFailure, 1),
        (Reply::NotAllowed, 2),
        (Reply::NetworkUnreachable, 3),
        (Reply::HostUnreachable, 4),
        (Reply::ConnectionRefused, 5),
        (Reply::TtlExpired, 6),
        (Reply::CommandNotSupported, 7),
        (Reply::AddressTypeNotSupported, 8),
    ] {
        let bytes = [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(reply.encode().as_bytes(), bytes, "{reply:?}");
    }
}

#[test]
fn datagrams_name_their_target() {
    for (address, target) in [
        (V4.to_vec(), "192.0.2.7"),
        (V6.to_vec(), "2001:db8::1"),
        (name(b"Example.com"), "example.com"),
        (name(b"::1"), "::1"),
    ] {
        let header = [&[0, 0, 0], address.as_slice(), &[0, 53]].concat();
        for length in 0..header.len() {
            let error = parse_datagram(&header[..length]).unwrap_err();
            assert!(matches!(error, DatagramError::Truncated), "{error}");
        }
        let target = Target::Host {
            host: host(target),
            port: 53,
        };
        for (fragment, payload) in [
            (0, b"".as_slice()),
            (0, b"query"),
            (1, b"part"),
            (0x81, b""),
        ] {
            let mut bytes = [&header, payload].concat();
            bytes[2] = fragment;
            let datagram = Datagram {
                fragment,
                target: target.clone(),
                payload,
            };
            assert_eq!(parse_datagram(&bytes).unwrap(), datagram);
        }
    }
}

#[test]
fn malformed_datagrams_say_why() {
    let check =
        |address: &[u8]| parse_datagram(&[&[0, 0, 0], address, &[0, 53]].concat()).unwrap_err();
    assert!(matches!(
        check(&[2, 1, 2, 3, 4]),
        DatagramError::Address(AddressError::Type(2))
    ));
    for text in [b"".as_slice(), b"evil\0.example.com", b"a b"] {
        let error = check(&name(text));
        assert!(
            matches!(error, DatagramError::Address(AddressError::Name(_))),
            "{error}"
        );
    }
    let error = check(&name(b"\xff"));
    assert!(
        matches!(error, DatagramError::Address(AddressError::NotUtf8)),
        "{error}"
    );
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), start in 0_u8..5) {
        let _ = parse_greeting(&bytes);
        let _ = parse_datagram(&bytes);
        let _ = parse_request(&bytes);
        let _ = parse_request(&[&[5, start, 0], bytes.as_slice()].concat());
        let _ = parse_request(&[&[5, 1, 0, start], bytes.as_slice()].concat());
    }

    #[test]
    fn a_finding_does_not_depend_on_what_follows(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        more in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let bytes = [&[5], bytes.as_slice()].concat();
        let longer = [bytes.as_slice(), &more].concat();
        match parse_request(&bytes) {
            Ok(Step::NeedMore) => {}
            Ok(done) => prop_assert_eq!(parse_request(&longer).unwrap(), done),
            Err(error) => prop_assert_eq!(
                parse_request(&longer).unwrap_err().reply(),
                error.reply()
            ),
        }
    }

    #[test]
    fn requests_survive_the_wire(address in any_address(), code in any::<u8>()) {
        // A reply is a request's twin on the wire but for its second byte.
        let mut bytes = Reply::Succeeded(address).encode().as_bytes().to_vec();
        bytes[1] = code;
        let value = Request {
            command: Command::from_byte(code),
            host: Host::from(address.ip()),
            port: address.port(),
        };
        check_steps(parse_request, &bytes, value);
    }

    #[test]
    fn datagrams_survive_the_wire(
        address in any_address(),
        payload in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let bytes = [datagram_header(address).as_bytes(), &payload].concat();
        let target = Target::Host { host: Host::from(address.ip()), port: address.port() };
        let datagram = Datagram { fragment: 0, target, payload: &payload };
        prop_assert_eq!(parse_datagram(&bytes).unwrap(), datagram);
    }
}
