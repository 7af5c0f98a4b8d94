//! The doorway for fuzz targets: what is private and reads bytes of others, in the form that `fuzz/` wants.
//!
//! Main functions: one for each parser that no public name reaches. Bytes or texts go in, public types come out. It exists
//! only where the compiler is told `--cfg fuzzing`, so it is no part of the library's interface and of no binary.

use codex_network_gate::{ClientHello, HelloName};
use codex_network_policy::{Host, Target};
use http::{HeaderValue, Method, Request, Uri, request};

use crate::config::{ConfigError, LayerKind, LoadedConfig, Overrides, UnixSockets};
use crate::exchange::headers;
use crate::hello::{FirstBytes, HelloReader};
use crate::listener::socks5::codec::{self, Step};

/// What a parser of a stream has made of a beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<T> {
    NeedMore,
    Done { value: T, consumed: usize },
    Wrong,
}

impl<T> Progress<T> {
    fn of<U, E>(step: Result<Step<U>, E>, value: impl FnOnce(U) -> T) -> Self {
        match step {
            Ok(Step::NeedMore) => Self::NeedMore,
            Ok(Step::Done {
                value: read,
                consumed,
            }) => {
                let value = value(read);
                Self::Done { value, consumed }
            }
            Err(_) => Self::Wrong,
        }
    }
}

/// Two bytes: the answer to the greeting.
#[must_use]
pub fn socks_greeting(bytes: &[u8]) -> Progress<[u8; 2]> {
    Progress::of(codec::parse_greeting(bytes), codec::MethodSelection::encode)
}

/// The command as text, and its host and port.
#[must_use]
pub fn socks_request(bytes: &[u8]) -> Progress<(String, Host, u16)> {
    Progress::of(codec::parse_request(bytes), |request| {
        (format!("{:?}", request.command), request.host, request.port)
    })
}

/// Fragment, target and payload.
#[must_use]
pub fn socks_datagram(bytes: &[u8]) -> Option<(u8, Target, &[u8])> {
    let datagram = codec::parse_datagram(bytes).ok()?;
    Some((datagram.fragment, datagram.target, datagram.payload))
}

/// What the first bytes of a tunnel are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    NeedMore,
    NotTls,
    Unreadable,
    Unnamed,
    Named(Host),
}

/// Reads the bytes as they arrive: first those up to the first cut, then those up to the next.
#[must_use]
pub fn client_hello(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Hello {
    let mut reader = HelloReader::default();
    for end in cuts.into_iter().chain([bytes.len()]) {
        match reader.read(bytes.get(..end).unwrap_or(bytes)) {
            FirstBytes::NeedMore => {}
            FirstBytes::NotTls => return Hello::NotTls,
            FirstBytes::Hello(hello) => return asked(hello.asks),
        }
    }
    Hello::NeedMore
}

fn asked(hello: ClientHello) -> Hello {
    match hello.server_name {
        HelloName::Absent => Hello::Unnamed,
        HelloName::Host(host) => Hello::Named(host),
        HelloName::Unreadable => Hello::Unreadable,
    }
}

/// The target of a forward request and whether TLS is spoken with it; `None` where the request is refused.
#[must_use]
pub fn forward_target(uri: &str, hosts: &[&str]) -> Option<(Target, bool)> {
    let found = headers::destination(&parts(Method::GET, uri, hosts)?).ok()?;
    Some((found.target, found.tls))
}

/// The target of a CONNECT; `None` where it is refused.
#[must_use]
pub fn connect_target(uri: &str, hosts: &[&str]) -> Option<Target> {
    headers::connect_target(&parts(Method::CONNECT, uri, hosts)?).ok()
}

fn parts(method: Method, uri: &str, hosts: &[&str]) -> Option<request::Parts> {
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::try_from(uri).ok()?;
    for host in hosts {
        let value = HeaderValue::from_str(host).ok()?;
        request.headers_mut().append(http::header::HOST, value);
    }
    Some(request.into_parts().0)
}

/// As [`LoadedConfig::from_files`], of texts: the layers, and the managed requirements.
///
/// # Errors
/// As for files.
pub fn load_config(
    layers: &[(LayerKind, &str)],
    requirements: Option<&str>,
    overrides: &Overrides,
) -> Result<LoadedConfig, ConfigError> {
    LoadedConfig::from_texts(layers, requirements, overrides, UnixSockets::Supported)
}
