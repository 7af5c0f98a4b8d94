//! What a request says about where it goes, and which of its fields go on (RFC 9110 section 7.6.1, RFC 9112
//! section 3.2, SPEC sections F3 and F4).
//!
//! [`destination`] reads the target once, into types; [`forwardable`] takes away what belongs to one hop. Nothing
//! is added on the way but a missing `Host`, and nothing here judges a host. What is special inside of an opened tunnel
//! is in `inside`.

use codex_network_gate::Permit;
use codex_network_policy::{Authority, Host, Target};
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    COOKIE, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, request};

use super::refusal::BadRequest;
pub(crate) use super::seen::UNIX_SOCKET;
use super::seen::{PROXY_CONNECTION, Seen};

pub(crate) mod inside;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Fields that `Connection` may not take away from the origin.
const ESSENTIAL: [HeaderName; 10] = [
    HOST,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    TRANSFER_ENCODING,
    AUTHORIZATION,
    COOKIE,
    SET_COOKIE,
    EXPECT,
];

/// Where a request to the forward proxy goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) target: Target,
    /// Whether the proxy is to speak TLS with the origin (`https://`).
    pub(crate) tls: bool,
}

/// Reads the target from the absolute form, else from `Host`, and checks that the two agree.
pub(crate) fn destination(parts: &request::Parts) -> Result<Destination, BadRequest> {
    let host_text = host_text(&parts.headers)?;
    let Some(authority) = parts.uri.authority() else {
        let Authority { host, port } = host_text
            .map(parse_host_header)
            .transpose()?
            .ok_or(BadRequest::MissingHost)?;
        let target = Target::Host {
            host,
            port: port.unwrap_or(80),
        };
        return Ok(Destination { target, tls: false });
    };
    let tls = match parts.uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(_) | None => return Err(BadRequest::UnsupportedScheme),
    };
    let default_port = if tls { 443 } else { 80 };
    let Authority { host, port } =
        Authority::parse(authority.as_str()).map_err(|_| BadRequest::InvalidHost)?;
    let port = port.unwrap_or(default_port);
    // The same text twice, as from nearly every client, means the same twice.
    if let Some(text) = host_text.filter(|text| *text != authority.as_str()) {
        let header = parse_host_header(text)?;
        if header.host != host || header.port.unwrap_or(default_port) != port {
            return Err(BadRequest::HostMismatch);
        }
    }
    Ok(Destination {
        target: Target::Host { host, port },
        tls,
    })
}

/// The authority of a CONNECT (RFC 9110 section 9.3.6): host and port, both.
pub(crate) fn connect_target(parts: &request::Parts) -> Result<Target, BadRequest> {
    if parts.headers.contains_key(UNIX_SOCKET) {
        return Err(BadRequest::InvalidUnixSocketHeader);
    }
    // It has no content (RFC 9110 section 9.3.6). What a length would cover is the tunnel's, for some.
    let lengths = parts.headers.get_all(CONTENT_LENGTH);
    if parts.headers.contains_key(TRANSFER_ENCODING)
        || lengths.iter().any(|length| length.as_bytes() != b"0")
    {
        return Err(BadRequest::InvalidFraming);
    }
    // Anything but the authority form is another program's idea of where this goes.
    let bare = parts.uri.scheme().is_none() && parts.uri.path_and_query().is_none();
    let authority = parts.uri.authority().filter(|_| bare);
    let authority = authority.ok_or(BadRequest::MissingAuthority)?;
    host_text(&parts.headers)?
        .map(parse_host_header)
        .transpose()?;
    let Authority { host, port } =
        Authority::parse(authority.as_str()).map_err(|_| BadRequest::InvalidHost)?;
    let port = port.ok_or(BadRequest::MissingAuthority)?;
    Ok(Target::Host { host, port })
}

/// `Host`, where there is exactly one; an empty one counts as none.
fn host_text(headers: &HeaderMap) -> Result<Option<&str>, BadRequest> {
    let mut values = headers.get_all(HOST).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(BadRequest::InvalidHostHeader);
    }
    let text = value
        .to_str()
        .map_err(|_| BadRequest::InvalidHostHeader)?
        .trim();
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn parse_host_header(text: &str) -> Result<Authority, BadRequest> {
    Authority::parse(text).map_err(|_| BadRequest::InvalidHostHeader)
}

