//! How a connection leaves HTTP: by a CONNECT, or by an upgrade that the origin granted.
//!
//! [`Exit`] waits until HTTP has ended on the client's connection; what comes of it is the running tunnel.

use std::sync::Arc;

use bytes::Bytes;
use codex_network_gate::{Gate, Permit};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::exchange::{Switched, into_stream};
use crate::patience::Patient;
use crate::tunnel::{Running, Tunnel};

/// How a connection leaves HTTP: the tunnel that was opened, if any, and the stream once it is free.
#[derive(Debug)]
pub(super) struct Exit {
    pub(super) tunnel: Opened,
    pub(super) stream: OnUpgrade,
}

/// An opened tunnel: its upstream is at hand, or comes when its HTTP has ended too.
#[derive(Debug)]
pub(super) enum Opened {
    Connect(Tunnel),
    Upgrade(Upgrade),
    /// A CONNECT was refused: the connection ends, once the client has had the time to read why.
    Nothing,
}

impl Exit {
    /// The tunnel, once HTTP has ended on the connection.
    pub(super) async fn tunnel(self) -> Option<Running> {
        let Self { tunnel, stream } = self;
        // The client may have gone away before it had read our answer.
        let upgraded = stream.await.ok()?;
        let tunnel = match tunnel {
            Opened::Connect(tunnel) => tunnel,
            Opened::Upgrade(upgrade) => upgrade.tunnel().await?,
            Opened::Nothing => {
                // The stream throws away what the client has sent behind its CONNECT. A failure ends it as well.
                let _ = TokioIo::new(upgraded).shutdown().await;
                return None;
            }
        };
        Some(match into_stream::<TokioIo<Patient<TcpStream>>>(upgraded) {
            Ok((stream, early)) => tunnel.run(stream.into_inner().into_inner(), early),
            Err(upgraded) => tunnel.run(TokioIo::new(upgraded), Bytes::new()),
        })
    }
}

/// An upgrade that the origin has granted; its stream comes when HTTP has ended on it.
#[derive(Debug)]
pub(super) struct Upgrade {
    pub(super) gate: Arc<Gate>,
    pub(super) permit: Permit,
    pub(super) upstream: Switched,
}

impl Upgrade {
    async fn tunnel(self) -> Option<Tunnel> {
        let upstream = self.upstream.connection().await?;
        let Self { gate, permit, .. } = self;
        Some(Tunnel::upgraded(gate, permit, upstream))
    }
}
