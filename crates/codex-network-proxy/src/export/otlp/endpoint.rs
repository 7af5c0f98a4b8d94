//! Where one signal goes.
//!
//! [`Endpoint`] is parsed from the text of a variable, once. What it shows of itself never holds a header's value.

use std::fmt;
use std::time::Duration;

use codex_network_gate::TrustRoots;
use codex_network_policy::Host;
use http::{HeaderMap, Uri};

/// A collector's address for one signal, and how to speak with it.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) tls: Option<TrustRoots>,
    /// The path, and the query if there is one.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls.is_some())
            .field("headers", &self.headers.len())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The parts of a URL. `suffix` is what a base URL has appended.
pub(super) struct Place {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) is_tls: bool,
    pub(super) path: String,
}

impl Place {
    /// Says what is wrong without repeating the URL, which may hold a secret.
    pub(super) fn parse(url: &str, suffix: Option<&str>) -> Result<Self, &'static str> {
        let expected = "expected a URL such as `http://127.0.0.1:4318`";
        let uri: Uri = url.trim().parse().map_err(|_| expected)?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(expected),
        };
        let authority = uri.authority().ok_or(expected)?;
        if authority.as_str().contains('@') {
            return Err(
                "a user and a password are not sent from a URL; put them into the variable of headers",
            );
        }
        let host = Host::parse(authority.host()).map_err(|_| expected)?;
        let port = authority
            .port_u16()
            .unwrap_or(if is_tls { 443 } else { 80 });
        let mut path = match suffix {
            Some(suffix) => format!("{}{suffix}", uri.path().trim_end_matches('/')),
            None => uri.path().to_owned(),
        };
        if let Some(query) = uri.query() {
            path.push('?');
            path.push_str(query);
        }
        Ok(Self {
            host,
            port,
            is_tls,
            path,
        })
    }
}
