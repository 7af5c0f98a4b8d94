//! The SOCKS5 doors, as bytes (SPEC E6 and G).

mod tcp;
mod udp;
