//! Where a request goes: our reading of its target against those of `http` and of `url`.

use codex_network_policy::{Host, Target};
use codex_network_proxy::fuzzing::{connect_target, forward_target};
use http::Uri;

use crate::host::canonical;

/// Lines of the input: the request's target, and what stands in its `Host` fields.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let mut lines = text.split('\n');
    let uri = lines.next().unwrap_or_default();
    let hosts: Vec<&str> = lines.take(3).collect();
    if let Some((Target::Host { host, port }, tls)) = forward_target(uri, &hosts) {
        canonical(&host);
        if let Ok(read) = Uri::try_from(uri)
            && let Some(theirs) = read.host()
        {
            assert_eq!(
                Host::parse(theirs).as_ref(),
                Ok(&host),
                "`http` reads {uri:?}"
            );
            let default = if tls { 443 } else { 80 };
            assert_eq!(
                read.port_u16().unwrap_or(default),
                port,
                "`http` reads {uri:?}"
            );
            agrees_with_url(uri, &host, port);
        } else if let [field] = hosts.as_slice() {
            agrees_with_url(&format!("http://{}/", field.trim()), &host, port);
        }
        let absolute = ["http://", "https://"].map(|scheme| uri.strip_prefix(scheme));
        if let Some(rest) = absolute.into_iter().flatten().next() {
            let authority = rest.split(['/', '?', '#']).next();
            assert!(!authority.is_some_and(|text| text.contains('@')), "{uri:?}");
        }
    }
    if let Some(Target::Host { host, port }) = connect_target(uri, &hosts) {
        canonical(&host);
        agrees_with_url(&format!("http://{uri}/"), &host, port);
    }
}

/// What browsers and most libraries make of it. They may refuse it; they may not go elsewhere.
fn agrees_with_url(text: &str, host: &Host, port: u16) {
    let Ok(url) = url::Url::parse(text) else {
        return;
    };
    let theirs = match url.host() {
        Some(url::Host::Domain(name)) => Host::parse(name),
        Some(url::Host::Ipv4(address)) => Ok(Host::from(std::net::IpAddr::V4(address))),
        Some(url::Host::Ipv6(address)) => Ok(Host::from(std::net::IpAddr::V6(address))),
        None => return,
    };
    assert_eq!(theirs.as_ref(), Ok(host), "`url` reads {text:?}");
    assert_eq!(
        url.port_or_known_default(),
        Some(port),
        "`url` reads {text:?}"
    );
}
