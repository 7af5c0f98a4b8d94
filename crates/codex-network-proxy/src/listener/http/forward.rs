//! The forward door: plain HTTP requests, to hosts and to unix sockets.
//!
//! [`handle`] reads where a request goes, has it judged, forwards it and cleans the answer. An answer of 101 to an
//! upgrade that was asked for becomes a tunnel. Nothing is gathered: bodies stream both ways.

use std::sync::Arc;

use codex_network_gate::{Access, chain};
use codex_network_policy::{Protocol, SocketPath, Target};
use http::header::UPGRADE;
use http::{HeaderValue, Request, Response, StatusCode, request};
use hyper::body::{Body as _, Incoming};

use super::downstream::Downstream;
use super::exit::{Exit, Opened, Upgrade};
use crate::exchange::body::Body;
use crate::exchange::headers::{self, Destination, UNIX_SOCKET};
use crate::exchange::refusal::{self, BadRequest, Door};

pub(super) async fn handle(
    downstream: &Downstream,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let stream = hyper::upgrade::on(&mut request);
    let (mut parts, body) = request.into_parts();
    let (Destination { target, tls }, door) = match destination(&parts) {
        Ok(found) => found,
        Err(what) => return refusal::bad_request(what),
    };
    // What is left of a body would be the tunnel's first bytes, or lost.
    let upgrade = headers::wanted_upgrade(&parts).filter(|_| body.is_end_stream());
    if let Err(what) = headers::forwardable(&mut parts, upgrade.clone()) {
        return refusal::bad_request(what);
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
        Err(denial) => return refusal::denied(&denial, door),
    };
    let request = Request::from_parts(parts, body);
    let answer = downstream
        .exchange
        .forward(&permit, request, upgrade.is_some())
        .await;
    let mut response = match answer {
        Ok(response) => response,
        Err(error) => {
            tracing::info!(target = %permit, error = %chain(&error), "upstream failed");
            return refusal::upstream_failure(&error, door);
        }
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let answered = hyper::upgrade::on(&mut response);
        if !is_asked_for(upgrade.as_ref(), response.headers().get(UPGRADE)) {
            tracing::info!(target = %permit, "the origin switched protocols unasked");
            return refusal::unexpected_answer(door);
        }
        let upgrade = Upgrade {
            gate: Arc::clone(&downstream.gate),
            permit,
            upstream: answered,
            client: downstream.client,
        };
        downstream.leave_http(Exit {
            tunnel: Opened::Upgrade(upgrade),
            stream,
        });
        headers::clean_response(response.headers_mut(), true);
        return response;
    }
    if !headers::is_plainly_framed(response.headers()) {
        tracing::info!(target = %permit, "the origin's answer has a transfer coding that is not ours to undo");
        return refusal::unexpected_answer(door);
    }
    headers::clean_response(response.headers_mut(), false);
    response
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

/// Whether the origin switched to one of the protocols that the client offered.
fn is_asked_for(asked: Option<&HeaderValue>, answered: Option<&HeaderValue>) -> bool {
    let (Some(asked), Some(answered)) = (asked, answered) else {
        return false;
    };
    let (Ok(asked), Ok(answered)) = (asked.to_str(), answered.to_str()) else {
        return false;
    };
    asked
        .split(',')
        .any(|asked| asked.trim().eq_ignore_ascii_case(answered.trim()))
}
