//! An upstream connection that speaks HTTP.
//!
//! [`Line`] is its sending half and where it leads. It deliberately does not open itself.

use std::net::SocketAddr;

use hyper::client::conn::http1::SendRequest;

use super::request_body::RequestBody;

/// The sending half of an upstream connection, and the address that it leads to (none for a parent's).
#[derive(Debug)]
pub(super) struct Line {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) peer: Option<SocketAddr>,
    /// Whether it has been used again after its first answer, so that its origin is known to keep connections.
    pub(super) proven: bool,
}
