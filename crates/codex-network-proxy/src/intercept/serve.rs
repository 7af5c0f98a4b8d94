//! HTTP with the client of an opened tunnel, in the version that was agreed on, for as long as the policy permits the
//! tunnel.
//!
//! [`serve`] drives hyper's server over the client's TLS and hands each request to the [`Session`]. A connection that
//! has been quiet for long, or whose proxy drains, is ended in the way of its version. Nothing is judged here.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use codex_network_gate::{Limits, Permit};
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{Method, Request, Response, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::leftovers::Leftovers;
use super::session::{Reply, Session};
use crate::deadline::HeadTimer;
use crate::drain;
use crate::exchange::body::Body;
use crate::exchange::{Switched, into_stream};
use crate::relay::Relay;
use crate::watch::Watch;

/// How many requests a client may have under way at once. Fewer than a hundred would surprise clients.
const STREAMS: u32 = 128;

/// How many bytes of requests may be under way to us on one stream, and on all streams of a connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How much of an answer may wait for a client that reads slowly, on each stream.
const SEND_BYTES: usize = 64 * 1024;

/// How an upgraded connection goes on: with the origin's side, and ours once HTTP has ended on it.
struct Exit {
    permit: Permit,
    upstream: Switched,
    downstream: OnUpgrade,
}

/// Serves the client until it leaves, or a new policy forbids the tunnel.
pub(super) async fn serve<S>(
    session: Session,
    stream: TlsStream<S>,
    draining: watch::Receiver<bool>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let session = Arc::new(session);
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        let served = serve_http2(Arc::clone(&session), stream, draining);
        return session.watch.run(Box::pin(served)).await;
    }
    let exit = Arc::<Mutex<Option<Exit>>>::default();
    let served = serve_http1(Arc::clone(&session), stream, draining, Arc::clone(&exit));
    session.watch.run(Box::pin(served)).await?;
    let exit = exit.lock().unwrap_or_else(PoisonError::into_inner).take();
    match exit {
        Some(exit) => relay::<S>(&session, exit).await,
        None => Ok(()),
    }
}

async fn serve_http1<S>(
    session: Arc<Session>,
    stream: TlsStream<S>,
    mut draining: watch::Receiver<bool>,
    exit: Arc<Mutex<Option<Exit>>>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = session.gate().limits().clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (session, exit) = (Arc::clone(&session), Arc::clone(&exit));
        async move {
            let downstream = hyper::upgrade::on(&mut request);
            // What is unread of a refused request is the library's to deal with: HTTP/1.1 has one on a connection.
            let Reply {
                response, switched, ..
            } = session.answer(request).await;
            if let Some((permit, upstream)) = switched {
                *exit.lock().unwrap_or_else(PoisonError::into_inner) = Some(Exit {
                    permit,
                    upstream,
                    downstream,
                });
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(HeadTimer::new())
        .header_read_timeout(limits.request_head)
        .max_header_size(limits.request_head_bytes)
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = match drain::unless_begun(connection.as_mut(), &mut draining).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(io::Error::other)
}

async fn serve_http2<S>(
    session: Arc<Session>,
    stream: TlsStream<S>,
    draining: watch::Receiver<bool>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = session.gate().limits().clone();
    let heard = Arc::<Notify>::default();
    let hears = Arc::clone(&heard);
    let leftovers = Arc::new(Leftovers::new(limits.farewell));
    let service = service_fn(move |request: Request<Incoming>| {
        hears.notify_one();
        let (session, leftovers) = (Arc::clone(&session), Arc::clone(&leftovers));
        async move { Ok::<_, Infallible>(answer_http2(&session, &leftovers, request).await) }
    });
    let connection = http2_builder(&limits).serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ends(&heard, limits.request_head, draining) => {
            // Streams that are under way come to their end; new ones need a new connection.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ended.map_err(io::Error::other)
}

/// Everything that a client could fill us with has a limit: streams, heads, bodies, answers that it does not read, resets
/// (for which the library's own limits stand).
fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(limits.request_head_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BYTES)
        // A client that has vanished is noticed by this.
        .keep_alive_interval(limits.keepalive)
        .keep_alive_timeout(limits.handshake);
    builder
}

async fn answer_http2(
    session: &Session,
    leftovers: &Leftovers,
    request: Request<Incoming>,
) -> Response<Body> {
    let asks_for_head = request.method() == Method::HEAD;
    // Nothing can be switched in HTTP/2: what asks for it has no effect, and is not passed on.
    let Reply {
        mut response,
        unread,
        ..
    } = session.answer(request).await;
    if let Some(unread) = unread {
        leftovers.discard(unread);
    }
    *response.version_mut() = Version::HTTP_2;
    response.headers_mut().remove(CONNECTION);
    if asks_for_head {
        leave_body_out(&mut response);
    }
    response
}

/// Makes an answer one to HEAD, which the library does in HTTP/1.1 only. Clients of HTTP/2 end the stream over a body here.
fn leave_body_out(response: &mut Response<Body>) {
    let body = std::mem::replace(response.body_mut(), Body::empty());
    // An origin's answer says itself how long it would be.
    if let (Body::Own(_), Some(length)) = (&body, body.size_hint().exact()) {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
}

/// Returns when no request has been heard for `quiet`, or the proxy drains.
async fn ends(heard: &Notify, quiet: Duration, mut draining: watch::Receiver<bool>) {
    let quieted = async { while timeout(quiet, heard.notified()).await.is_ok() {} };
    tokio::select! {
        () = quieted => {}
        () = drain::began(&mut draining) => {}
    }
}

/// Relays what became of an upgraded connection.
async fn relay<S>(session: &Session, exit: Exit) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Exit {
        permit,
        upstream,
        downstream,
    } = exit;
    let (Ok(downstream), Some(upstream)) = (downstream.await, upstream.connection().await) else {
        // One side has gone before it had read the answer.
        return Ok(());
    };
    let (downstream, early) = into_stream::<TokioIo<TlsStream<S>>>(downstream)
        .map_err(|_| io::Error::other("the stream is not the client's"))?;
    let watch = Watch {
        gate: Arc::clone(session.gate()),
        permit,
        method: Some("GET"),
        upgrade: true,
        server_name: OnceLock::new(),
    };
    let limits = watch.gate.limits();
    let (idle, half_closed) = (limits.tunnel_idle, limits.tunnel_half_closed);
    let relay = Relay::new(downstream.into_inner(), upstream, &early, idle, half_closed);
    watch.run(relay).await
}
