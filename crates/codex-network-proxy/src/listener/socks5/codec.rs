//! SOCKS5 as bytes (RFC 1928): what a client says, and what we answer.
//!
//! Main types: [`Request`], [`Datagram`] and [`Reply`]. Bytes that have arrived so far go in; a
//! parsed message, a wish for more bytes ([`Step::NeedMore`]) or an error that knows its answer
//! comes out. Hosts leave here as [`Host`], so an address that was sent as a name is an address
//! from here on, and a malformed name never reaches the policy. Deliberately not here: sockets,
//! time limits, the policy, and authentication (RFC 1929), which this proxy does not offer.

use std::net::{Ipv4Addr, SocketAddr};

use codex_network_policy::{Host, Target};
use thiserror::Error;

use self::fields::{Address, Reader, Stop, read_address};

mod fields;
#[cfg(test)]
mod tests;

pub(crate) use self::fields::{AddressError, Encoded};

/// No greeting and no request is longer, so a handshake buffer of this size always makes progress.
pub(crate) const LONGEST_HANDSHAKE_MESSAGE: usize = 262;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;

/// What the bytes that have arrived so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<T> {
    /// A beginning of a message, correct as far as it goes.
    NeedMore,
    /// A whole message. What follows the `consumed` bytes belongs to the next one, or to the
    /// tunnel.
    Done { value: T, consumed: usize },
}

/// Our answer to the client's list of authentication methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MethodSelection {
    NoAuthentication,
    /// The client insists on authentication. It gets this answer and the connection is closed.
    NoneAcceptable,
}

impl MethodSelection {
    pub(crate) fn encode(self) -> [u8; 2] {
        match self {
            MethodSelection::NoAuthentication => [VERSION, NO_AUTHENTICATION],
            MethodSelection::NoneAcceptable => [VERSION, 0xff],
        }
    }
}

/// A greeting that is not SOCKS5. It is closed without a reply: no reply would be understood.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum GreetingError {
    #[error("the first byte is `{0:#04x}`, a SOCKS5 client sends 0x05")]
    Version(u8),
}

