//! The rows themselves: the IANA IPv4 and IPv6 special-purpose address registries, and the few ranges that they leave
//! out but that no client should reach by accident (multicast, site-local, cloud metadata, unassigned IPv6 space).
//!
//! [`AddressRange`] is one row; [`ipv4_row`] and [`ipv6_row`] find the narrowest. Rows that the registries call globally
//! reachable (AS112, AMT, the anycast services) are in the table as well: they are infrastructure, and nothing that a
//! client names as a site. NAT64's `64:ff9b::/96` is not, for it is judged by the IPv4 address inside.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::class::AddressClass;
use super::prefix::Prefix;
use AddressClass::{
    Benchmarking, Broadcast, CloudMetadata, Documentation, LinkLocal, Loopback, Multicast, Private,
    Protocol, Reserved, Shared, Transition, Unspecified,
};

/// One row of the table of addresses that are not public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    /// The addresses.
    pub prefix: Prefix,
    /// What they are.
    pub class: AddressClass,
    /// The name in the registry.
    pub name: &'static str,
    /// The document that says so.
    pub document: &'static str,
}

impl AddressRange {
    /// All rows of both families. Within a family a narrower row stands before the wider one that holds it.
    pub fn all() -> impl Iterator<Item = &'static AddressRange> {
        IPV4.iter().chain(IPV6)
    }
}

pub(super) fn ipv4_row(address: Ipv4Addr) -> Option<&'static AddressRange> {
    IPV4.iter()
        .find(|row| row.prefix.contains(IpAddr::V4(address)))
}

pub(super) fn ipv6_row(address: Ipv6Addr) -> Option<&'static AddressRange> {
    IPV6.iter()
        .find(|row| row.prefix.contains(IpAddr::V6(address)))
        .or_else(|| {
            // Only 2000::/3 is handed out for global unicast.
            (address.segments()[0] & 0xe000 != 0x2000).then_some(&UNASSIGNED)
        })
}

// A narrower row stands before the wider one that holds it. One row a line, so that a registry can be held against it.
#[rustfmt::skip]
static IPV4: &[AddressRange] = &[
    v4([0, 0, 0, 0], 32, Unspecified, "This host on this network", "RFC 1122"),
    v4([0, 0, 0, 0], 8, Unspecified, "This network", "RFC 791"),
    v4([10, 0, 0, 0], 8, Private, "Private-Use", "RFC 1918"),
    v4([100, 100, 100, 200], 32, CloudMetadata, "Alibaba Cloud metadata", "vendor"),
    v4([100, 64, 0, 0], 10, Shared, "Shared Address Space", "RFC 6598"),
    v4([127, 0, 0, 0], 8, Loopback, "Loopback", "RFC 1122"),
    v4([168, 63, 129, 16], 32, CloudMetadata, "Azure platform services", "vendor"),
    v4([169, 254, 169, 254], 32, CloudMetadata, "Instance metadata of most clouds", "vendor"),
    v4([169, 254, 170, 2], 32, CloudMetadata, "AWS container credentials", "vendor"),
    v4([169, 254, 170, 23], 32, CloudMetadata, "AWS pod identity", "vendor"),
    v4([169, 254, 0, 0], 16, LinkLocal, "Link Local", "RFC 3927"),
    v4([172, 16, 0, 0], 12, Private, "Private-Use", "RFC 1918"),
    v4([192, 0, 0, 0], 29, Protocol, "IPv4 Service Continuity Prefix", "RFC 7335"),
    v4([192, 0, 0, 8], 32, Protocol, "IPv4 dummy address", "RFC 7600"),
    v4([192, 0, 0, 9], 32, Protocol, "Port Control Protocol Anycast", "RFC 7723"),
    v4([192, 0, 0, 10], 32, Protocol, "Traversal Using Relays around NAT Anycast", "RFC 8155"),
    v4([192, 0, 0, 170], 32, Protocol, "NAT64/DNS64 Discovery", "RFC 8880"),
    v4([192, 0, 0, 171], 32, Protocol, "NAT64/DNS64 Discovery", "RFC 8880"),
    v4([192, 0, 0, 192], 32, CloudMetadata, "Oracle Cloud metadata", "vendor"),
    v4([192, 0, 0, 0], 24, Protocol, "IETF Protocol Assignments", "RFC 6890"),
    v4([192, 0, 2, 0], 24, Documentation, "Documentation (TEST-NET-1)", "RFC 5737"),
    v4([192, 31, 196, 0], 24, Protocol, "AS112-v4", "RFC 7535"),
    v4([192, 52, 193, 0], 24, Protocol, "AMT", "RFC 7450"),
    v4([192, 88, 99, 2], 32, Transition, "6a44-relay anycast address", "RFC 6751"),
    v4([192, 88, 99, 0], 24, Transition, "Deprecated (6to4 Relay Anycast)", "RFC 7526"),
    v4([192, 168, 0, 0], 16, Private, "Private-Use", "RFC 1918"),
    v4([192, 175, 48, 0], 24, Protocol, "Direct Delegation AS112 Service", "RFC 7534"),
    v4([198, 18, 0, 0], 15, Benchmarking, "Benchmarking", "RFC 2544"),
    v4([198, 51, 100, 0], 24, Documentation, "Documentation (TEST-NET-2)", "RFC 5737"),
    v4([203, 0, 113, 0], 24, Documentation, "Documentation (TEST-NET-3)", "RFC 5737"),
    v4([224, 0, 0, 0], 4, Multicast, "Multicast", "RFC 5771"),
    v4([255, 255, 255, 255], 32, Broadcast, "Limited Broadcast", "RFC 8190"),
    v4([240, 0, 0, 0], 4, Reserved, "Reserved", "RFC 1112"),
];

