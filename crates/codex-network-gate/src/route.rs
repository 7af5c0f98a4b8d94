//! Which way a permitted access leaves: directly, or through the operator's parent proxy.
//!
//! [`ParentProxies`] is read once, at start, from the proxy's own environment and never from a client (SPEC
//! section I). It deliberately opens nothing and judges nothing: the gate asks it for a route after the name
//! has been permitted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use codex_network_policy::{AddressClass, Authority, Host, Prefix, SocketPath};

use crate::listeners::leads_to;

/// Where a permitted access goes, and nowhere else.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// To one address: a literal, or a literal with a zone.
    Address(SocketAddr),
    /// To any of the addresses that a name resolved to, all of them admitted.
    Addresses { addresses: Arc<[IpAddr]>, port: u16 },
    /// To the operator's parent proxy.
    Parent(Arc<Parent>),
    /// To a unix socket, by its real path.
    Socket {
        path: PathBuf,
        /// The listed path that leads to the same socket, where the path that was asked for is not listed itself.
        listed_as: Option<SocketPath>,
    },
}

impl Route {
    /// The admitted addresses; none where a parent or a socket is dialled.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let (one, many): (Option<SocketAddr>, &[IpAddr]) = match self {
            Self::Address(address) => (Some(*address), &[]),
            Self::Addresses { addresses, .. } => (None, addresses),
            Self::Parent(_) | Self::Socket { .. } => (None, &[]),
        };
        let port = match self {
            Self::Addresses { port, .. } => *port,
            Self::Address(_) | Self::Parent(_) | Self::Socket { .. } => 0,
        };
        one.into_iter().chain(
            many.iter()
                .map(move |address| SocketAddr::new(*address, port)),
        )
    }
}

/// An HTTP proxy that the operator has configured for us.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    /// The value of `proxy-authorization`.
    pub(crate) authorization: Option<String>,
}

impl fmt::Debug for Parent {
    // Credentials never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parent({}:{})", self.host, self.port)
    }
}

impl Parent {
    /// Parses `scheme://[user:pass@]host:port` or `host:port`; the error says why not.
    fn parse(value: &str) -> Result<Self, String> {
        let invalid = |why: &dyn fmt::Display| format!("invalid proxy address ({why})");
        let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
        let tls = if scheme.eq_ignore_ascii_case("https") {
            true
        } else if scheme.eq_ignore_ascii_case("http") {
            false
        } else {
            return Err("non-http proxy protocol".to_owned());
        };
        let (rest, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if path.contains('@') {
            // A bare `/` in a password would make the user name a host.
            return Err(invalid(
                &"`/`, `?` or `#` before `@`; write them as %2F, %3F, %23",
            ));
        }
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => (Some(credentials), authority),
            None => (None, rest),
        };
        let Authority { host, port } =
            Authority::parse(authority).map_err(|error| invalid(&error))?;
        let authorization = match credentials {
            None | Some("") => None,
            Some(credentials) => {
                let mut decoded =
                    percent_decoded(credentials).ok_or_else(|| invalid(&"bad % escape"))?;
                // Basic credentials are a pair (RFC 7617); a name alone has an empty password.
                if !credentials.contains(':') {
                    decoded.push(b':');
                }
                Some(format!("Basic {}", STANDARD.encode(decoded)))
            }
        };
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        Ok(Self {
            host,
            port,
            tls,
            authorization,
        })
    }

    /// Whether this parent is the listener at `listener`, in any spelling. A name other than `localhost` is not
    /// looked up here; where it leads is seen when it is dialled.
    fn is_listener(&self, listener: SocketAddr) -> bool {
        let address = match &self.host {
            Host::Name(_) if self.host.is_localhost() => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Host::Name(_) => None,
            Host::Address(literal) => Some(literal.address()),
        };
        address.is_some_and(|address| leads_to(listener, SocketAddr::new(address, self.port)))
    }
}

/// The parents for the two kinds of request, and what bypasses them.
#[derive(Clone, Debug, Default)]
pub struct ParentProxies {
    plain: Option<Arc<Parent>>,
    secure: Option<Arc<Parent>>,
    bypass: Vec<Bypass>,
}

/// One entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Bypass {
    All,
    /// The host itself and everything below it, optionally on one port only.
    Domain {
        name: String,
        port: Option<u16>,
    },
    Network {
        prefix: Prefix,
        port: Option<u16>,
    },
}

