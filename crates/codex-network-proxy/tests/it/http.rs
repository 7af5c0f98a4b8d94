//! The HTTP doors, as bytes.

mod answers;
mod connect;
mod fields;
mod forward;
mod framing;
mod help;
mod parents;
mod readings;
#[cfg(unix)]
mod sockets;
mod upgrade;
