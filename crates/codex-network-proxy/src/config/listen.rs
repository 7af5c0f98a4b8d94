//! Where the proxy listens: reads listener addresses and keeps them on this machine.
//!
//! Main type: [`ListenerAddresses`]. Comes in: `proxy_url` and `socks_url` as written, or explicit socket addresses. Goes
//! out: addresses to bind and a warning for each that was changed. A name is never resolved and nothing is bound here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::settings::NetworkProxySettings;

/// The addresses to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerAddresses {
    /// The HTTP listener.
    pub http: SocketAddr,
    /// `None` if there is no SOCKS5 listener.
    pub socks: Option<SocketAddr>,
}

/// One of the two listeners: how it is called in messages, its key, and where it is if nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    Http,
    Socks5,
}

/// An address as it was read, before it is kept on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) socket: SocketAddr,
    /// The name that stood in place of an address, other than `localhost`.
    pub(super) name: Option<String>,
}

/// Why a text is no listener address. `Display` is the reason alone; the caller says which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AddressError {
    MissingHost(String),
    InvalidHost(String),
    InvalidPort(String),
}

impl ListenerAddresses {
    /// Keeps both listeners on this machine unless the settings ask for the danger by name, and says what was changed.
    pub(super) fn clamped(
        self,
        settings: &NetworkProxySettings,
        warnings: &mut Vec<String>,
    ) -> Self {
        let mut clamp = |listener, address| clamped(listener, address, settings, warnings);
        Self {
            http: clamp(Listener::Http, self.http),
            socks: self.socks.map(|address| clamp(Listener::Socks5, address)),
        }
    }
}

impl Listener {
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Http => "proxy_url",
            Self::Socks5 => "socks_url",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP proxy",
            Self::Socks5 => "SOCKS5 proxy",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 3128,
            Self::Socks5 => 8081,
        }
    }

    /// Reads `host`, `host:port` or a URL. User information and path are dropped, and every scheme is accepted.
    pub(super) fn address(self, written: &str) -> Result<Address, AddressError> {
        let text = written.trim();
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Address {
                socket: SocketAddr::new(address.into(), self.default_port()),
                name: None,
            });
        }
        let (host, port) =
            split(text).ok_or_else(|| AddressError::InvalidHost(written.to_owned()))?;
        if host.is_empty() {
            return Err(AddressError::MissingHost(written.to_owned()));
        }
        let port = match port {
            // `http://127.0.0.1:` says no more than `http://127.0.0.1`.
            None | Some("") => self.default_port(),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
                .parse()
                .map_err(|_| AddressError::InvalidPort(written.to_owned()))?,
            Some(_) => return Err(AddressError::InvalidPort(written.to_owned())),
        };
        let (address, name) = match host.parse::<IpAddr>() {
            Ok(address) => (address, None),
            Err(_) if host.eq_ignore_ascii_case("localhost") => (Ipv4Addr::LOCALHOST.into(), None),
            Err(_) if is_name(host) => (Ipv4Addr::LOCALHOST.into(), Some(host.to_owned())),
            Err(_) => return Err(AddressError::InvalidHost(written.to_owned())),
        };
        Ok(Address {
            socket: SocketAddr::new(address, port),
            name,
        })
    }
}

impl Address {
    /// A name is not resolved, and whoever wrote one may expect that it is.
    pub(super) fn warning(&self, listener: Listener) -> Option<String> {
        let name = self.name.as_deref()?;
        let (key, socket) = (listener.key(), self.socket);
        Some(format!(
            "network.{key} names the host `{name}`, and names are not resolved here; using {socket}"
        ))
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingHost(text) => {
                write!(formatter, "missing host in network proxy address: {text}")
            }
            Self::InvalidHost(text) => {
                write!(
                    formatter,
                    "invalid host in network proxy address: {text}; expected such as http://127.0.0.1:3128"
                )
            }
            Self::InvalidPort(text) => {
                write!(
                    formatter,
                    "invalid port in network proxy address: {text}; expected a number up to 65535"
                )
            }
        }
    }
}

impl std::error::Error for AddressError {}

/// Splits the authority of a URL, or a bare authority, into host and port. Brackets are taken off.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = after_scheme
        .split(['/', '?', '#'])
        .next()
        .unwrap_or_default();
    let endpoint = authority
        .rsplit_once('@')
        .map_or(authority, |(_, endpoint)| endpoint);
    let Some(bracketed) = endpoint.strip_prefix('[') else {
        return match endpoint.split_once(':') {
            // An IPv6 address without brackets, after a scheme, cannot carry a port.
            Some((_, rest)) if rest.contains(':') => Some((endpoint, None)),
            Some((host, port)) => Some((host, Some(port))),
            None => Some((endpoint, None)),
        };
    };
    let (host, rest) = bracketed.split_once(']')?;
    host.parse::<Ipv6Addr>().ok()?;
    match rest.strip_prefix(':') {
        Some(port) => Some((host, Some(port))),
        None => rest.is_empty().then_some((host, None)),
    }
}

fn is_name(host: &str) -> bool {
    host.chars()
        .all(|character| character.is_alphanumeric() || matches!(character, '-' | '_' | '.'))
}

fn clamped(
    listener: Listener,
    address: SocketAddr,
    settings: &NetworkProxySettings,
    warnings: &mut Vec<String>,
) -> SocketAddr {
    let name = listener.name();
    let port = address.port();
    let here = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let loopback = address.ip().is_loopback();
    let allowed = settings.dangerously_allow_non_loopback_proxy;
    // A unix socket is often a way to root, so a proxy that leads to one must not be reachable from another machine.
    let leads_to_sockets =
        settings.dangerously_allow_all_unix_sockets || !settings.allow_unix_sockets.is_empty();
    match (loopback, allowed, leads_to_sockets) {
        (true, _, false) => return address,
        (true, _, true) if address == here => {}
        (true, _, true) => warnings.push(format!("unix socket proxying is enabled; {name} listens on {here} instead of {address}")),
        (false, true, true) => warnings.push(format!(
            "unix socket proxying is enabled; ignoring dangerously_allow_non_loopback_proxy and clamping {name} to loopback"
        )),
        (false, true, false) => {
            warnings.push(format!("DANGEROUS: {name} listening on non-loopback address {address}"));
            return address;
        }
        (false, false, _) => warnings.push(format!(
            "{name} requested non-loopback bind ({address}); clamping to 127.0.0.1:{port} \
             (set dangerously_allow_non_loopback_proxy to override)"
        )),
    }
    here
}