/// The protocols that a client asks to switch to. A switch to HTTP/2 is not offered to the origin, since its
/// requests could not be judged; nor is a switch that `Connection` does not announce.
pub(crate) fn wanted_upgrade(parts: &request::Parts, seen: Seen) -> Option<HeaderValue> {
    if !seen.has(Seen::UPGRADE) {
        return None;
    }
    let mut values = parts.headers.get_all(UPGRADE).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let announced =
        tokens(&parts.headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let text = value.to_str().ok()?;
    let stays_http = text.split(',').any(|protocol| {
        let name = protocol.trim().split('/').next().unwrap_or_default();
        ["h2c", "h2", "http", "tls"]
            .iter()
            .any(|http| name.eq_ignore_ascii_case(http))
    });
    (announced && !stays_http && parts.version == Version::HTTP_11).then(|| value.clone())
}

/// Makes a judged request one that may go upstream: its hop's fields are gone, its target is in origin form,
/// `Host` is there. `upgrade` is what [`wanted_upgrade`] found; `besides` go as well.
pub(crate) fn forwardable(
    parts: &mut request::Parts,
    upgrade: Option<HeaderValue>,
    besides: &[HeaderName],
) -> Result<(), BadRequest> {
    let seen = Seen::of(&parts.headers);
    let chunked = check_framing(parts, seen)?;
    let named = named_by_connection(&parts.headers, seen)?;
    // An empty one says as little as none.
    let has_host = parts
        .headers
        .get(HOST)
        .is_some_and(|host| !host.as_bytes().trim_ascii().is_empty());
    let ends_here = |name: &HeaderName| {
        is_hop_by_hop(name)
            || *name == PROXY_AUTHORIZATION
            || *name == TE
            || *name == UNIX_SOCKET
            || *name == HTTP2_SETTINGS
            // The library writes a trailer section only where `Trailer` announces it.
            || (*name == TRAILER && !chunked)
            // Chunked has been taken for the one meaning; the length beside it is void.
            || (*name == CONTENT_LENGTH && chunked)
            || (*name == HOST && !has_host)
            || named.contains(name)
            || besides.contains(name)
    };
    // Written anew only where something goes, for to remove a field would change the order of the rest.
    if !has_host || parts.headers.keys().any(ends_here) {
        let mut headers = HeaderMap::with_capacity(parts.headers.len() + 2);
        if !has_host
            && let Some(authority) = parts.uri.authority()
            && let Ok(value) = HeaderValue::from_str(authority.as_str())
        {
            headers.insert(HOST, value);
        }
        for (name, value) in &parts.headers {
            if !ends_here(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        parts.headers = headers;
    }
    if let Some(protocol) = upgrade {
        parts
            .headers
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, protocol);
    }
    parts.uri = Uri::from(
        parts
            .uri
            .path_and_query()
            .cloned()
            // Before a fragment it can be there and empty: it reads as a slash, and the library writes nothing at all.
            .filter(|path| path.as_str() != "/")
            .unwrap_or(PathAndQuery::from_static("/")),
    );
    Ok(())
}

/// Turns a [`forwardable`] request into one for a parent proxy: absolute form, with the parent's credentials.
pub(super) fn set_absolute_form<B>(request: &mut Request<B>, permit: &Permit) {
    if let Target::Host { host, port } = permit.target() {
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", PathAndQuery::as_str);
        // The library cannot write an absolute form without a path, which RFC 9112 section 3.2.4 asks for here.
        let path = if path == "*" { "/" } else { path };
        let port = if *port == 80 {
            String::new()
        } else {
            format!(":{port}")
        };
        let host = match host {
            Host::Address(literal) if literal.address().is_ipv6() => format!("[{host}]"),
            Host::Name(_) | Host::Address(_) => host.to_string(),
        };
        if let Ok(uri) = Uri::try_from(format!("http://{host}{port}{path}")) {
            *request.uri_mut() = uri;
        }
    }
    if let Some(mut value) = permit
        .parent_authorization()
        .and_then(|value| HeaderValue::from_str(value).ok())
    {
        value.set_sensitive(true);
        request.headers_mut().insert(PROXY_AUTHORIZATION, value);
    }
}

/// Whether an answer has no transfer coding but `chunked`. Another one would have to be undone by us, for the field
/// that names it ends here.
pub(crate) fn is_plainly_framed(headers: &HeaderMap, seen: Seen) -> bool {
    let plain_length = !seen.has(Seen::LENGTH) || has_plain_length(headers);
    if !seen.has(Seen::TRANSFER_CODING) {
        return plain_length;
    }
    plain_length
        && tokens(headers, &TRANSFER_ENCODING).all(|coding| coding.eq_ignore_ascii_case("chunked"))
}

/// Whether a field names a scheme that authenticates a whole connection (RFC 4559). Such a connection is its
/// client's, and nobody else may be served over it.
pub(super) fn authenticates_connection(headers: &HeaderMap, seen: Seen, name: &HeaderName) -> bool {
    if !seen.has(Seen::AUTHENTICATION) {
        return false;
    }
    headers.get_all(name).iter().any(|value| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next();
        scheme.is_some_and(|scheme| {
            scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
        })
    })
}

/// Takes from an answer what belongs to the hop behind us. `switched` keeps what a 101 needs; `of_http2` says that the
/// answer may have trailers although it is not chunked.
pub(crate) fn clean_response(headers: &mut HeaderMap, seen: Seen, switched: bool, of_http2: bool) {
    let named = named_by_connection(headers, seen).unwrap_or_default();
    let chunked = seen.has(Seen::TRANSFER_CODING);
    let needless = headers.keys().any(|name| {
        is_hop_by_hop(name)
            || *name == TRAILER
            || *name == PROXY_AUTHENTICATE
            || named.contains(name)
    });
    if !needless {
        return;
    }
    let upgrade = headers.get(UPGRADE).filter(|_| switched).cloned();
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter() {
        let of_that_hop = is_hop_by_hop(name)
            || *name == PROXY_AUTHENTICATE
            || (*name == TRAILER && !chunked && !of_http2)
            || (*name == CONTENT_LENGTH && chunked)
            || named.contains(name);
        if !of_that_hop {
            kept.append(name.clone(), value.clone());
        }
    }
    if let Some(protocol) = upgrade {
        kept.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        kept.insert(UPGRADE, protocol);
    }
    *headers = kept;
}

/// The fields that every hop takes away, in both directions.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    // One after the other: a list of names would be made anew for each question.
    *name == CONNECTION
        || *name == TRANSFER_ENCODING
        || *name == UPGRADE
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
}

