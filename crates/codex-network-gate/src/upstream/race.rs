//! Connecting to the first of several admitted addresses that answers (RFC 8305, in its simple form).
//!
//! Each address gets a head start over the next; a failure starts the next at once. It deliberately takes
//! addresses and no name, so that what is dialled is what was judged.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Connects to one of `addresses`. The caller limits the whole.
#[expect(
    clippy::disallowed_methods,
    reason = "the dialler: its addresses come from a Permit"
)]
pub(super) async fn connect(addresses: &[SocketAddr], stagger: Duration) -> io::Result<TcpStream> {
    if let [address] = addresses {
        return TcpStream::connect(*address).await;
    }
    let mut waiting = interleaved(addresses);
    // Dropping the set aborts the attempts that lost.
    let mut attempts = JoinSet::new();
    let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = waiting.pop_front() {
            attempts.spawn(TcpStream::connect(address));
        } else if attempts.is_empty() {
            return Err(last_error);
        }
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last_error = error,
                Err(_) => last_error = io::ErrorKind::Other.into(),
            },
            () = sleep(stagger), if !waiting.is_empty() => {}
        }
    }
}

/// The addresses in the resolver's order, with the two families taking turns.
fn interleaved(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<SocketAddr>, VecDeque<SocketAddr>) = addresses
        .iter()
        .partition(|address| address.is_ipv6() == first_is_ipv6);
    let mut order = VecDeque::with_capacity(addresses.len());
    while !(first.is_empty() && second.is_empty()) {
        order.extend(first.pop_front());
        order.extend(second.pop_front());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns_in_the_order_of_the_resolver() {
        let rows = [
            ("", ""),
            ("a b c", "a b c"),
            ("A B C", "A B C"),
            ("A B a b", "A a B b"),
            ("a A B C", "a A B C"),
            ("a b A c", "a A b c"),
        ];
        // Small letters are IPv4 addresses, capital ones IPv6.
        let address = |letter: &str| {
            let number = u16::from(letter.as_bytes()[0]);
            if letter.to_lowercase() == letter {
                SocketAddr::from(([192, 0, 2, number as u8], 80))
            } else {
                SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, number], 80))
            }
        };
        let addresses = |text: &str| text.split_whitespace().map(address).collect::<Vec<_>>();
        for (given, expected) in rows {
            assert_eq!(
                interleaved(&addresses(given)),
                addresses(expected),
                "{given}"
            );
        }
    }
}
