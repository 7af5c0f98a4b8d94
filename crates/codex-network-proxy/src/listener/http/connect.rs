//! The CONNECT door: policy, then the dial, then 200.
//!
//! [`handle`] answers one CONNECT; an accepted one leaves its tunnel in the connection's exit. What the client
//! sends along stays in the connection's buffer until the tunnel runs, and is dropped with a refusal.

use std::sync::Arc;

use codex_network_gate::Access;
use codex_network_policy::Protocol;
use http::{Request, Response};
use hyper::body::Incoming;

use super::downstream::Downstream;
use super::exit::{Exit, Opened};
use crate::error::chain;
use crate::exchange::ExchangeError;
use crate::exchange::body::Body;
use crate::exchange::headers::connect_target;
use crate::exchange::refusal::{self, Door};
use crate::tunnel::Tunnel;

const METHOD: &str = "CONNECT";

pub(super) async fn handle(
    downstream: &Downstream,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let stream = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let target = match connect_target(&parts) {
        Ok(target) => target,
        Err(what) => return refusal::bad_request(what),
    };
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
    let permit = match gate.authorize(access).await {
        Ok(permit) => permit,
        Err(denial) => return refusal::denied(&denial, Door::Connect),
    };
    match gate.upstream().open(&permit).await {
        Ok(upstream) => {
            let gate = Arc::clone(gate);
            let tunnel = Tunnel {
                gate,
                permit,
                upstream,
                method: Some(METHOD),
                upgrade: false,
            };
            downstream.leave_http(Exit {
                tunnel: Opened::Connect(tunnel),
                stream,
            });
            refusal::tunnel_accepted()
        }
        Err(error) => {
            tracing::info!(target = %permit, error = %chain(&error), "upstream failed");
            refusal::upstream_failure(&ExchangeError::Upstream(error), Door::Connect)
        }
    }
}
