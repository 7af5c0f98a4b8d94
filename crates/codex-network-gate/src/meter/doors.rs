//! The doors as rows of a table.
//!
//! [`DOORS`] lists them in the order in which they are shown; [`place`] is where a door stands in it.

use codex_network_policy::Protocol;

/// The doors, in the order in which they are shown.
pub const DOORS: [Protocol; 5] = [
    Protocol::Http,
    Protocol::HttpsConnect,
    Protocol::Https,
    Protocol::Socks5Tcp,
    Protocol::Socks5Udp,
];

/// The place of a door in [`DOORS`].
pub(super) fn place(door: Protocol) -> usize {
    match door {
        Protocol::Http => 0,
        Protocol::HttpsConnect => 1,
        Protocol::Https => 2,
        Protocol::Socks5Tcp => 3,
        Protocol::Socks5Udp => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_stand_in_their_places() {
        for (index, door) in DOORS.into_iter().enumerate() {
            assert_eq!(place(door), index);
        }
    }
}
