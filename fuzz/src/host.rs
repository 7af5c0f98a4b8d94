//! Hosts: one canonical form, which no other program reads as something else.

use codex_network_policy::{Authority, Host};

/// A host that is accepted is canonical, stays what it is when it is read again, and holds no byte that a name may not.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Ok(host) = Host::parse(text) {
        canonical(&host);
    }
    if let Ok(Authority { host, port }) = Authority::parse(text) {
        canonical(&host);
        // Brackets are a URL's, where `%25` stands for the `%` before a zone; a bare zone may begin with 25 itself.
        if matches!(&host, Host::Address(literal) if literal.zone().is_some_and(|zone| zone.starts_with("25")))
        {
            return;
        }
        let shown = match (&host, port) {
            (Host::Address(literal), Some(port)) if literal.address().is_ipv6() => {
                format!("[{host}]:{port}")
            }
            (_, Some(port)) => format!("{host}:{port}"),
            (Host::Address(literal), None) if literal.address().is_ipv6() => format!("[{host}]"),
            (_, None) => host.to_string(),
        };
        let again = Authority::parse(&shown);
        assert_eq!(again, Ok(Authority { host, port }), "{text:?} as {shown:?}");
    }
}

/// What holds of every host, wherever it comes from.
pub(crate) fn canonical(host: &Host) {
    let shown = host.to_string();
    assert_eq!(Host::parse(&shown).as_ref(), Ok(host), "{shown:?}");
    match host {
        Host::Name(name) => {
            let name = name.as_str();
            assert!(name.len() <= 253, "{name:?}");
            assert!(
                name.split('.').all(|label| (1..=63).contains(&label.len())),
                "{name:?}"
            );
            let plain = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
            assert!(name.bytes().all(plain), "{name:?}");
            assert!(
                !name.contains(['%', '/', '\\', '@', ':', '[', ']', '?', '#']),
                "{name:?}"
            );
            // No other reader takes it for an address: decimal, hexadecimal, octal and short forms among them.
            if let Ok(read) = url::Host::parse(name) {
                assert!(
                    matches!(read, url::Host::Domain(_)),
                    "{name:?} is {read:?} to others"
                );
            }
        }
        Host::Address(literal) => {
            assert_eq!(host.address(), Some(literal.address()));
        }
    }
}
