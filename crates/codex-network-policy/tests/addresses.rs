//! The table of addresses that are not public, held against the registries row by row.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use codex_network_policy::{AddressClass, AddressRange, Host, Prefix};
use proptest::prelude::*;

const RANGES: &str = include_str!("data/address_ranges.txt");
const EMBEDDED: &str = include_str!("data/embedded.txt");

fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let is_row = |line: &&str| !line.is_empty() && !line.starts_with('#');
    text.lines()
        .filter(is_row)
        .map(|line| line.split(" | ").collect())
}

/// The word of a class, or `-` for no address.
fn class_of(address: Option<IpAddr>) -> &'static str {
    address.map_or("-", |address| AddressClass::of(address).as_str())
}

fn last_of(prefix: Prefix) -> IpAddr {
    match prefix.first() {
        IpAddr::V4(first) => Ipv4Addr::from_bits(
            first.to_bits() | u32::MAX.checked_shr(prefix.length().into()).unwrap_or(0),
        )
        .into(),
        IpAddr::V6(first) => Ipv6Addr::from_bits(
            first.to_bits() | u128::MAX.checked_shr(prefix.length().into()).unwrap_or(0),
        )
        .into(),
    }
}

fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address
            .to_bits()
            .checked_sub(1)
            .map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(address) => address
            .to_bits()
            .checked_sub(1)
            .map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address
            .to_bits()
            .checked_add(1)
            .map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(address) => address
            .to_bits()
            .checked_add(1)
            .map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

#[test]
fn every_row_of_the_registries_is_known_at_both_ends_and_just_outside() {
    for row in rows(RANGES) {
        let [range, class, class_before, class_after] = row[..] else {
            panic!("{row:?}")
        };
        let prefix: Prefix = range.parse().expect(range);
        assert_eq!(prefix.to_string(), range);
        let (first, last) = (prefix.first(), last_of(prefix));
        assert_eq!(class_of(before(first)), class_before, "before {range}");
        assert_eq!(class_of(after(last)), class_after, "after {range}");
        for address in [first, last] {
            assert!(
                !AddressClass::of(address).is_public(),
                "{address} of {range}"
            );
            assert!(prefix.contains(address), "{address} of {range}");
        }
        let known = AddressRange::all()
            .find(|known| known.prefix == prefix)
            .unwrap_or_else(|| panic!("{range} is missing"));
        assert_eq!(known.class.as_str(), class, "{range}");
    }
}

#[test]
fn every_row_of_the_table_is_in_the_data_and_is_not_hidden_by_another() {
    let written: BTreeSet<&str> = rows(RANGES).map(|row| row[0]).collect();
    for range in AddressRange::all() {
        assert!(
            written.contains(range.prefix.to_string().as_str()),
            "{} is in no data row",
            range.prefix
        );
        let reachable = [range.prefix.first(), last_of(range.prefix)]
            .into_iter()
            .any(|address| AddressRange::of(address) == Some(range));
        assert!(reachable, "{} stands after a wider row", range.prefix);
    }
    assert_eq!(written.len(), AddressRange::all().count());
}

#[test]
fn an_embedded_address_is_judged_too() {
    for row in rows(EMBEDDED) {
        let [address, class] = row[..] else {
            panic!("{row:?}")
        };
        assert_eq!(
            class_of(Some(address.parse().expect(address))),
            class,
            "{address}"
        );
    }
}

#[test]
fn a_prefix_is_read_and_shown() {
    for (text, expected) in [
        ("10.0.0.0/8", Some("10.0.0.0/8")),
        ("10.1.2.3/8", Some("10.0.0.0/8")),
        ("10.1.2.3", Some("10.1.2.3/32")),
        ("0.0.0.0/0", Some("0.0.0.0/0")),
        ("2001:db8::1/32", Some("2001:db8::/32")),
        ("::/0", Some("::/0")),
        ("::1", Some("::1/128")),
        ("::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
        ("::ffff:10.0.0.1", Some("10.0.0.1/32")),
        ("10.0.0.0/33", None),
        ("::/129", None),
        ("10.0.0.0/", None),
        ("10.0.0.0/+8", None),
        ("10.0.0.0/-1", None),
        ("10.0.0/8", None),
        ("example.com/8", None),
        ("", None),
    ] {
        assert_eq!(
            text.parse::<Prefix>()
                .ok()
                .map(|prefix| prefix.to_string())
                .as_deref(),
            expected,
            "{text:?}"
        );
    }
    let all: Prefix = "0.0.0.0/0".parse().expect("a prefix");
    assert!(all.contains(IpAddr::from([255, 255, 255, 255])));
    assert!(all.contains("::ffff:1.2.3.4".parse().expect("an address")));
    assert!(!all.contains("::1".parse().expect("an address")));
}

proptest! {
    /// Every way to write an IPv4 address into an IPv6 one is at least as local as the address.
    #[test]
    fn a_disguise_never_makes_an_address_public(bits in prop_oneof![any::<u32>(), (0..256_u32).prop_map(|low| 0x7f00_0000 | low)]) {
        let address = Ipv4Addr::from_bits(bits);
        let class = AddressClass::of(address.into());
        let low = u128::from(bits);
        for disguise in [
            0xffff_0000_0000 | low,
            (0x64_ff9b << 96) | low,
            (0x2606_4700 << 96) | (0x5efe << 32) | low,
            (0x2606_4700 << 96) | (0x0200_5efe << 32) | low,
        ] {
            let disguised = IpAddr::V6(Ipv6Addr::from_bits(disguise));
            prop_assert_eq!(AddressClass::of(disguised), class, "{}", disguised);
        }
        let sixto4 = IpAddr::V6(Ipv6Addr::from_bits((0x2002 << 112) | (low << 80)));
        prop_assert!(!AddressClass::of(sixto4).is_public());
        let teredo = IpAddr::V6(Ipv6Addr::from_bits((0x2001_0000 << 96) | u128::from(!bits)));
        prop_assert!(!AddressClass::of(teredo).is_public());
    }

    /// The text of an address is classified like the address, whatever the spelling.
    #[test]
    fn every_spelling_of_an_address_is_one_class(bits in any::<u128>(), v4 in any::<u32>()) {
        let address = Ipv6Addr::from_bits(bits);
        let long = address.segments().map(|segment| format!("{segment:04X}")).join(":");
        let dotted = {
            let [a, b, c, d, e, f, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}:{}", Ipv4Addr::from_bits(bits as u32))
        };
        let class = AddressClass::of(address.into());
        for text in [address.to_string(), format!("[{address}]"), long, dotted] {
            let parsed = Host::parse(&text).expect("an address").address().expect("an address");
            prop_assert_eq!(AddressClass::of(parsed), class, "{}", text);
        }
        let address = Ipv4Addr::from_bits(v4);
        let class = AddressClass::of(address.into());
        for text in [address.to_string(), format!("{address}."), format!("::ffff:{address}"), format!("[::ffff:{address}]")] {
            let parsed = Host::parse(&text).expect("an address").address().expect("an address");
            prop_assert_eq!(AddressClass::of(parsed), class, "{}", text);
        }
    }

    #[test]
    fn nothing_outside_global_unicast_is_public(bits in any::<u128>()) {
        let address = Ipv6Addr::from_bits(bits);
        let embeds = matches!(address.segments(), [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..]);
        if !embeds && bits >> 125 != 1 {
            prop_assert!(!AddressClass::of(address.into()).is_public(), "{}", address);
        }
    }
}
