//! The forward door: plain HTTP requests, to hosts and to unix sockets.
//!
//! [`handle`] reads where a request goes, has it judged, forwards it and cleans the answer. An answer of 101 to an
//! upgrade that was asked for becomes a tunnel. Nothing is gathered: bodies stream both ways.

use std::sync::Arc;

use codex_network_gate::{Access, HttpOffer};
use codex_network_policy::{Protocol, SocketPath, Target};
use http::{Request, Response, request};
use hyper::body::{Body as _, Incoming};

use super::downstream::Downstream;
use super::exit::{Exit, Opened, Upgrade};
use crate::exchange::Answered;
use crate::exchange::body::Body;
use crate::exchange::headers::{self, Destination, UNIX_SOCKET};
use crate::exchange::refusal::{self, BadRequest, Door, Reader};

pub(super) async fn handle(
    downstream: &Downstream,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let stream = hyper::upgrade::on(&mut request);
    let (mut parts, body) = request.into_parts();
    let (Destination { target, tls }, door) = match destination(&parts) {
        Ok(found) => found,
        Err(what) => {
            let reader = Reader::at(Door::Forward, &parts.headers);
            return refusal::bad_request(what, reader);
        }
    };
    let reader = Reader::at(door, &parts.headers);
    // What is left of a body would be the tunnel's first bytes, or lost.
    let upgrade = headers::wanted_upgrade(&parts).filter(|_| body.is_end_stream());
    if let Err(what) = headers::forwardable(&mut parts, upgrade.clone(), &[]) {
        return refusal::bad_request(what, reader);
    }
    let access = Access {
        protocol: Protocol::Http,
        target,
        method: Some(parts.method.as_str()),
        upgrade: upgrade.is_some(),
        tls,
        client: Some(downstream.client),
    };
    let permit = match downstream.gate.authorize(access).await {
        Ok(permit) => permit,
        Err(denial) => return refusal::denied(&denial, reader),
    };
    let request = Request::from_parts(parts, body);
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
fn destination(parts: &request::Parts) -> Result<(Destination, Door), BadRequest> {
    let mut sockets = parts.headers.get_all(UNIX_SOCKET).iter();
    let Some(value) = sockets.next() else {
        return Ok((headers::destination(parts)?, Door::Forward));
    };
    if sockets.next().is_some() {
        return Err(BadRequest::InvalidUnixSocketHeader);
    }
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
