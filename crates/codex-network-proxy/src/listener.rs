//! Binds, accepts within limits, and drains.
//!
//! [`Listener`] owns a socket and the tasks of the connections that it accepted; what is spoken on them is the
//! business of [`http`] and [`socks5`]. It deliberately knows no protocol and no policy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::drain;
use crate::meters::ListenerMeters;

pub(crate) mod http;
mod slots;
pub(crate) mod socks5;

use slots::Slot;
pub(crate) use slots::Slots;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// How long a client that connected just before the end has for its first words.
const FIRST_WORDS: Duration = Duration::from_secs(1);

/// Pauses after an `accept` that failed, for example because there are no file descriptors left.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Serves one accepted connection until it ends; stops early when `draining` becomes true.
pub(crate) trait Serve: Clone + Send + Sync + 'static {
    fn serve(
        self,
        stream: TcpStream,
        client: SocketAddr,
        draining: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send;
}

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
}

impl Listener {
    /// Binds `address`.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() {
            tokio::net::TcpSocket::new_v4()
        } else {
            tokio::net::TcpSocket::new_v6()
        }?;
        // A restart must not wait for the old connections to be forgotten. On Windows the option would let
        // another program share the port.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self {
            socket: socket.listen(BACKLOG)?,
        })
    }

    /// Listens on a socket that somebody else has bound. It stays theirs: when this ends, they go on listening.
    pub(crate) fn adopt(socket: &std::net::TcpListener) -> io::Result<Self> {
        let socket = socket.try_clone()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: TcpListener::from_std(socket)?,
        })
    }

    /// The address that is listened on, with the port that the system chose where 0 was asked for.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts and serves until `draining` becomes true; then stops listening and gives open connections
    /// `drain` to finish. Dropping the future ends everything at once.
    pub(crate) async fn run(
        self,
        service: impl Serve,
        slots: Arc<Slots>,
        mut draining: watch::Receiver<bool>,
        drain: Duration,
        meters: Arc<ListenerMeters>,
    ) {
        let mut connections = JoinSet::new();
        let mut pause = FIRST_PAUSE;
        loop {
            let accepted = tokio::select! {
                biased;
                () = drain::began(&mut draining) => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&self.socket, &slots) => accepted,
            };
            match accepted {
                // Over its share: it has cost us one `accept`, and is closed.
                Ok(None) => meters.over_share.increment(),
                Ok(Some((stream, client, slot))) => {
                    pause = FIRST_PAUSE;
                    let service = service.clone();
                    let draining = draining.clone();
                    meters.accepted.increment();
                    let open = meters.open.hold();
                    connections.spawn(async move {
                        service.serve(stream, client, draining).await;
                        drop((slot, open));
                    });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, pause_ms = pause.as_millis(), "accepting connections failed");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        drop(self.socket);
        let finished = timeout(drain, async {
            while connections.join_next().await.is_some() {}
        });
        if finished.await.is_err() {
            tracing::info!(
                connections = connections.len(),
                "closing connections that did not finish in time"
            );
            connections.shutdown().await;
        }
    }
}

/// Waits for a free slot first, so that what cannot be served waits in the system's queue and costs us nothing.
async fn accept(
    socket: &TcpListener,
    slots: &Arc<Slots>,
) -> io::Result<Option<(TcpStream, SocketAddr, Slot)>> {
    let free = slots.free().await?;
    let (stream, client) = socket.accept().await?;
    let Some(slot) = slots.give(free, client.ip()) else {
        return Ok(None);
    };
    // Small writes must not wait for each other; a failure here costs latency, not correctness.
    let _ = stream.set_nodelay(true);
    Ok(Some((stream, client, slot)))
}

/// Errors of the connection that would have been accepted, and not of the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
