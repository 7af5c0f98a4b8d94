//! The ClientHello of a tunnel, against the TLS library's own reading of it.

use std::io::Cursor;

use codex_network_policy::Host;
use codex_network_proxy::fuzzing::{Hello, client_hello};
use rustls::server::Acceptor;

/// The bytes are what a client sends first. Their last byte says into which pieces they fall.
pub fn check(data: &[u8]) {
    let whole = client_hello(data, []);
    let piece = usize::from(data.last().copied().unwrap_or(1)).max(1);
    let pieces = client_hello(data, (1..data.len()).step_by(piece));
    assert_eq!(pieces, whole, "in pieces of {piece}");
    let mut acceptor = Acceptor::default();
    let mut rest = Cursor::new(data);
    while (rest.position() as usize) < data.len() {
        match acceptor.read_tls(&mut rest) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        match acceptor.accept() {
            Ok(None) => {}
            Err(_) => return,
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let theirs = hello.server_name().map(Host::parse);
                // To refuse what a library takes is our right. To see another name, or none, would be a way through.
                match (&whole, theirs) {
                    (Hello::Unreadable, _) | (Hello::Unnamed, None) => {}
                    // An address is no server name; the library drops it, and we judge it.
                    (Hello::Named(Host::Address(_)), None) => {}
                    (Hello::Named(ours), Some(Ok(theirs))) => assert_eq!(*ours, theirs),
                    (ours, theirs) => panic!("we read {ours:?}, the library {theirs:?}"),
                }
                return;
            }
        }
    }
}