/// Reads the client's first message and chooses the method to answer with.
pub(crate) fn parse_greeting(bytes: &[u8]) -> Result<Step<MethodSelection>, GreetingError> {
    step(bytes, |reader| {
        let version = reader.byte()?;
        if version != VERSION {
            return Err(Stop::Wrong(GreetingError::Version(version)));
        }
        let count = reader.byte()?;
        let methods = reader.slice(usize::from(count))?;
        if methods.contains(&NO_AUTHENTICATION) {
            Ok(MethodSelection::NoAuthentication)
        } else {
            Ok(MethodSelection::NoneAcceptable)
        }
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Connect,
    Bind,
    UdpAssociate,
    Unknown(u8),
}

impl Command {
    fn from_byte(byte: u8) -> Command {
        match byte {
            1 => Command::Connect,
            2 => Command::Bind,
            3 => Command::UdpAssociate,
            unknown => Command::Unknown(unknown),
        }
    }

    fn is_supported(self) -> bool {
        match self {
            Command::Connect | Command::UdpAssociate => true,
            Command::Bind | Command::Unknown(_) => false,
        }
    }
}

/// What the client wants, and of whom. BIND and unknown commands are parsed too, so that their
/// refusal can be recorded with the target; for UDP ASSOCIATE this is the address that the client
/// announces as its own, usually `0.0.0.0:0`, and the host is never a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) command: Command,
    pub(crate) host: Host,
    pub(crate) port: u16,
}

#[derive(Debug, Error)]
pub(crate) enum RequestError {
    #[error("the request begins with `{0:#04x}` instead of 0x05")]
    Version(u8),
    /// A command that would be refused anyway, with an address that cannot be read.
    #[error("command `{0:#04x}` is not supported")]
    Command(u8),
    #[error("UDP ASSOCIATE announces a name instead of an address")]
    AnnouncedName,
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl RequestError {
    /// The answer before the connection is closed; nothing at all for a message that is not SOCKS5.
    pub(crate) fn reply(&self) -> Option<Reply> {
        match self {
            RequestError::Version(_) => None,
            RequestError::Command(_) => Some(Reply::CommandNotSupported),
            RequestError::AnnouncedName | RequestError::Address(AddressError::Type(_)) => {
                Some(Reply::AddressTypeNotSupported)
            }
            RequestError::Address(AddressError::NotUtf8 | AddressError::Name(_)) => {
                Some(Reply::GeneralFailure)
            }
        }
    }
}

/// Reads the message that follows the method selection.
pub(crate) fn parse_request(bytes: &[u8]) -> Result<Step<Request>, RequestError> {
    step(bytes, |reader| {
        let version = reader.byte()?;
        if version != VERSION {
            return Err(Stop::Wrong(RequestError::Version(version)));
        }
        let code = reader.byte()?;
        let command = Command::from_byte(code);
        // The reserved byte says nothing, and other servers take any value.
        reader.byte()?;
        let host = match read_address(reader) {
            // Only an address can be compared with the source of a datagram. A name that spells
            // one is still a name here, for the answer is about the address type.
            Ok(Address::Name(_)) if command == Command::UdpAssociate => {
                return Err(Stop::Wrong(RequestError::AnnouncedName));
            }
            Ok(address) => address.into_host(),
            Err(Stop::NeedMore) => return Err(Stop::NeedMore),
            Err(Stop::Wrong(error)) => Err(error),
        };
        // What is wrong with the command outweighs what is wrong with its address.
        let host = host.map_err(|error| {
            Stop::Wrong(if command.is_supported() {
                error.into()
            } else {
                RequestError::Command(code)
            })
        })?;
        let port = u16::from_be_bytes(reader.array()?);
        Ok(Request {
            command,
            host,
            port,
        })
    })
}

/// The answer to a request. Only the SOCKS5 door chooses one for a denial or a failed dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// With the upstream socket's local end, or with the relay address of a UDP association.
    Succeeded(SocketAddr),
    GeneralFailure,
    NotAllowed,
    NetworkUnreachable,
    HostUnreachable,
    ConnectionRefused,
    /// Also every time limit: the code is the closest that SOCKS5 has.
    TtlExpired,
    CommandNotSupported,
    AddressTypeNotSupported,
}

impl Reply {
    pub(crate) fn code(self) -> u8 {
        match self {
            Reply::Succeeded(_) => 0x00,
            Reply::GeneralFailure => 0x01,
            Reply::NotAllowed => 0x02,
            Reply::NetworkUnreachable => 0x03,
            Reply::HostUnreachable => 0x04,
            Reply::ConnectionRefused => 0x05,
            Reply::TtlExpired => 0x06,
            Reply::CommandNotSupported => 0x07,
            Reply::AddressTypeNotSupported => 0x08,
        }
    }

    pub(crate) fn encode(self) -> Encoded {
        let bound = match self {
            Reply::Succeeded(bound) => bound,
            Reply::GeneralFailure
            | Reply::NotAllowed
            | Reply::NetworkUnreachable
            | Reply::HostUnreachable
            | Reply::ConnectionRefused
            | Reply::TtlExpired
            | Reply::CommandNotSupported
            | Reply::AddressTypeNotSupported => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        };
        Encoded::new([VERSION, self.code(), 0], bound)
    }
}

/// One datagram of a client, without its wrapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram<'a> {
    /// Zero for a whole datagram.
    pub(crate) fragment: u8,
    pub(crate) target: Target,
    pub(crate) payload: &'a [u8],
}

#[derive(Debug, Error)]
pub(crate) enum DatagramError {
    #[error("the datagram ends within its header")]
    Truncated,
    #[error(transparent)]
    Address(#[from] AddressError),
}

/// Takes the wrapping off a datagram that a client sent to the relay address.
pub(crate) fn parse_datagram(bytes: &[u8]) -> Result<Datagram<'_>, DatagramError> {
    let mut reader = Reader::new(bytes);
    read_datagram(&mut reader).map_err(|stop| match stop {
        Stop::NeedMore => DatagramError::Truncated,
        Stop::Wrong(error) => error.into(),
    })
}

fn read_datagram<'a>(reader: &mut Reader<'a>) -> Result<Datagram<'a>, Stop<AddressError>> {
    let [_, _, fragment] = reader.array()?;
    let host = read_address(reader)?.into_host().map_err(Stop::Wrong)?;
    let port = u16::from_be_bytes(reader.array()?);
    Ok(Datagram {
        fragment,
        target: Target::Host { host, port },
        payload: reader.rest(),
    })
}

/// The wrapping of a datagram to the client: which upstream address it came from.
pub(crate) fn datagram_header(from: SocketAddr) -> Encoded {
    Encoded::new([0, 0, 0], from)
}

fn step<'a, T, E>(
    bytes: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Stop<E>>,
) -> Result<Step<T>, E> {
    let mut reader = Reader::new(bytes);
    match read(&mut reader) {
        Ok(value) => Ok(Step::Done {
            value,
            consumed: bytes.len() - reader.rest().len(),
        }),
        Err(Stop::NeedMore) => Ok(Step::NeedMore),
        Err(Stop::Wrong(error)) => Err(error),
    }
}