#[rustfmt::skip]
static IPV6: &[AddressRange] = &[
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, Unspecified, "Unspecified Address", "RFC 4291"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, Loopback, "Loopback Address", "RFC 4291"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Transition, "IPv4-IPv6 Translation", "RFC 8215"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, Protocol, "Discard-Only Address Block", "RFC 6666"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, Protocol, "Dummy IPv6 Prefix", "RFC 9780"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, Transition, "TEREDO", "RFC 4380"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 1], 128, Protocol, "Port Control Protocol Anycast", "RFC 7723"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, Protocol, "Traversal Using Relays around NAT Anycast", "RFC 8155"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 3], 128, Protocol, "DNS-SD Service Registration Protocol Anycast", "RFC 9665"),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Benchmarking, "Benchmarking", "RFC 5180"),
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, Protocol, "AMT", "RFC 7450"),
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, Protocol, "AS112-v6", "RFC 7535"),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, Protocol, "Deprecated (previously ORCHID)", "RFC 4843"),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, Protocol, "ORCHIDv2", "RFC 7343"),
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, Protocol, "Drone Remote ID Protocol Entity Tags", "RFC 9374"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Protocol, "IETF Protocol Assignments", "RFC 2928"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Documentation, "Documentation", "RFC 3849"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Transition, "6to4", "RFC 3056"),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, Protocol, "Direct Delegation AS112 Service", "RFC 7534"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Documentation, "Documentation", "RFC 9637"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, Protocol, "Segment Routing (SRv6) SIDs", "RFC 9602"),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, CloudMetadata, "AWS instance metadata", "vendor"),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128, CloudMetadata, "AWS pod identity", "vendor"),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, CloudMetadata, "Google Cloud metadata", "vendor"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Private, "Unique-Local", "RFC 4193"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, LinkLocal, "Link-Local Unicast", "RFC 4291"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, Private, "Deprecated Site-Local Unicast", "RFC 3879"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Multicast, "Multicast", "RFC 4291"),
];

static UNASSIGNED: AddressRange = v6(
    [0; 8],
    0,
    Reserved,
    "Not assigned for global unicast",
    "RFC 4291",
);

const fn v4(
    [a, b, c, d]: [u8; 4],
    length: u8,
    class: AddressClass,
    name: &'static str,
    document: &'static str,
) -> AddressRange {
    AddressRange {
        prefix: Prefix {
            first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            length,
        },
        class,
        name,
        document,
    }
}

const fn v6(
    [a, b, c, d, e, f, g, h]: [u16; 8],
    length: u8,
    class: AddressClass,
    name: &'static str,
    document: &'static str,
) -> AddressRange {
    let first = IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h));
    AddressRange {
        prefix: Prefix { first, length },
        class,
        name,
        document,
    }
}
