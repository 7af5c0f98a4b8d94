//! Ranges of addresses in CIDR notation.
//!
//! [`Prefix`] is read from text (`10.0.0.0/8`, or one address) and asked whether it contains an address.

use core::error::Error;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// A range of addresses that share their leading bits, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    // INVARIANT: the bits after `length` are zero, and `length` fits the family.
    pub(super) first: IpAddr,
    pub(super) length: u8,
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
