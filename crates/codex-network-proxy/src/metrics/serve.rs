//! Serves a bound endpoint until the proxy ends.
//!
//! [`Bound::run`] accepts a few connections at a time and answers each request from the table of routes. It is HTTP/1.1 for
//! scrapers, with short limits; it forwards nothing and judges nothing.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use codex_network_gate::Gate;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::routes::Access;
#[cfg(unix)]
use super::socket_file::SocketFile;
use super::token::BearerToken;
use super::{Metrics, routes};

/// How many scrapers are served at once; more wait.
const SCRAPERS: usize = 16;

/// How long a scraper may take for a request head, and may keep a connection idle.
const HEAD: Duration = Duration::from_secs(10);
const HEAD_BYTES: usize = 16 * 1024;

/// How long a connection may last in all.
const CONNECTION: Duration = Duration::from_secs(600);

/// How long to wait after an `accept` that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound endpoint.
#[derive(Debug)]
pub(crate) enum Bound {
    Address(tokio::net::TcpListener, BearerToken),
    Probes(tokio::net::TcpListener),
    #[cfg(unix)]
    Socket(tokio::net::UnixListener, SocketFile),
}

/// A scraper's connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Bound {
    /// Tells the gate, so that nobody reaches it through the proxy.
    pub(crate) fn hide_from(&self, gate: &Gate) -> io::Result<()> {
        match self {
            Self::Address(listener, _) | Self::Probes(listener) => {
                gate.add_listener(listener.local_addr()?);
            }
            #[cfg(unix)]
            Self::Socket(_, file) => gate.add_socket_listener(file.path().to_owned()),
        }
        Ok(())
    }

    /// Where it is, in words for the log.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Address(listener, _) | Self::Probes(listener) => listener
                .local_addr()
                .map_or_else(|_| String::new(), |address| format!("http://{address}")),
            #[cfg(unix)]
            Self::Socket(_, file) => file.path().display().to_string(),
        }
    }

    /// Serves until `doors` are closed: while open connections finish, a balancer still asks, and hears that no new client
    /// is welcome.
    pub(crate) async fn run(
        self,
        metrics: Metrics,
        mut draining: watch::Receiver<bool>,
        doors: Arc<watch::Sender<()>>,
    ) {
        let slots = Arc::new(Semaphore::new(SCRAPERS));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = doors.closed() => break,
                // The handle that could say more is gone, or has said it.
                _ = draining.wait_for(|draining| *draining), if metrics.is_ready() => {
                    metrics.withdraw();
                    continue;
                }
                Some(_) = connections.join_next() => continue,
                accepted = self.accept(&slots) => accepted,
            };
            match accepted {
                Ok((stream, slot)) => {
                    let (metrics, access) = (metrics.clone(), self.access());
                    connections.spawn(async move {
                        let served = timeout(CONNECTION, serve(stream, metrics, access));
                        let _ = served.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "the metrics endpoint could not accept");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn access(&self) -> Access {
        match self {
            Self::Address(_, token) => Access::Token(token.clone()),
            Self::Probes(_) => Access::Probes,
            #[cfg(unix)]
            Self::Socket(..) => Access::Owner,
        }
    }

    async fn accept(
        &self,
        slots: &Arc<Semaphore>,
    ) -> io::Result<(Box<dyn Stream>, tokio::sync::OwnedSemaphorePermit)> {
        let slot = Arc::clone(slots)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let stream: Box<dyn Stream> = match self {
            Self::Address(listener, _) | Self::Probes(listener) => {
                Box::new(listener.accept().await?.0)
            }
            #[cfg(unix)]
            Self::Socket(listener, _) => Box::new(listener.accept().await?.0),
        };
        Ok((stream, slot))
    }
}

async fn serve(stream: Box<dyn Stream>, metrics: Metrics, access: Access) {
    let service = service_fn(move |request| {
        let response = routes::answer(&metrics, &access, &request);
        async { Ok::<_, Infallible>(response) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_header_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a scraper's connection ended");
    }
}
