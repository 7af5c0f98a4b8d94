//! What is left of an HTTP connection that has been left by an upgrade.
//!
//! [`Switched`] is the origin's side, which comes when HTTP has ended on it; [`into_stream`] takes the stream out from
//! beneath hyper. Nothing is relayed here.

use bytes::Bytes;
use codex_network_gate::Connection;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;

/// The connection of an origin that has granted an upgrade; it comes when HTTP has ended on it.
#[derive(Debug)]
pub(crate) struct Switched(pub(super) OnUpgrade);

impl Switched {
    /// The connection, with what the origin has sent behind its 101.
    pub(crate) async fn connection(self) -> Option<Connection> {
        let upgraded = self.0.await.ok()?;
        let (stream, early) = into_stream::<TokioIo<Connection>>(upgraded).ok()?;
        Some(stream.into_inner().with_early(early))
    }
}

/// The stream beneath hyper, and what it had read beyond the head.
pub(crate) fn into_stream<T>(upgraded: Upgraded) -> Result<(T, Bytes), Upgraded>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let parts = upgraded.downcast::<T>()?;
    // An empty one still holds the buffer that hyper would have read into.
    let early = Some(parts.read_buf).filter(|early| !early.is_empty());
    Ok((parts.io, early.unwrap_or_default()))
}
