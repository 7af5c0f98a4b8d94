//! The forward door: plain HTTP requests, to hosts and to unix sockets.
//!
//! [`read`] reads where a request goes; [`answer`] has it judged, forwards it and cleans the answer. An answer of 101 to an
//! upgrade that was asked for becomes a tunnel. Nothing is gathered: bodies stream both ways.

use std::sync::Arc;

use codex_network_gate::{Access, HttpOffer};
use codex_network_policy::{Protocol, SocketPath, Target};
use http::{HeaderValue, Request, Response, request};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;

use super::downstream::Downstream;
use super::exit::{Exit, Opened, Upgrade};
use crate::exchange::body::Body;
use crate::exchange::headers::{self, Destination, UNIX_SOCKET};
use crate::exchange::refusal::{self, BadRequest, Door, Reader};
use crate::exchange::seen::Seen;
use crate::exchange::{Answered, Outgoing, RequestBody};

/// A request that has been read: where it goes, and what goes there.
pub(super) struct Asked {
    destination: Destination,
    reader: Reader,
    /// What the client wants to switch to, and its stream once HTTP has ended on it.
    upgrade: Option<HeaderValue>,
    stream: OnUpgrade,
    request: Outgoing,
}

/// Reads a request that comes over `downstream`.
///
/// # Errors
/// What cannot be understood about it, and who is to be told.
pub(super) fn read(
    downstream: &Downstream,
    mut request: Request<Incoming>,
) -> Result<Asked, (BadRequest, Reader)> {
    let stream = hyper::upgrade::on(&mut request);
    let (mut parts, body) = request.into_parts();
    let seen = Seen::of(&parts.headers);
    let reader = |door| Reader::at(door, &parts.headers, seen);
    let (destination, door) =
        destination(&parts, seen).map_err(|what| (what, reader(Door::Forward)))?;
    let reader = reader(door);
    // What is left of a body would be the tunnel's first bytes, or lost.
    let upgrade = headers::wanted_upgrade(&parts, seen).filter(|_| body.is_end_stream());
    headers::forwardable(&mut parts, upgrade.clone(), &[]).map_err(|what| (what, reader))?;
    let body = RequestBody::new(body, downstream.gate.limits().body_idle);
    Ok(Asked {
        destination,
        reader,
        upgrade,
        stream,
        request: Box::new(Request::from_parts(parts, body)),
    })
}

pub(super) async fn answer(downstream: &Downstream, asked: Asked) -> Response<Body> {
    let Asked {
        destination: Destination { target, tls },
        reader,
        upgrade,
        stream,
        request,
    } = asked;
    let access = Access {
        protocol: Protocol::Http,
        target,
        method: Some(request.method().as_str()),
        upgrade: upgrade.is_some(),
        tls,
        client: Some(downstream.client),
    };
    let permit = match downstream.gate.authorize(access).await {
        Ok(permit) => permit,
        Err(denial) => return refusal::denied(&denial, reader),
    };
    let answered = downstream
        .exchange
        .answer(&permit, request, upgrade.as_ref(), HttpOffer::Http1, reader)
        .await;
    match answered {
        Answered::Response(response) => response,
        Answered::Switched(response, upstream) => {
            let upgrade = Upgrade {
                gate: Arc::clone(&downstream.gate),
                permit,
                upstream,
            };
            downstream.leave_http(Exit {
                tunnel: Opened::Upgrade(upgrade),
                stream,
            });
            response
        }
    }
}

/// A unix socket where the client names one, else a host.
fn destination(parts: &request::Parts, seen: Seen) -> Result<(Destination, Door), BadRequest> {
    if !seen.has(Seen::UNIX_SOCKET) {
        return Ok((headers::destination(parts)?, Door::Forward));
    }
    let mut sockets = parts.headers.get_all(UNIX_SOCKET).iter();
    let (Some(value), None) = (sockets.next(), sockets.next()) else {
        return Err(BadRequest::InvalidUnixSocketHeader);
    };
    let text = value
        .to_str()
        .map_err(|_| BadRequest::InvalidUnixSocketHeader)?;
    let path = SocketPath::requested(text).map_err(|_| BadRequest::InvalidUnixSocketHeader)?;
    Ok((
        Destination {
            target: Target::Unix(path),
            tls: false,
        },
        Door::UnixSocket,
    ))
}
