//! The fields that SOCKS5 messages share: the address after its type byte, read and written.
//!
//! Main types: [`Reader`], which takes fields off the bytes that have arrived, and [`Encoded`], a
//! message of ours. Deliberately not here: what the messages mean.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use codex_network_policy::{Host, HostError};
use thiserror::Error;

/// The host of a request or a datagram cannot be read.
#[derive(Debug, Error)]
pub(crate) enum AddressError {
    #[error("address type `{0:#04x}` is unknown")]
    Type(u8),
    #[error("the name is not UTF-8")]
    NotUtf8,
    #[error("the name is malformed: {0}")]
    Name(#[source] HostError),
}

/// A reply or a datagram header of ours: three bytes and an address, on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoded {
    bytes: [u8; 22],
    length: usize,
}

impl Encoded {
    pub(super) fn new(start: [u8; 3], address: SocketAddr) -> Encoded {
        let mut encoded = Encoded {
            bytes: [0; 22],
            length: 0,
        };
        encoded.push(&start);
        // A dual-stack socket shows an IPv4 peer as a mapped address, the client knows it as IPv4.
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                encoded.push(&[ADDRESS_V4]);
                encoded.push(&ip.octets());
            }
            IpAddr::V6(ip) => {
                encoded.push(&[ADDRESS_V6]);
                encoded.push(&ip.octets());
            }
        }
        encoded.push(&address.port().to_be_bytes());
        encoded
    }

    fn push(&mut self, part: &[u8]) {
        self.bytes[self.length..self.length + part.len()].copy_from_slice(part);
        self.length += part.len();
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

const ADDRESS_V4: u8 = 1;
const ADDRESS_NAME: u8 = 3;
const ADDRESS_V6: u8 = 4;

/// An address field as it was sent; a name is not looked at yet.
pub(super) enum Address<'a> {
    Literal(IpAddr),
    Name(&'a [u8]),
}

impl Address<'_> {
    pub(super) fn into_host(self) -> Result<Host, AddressError> {
        match self {
            Address::Literal(address) => Ok(Host::from(address)),
            Address::Name(name) => {
                let name = str::from_utf8(name).map_err(|_| AddressError::NotUtf8)?;
                Host::parse(name).map_err(AddressError::Name)
            }
        }
    }
}

pub(super) fn read_address<'a>(reader: &mut Reader<'a>) -> Result<Address<'a>, Stop<AddressError>> {
    match reader.byte()? {
        ADDRESS_V4 => Ok(Address::Literal(
            Ipv4Addr::from_octets(reader.array()?).into(),
        )),
        ADDRESS_V6 => Ok(Address::Literal(
            Ipv6Addr::from_octets(reader.array()?).into(),
        )),
        ADDRESS_NAME => {
            let length = reader.byte()?;
            Ok(Address::Name(reader.slice(usize::from(length))?))
        }
        unknown => Err(Stop::Wrong(AddressError::Type(unknown))),
    }
}

/// Why reading stopped short of a whole message.
pub(super) enum Stop<E> {
    NeedMore,
    Wrong(E),
}

pub(super) struct Exhausted;

impl<E> From<Exhausted> for Stop<E> {
    fn from(Exhausted: Exhausted) -> Stop<E> {
        Stop::NeedMore
    }
}

pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn byte(&mut self) -> Result<u8, Exhausted> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Exhausted> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Exhausted)?;
        self.rest = rest;
        Ok(*array)
    }

    pub(super) fn slice(&mut self, length: usize) -> Result<&'a [u8], Exhausted> {
        let (slice, rest) = self.rest.split_at_checked(length).ok_or(Exhausted)?;
        self.rest = rest;
        Ok(slice)
    }
}