impl ParentProxies {
    /// Reads the variables of SPEC section I through `variable`. The second part of the result are warnings
    /// about values that are ignored; a credential is never in one.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> (Self, Vec<String>) {
        let mut warnings = Vec::new();
        let mut first = |keys: &[&str]| {
            for key in keys {
                let Some(value) = variable(key).filter(|value| !value.trim().is_empty()) else {
                    continue;
                };
                match Parent::parse(value.trim()) {
                    Ok(parent) => return Some(Arc::new(parent)),
                    Err(why) => warnings.push(format!("ignoring {key}: {why}")),
                }
            }
            None
        };
        let plain = first(&["HTTP_PROXY", "http_proxy"]);
        let secure = first(&["HTTPS_PROXY", "https_proxy"]).or_else(|| plain.clone());
        let all = if plain.is_none() || secure.is_none() {
            first(&["ALL_PROXY", "all_proxy"])
        } else {
            None
        };
        let bypass = variable("NO_PROXY")
            .filter(|value| !value.trim().is_empty())
            .or_else(|| variable("no_proxy"))
            .map(|value| {
                let entries = value.split(|char: char| char == ',' || char.is_ascii_whitespace());
                entries.filter_map(Bypass::parse).collect()
            })
            .unwrap_or_default();
        let parents = Self {
            plain: plain.or_else(|| all.clone()),
            secure: secure.or(all),
            bypass,
        };
        (parents, warnings)
    }

    /// Reads the environment of this process.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the operator sets the parent in our environment"
    )]
    pub fn of_process() -> (Self, Vec<String>) {
        Self::from_environment(|key| std::env::var(key).ok())
    }

    /// Whether there is no parent at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plain.is_none() && self.secure.is_none()
    }

    /// Drops every parent that is one of our own `listeners`, and returns a warning for each.
    pub fn without_listeners(&mut self, listeners: &[SocketAddr]) -> Vec<String> {
        let mut warnings = Vec::new();
        for slot in [&mut self.plain, &mut self.secure] {
            if let Some(parent) = slot
                && listeners
                    .iter()
                    .any(|listener| parent.is_listener(*listener))
            {
                warnings.push(format!(
                    "ignoring the parent proxy {}:{}: it is this proxy's own listener",
                    parent.host, parent.port
                ));
                *slot = None;
            }
        }
        warnings.dedup();
        warnings
    }

    /// The parent for an access, or `None` where it leaves directly. Non-public literals and `localhost`
    /// always leave directly.
    pub(crate) fn route(&self, host: &Host, port: u16, secure: bool) -> Option<&Arc<Parent>> {
        let parent = if secure {
            self.secure.as_ref()
        } else {
            self.plain.as_ref()
        }?;
        let local = match host {
            // A zone means something on this machine only.
            Host::Address(literal) => {
                literal.zone().is_some() || !AddressClass::of(literal.address()).is_public()
            }
            Host::Name(_) => host.is_localhost(),
        };
        let bypassed = local || self.bypass.iter().any(|bypass| bypass.covers(host, port));
        (!bypassed).then_some(parent)
    }
}

impl Bypass {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        if let Ok(prefix) = text.parse() {
            return Some(Self::Network { prefix, port: None });
        }
        let text = text
            .strip_prefix("*.")
            .or_else(|| text.strip_prefix('.'))
            .unwrap_or(text);
        let Authority { host, port } = Authority::parse(text).ok()?;
        match host {
            Host::Name(name) => Some(Self::Domain {
                name: name.as_str().to_owned(),
                port,
            }),
            Host::Address(literal) => {
                let prefix = literal.address().to_string().parse().ok()?;
                Some(Self::Network { prefix, port })
            }
        }
    }

    fn covers(&self, host: &Host, port: u16) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Network { prefix, port: only }, Host::Address(literal)) => {
                only.is_none_or(|only| only == port) && prefix.contains(literal.address())
            }
            (Self::Domain { name, port: only }, Host::Name(host)) => {
                only.is_none_or(|only| only == port)
                    && host
                        .as_str()
                        .strip_suffix(name.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            (Self::Network { .. }, Host::Name(_)) | (Self::Domain { .. }, Host::Address(_)) => {
                false
            }
        }
    }
}

/// Decodes `%XX`; `None` where an escape is malformed.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = tail else {
            return None;
        };
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        decoded.push(digit(*high)? << 4 | digit(*low)?);
        rest = tail;
    }
    Some(decoded)
}

#[cfg(test)]
mod tests;
