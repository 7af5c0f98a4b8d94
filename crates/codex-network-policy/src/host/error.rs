//! Why a text is no host.
//!
//! [`HostError`] names the fault; it carries none of the text but one character, so that it can be shown and logged.

use core::error::Error;
use core::fmt;

/// Why a text is no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostError {
    /// Nothing is there.
    Empty,
    /// Two dots in a row, a leading dot, or more than one trailing dot.
    EmptyLabel,
    /// A label of more than 63 octets.
    LabelTooLong,
    /// A name of more than 253 octets.
    NameTooLong,
    /// A character that no host name has.
    Character(char),
    /// Unicode that is no international domain name.
    International,
    /// A spelling of an IPv4 address that programs read differently, or a name that ends in a number.
    AmbiguousIpv4,
    /// Several colons, but no IPv6 address.
    Ipv6,
    /// A zone that is empty or malformed, or stands where none may stand.
    Zone,
    /// A `[` without its `]`, or text right after the `]`.
    UnclosedBracket,
    /// A user name or a password before the host.
    Userinfo,
    /// What follows the host is no port from 0 to 65535.
    Port,
    /// A port follows where only a host may stand.
    UnexpectedPort,
}

impl fmt::Display for HostError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            HostError::Empty => "the host is empty",
            HostError::EmptyLabel => "the host name has an empty label",
            HostError::LabelTooLong => "a label of the host name is longer than 63 octets",
            HostError::NameTooLong => "the host name is longer than 253 octets",
            HostError::Character(char) => {
                return write!(
                    formatter,
                    "the host name contains the character `{}`",
                    char.escape_default()
                );
            }
            HostError::International => "the host name is no valid international domain name",
            HostError::AmbiguousIpv4 => {
                "the host ends in a number but is no plain IPv4 address such as `192.0.2.1`"
            }
            HostError::Ipv6 => "the host is no valid IPv6 address",
            HostError::Zone => "the zone of the IPv6 address is malformed",
            HostError::UnclosedBracket => "the brackets around the host are not balanced",
            HostError::Userinfo => "a user name or password stands before the host",
            HostError::Port => "the port is no number from 0 to 65535",
            HostError::UnexpectedPort => "a port follows where only a host may stand",
        })
    }
}

impl Error for HostError {}
