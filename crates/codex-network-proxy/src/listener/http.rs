//! The HTTP listener: HTTP/1.1 and 1.0 clients, forward requests and CONNECT.
//!
//! [`HttpListener`] parses with hyper and hands each request to its door. A request that opens a tunnel leaves it
//! in the connection's [`Exit`], and the tunnel runs when HTTP has ended on the connection. Nothing is judged
//! here.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use codex_network_gate::Gate;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Serve;
use crate::exchange::Exchange;
use crate::exchange::body::Body;
use crate::tunnel::Tunnel;

mod connect;
mod forward;

/// Serves the connections of the HTTP listener.
#[derive(Clone, Debug)]
pub(crate) struct HttpListener {
    gate: Arc<Gate>,
    exchange: Arc<Exchange>,
}

impl HttpListener {
    pub(crate) fn new(gate: Arc<Gate>) -> Self {
        let exchange = Arc::new(Exchange::new(Arc::clone(&gate)));
        Self { gate, exchange }
    }
}

impl HttpListener {
    /// Closes idle upstream connections until `draining` becomes true.
    pub(crate) async fn close_idle(self, mut draining: watch::Receiver<bool>) {
        tokio::select! {
            () = self.exchange.close_idle() => {}
            () = super::began_draining(&mut draining) => {}
        }
    }
}

/// What the doors know of the connection that a request came on.
#[derive(Debug)]
struct Downstream {
    gate: Arc<Gate>,
    exchange: Arc<Exchange>,
    client: SocketAddr,
    exit: Mutex<Option<Exit>>,
}

/// How a connection leaves HTTP: the tunnel that was opened, and the stream once it is free.
#[derive(Debug)]
struct Exit {
    tunnel: Opened,
    stream: OnUpgrade,
}

/// An opened tunnel: its upstream is at hand, or comes when its HTTP has ended too.
#[derive(Debug)]
enum Opened {
    Connect(Tunnel),
    Upgrade(forward::Upgrade),
}

impl Downstream {
    fn leave_http(&self, exit: Exit) {
        *self.exit.lock().unwrap_or_else(PoisonError::into_inner) = Some(exit);
    }

    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, hyper::Error> {
        if request.method() == Method::CONNECT {
            Ok(connect::handle(&self, request).await)
        } else {
            Ok(forward::handle(&self, request).await)
        }
    }
}

impl Serve for HttpListener {
    async fn serve(self, stream: TcpStream, client: SocketAddr, draining: watch::Receiver<bool>) {
        let downstream = Arc::new(Downstream {
            gate: self.gate,
            exchange: self.exchange,
            client,
            exit: Mutex::default(),
        });
        // Boxed, so that a tunnel does not carry the memory of the HTTP that opened it.
        Box::pin(serve_http(stream, Arc::clone(&downstream), draining)).await;
        let exit = downstream
            .exit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(downstream);
        if let Some(exit) = exit {
            run_tunnel(exit).await;
        }
    }
}

async fn serve_http(
    stream: TcpStream,
    downstream: Arc<Downstream>,
    mut draining: watch::Receiver<bool>,
) {
    let limits = downstream.gate.limits();
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request_head)
        .max_header_size(limits.request_head_bytes)
        .preserve_header_case(true)
        .pipeline_flush(true);
    let service = service_fn(move |request| Arc::clone(&downstream).handle(request));
    let connection = builder
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = super::began_draining(&mut draining) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection ended");
    }
}

async fn run_tunnel(Exit { tunnel, stream }: Exit) {
    let Ok(upgraded) = stream.await else {
        // The client went away before it had read our answer.
        return;
    };
    let tunnel = match tunnel {
        Opened::Connect(tunnel) => tunnel,
        Opened::Upgrade(upgrade) => match upgrade.tunnel().await {
            Some(tunnel) => tunnel,
            None => return,
        },
    };
    let ended = match into_stream::<TokioIo<TcpStream>>(upgraded) {
        Ok((stream, early)) => tunnel.run(stream.into_inner(), early).await,
        Err(upgraded) => tunnel.run(TokioIo::new(upgraded), Bytes::new()).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a tunnel ended");
    }
}

/// The stream beneath hyper, and what it had read beyond the head.
fn into_stream<T>(upgraded: Upgraded) -> Result<(T, Bytes), Upgraded>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let parts = upgraded.downcast::<T>()?;
    Ok((parts.io, parts.read_buf))
}
