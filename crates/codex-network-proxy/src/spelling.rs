//! Hosts and network addresses as text: two functions of one line's meaning that existing users call.
//!
//! Comes in: what somebody has written; goes out: the one spelling of it. Nothing of the proxy judges by these texts; it
//! judges by the types that it parses.

use codex_network_policy::{Authority, Host};

/// The host in a text, in its one spelling: lower case, without port, brackets and final dot. Empty where the text holds no
/// host.
///
/// ```
/// use codex_network_proxy::normalize_host;
///
/// assert_eq!(normalize_host(" Example.COM.:443 "), "example.com");
/// assert_eq!(normalize_host("[::1]:443"), "::1");
/// assert_eq!(normalize_host("not a host"), "");
/// ```
#[must_use]
pub fn normalize_host(host: &str) -> String {
    authority(host.trim()).map_or_else(String::new, |(host, _)| host.to_string())
}

/// The `host:port` of a network address, which may be a URL: `default_port` where it names no port, and `<missing>` where
/// it names no host. For people to read; an address to listen on is read more strictly.
///
/// ```
/// use codex_network_proxy::host_and_port_from_network_addr;
///
/// let shown = |text| host_and_port_from_network_addr(text, 3128);
/// assert_eq!(shown("http://user@Proxy.test:8080/path"), "proxy.test:8080");
/// assert_eq!(shown("2001:db8::1"), "[2001:db8::1]:3128");
/// assert_eq!(shown(""), "<missing>");
/// ```
#[must_use]
pub fn host_and_port_from_network_addr(address: &str, default_port: u16) -> String {
    let text = address.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = text.split(['/', '?', '#']).next().unwrap_or_default();
    let text = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    let Some((host, port)) = authority(text) else {
        return "<missing>".to_owned();
    };
    let port = port.unwrap_or(default_port);
    match host.address() {
        Some(address) if address.is_ipv6() => format!("[{host}]:{port}"),
        Some(_) | None => format!("{host}:{port}"),
    }
}

/// A port that is none is left out: whoever asks for the host does not ask for it.
fn authority(text: &str) -> Option<(Host, Option<u16>)> {
    if let Ok(Authority { host, port }) = Authority::parse(text) {
        return Some((host, port));
    }
    let (host, port) = text.rsplit_once(':')?;
    let names_a_host = !host.contains(':') || host.ends_with(']');
    let no_port = port.parse::<u16>().is_err();
    (names_a_host && no_port).then_some(())?;
    Host::parse(host).ok().map(|host| (host, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        let rows = [
            ("example.com", "example.com"),
            ("EXAMPLE.com.", "example.com"),
            ("example.com.:443", "example.com"),
            ("example.com:notaport", "example.com"),
            ("[::1]", "::1"),
            ("[::1]:443", "::1"),
            ("0:0:0:0:0:0:0:1", "::1"),
            ("fe80::1%lo0", "fe80::1%lo0"),
            ("[fe80::1%25lo0]", "fe80::1%lo0"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("", ""),
            (":80", ""),
            ("a b", ""),
            ("user@example.com", ""),
            ("0x7f.1", ""),
        ];
        for (text, expected) in rows {
            assert_eq!(normalize_host(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_network_address_is_shown_with_its_port() {
        let rows = [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("127.0.0.1", "127.0.0.1:3128"),
            ("http://u:p@h:8080/path", "h:8080"),
            ("socks5h://[::1]:9999", "[::1]:9999"),
            ("2001:db8::1", "[2001:db8::1]:3128"),
            ("example.com:notaport", "example.com:3128"),
            ("http://", "<missing>"),
            ("  ", "<missing>"),
        ];
        for (text, expected) in rows {
            assert_eq!(
                host_and_port_from_network_addr(text, 3128),
                expected,
                "{text:?}"
            );
        }
    }
}
