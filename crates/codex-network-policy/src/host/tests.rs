use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<String, HostError> {
    Host::parse(text).map(|host| host.to_string())
}

#[test]
fn every_spelling_of_a_name_is_one_name() {
    for (text, expected) in [
        ("example.com", "example.com"),
        ("EXAMPLE.Com", "example.com"),
        ("example.com.", "example.com"),
        ("[example.com]", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("ｅｘａｍｐｌｅ。com", "example.com"),
        ("exam\u{ad}ple.com", "example.com"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("r3---sn-1.example.com", "r3---sn-1.example.com"),
        ("-a.b-", "-a.b-"),
        ("localhost", "localhost"),
        ("LOCALHOST.", "localhost"),
        ("1.example", "1.example"),
        ("127.0.0.1.nip.io", "127.0.0.1.nip.io"),
        ("0x7f.example", "0x7f.example"),
        ("a.0xg", "a.0xg"),
    ] {
        assert_eq!(parse(text).as_deref(), Ok(expected), "{text:?}");
        assert!(Host::parse(text).unwrap().address().is_none(), "{text:?}");
    }
}

#[test]
fn every_spelling_of_an_address_is_one_address() {
    for (text, expected) in [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("[127.0.0.1]", "127.0.0.1"),
        ("１２７.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("0000:0000:0000:0000:0000:0000:0000:0001", "::1"),
        ("::0.0.0.1", "::1"),
        ("2001:DB8::A", "2001:db8::a"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("[::FFFF:7f00:1]", "127.0.0.1"),
        ("::127.0.0.1", "::7f00:1"),
        ("64:ff9b::8.8.8.8", "64:ff9b::808:808"),
        ("fe80::1%lo0", "fe80::1%lo0"),
        ("[fe80::1%lo0]", "fe80::1%lo0"),
        ("[fe80::1%25lo0]", "fe80::1%lo0"),
        ("[fe80::1%25]", "fe80::1%25"),
        ("FE80::1%Eth0", "fe80::1%Eth0"),
    ] {
        assert_eq!(parse(text).as_deref(), Ok(expected), "{text:?}");
        assert!(Host::parse(text).unwrap().address().is_some(), "{text:?}");
    }
}

#[test]
fn what_programs_read_differently_is_no_host() {
    for (text, expected) in [
        ("", HostError::Empty),
        (".", HostError::Empty),
        ("[]", HostError::Empty),
        ("..", HostError::EmptyLabel),
        ("example.com..", HostError::EmptyLabel),
        (".example.com", HostError::EmptyLabel),
        ("a..b", HostError::EmptyLabel),
        ("evil\0.example.com", HostError::Character('\0')),
        ("evil\n.example.com", HostError::Character('\n')),
        ("exa mple.com", HostError::Character(' ')),
        (" example.com", HostError::Character(' ')),
        ("example.com\t", HostError::Character('\t')),
        ("example.com%2eevil.com", HostError::Character('%')),
        ("example.com/", HostError::Character('/')),
        ("example.com\\.evil.com", HostError::Character('\\')),
        ("user@example.com", HostError::Character('@')),
        ("*.example.com", HostError::Character('*')),
        ("example.com#", HostError::Character('#')),
        ("example.com?", HostError::Character('?')),
        ("[[::1]]", HostError::Ipv6),
        ("\u{7f}.example.com", HostError::Character('\u{7f}')),
        ("％.example.com", HostError::Character('%')),
        ("\u{200b}\u{fffd}.example", HostError::International),
        ("xn--\u{fc}.example", HostError::International),
        ("example.com:80", HostError::UnexpectedPort),
        ("127.0.0.1:80", HostError::UnexpectedPort),
        ("[::1]:80", HostError::UnclosedBracket),
        ("[::1", HostError::UnclosedBracket),
        ("::1]", HostError::Ipv6),
        ("::g", HostError::Ipv6),
        ("1:2:3", HostError::Ipv6),
        ("::1.", HostError::Ipv6),
        ("fe80::1%", HostError::Zone),
        ("fe80::1%a%b", HostError::Zone),
        ("fe80::1%a/b", HostError::Zone),
        ("[fe80::1%25a%b]", HostError::Zone),
        ("::ffff:127.0.0.1%lo", HostError::Zone),
        ("example.com%lo0", HostError::Character('%')),
        ("127.1", HostError::AmbiguousIpv4),
        ("127.0.1", HostError::AmbiguousIpv4),
        ("2130706433", HostError::AmbiguousIpv4),
        ("0x7f000001", HostError::AmbiguousIpv4),
        ("0X7F.1", HostError::AmbiguousIpv4),
        ("0x7f.0x0.0x0.0x1", HostError::AmbiguousIpv4),
        ("0x", HostError::AmbiguousIpv4),
        ("0177.0.0.1", HostError::AmbiguousIpv4),
        ("127.0.0.01", HostError::AmbiguousIpv4),
        ("127.0.0.1.1", HostError::AmbiguousIpv4),
        ("256.0.0.1", HostError::AmbiguousIpv4),
        ("foo.123", HostError::AmbiguousIpv4),
        ("foo.0x1f", HostError::AmbiguousIpv4),
        ("１２７.1", HostError::AmbiguousIpv4),
        ("127.0.0.1..", HostError::EmptyLabel),
    ] {
        assert_eq!(parse(text), Err(expected), "{text:?}");
    }
}

#[test]
fn names_and_labels_have_a_longest_length() {
    let label = "a".repeat(63);
    assert_eq!(parse(&label), Ok(label.clone()));
    assert_eq!(parse(&"a".repeat(64)), Err(HostError::LabelTooLong));
    let name = [label.as_str(); 4].join(".");
    let (longest, too_long) = (&name[..253], &name[..254]);
    assert_eq!(parse(longest), Ok(longest.to_string()));
    assert_eq!(parse(&format!("{longest}.")), Ok(longest.to_string()));
    assert_eq!(parse(too_long), Err(HostError::NameTooLong));
    assert_eq!(parse(&"ü".repeat(100_000)), Err(HostError::NameTooLong));
    assert_eq!(parse(&"ü".repeat(100)), Err(HostError::LabelTooLong));
    let zone = "z".repeat(32);
    assert_eq!(
        parse(&format!("fe80::1%{zone}")),
        Ok(format!("fe80::1%{zone}"))
    );
    assert_eq!(parse(&format!("fe80::1%{zone}z")), Err(HostError::Zone));
}

#[test]
fn no_byte_of_ascii_slips_into_a_name() {
    for byte in 0..=0x7f_u8 {
        let char = char::from(byte);
        let in_the_middle = Host::parse(&format!("a{char}b.example"));
        let legal = char.is_ascii_alphanumeric() || "-_.".contains(char);
        assert_eq!(in_the_middle.is_ok(), legal, "{char:?}");
        let at_the_end = Host::parse(&format!("a.example{char}"));
        assert_eq!(at_the_end.is_ok(), legal, "{char:?}");
    }
}

#[test]
fn an_authority_is_a_host_and_perhaps_a_port() {
    let check = |text: &str, expected: Result<(&str, Option<u16>), HostError>| {
        let parsed =
            Authority::parse(text).map(|authority| (authority.host.to_string(), authority.port));
        assert_eq!(
            parsed,
            expected.map(|(host, port)| (host.to_string(), port)),
            "{text:?}"
        );
    };
    check("example.com", Ok(("example.com", None)));
    check("Example.com.:443", Ok(("example.com", Some(443))));
    check("127.0.0.1:1", Ok(("127.0.0.1", Some(1))));
    check("[::1]:65535", Ok(("::1", Some(65535))));
    check("[::1]", Ok(("::1", None)));
    check("::1", Ok(("::1", None)));
    check("2001:db8::1:443", Ok(("2001:db8::1:443", None)));
    check("[fe80::1%25lo0]:80", Ok(("fe80::1%lo0", Some(80))));
    check("example.com:0080", Ok(("example.com", Some(80))));
    check("example.com:", Err(HostError::Port));
    check("[::1]:", Err(HostError::Port));
    check("example.com:65536", Err(HostError::Port));
    check("example.com:+80", Err(HostError::Port));
    check("example.com:80a", Err(HostError::Port));
    check("example.com: 80", Err(HostError::Port));
    check("example.com:-1", Err(HostError::Port));
    check("[::1]80", Err(HostError::UnclosedBracket));
    check("[::1", Err(HostError::UnclosedBracket));
    check("user@example.com:80", Err(HostError::Userinfo));
    check("user:secret@example.com", Err(HostError::Userinfo));
    check(":80", Err(HostError::Empty));
    check("", Err(HostError::Empty));
}

#[test]
fn labels_come_from_left_to_right() {
    let Ok(Host::Name(name)) = Host::parse("a.b.example") else {
        panic!("a name")
    };
    assert_eq!(name.labels().collect::<Vec<_>>(), ["a", "b", "example"]);
    assert!(Host::parse("localhost").unwrap().is_localhost());
    assert!(!Host::parse("a.localhost").unwrap().is_localhost());
    assert!(!Host::parse("127.0.0.1").unwrap().is_localhost());
}

#[test]
fn a_mapped_address_from_a_socket_is_the_ipv4_address() {
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    assert_eq!(Host::from(mapped), Host::parse("192.0.2.1").unwrap());
}

proptest! {
    #[test]
    fn parsing_is_idempotent(text in "\\PC{0,40}|[a-zA-Z0-9._%:\\[\\]x-]{0,30}|[0-9.:a-f%\\[\\]]{1,20}") {
        if let Ok(host) = Host::parse(&text) {
            let canonical = host.to_string();
            prop_assert_eq!(Host::parse(&canonical), Ok(host));
        }
    }

    #[test]
    fn an_address_is_read_as_std_reads_it(bits in any::<u128>(), v4 in any::<u32>()) {
        for address in [IpAddr::V6(Ipv6Addr::from_bits(bits)), IpAddr::V4(Ipv4Addr::from_bits(v4))] {
            prop_assert_eq!(Host::parse(&address.to_string()), Ok(Host::from(address)));
        }
    }

    #[test]
    fn a_name_never_holds_more_than_host_characters(text in "\\PC{0,40}") {
        if let Ok(Host::Name(name)) = Host::parse(&text) {
            let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
            prop_assert!(name.as_str().bytes().all(legal));
            prop_assert!(name.labels().all(|label| (1..=63).contains(&label.len())));
        }
    }
}
