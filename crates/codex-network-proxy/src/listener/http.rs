//! The HTTP listener: HTTP/1.1 and 1.0 clients, forward requests and CONNECT.
//!
//! [`HttpListener`] parses with hyper and hands each request to its door. A request that opens a tunnel leaves it
//! in the connection's [`Exit`], and the tunnel runs when HTTP has ended on the connection. Nothing is judged
//! here.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use codex_network_gate::Gate;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{FIRST_WORDS, Serve};
use crate::authority::leaf::Leaves;
use crate::deadline::HeadTimer;
use crate::drain;
use crate::exchange::Exchange;
use crate::exchange::body::Body;
use crate::exchange::refusal::{self, BadRequest, Reader};
use crate::intercept::Interceptor;
use crate::meters::Meters;
use crate::patience::Patient;

mod connect;
mod downstream;
mod exit;
mod forward;

use downstream::Downstream;

/// Serves the connections of the HTTP listener.
#[derive(Clone, Debug)]
pub(crate) struct HttpListener {
    gate: Arc<Gate>,
    exchange: Arc<Exchange>,
    interceptor: Option<Arc<Interceptor>>,
}

impl HttpListener {
    /// `leaves` sign for the tunnels that are opened, where there is an authority.
    pub(crate) fn new(gate: Arc<Gate>, leaves: Option<Leaves>, meters: Arc<Meters>) -> Self {
        let exchange = Arc::new(Exchange::new(Arc::clone(&gate), meters));
        let interceptor =
            leaves.map(|leaves| Arc::new(Interceptor::new(Arc::clone(&exchange), leaves)));
        Self {
            gate,
            exchange,
            interceptor,
        }
    }
}

impl HttpListener {
    /// Closes idle upstream connections until `draining` becomes true.
    pub(crate) async fn close_idle(self, mut draining: watch::Receiver<bool>) {
        tokio::select! {
            () = self.exchange.close_idle() => {}
            () = drain::began(&mut draining) => {}
        }
    }
}

impl Serve for HttpListener {
    async fn serve(self, stream: TcpStream, client: SocketAddr, draining: watch::Receiver<bool>) {
        let downstream = Arc::new(Downstream::new(
            self.gate,
            self.exchange,
            self.interceptor,
            client,
            draining.clone(),
        ));
        // Boxed, so that a tunnel does not carry the memory of the HTTP that opened it.
        let http = Box::pin(async move {
            serve_http(stream, Arc::clone(&downstream), draining).await;
            let exit = downstream.exit();
            drop(downstream);
            exit?.tunnel().await
        });
        if let Some(tunnel) = http.await
            && let Err(error) = tunnel.await
        {
            tracing::debug!(%error, "a tunnel ended");
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
        .timer(HeadTimer::new())
        .header_read_timeout(limits.request_head)
        .max_header_size(limits.request_head_bytes)
        .preserve_header_case(true);
    let stream = Patient::new(stream, limits);
    let asked = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let asked = Arc::clone(&asked);
        move |request| {
            asked.store(true, Ordering::Relaxed);
            handle(Arc::clone(&downstream), request)
        }
    });
    let connection = builder
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = match drain::unless_begun(connection.as_mut(), &mut draining).await {
        Some(ended) => ended,
        None => {
            // A client that has only just connected is about to ask, and shall have its answer.
            let begun = poll_fn(|cx| match connection.as_mut().poll(cx) {
                Poll::Ready(ended) => Poll::Ready(Some(ended)),
                Poll::Pending if asked.load(Ordering::Relaxed) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            match timeout(FIRST_WORDS, begun).await {
                Ok(Some(ended)) => ended,
                Ok(None) | Err(_) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection ended");
    }
}

/// The library moves this future with each request, so that what is read is read before, and what is seldom is boxed.
fn handle(
    downstream: Arc<Downstream>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> {
    let asked = if request.method() == Method::CONNECT {
        Asked::Connect(request.into())
    } else {
        match forward::read(&downstream, request) {
            Ok(asked) => Asked::Forward(asked),
            Err((what, reader)) => Asked::Nonsense(what, reader),
        }
    };
    async move {
        Ok(match asked {
            Asked::Connect(request) => Box::pin(connect::handle(&downstream, *request)).await,
            Asked::Forward(asked) => forward::answer(&downstream, asked).await,
            Asked::Nonsense(what, reader) => refusal::bad_request(what, reader),
        })
    }
}

/// What a request asks for.
enum Asked {
    Connect(Box<Request<Incoming>>),
    Forward(forward::Asked),
    /// Nothing that can be understood.
    Nonsense(BadRequest, Reader),
}
