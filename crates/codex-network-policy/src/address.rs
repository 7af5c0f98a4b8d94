//! Which addresses are public, and what the others are for.
//!
//! [`AddressClass::of`] classifies an address by the IANA special-purpose registries of both families and looks into
//! the IPv6 forms that carry an IPv4 address; [`AddressRange`] names the row that decided, for explanations.
//! [`Prefix`] is a range in CIDR notation.
//!
//! Which classes may be dialled is for the policy to say.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

mod class;
mod prefix;
mod registry;

pub use class::AddressClass;
pub use prefix::{Prefix, PrefixError};
pub use registry::AddressRange;

impl AddressClass {
    /// Classifies an address.
    ///
    /// An address that carries an IPv4 address is public only if that one is too. NAT64 (`64:ff9b::/96`) and
    /// compatible (`::a.b.c.d`) addresses are judged by the IPv4 address alone, for that is where they lead.
    pub fn of(address: IpAddr) -> AddressClass {
        AddressRange::of(address).map_or(AddressClass::Public, |range| range.class)
    }
}

impl AddressRange {
    /// The row that makes an address non-public, or `None` for a public one.
    pub fn of(address: IpAddr) -> Option<&'static AddressRange> {
        match address.to_canonical() {
            IpAddr::V4(address) => registry::ipv4_row(address),
            IpAddr::V6(address) => match ipv6_carrier(address) {
                Some(Carrier::Translated(embedded)) => registry::ipv4_row(embedded),
                Some(Carrier::Isatap(embedded)) => {
                    registry::ipv6_row(address).or_else(|| registry::ipv4_row(embedded))
                }
                None => registry::ipv6_row(address),
            },
        }
    }
}

/// The forms in which an IPv4 address decides about an IPv6 address that is not itself non-public as a whole.
enum Carrier {
    Translated(Ipv4Addr),
    Isatap(Ipv4Addr),
}

fn ipv6_carrier(address: Ipv6Addr) -> Option<Carrier> {
    let embedded = ipv4_of(address.to_bits());
    match address.segments() {
        // `::` and `::1` are addresses of their own and not IPv4-compatible ones.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            Some(Carrier::Translated(embedded))
        }
        [_, _, _, _, 0 | 0x0200, 0x5efe, ..] => Some(Carrier::Isatap(embedded)),
        _ => None,
    }
}

/// The IPv4 addresses that an IPv6 address may carry, in any of the known forms.
///
/// Wider than what [`AddressClass::of`] looks into: a denied IPv4 address is denied in every disguise, also where the
/// disguise is allowed because local addresses are.
pub(crate) fn embedded_ipv4(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let bits = address.to_bits();
    let found = match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None, None],
        // Mapped, SIIT's translated, compatible, NAT64's well-known prefix, ISATAP.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..]
        | [_, _, _, _, 0 | 0x0200, 0x5efe, ..] => [Some(ipv4_of(bits)), None],
        // NAT64's local prefix is cut to /96 or used whole as /48, where RFC 6052 leaves bits 64 to 71 out.
        [0x64, 0xff9b, 1, ..] => {
            let around_the_gap = ((bits >> 48) & 0xffff_0000) | ((bits >> 40) & 0xffff);
            [Some(ipv4_of(bits)), Some(ipv4_of(around_the_gap))]
        }
        // Teredo has the server, and the client with every bit turned over.
        [0x2001, 0, ..] => [Some(ipv4_of(bits >> 64)), Some(ipv4_of(!bits))],
        [0x2002, ..] => [Some(ipv4_of(bits >> 80)), None],
        _ => [None, None],
    };
    found.into_iter().flatten()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low 32 bits are what is asked for"
)]
fn ipv4_of(bits: u128) -> Ipv4Addr {
    Ipv4Addr::from_bits(bits as u32)
}
