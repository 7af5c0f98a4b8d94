//! Addresses: which are public, and what an embedded one makes of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use codex_network_policy::{AddressClass, Host, Policy, Rules};

/// Four or sixteen bytes are an address, others a text that may spell one.
pub fn check(data: &[u8]) {
    if let Ok(bytes) = <[u8; 4]>::try_from(data) {
        v4(Ipv4Addr::from_octets(bytes));
    } else if let Ok(bytes) = <[u8; 16]>::try_from(data) {
        v6(Ipv6Addr::from_octets(bytes));
    } else if let Ok(Host::Address(literal)) =
        str::from_utf8(data).map_or_else(|_| Host::parse(""), Host::parse)
    {
        match literal.address() {
            IpAddr::V4(address) => v4(address),
            IpAddr::V6(address) => v6(address),
        }
    }
}

fn v4(address: Ipv4Addr) {
    let public = is_public(address.into());
    let special = address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_unspecified()
        || address.is_documentation()
        || address.octets()[0] == 0;
    assert!(
        !(public && special),
        "{address} is special and counts as public"
    );
    for mapped in [address.to_ipv6_mapped(), nat64(address)] {
        assert_eq!(is_public(mapped.into()), public, "{mapped}");
    }
}

fn v6(address: Ipv6Addr) {
    let public = is_public(address.into());
    let special = address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local();
    assert!(
        !(public && special),
        "{address} is special and counts as public"
    );
    let segments = address.segments();
    let last = Ipv4Addr::from_bits(u32::try_from(address.to_bits() & 0xffff_ffff).unwrap_or(0));
    let embeds = matches!(
        segments,
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _]
    ) || matches!(segments, [.., 0 | 0x200, 0x5efe, _, _]);
    assert!(
        !(public && embeds && !is_public(last.into())),
        "{address} carries {last}"
    );
    // 6to4, Teredo and the local NAT64 are never public, whatever they carry.
    let translated =
        segments[0] == 0x2002 || segments[..2] == [0x2001, 0] || segments[..3] == [0x64, 0xff9b, 1];
    assert!(
        !(public && translated),
        "{address} leads through a translator"
    );
}

fn nat64(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits((0x64_ff9b << 96) | u128::from(address.to_bits()))
}

/// As the class says and as the policy admits, which must be one.
fn is_public(address: IpAddr) -> bool {
    let public = AddressClass::of(address).is_public();
    let policy = Policy::compile(Rules {
        enabled: true,
        ..Rules::default()
    });
    let Ok(host) = Host::parse("name.example") else {
        return public;
    };
    assert_eq!(policy.admit(&host, &[address]).is_ok(), public, "{address}");
    // One address that is not public spoils every answer.
    let mixed = [IpAddr::from([8, 8, 8, 8]), address];
    assert_eq!(policy.admit(&host, &mixed).is_ok(), public, "{address}");
    public
}
