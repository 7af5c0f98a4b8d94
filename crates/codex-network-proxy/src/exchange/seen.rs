//! Which fields a head has, of those that the proxy asks for.
//!
//! [`Seen`] is found by one look at each field: most heads have hardly any of them, and a search for each question would be
//! as many searches in vain. It says nothing of what is in a field, nor how often it is there.

use http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName};

/// Names a unix socket instead of a host.
pub(crate) const UNIX_SOCKET: HeaderName = HeaderName::from_static("x-unix-socket");

pub(super) const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// A set of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen(u8);

impl Seen {
    const NOTHING: Self = Self(0);
    pub(crate) const ACCEPT: Self = Self(1);
    /// `Authorization` or `WWW-Authenticate`.
    pub(crate) const AUTHENTICATION: Self = Self(1 << 1);
    /// `Connection`, or what older clients send to proxies in its place.
    pub(crate) const CONNECTION: Self = Self(1 << 2);
    pub(crate) const EXPECT: Self = Self(1 << 3);
    pub(crate) const LENGTH: Self = Self(1 << 4);
    pub(crate) const TRANSFER_CODING: Self = Self(1 << 5);
    pub(crate) const UNIX_SOCKET: Self = Self(1 << 6);
    pub(crate) const UPGRADE: Self = Self(1 << 7);

    pub(crate) fn of(headers: &HeaderMap) -> Self {
        headers
            .keys()
            .map(Self::field)
            .fold(Self::NOTHING, |seen, field| Self(seen.0 | field.0))
    }

    fn field(name: &HeaderName) -> Self {
        if *name == ACCEPT {
            Self::ACCEPT
        } else if *name == AUTHORIZATION || *name == WWW_AUTHENTICATE {
            Self::AUTHENTICATION
        } else if *name == CONNECTION || *name == PROXY_CONNECTION {
            Self::CONNECTION
        } else if *name == EXPECT {
            Self::EXPECT
        } else if *name == CONTENT_LENGTH {
            Self::LENGTH
        } else if *name == TRANSFER_ENCODING {
            Self::TRANSFER_CODING
        } else if *name == UNIX_SOCKET {
            Self::UNIX_SOCKET
        } else if *name == UPGRADE {
            Self::UPGRADE
        } else {
            Self::NOTHING
        }
    }

    /// Whether it has one of `fields`.
    pub(crate) fn has(self, fields: Self) -> bool {
        self.0 & fields.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{COOKIE, HOST, TE, TRAILER};

    use super::*;

    /// Each field that is asked for, and the set that it belongs to.
    static ASKED: [(HeaderName, Seen); 10] = [
        (ACCEPT, Seen::ACCEPT),
        (AUTHORIZATION, Seen::AUTHENTICATION),
        (WWW_AUTHENTICATE, Seen::AUTHENTICATION),
        (CONNECTION, Seen::CONNECTION),
        (PROXY_CONNECTION, Seen::CONNECTION),
        (EXPECT, Seen::EXPECT),
        (CONTENT_LENGTH, Seen::LENGTH),
        (TRANSFER_ENCODING, Seen::TRANSFER_CODING),
        (UNIX_SOCKET, Seen::UNIX_SOCKET),
        (UPGRADE, Seen::UPGRADE),
    ];

    fn head(names: &[HeaderName]) -> HeaderMap {
        let value = HeaderValue::from_static("x");
        names
            .iter()
            .map(|name| (name.clone(), value.clone()))
            .collect()
    }

    #[test]
    fn a_field_is_seen_wherever_it_stands_and_nothing_else_is() {
        for (name, field) in &ASKED {
            let others = ASKED.iter().filter(|(_, other)| other != field);
            let others: Vec<HeaderName> = others.map(|(other, _)| other.clone()).collect();
            assert!(Seen::of(&head(&[HOST, COOKIE, name.clone()])).has(*field));
            assert!(Seen::of(&head(&[name.clone(), HOST, COOKIE])).has(*field));
            assert!(!Seen::of(&head(&others)).has(*field), "{name}");
            assert!(!Seen::of(&head(&[HOST, COOKIE, TE, TRAILER])).has(*field));
        }
    }

    #[test]
    fn a_name_is_the_same_in_every_spelling() {
        for (name, field) in &ASKED {
            let shouted = HeaderName::from_bytes(name.as_str().to_ascii_uppercase().as_bytes());
            assert!(Seen::of(&head(&[shouted.unwrap()])).has(*field), "{name}");
        }
    }
}
