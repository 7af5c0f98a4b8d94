//! Values of events as texts, made fast: there is an event a request.
//!
//! Each function writes what the type's own `Display` would write, without the detour over a formatter for what is common. What
//! is rare takes that detour.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use codex_network_policy::Host;
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

/// Enough for an IPv4 address and a port.
const SHORT_BYTES: usize = 24;

static PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// RFC 3339 in UTC with milliseconds, 24 characters.
pub(super) fn milliseconds(time: Timestamp) -> String {
    PRINTER.timestamp_to_string(&time)
}

/// A host as it is matched, resolved and dialled.
pub(super) fn host(host: &Host) -> Cow<'_, str> {
    match (host, host.address()) {
        (Host::Name(name), _) => Cow::Borrowed(name.as_str()),
        (Host::Address(_), Some(IpAddr::V4(address))) => {
            let mut text = String::with_capacity(SHORT_BYTES);
            push_address(&mut text, address);
            Cow::Owned(text)
        }
        (Host::Address(literal), _) => Cow::Owned(literal.to_string()),
    }
}

/// An address and a port.
pub(super) fn socket_address(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => {
            let mut text = String::with_capacity(SHORT_BYTES);
            push_address(&mut text, *address.ip());
            text.push(':');
            push_number(&mut text, address.port());
            text
        }
        SocketAddr::V6(_) => address.to_string(),
    }
}

/// A client's text, with an escape in place of what a reader's terminal could take for more than text.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.escape_debug().to_string())
    }
}

fn push_address(text: &mut String, address: Ipv4Addr) {
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        push_number(text, octet.into());
    }
}

fn push_number(text: &mut String, number: u16) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.extend(char::from_digit((number % 10).into(), 10));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_the_types() {
        for address in [
            "0.0.0.0",
            "1.20.255.100",
            "10.99.101.9",
            "::1",
            "2001:db8::a",
        ] {
            let address: IpAddr = address.parse().unwrap();
            let parsed = Host::from(address);
            assert_eq!(host(&parsed), parsed.to_string());
            for port in [0, 9, 443, 65535] {
                let address = SocketAddr::new(address, port);
                assert_eq!(socket_address(address), address.to_string());
            }
        }
        for name in ["a.test", "localhost", "fe80::1%lo0"] {
            let parsed = Host::parse(name).unwrap();
            assert_eq!(host(&parsed), parsed.to_string());
        }
        for nanosecond in [0, 999_999, 1_700_000_000_123_456_789, -1] {
            let time = Timestamp::from_nanosecond(nanosecond).unwrap();
            assert_eq!(milliseconds(time), format!("{time:.3}"));
        }
        for method in ["GET", "M-SEARCH", "", "a\r\n\u{1b}\u{202e}\"'"] {
            assert_eq!(escaped(method), method.escape_debug().to_string());
        }
    }
}
