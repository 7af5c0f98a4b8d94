//! One spelling for every host: text from a client or a configuration becomes a [`Host`], or is refused.
//!
//! [`Host::parse`] takes a name, an IPv4 or an IPv6 address and gives the canonical form that is matched, resolved,
//! dialled and logged from then on; [`Authority`] adds the port. Text that two programs could read differently (odd
//! IPv4 spellings, white space, control bytes, several trailing dots) has no canonical form and is an error.
//!
//! Nothing is resolved or judged here, and patterns are not hosts (see `pattern`).

use alloc::borrow::Cow;
use alloc::sync::Arc;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

mod error;

pub use error::HostError;

/// The longest name that DNS can carry, without its trailing dot.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;
/// A Unicode name of more bytes than this cannot become an ASCII name that fits, so it is not even looked at.
const LONGEST_UNICODE: usize = 4 * LONGEST_NAME;
/// Interface names have at most 15 bytes on Linux; some systems allow more.
const LONGEST_ZONE: usize = 32;

/// A host in its one canonical form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A DNS name (or a name that only the local resolver knows).
    Name(Name),
    /// An IP address, in whatever notation it came.
    Address(Literal),
}

impl Host {
    /// Parses one host without a port: a name, an IPv4 address, or an IPv6 address with or without `[ ]`.
    ///
    /// Letters become lower case, Unicode becomes its ASCII form, one trailing dot is dropped, an IPv4-mapped IPv6
    /// address becomes the IPv4 address (it is the same destination). Inside brackets a zone may be written `%25lo0`
    /// as well as `%lo0`.
    ///
    /// # Errors
    /// When the text has no canonical form. White space around it is an error too: it is for the caller to trim.
    pub fn parse(text: &str) -> Result<Host, HostError> {
        if let Some(inside) = text.strip_prefix('[') {
            let inside = inside.strip_suffix(']').ok_or(HostError::UnclosedBracket)?;
            return match inside.split_once('%') {
                // RFC 6874 writes the `%` before a zone as `%25`.
                Some((address, zone)) => {
                    let decoded = zone.strip_prefix("25").filter(|rest| !rest.is_empty());
                    parse_ipv6(address, Some(decoded.unwrap_or(zone)))
                }
                None if inside.contains(':') => parse_ipv6(inside, None),
                None => parse_name_or_ipv4(inside),
            };
        }
        match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => match text.split_once('%') {
                Some((address, zone)) => parse_ipv6(address, Some(zone)),
                None => parse_ipv6(text, None),
            },
            Some(_) => Err(HostError::UnexpectedPort),
            None => parse_name_or_ipv4(text),
        }
    }

    /// The address, if this host is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Host::Name(_) => None,
            Host::Address(literal) => Some(literal.address),
        }
    }

    /// Whether this is the text `localhost`.
    pub fn is_localhost(&self) -> bool {
        match self {
            Host::Name(name) => name.as_str() == "localhost",
            Host::Address(_) => false,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => fmt::Display::fmt(name, formatter),
            Host::Address(literal) => fmt::Display::fmt(literal, formatter),
        }
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Host, HostError> {
        Host::parse(text)
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Host {
        Host::Address(Literal {
            address: address.to_canonical(),
            zone: None,
        })
    }
}

/// A name as DNS carries it: lower case ASCII labels, no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The name whose canonical text this is: it comes from a name, and is not checked again.
    pub(crate) fn from_canonical(text: &str) -> Name {
        Name(text.into())
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels from left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// An address that stood where a host may stand, with the zone that an IPv6 address can carry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Literal {
    // INVARIANT: never an IPv4-mapped IPv6 address, so that one destination is one value.
    address: IpAddr,
    zone: Option<Arc<str>>,
}

impl Literal {
    /// The address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The zone (`lo0` in `fe80::1%lo0`), as it was written.
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(formatter, "{}%{zone}", self.address),
            None => fmt::Display::fmt(&self.address, formatter),
        }
    }
}

/// A host with the port that may follow it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port, if one is given.
    pub port: Option<u16>,
}

impl Authority {
    /// Parses `host[:port]` or `[v6][:port]`. An IPv6 address without brackets is a host without a port.
    ///
    /// # Errors
    /// When the host has no canonical form, when userinfo precedes it, or when what follows `:` is no port.
    pub fn parse(text: &str) -> Result<Authority, HostError> {
        if text.as_bytes().contains(&b'@') {
            return Err(HostError::Userinfo);
        }
        let (host, port) = split_port(text)?;
        Ok(Authority {
            host: Host::parse(host)?,
            port: port.map(parse_port).transpose()?,
        })
    }
}