/// Whether the request is chunked; anything but exactly that is an error (RFC 9112 section 6.1).
fn check_framing(parts: &request::Parts, seen: Seen) -> Result<bool, BadRequest> {
    if seen.has(Seen::LENGTH) && !has_plain_length(&parts.headers) {
        return Err(BadRequest::InvalidFraming);
    }
    if !seen.has(Seen::TRANSFER_CODING) {
        return Ok(false);
    }
    let mut values = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(value) = values.next() else {
        return Ok(false);
    };
    let chunked = value
        .as_bytes()
        .trim_ascii()
        .eq_ignore_ascii_case(b"chunked");
    if chunked && values.next().is_none() && parts.version == Version::HTTP_11 {
        Ok(true)
    } else {
        Err(BadRequest::InvalidFraming)
    }
}

/// Whether `Content-Length` is not there, or says one number. The library's HTTP/2 takes an empty one for zero, and HTTP/1.1
/// on the other side would take it for an error, or for none.
fn has_plain_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else {
        return true;
    };
    let digits = first.as_bytes();
    !digits.is_empty()
        && digits.iter().all(u8::is_ascii_digit)
        && lengths.all(|length| length == first)
}

fn named_by_connection(headers: &HeaderMap, seen: Seen) -> Result<Vec<HeaderName>, BadRequest> {
    let mut named = Vec::new();
    if !seen.has(Seen::CONNECTION) {
        return Ok(named);
    }
    for name in [CONNECTION, PROXY_CONNECTION] {
        for token in tokens(headers, &name) {
            let token = HeaderName::from_bytes(token.as_bytes())
                .map_err(|_| BadRequest::InvalidConnectionHeader)?;
            if ESSENTIAL.contains(&token) {
                return Err(BadRequest::InvalidConnectionHeader);
            }
            named.push(token);
        }
    }
    Ok(named)
}

/// The tokens of a comma-separated field.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("\0").split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}
