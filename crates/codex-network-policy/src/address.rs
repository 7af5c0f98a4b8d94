//! Which addresses are public, and what the others are for.
//!
//! [`AddressClass::of`] classifies an address by the IANA special-purpose registries of both families and looks into
//! the IPv6 forms that carry an IPv4 address; [`AddressRange`] names the row that decided, for explanations.
//! [`Prefix`] is a range in CIDR notation.
//!
//! Which classes may be dialled is for the policy to say.

use core::error::Error;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

mod registry;

/// What an address is for. Only [`AddressClass::Public`] is reachable without being asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressClass {
    /// Reachable from everywhere, and nothing special.
    Public,
    /// "No address", or this network.
    Unspecified,
    /// This machine.
    Loopback,
    /// Private networks, unique-local and site-local addresses.
    Private,
    /// The carrier's side of a shared address (CGNAT).
    Shared,
    /// This link only.
    LinkLocal,
    /// A service through which a cloud machine reads its own identity and secrets.
    CloudMetadata,
    /// Many receivers at once.
    Multicast,
    /// All receivers of this network.
    Broadcast,
    /// Examples in documents.
    Documentation,
    /// Measurements in laboratories.
    Benchmarking,
    /// A way between IPv4 and IPv6 that ends somewhere the address does not say.
    Transition,
    /// Protocol assignments of the IETF, anycast services, discard and dummy prefixes.
    Protocol,
    /// Not assigned to anything yet.
    Reserved,
}

impl AddressClass {
    /// Classifies an address.
    ///
    /// An address that carries an IPv4 address is public only if that one is too. NAT64 (`64:ff9b::/96`) and
    /// compatible (`::a.b.c.d`) addresses are judged by the IPv4 address alone, for that is where they lead.
    pub fn of(address: IpAddr) -> AddressClass {
        AddressRange::of(address).map_or(AddressClass::Public, |range| range.class)
    }

    /// Whether the address may be reached like any other.
    pub fn is_public(self) -> bool {
        self == AddressClass::Public
    }

    /// The word in explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            AddressClass::Public => "public",
            AddressClass::Unspecified => "unspecified",
            AddressClass::Loopback => "loopback",
            AddressClass::Private => "private",
            AddressClass::Shared => "shared",
            AddressClass::LinkLocal => "link-local",
            AddressClass::CloudMetadata => "cloud metadata",
            AddressClass::Multicast => "multicast",
            AddressClass::Broadcast => "broadcast",
            AddressClass::Documentation => "documentation",
            AddressClass::Benchmarking => "benchmarking",
            AddressClass::Transition => "transition",
            AddressClass::Protocol => "protocol assignment",
            AddressClass::Reserved => "reserved",
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

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

    /// All rows of both families. Within a family a narrower row stands before the wider one that holds it.
    pub fn all() -> impl Iterator<Item = &'static AddressRange> {
        registry::all()
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

/// A range of addresses that share their leading bits, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    // INVARIANT: the bits after `length` are zero, and `length` fits the family.
    first: IpAddr,
    length: u8,
}

impl Prefix {
    /// Whether an address lies in the range. An IPv4-mapped address counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => mask_ipv4(address, self.length) == first,
            (IpAddr::V6(first), IpAddr::V6(address)) => mask_ipv6(address, self.length) == first,
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// The first address of the range.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The number of leading bits that all addresses of the range share.
    pub fn length(&self) -> u8 {
        self.length
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// Reads `address/length`, or one address. Bits after the length are dropped, as other tools do.
    fn from_str(text: &str) -> Result<Prefix, PrefixError> {
        let (address, length) = text
            .split_once('/')
            .map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| PrefixError::Address)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => longest,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
                .parse()
                .ok()
                .filter(|&length| length <= longest)
                .ok_or(PrefixError::Length)?,
            Some(_) => return Err(PrefixError::Length),
        };
        Ok(match address {
            IpAddr::V4(address) => Prefix {
                first: IpAddr::V4(mask_ipv4(address, length)),
                length,
            },
            IpAddr::V6(address) => canonical_prefix(mask_ipv6(address, length), length),
        })
    }
}

/// A range inside `::ffff:0:0/96` is a range of IPv4 addresses.
fn canonical_prefix(first: Ipv6Addr, length: u8) -> Prefix {
    match (first.to_ipv4_mapped(), length.checked_sub(96)) {
        (Some(first), Some(length)) => Prefix {
            first: IpAddr::V4(first),
            length,
        },
        (Some(_) | None, _) => Prefix {
            first: IpAddr::V6(first),
            length,
        },
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.first, self.length)
    }
}

fn mask_ipv4(address: Ipv4Addr, length: u8) -> Ipv4Addr {
    let mask = u32::MAX
        .checked_shl(32_u32.saturating_sub(length.into()))
        .unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn mask_ipv6(address: Ipv6Addr, length: u8) -> Ipv6Addr {
    let mask = u128::MAX
        .checked_shl(128_u32.saturating_sub(length.into()))
        .unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

/// Why a text is no [`Prefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrefixError {
    /// What stands before the `/` is no address.
    Address,
    /// What stands after the `/` is no number of bits of this family.
    Length,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            PrefixError::Address => "expected an IP address, with or without `/` and a length",
            PrefixError::Length => {
                "the length after `/` is no number from 0 to 32 (IPv4) or 128 (IPv6)"
            }
        })
    }
}

impl Error for PrefixError {}

#[cfg(test)]
mod tests;
