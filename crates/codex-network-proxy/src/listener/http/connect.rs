//! The CONNECT door: policy, then the dial, then 200.
//!
//! [`handle`] answers one CONNECT; an accepted one leaves its tunnel in the connection's exit. What the client
//! sends along stays in the connection's buffer until the tunnel runs, and is dropped with a refusal.

use std::sync::Arc;

use codex_network_gate::{Access, Breach, chain};
use codex_network_policy::Protocol;
use http::{Request, Response, request};
use hyper::body::Incoming;

use super::downstream::Downstream;
use super::exit::{Exit, Opened};
use crate::exchange::ExchangeError;
use crate::exchange::body::Body;
use crate::exchange::headers::connect_target;
use crate::exchange::refusal::{self, Door, Reader};
use crate::exchange::seen::Seen;
use crate::tunnel::{Opener, Tunnel};

const METHOD: &str = "CONNECT";

pub(super) async fn handle(
    downstream: &Downstream,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let stream = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let (response, tunnel) = match open(downstream, parts).await {
        Ok(tunnel) => (refusal::tunnel_accepted(), Opened::Connect(tunnel)),
        Err(response) => (response, Opened::Nothing),
    };
    downstream.leave_http(Exit { tunnel, stream });
    response
}

/// The tunnel, or the answer that says why there is none.
async fn open(downstream: &Downstream, parts: request::Parts) -> Result<Tunnel, Response<Body>> {
    let reader = Reader::at(Door::Connect, &parts.headers, Seen::of(&parts.headers));
    let target = connect_target(&parts).map_err(|what| refusal::bad_request(what, reader))?;
    drop(parts);
    let access = Access {
        protocol: Protocol::HttpsConnect,
        target,
        method: Some(METHOD),
        upgrade: false,
        tls: false,
        client: Some(downstream.client),
    };
    let gate = &downstream.gate;
    let permit = gate.authorize(access).await;
    let permit = permit.map_err(|denial| refusal::denied(&denial, reader))?;
    let upstream = match &downstream.interceptor {
        // A kept connection to the origin is as good as a new one.
        Some(interceptor) if permit.is_intercepted() && interceptor.is_reached(&permit) => None,
        Some(_) | None => match gate.upstream().open(&permit).await {
            Ok(upstream) => Some(upstream),
            Err(error) => {
                tracing::info!(target = %permit, error = %chain(&error), "upstream failed");
                let error = ExchangeError::Upstream(error);
                return Err(refusal::upstream_failure(&error, reader));
            }
        },
    };
    let gate = Arc::clone(gate);
    match (&downstream.interceptor, upstream, permit.is_intercepted()) {
        (Some(interceptor), upstream, true) => {
            let opener = Opener {
                interceptor: Arc::clone(interceptor),
                upstream,
                draining: downstream.draining.clone(),
            };
            Ok(Tunnel::opened(gate, permit, opener, METHOD))
        }
        (_, Some(upstream), false) => Ok(Tunnel::new(gate, permit, upstream, Some(METHOD))),
        // Nothing is relayed that should have been opened.
        (None, _, true) | (_, None, false) => {
            let denial = gate.refuse_breach(&permit, Breach::NotTls, None);
            Err(refusal::denied(&denial, reader))
        }
    }
}