/// Splits the port off without reading either part.
fn split_port(text: &str) -> Result<(&str, Option<&str>), HostError> {
    if text.starts_with('[') {
        let end = text.find(']').ok_or(HostError::UnclosedBracket)? + 1;
        return match text.split_at(end) {
            (host, "") => Ok((host, None)),
            (host, rest) => Ok((
                host,
                Some(rest.strip_prefix(':').ok_or(HostError::UnclosedBracket)?),
            )),
        };
    }
    let colon = |byte: &u8| *byte == b':';
    match text.as_bytes().iter().position(colon) {
        Some(first) if !text.as_bytes()[first + 1..].iter().any(colon) => {
            Ok((&text[..first], Some(&text[first + 1..])))
        }
        Some(_) | None => Ok((text, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, HostError> {
    // `u16::from_str` also takes a leading `+`.
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_err(|_| HostError::Port)
    } else {
        Err(HostError::Port)
    }
}

fn parse_ipv6(text: &str, zone: Option<&str>) -> Result<Host, HostError> {
    let address: Ipv6Addr = text.parse().map_err(|_| HostError::Ipv6)?;
    let address = IpAddr::V6(address).to_canonical();
    match zone {
        None => Ok(Host::Address(Literal {
            address,
            zone: None,
        })),
        Some(zone) => {
            let readable = |byte: u8| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
            };
            // A zone beside an embedded IPv4 address has no meaning that two programs would agree on.
            if zone.is_empty()
                || zone.len() > LONGEST_ZONE
                || !zone.bytes().all(readable)
                || address.is_ipv4()
            {
                return Err(HostError::Zone);
            }
            Ok(Host::Address(Literal {
                address,
                zone: Some(zone.into()),
            }))
        }
    }
}

fn parse_name_or_ipv4(text: &str) -> Result<Host, HostError> {
    let ascii = to_ascii(text)?;
    let text = ascii.strip_suffix('.').unwrap_or(&ascii);
    check_length(text)?;
    if ends_in_number(text) {
        // A resolver of the system would read `127.1` or `0x7f.1` as an address, so only the one plain spelling passes.
        let address: Ipv4Addr = text.parse().map_err(|_| HostError::AmbiguousIpv4)?;
        return Ok(Host::from(IpAddr::V4(address)));
    }
    let mut lower = [0; LONGEST_NAME];
    for (to, byte) in lower.iter_mut().zip(text.bytes()) {
        *to = byte.to_ascii_lowercase();
    }
    let lower = lower
        .get(..text.len())
        .and_then(|name| str::from_utf8(name).ok())
        .ok_or(HostError::NameTooLong)?;
    check_labels(lower)?;
    Ok(Host::Name(Name(lower.into())))
}

/// The ASCII form of a name. Only text that needs it goes through the Unicode tables.
pub(crate) fn to_ascii(text: &str) -> Result<Cow<'_, str>, HostError> {
    if text.is_ascii() {
        return Ok(Cow::Borrowed(text));
    }
    if text.len() > LONGEST_UNICODE {
        return Err(HostError::NameTooLong);
    }
    // Hyphens at any place and `_` are left alone: such names exist. What is not a host character fails later.
    Uts46::new()
        .to_ascii(
            text.as_bytes(),
            AsciiDenyList::EMPTY,
            Hyphens::Allow,
            DnsLength::Ignore,
        )
        .map_err(|_| HostError::International)
}

pub(crate) fn check_length(name: &str) -> Result<(), HostError> {
    match name.len() {
        0 => Err(HostError::Empty),
        1..=LONGEST_NAME => Ok(()),
        _ => Err(HostError::NameTooLong),
    }
}

fn check_labels(name: &str) -> Result<(), HostError> {
    name.split('.')
        .try_for_each(|label| check_label(label, &[]))
}

/// Whether a label has a legal length and only the characters of host names, or those of `besides`.
pub(crate) fn check_label(label: &str, besides: &[char]) -> Result<(), HostError> {
    let allowed = |char: char| {
        char.is_ascii_alphanumeric() || matches!(char, '-' | '_') || besides.contains(&char)
    };
    match label.chars().find(|&char| !allowed(char)) {
        Some(char) => Err(HostError::Character(char)),
        None if label.is_empty() => Err(HostError::EmptyLabel),
        None if label.len() > LONGEST_LABEL => Err(HostError::LabelTooLong),
        None => Ok(()),
    }
}

/// Whether the last label is a number, which makes the whole text an IPv4 address for some resolvers.
pub(crate) fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name).as_bytes();
    match last {
        [] => false,
        [b'0', b'x' | b'X', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        digits => digits.iter().all(u8::is_ascii_digit),
    }
}

#[cfg(test)]
mod tests;
