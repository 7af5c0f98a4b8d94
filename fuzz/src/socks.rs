//! SOCKS5: greeting, request and the header of a datagram.

use std::fmt::Debug;

use codex_network_policy::{Host, Target};
use codex_network_proxy::fuzzing::{Progress, socks_datagram, socks_greeting, socks_request};

use crate::host::canonical;

/// The same bytes as each kind of message.
pub fn check(data: &[u8]) {
    prefixes(data, socks_greeting);
    prefixes(data, socks_request);
    if let Progress::Done {
        value: (_, host, _),
        consumed,
    } = socks_request(data)
    {
        canonical(&host);
        named(&data[3..consumed], &host);
    }
    if let Some((_, target, payload)) = socks_datagram(data) {
        assert!(data.ends_with(payload));
        let Target::Host { host, .. } = target else {
            panic!("a datagram to a unix socket");
        };
        canonical(&host);
        named(&data[3..], &host);
    }
}

/// What was said of a beginning is not taken back when more comes.
fn prefixes<T: PartialEq + Debug>(data: &[u8], parse: impl Fn(&[u8]) -> Progress<T>) {
    let data = &data[..data.len().min(300)];
    let whole = parse(data);
    for end in 0..data.len() {
        match parse(&data[..end]) {
            Progress::NeedMore => {}
            decided => {
                assert_eq!(decided, whole, "after {end} bytes");
                break;
            }
        }
    }
    match whole {
        Progress::NeedMore => assert!(data.len() < 262, "a buffer of 262 bytes would be stuck"),
        Progress::Done { consumed, .. } => assert!(consumed <= data.len()),
        Progress::Wrong => {}
    }
}

/// A name is what was sent, but for case, brackets and one dot; an address that was sent as a name is an address.
fn named(field: &[u8], host: &Host) {
    let [3, length, rest @ ..] = field else {
        return;
    };
    let sent = String::from_utf8_lossy(&rest[..usize::from(*length)]).to_ascii_lowercase();
    match host {
        // A name in another script has one canonical form, in ASCII.
        Host::Name(name) => {
            if !sent.is_ascii() {
                return;
            }
            let bare = sent
                .strip_prefix('[')
                .and_then(|sent| sent.strip_suffix(']'));
            let bare = bare.unwrap_or(&sent);
            assert_eq!(bare.strip_suffix('.').unwrap_or(bare), name.as_str());
        }
        Host::Address(_) => assert!(!sent.bytes().any(|byte| byte == 0)),
    }
}
