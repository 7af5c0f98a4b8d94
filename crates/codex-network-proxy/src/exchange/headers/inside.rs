//! What is special about the head of a request inside of an opened tunnel (SPEC sections E4 and F3).
//!
//! [`names_only`] holds everything that a request says about where it goes to the tunnel's own target; [`write_for`] makes
//! it one that says nothing else. Nothing is judged here, and nothing is taken from the client's words.

use codex_network_policy::{Authority, Host, Target};
use http::header::{COOKIE, FORWARDED, HOST, TE, VIA};
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Version, request};

use super::super::line::TakesTrailers;
use super::super::refusal::BadRequest;
use super::{forwardable, tokens};

/// Fields with which proxies tell about clients; an origin may believe them, and here they could only be made up.
static ABOUT_CLIENTS: [HeaderName; 10] = [
    VIA,
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-client-ip"),
    HeaderName::from_static("client-ip"),
    HeaderName::from_static("true-client-ip"),
    HeaderName::from_static("cf-connecting-ip"),
];

/// Whether everything that the request says about its target is the tunnel's target: the scheme and the authority of its
/// URI (`:scheme` and `:authority` in HTTP/2) and `Host`, as far as they are there. What cannot be read is something else.
pub(crate) fn names_only(parts: &request::Parts, target: &Target) -> bool {
    let secure = parts
        .uri
        .scheme()
        .is_none_or(|scheme| *scheme == Scheme::HTTPS);
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    let fits = |text: &str| is_target(text, target);
    secure
        && hosts.next().is_none()
        && parts
            .uri
            .authority()
            .is_none_or(|authority| fits(authority.as_str()))
        && host.is_none_or(|host| host.to_str().is_ok_and(|host| fits(host.trim())))
}

/// An empty authority says nothing; without a port it says nothing about the port.
fn is_target(text: &str, target: &Target) -> bool {
    let Target::Host { host, port } = target else {
        return false;
    };
    text.is_empty()
        || Authority::parse(text).is_ok_and(|authority| {
            authority.host == *host && authority.port.is_none_or(|named| named == *port)
        })
}

/// Makes a request one for the tunnel's target and nothing else. `upgrade` is what [`super::wanted_upgrade`] found.
pub(crate) fn write_for(
    parts: &mut request::Parts,
    target: &Target,
    upgrade: Option<HeaderValue>,
) -> Result<(), BadRequest> {
    if tokens(&parts.headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers")) {
        parts.extensions.insert(TakesTrailers);
    }
    forwardable(parts, upgrade, &ABOUT_CLIENTS)?;
    let host = HeaderValue::from_str(&authority(target)).map_err(|_| BadRequest::InvalidHost)?;
    parts.headers.insert(HOST, host);
    if parts.version == Version::HTTP_2 {
        join_cookies(parts);
    }
    Ok(())
}

/// `host`, with the port unless it is that of `https`.
fn authority(target: &Target) -> String {
    let Target::Host { host, port } = target else {
        return String::new();
    };
    let host = match host {
        Host::Address(literal) if literal.address().is_ipv6() => {
            // A zone means something on this machine only.
            format!("[{}]", literal.address())
        }
        Host::Address(literal) => literal.address().to_string(),
        Host::Name(name) => name.to_string(),
    };
    match port {
        443 => host,
        port => format!("{host}:{port}"),
    }
}

/// HTTP/2 lets a client send its cookies in pieces, which have to be one field elsewhere (RFC 9113 section 8.2.3).
fn join_cookies(parts: &mut request::Parts) {
    let mut cookies = parts.headers.get_all(COOKIE).iter();
    let Some(first) = cookies.next() else { return };
    let mut joined = first.as_bytes().to_vec();
    let mut pieces = 1;
    for cookie in cookies {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
        pieces += 1;
    }
    if pieces > 1
        && let Ok(mut joined) = HeaderValue::from_bytes(&joined)
    {
        joined.set_sensitive(true);
        parts.headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn target(text: &str) -> Target {
        let Authority { host, port } = Authority::parse(text).unwrap();
        Target::Host {
            host,
            port: port.unwrap(),
        }
    }

    fn request(uri: &str, fields: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_may_name_the_tunnels_target_and_nothing_else() {
        let check = |expected: bool, uri: &str, hosts: &[&str], tunnel: &str| {
            let fields: Vec<(&str, &str)> = hosts.iter().map(|host| ("host", *host)).collect();
            let named = names_only(&request(uri, &fields), &target(tunnel));
            assert_eq!(named, expected, "{uri} {hosts:?} in {tunnel}");
        };
        for (uri, hosts) in [
            ("/", &["a.test"][..]),
            ("/", &["A.test."]),
            ("/", &["a.test:443"]),
            ("/", &[]),
            ("/", &[""]),
            ("https://a.test/", &[]),
            ("https://a.test/", &["a.test"]),
            ("https://a.test:443/", &["a.test"]),
            ("*", &["a.test"]),
        ] {
            check(true, uri, hosts, "a.test:443");
        }
        for (uri, hosts) in [
            ("/", &["b.test"][..]),
            ("/", &["a.test:444"]),
            ("/", &["a.test", "a.test"]),
            ("/", &["a.test", "b.test"]),
            ("/", &["a.test, b.test"]),
            ("/", &["u@a.test"]),
            ("/", &["a.test/"]),
            ("/", &["www.a.test"]),
            ("https://b.test/", &[]),
            ("https://b.test/", &["a.test"]),
            ("https://a.test/", &["b.test"]),
            ("https://a.test:80/", &["a.test"]),
            ("https://u@a.test/", &[]),
            ("http://a.test/", &["a.test"]),
            ("ws://a.test/", &["a.test"]),
        ] {
            check(false, uri, hosts, "a.test:443");
        }
        check(true, "/", &["[::1]:8443"], "[::1]:8443");
        check(true, "/", &["[0:0::1]"], "[::1]:8443");
        check(true, "/", &["192.0.2.1"], "192.0.2.1:443");
        check(false, "/", &["192.0.2.2"], "192.0.2.1:443");
    }

    #[test]
    fn what_goes_on_names_the_target_in_its_one_form() {
        for (tunnel, expected) in [
            ("A.test.:443", "a.test"),
            ("a.test:8443", "a.test:8443"),
            ("[::1]:443", "[::1]"),
            ("[fe80::1%25lo0]:8443", "[fe80::1]:8443"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            let mut parts = request("https://whatever.test/path?query", &[]);
            write_for(&mut parts, &target(tunnel), None).unwrap();
            assert_eq!(parts.headers[HOST], expected);
            assert_eq!(parts.uri, "/path?query");
        }
    }

    #[test]
    fn what_a_client_says_about_itself_stays_here() {
        let fields: Vec<(&str, &str)> = ABOUT_CLIENTS
            .iter()
            .map(|name| (name.as_str(), "1.2.3.4"))
            .chain([
                ("te", "trailers, gzip"),
                ("keep-alive", "timeout=5"),
                ("proxy-authorization", "Basic x"),
                ("accept", "*/*"),
            ])
            .collect();
        let mut parts = request("/", &fields);
        write_for(&mut parts, &target("a.test:443"), None).unwrap();
        let left: Vec<&str> = parts.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["accept", "host"]);
        assert!(parts.extensions.get::<TakesTrailers>().is_some());
    }

    #[test]
    fn pieces_of_cookies_are_put_together() {
        let mut parts = request(
            "/",
            &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")],
        );
        parts.version = Version::HTTP_2;
        write_for(&mut parts, &target("a.test:443"), None).unwrap();
        let cookies: Vec<_> = parts.headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }
}
