//! The facts that a judgement rests on: who asks through which door for which target, and how.
//!
//! [`AccessRequest`] collects them; [`Target`], [`Protocol`], [`Mode`] and [`SocketPath`] are its vocabulary.
//! Nothing here says what is allowed, and nothing here is read from a wire.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::host::Host;

/// How much of HTTP the policy lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Every method, and tunnels that are not looked into.
    #[default]
    Full,
    /// Only methods that read.
    Limited,
}

impl Mode {
    /// Whether a request with this method may pass. Methods are case-sensitive: `get` is not `GET`.
    pub fn allows_method(self, method: &str) -> bool {
        match self {
            Mode::Full => true,
            Mode::Limited => matches!(method, "GET" | "HEAD" | "OPTIONS"),
        }
    }

    /// The word in configurations, events and history.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Full => "full",
            Mode::Limited => "limited",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// The door through which an access is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// A forwarded HTTP request.
    Http,
    /// HTTP `CONNECT`.
    HttpsConnect,
    /// A request inside the TLS of an intercepted tunnel.
    Https,
    /// SOCKS5 `CONNECT`.
    Socks5Tcp,
    /// A datagram of a SOCKS5 association.
    Socks5Udp,
}

impl Protocol {
    /// The word in audit events and JSON answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::HttpsConnect => "https_connect",
            Protocol::Https => "https",
            Protocol::Socks5Tcp => "socks5_tcp",
            Protocol::Socks5Udp => "socks5_udp",
        }
    }

    /// The word in the history of blocked requests.
    pub fn history_word(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::HttpsConnect => "http-connect",
            Protocol::Https => "https",
            Protocol::Socks5Tcp => "socks5",
            Protocol::Socks5Udp => "socks5-udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// What a client wants to reach.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A port of a host.
    Host {
        /// The host.
        host: Host,
        /// The port.
        port: u16,
    },
    /// A unix socket of this machine.
    Unix(SocketPath),
}

/// One access as the policy sees it.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'a> {
    /// The door.
    pub protocol: Protocol,
    /// Where to.
    pub target: &'a Target,
    /// The HTTP method, where the door has one.
    pub method: Option<&'a str>,
    /// Whether the request asks to leave HTTP (`Upgrade`), after which no method says what the bytes do.
    pub upgrade: bool,
}

/// A path of a unix socket: absolute, but for what [`SocketPath::requested`] says; without `.`, `..` or doubled slashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketPath(Arc<str>);

impl SocketPath {
    /// Parses and normalises a path as text; no file is looked at, so links stay as they are.
    ///
    /// # Errors
    /// When the path is not absolute or holds a NUL.
    pub fn parse(text: &str) -> Result<SocketPath, SocketPathError> {
        if !text.starts_with('/') {
            return Err(SocketPathError::NotAbsolute);
        }
        if text.contains('\0') {
            return Err(SocketPathError::Nul);
        }
        let mut parts = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                _ => parts.push(part),
            }
        }
        let mut path = String::with_capacity(text.len());
        for part in &parts {
            path.push('/');
            path.push_str(part);
        }
        if parts.is_empty() {
            path.push('/');
        }
        Ok(SocketPath(path.into()))
    }

    /// Reads what a client asks for. A relative path stays as it is: no list can hold it, and the policy
    /// refuses it as it refuses any other path.
    ///
    /// # Errors
    /// When the path holds a NUL.
    pub fn requested(text: &str) -> Result<SocketPath, SocketPathError> {
        match SocketPath::parse(text) {
            Err(SocketPathError::NotAbsolute) if !text.contains('\0') => {
                Ok(SocketPath(text.into()))
            }
            parsed => parsed,
        }
    }

    /// Whether the path is absolute; only [`SocketPath::requested`] makes others.
    pub fn is_absolute(&self) -> bool {
        self.0.starts_with('/')
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// Why a text is no path of a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketPathError {
    /// The path is empty or relative.
    NotAbsolute,
    /// The path holds a NUL.
    Nul,
}

impl fmt::Display for SocketPathError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            SocketPathError::NotAbsolute => "expected an absolute path",
            SocketPathError::Nul => "the path contains a NUL",
        })
    }
}

impl Error for SocketPathError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn socket_paths_are_normalised_as_text() {
        let check = |text: &str, expected: Result<&str, SocketPathError>| {
            let parsed = SocketPath::parse(text);
            assert_eq!(
                parsed.as_ref().map(SocketPath::as_str),
                expected.as_ref().copied(),
                "{text:?}"
            );
        };
        check("/run/a.sock", Ok("/run/a.sock"));
        check("//run/./x/..//a.sock/", Ok("/run/a.sock"));
        check("/../../a", Ok("/a"));
        check("/", Ok("/"));
        check("", Err(SocketPathError::NotAbsolute));
        check("run/a.sock", Err(SocketPathError::NotAbsolute));
        check("./a", Err(SocketPathError::NotAbsolute));
        check("/a\0b", Err(SocketPathError::Nul));
    }

    #[test]
    fn limited_mode_takes_reading_methods_in_upper_case_only() {
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(Mode::Limited.allows_method(method), "{method}");
        }
        for method in ["get", "Get", "POST", "PUT", "TRACE", "CONNECT", "GET ", ""] {
            assert!(!Mode::Limited.allows_method(method), "{method}");
            assert!(Mode::Full.allows_method(method), "{method}");
        }
    }

    #[test]
    fn words_are_those_of_the_wire() {
        assert_eq!(Mode::default().to_string(), "full");
        assert_eq!(Mode::Limited.to_string(), "limited");
        let words = |protocol: Protocol| (protocol.as_str(), protocol.history_word());
        assert_eq!(words(Protocol::Http), ("http", "http"));
        assert_eq!(
            words(Protocol::HttpsConnect),
            ("https_connect", "http-connect")
        );
        assert_eq!(words(Protocol::Socks5Tcp), ("socks5_tcp", "socks5"));
        assert_eq!(words(Protocol::Socks5Udp), ("socks5_udp", "socks5-udp"));
    }
}
