//! One client inside of one opened tunnel: each of its requests, judged and answered (SPEC section E4).
//!
//! [`Session::answer`] holds what a request says about its target to the tunnel's, has it judged, and forwards it. It is
//! the intercepted door's counterpart of the forward door, and gathers nothing either.

use std::sync::Arc;

use codex_network_gate::{Breach, Gate, HttpOffer, InnerRequest, Permit};
use http::{Method, Request, Response};
use hyper::body::{Body as _, Incoming};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::exchange::body::Body;
use crate::exchange::headers::{self, inside};
use crate::exchange::refusal::{self, Door, Reader};
use crate::exchange::seen::Seen;
use crate::exchange::{Answered, Exchange, ExchangeError, RequestBody, Switched};
use crate::watch::Watch;

/// One client inside of one opened tunnel.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) exchange: Arc<Exchange>,
    /// The tunnel's terms.
    pub(super) watch: Watch,
    /// What an origin is offered that has to be dialled again.
    pub(super) offer: HttpOffer,
    /// Where each request takes a connection to the origin, those beyond a few wait for their turn.
    pub(super) turns: Arc<Semaphore>,
}

/// An answer, and what is left over.
pub(super) struct Reply {
    pub(super) response: Response<Body>,
    /// Of the connection, where the origin has let it go with a 101.
    pub(super) switched: Option<(Permit, Switched)>,
    /// Of the request, where it went nowhere.
    pub(super) unread: Option<Incoming>,
}

impl Reply {
    fn refusal(response: Response<Body>, unread: Incoming) -> Self {
        Self {
            response,
            switched: None,
            unread: Some(unread),
        }
    }
}

impl Session {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (mut parts, body) = request.into_parts();
        let seen = Seen::of(&parts.headers);
        let reader = Reader::at(Door::Inside, &parts.headers, seen);
        if parts.method == Method::CONNECT {
            return self.refuse(Breach::InnerConnect, &parts.method, reader, body);
        }
        let tunnel = &self.watch.permit;
        if !inside::names_only(&parts, tunnel.target()) {
            return self.refuse(Breach::HostMismatch, &parts.method, reader, body);
        }
        // What is left of a body would be the upgraded connection's first bytes, or lost.
        let upgrade = headers::wanted_upgrade(&parts, seen).filter(|_| body.is_end_stream());
        if let Err(what) = inside::write_for(&mut parts, tunnel.target(), upgrade.clone()) {
            return Reply::refusal(refusal::bad_request(what, reader), body);
        }
        let judged = self.gate().authorize_within(
            tunnel,
            InnerRequest {
                method: parts.method.as_str(),
                upgrade: upgrade.is_some(),
            },
        );
        let permit = match judged {
            Ok(permit) => permit,
            Err(denial) => return Reply::refusal(refusal::denied(&denial, reader), body),
        };
        let turn = Arc::clone(&self.turns).acquire_owned();
        let Ok(Ok(turn)) = timeout(self.gate().limits().response_head, turn).await else {
            let failure = refusal::upstream_failure(&ExchangeError::Timeout, reader);
            return Reply::refusal(failure, body);
        };
        let body = RequestBody::new(body, self.gate().limits().body_idle);
        let request = Box::new(Request::from_parts(parts, body));
        let answered = self
            .exchange
            .answer(&permit, request, upgrade.as_ref(), self.offer, reader)
            .await;
        let (response, switched) = match answered {
            Answered::Response(response) => (response.map(|body| body.holding(turn)), None),
            Answered::Switched(response, switched) => (response, Some((permit, switched))),
        };
        Reply {
            response,
            switched,
            unread: None,
        }
    }

    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.watch.gate
    }

    fn refuse(&self, breach: Breach, method: &Method, reader: Reader, body: Incoming) -> Reply {
        let denial = self
            .gate()
            .refuse_breach(&self.watch.permit, breach, Some(method.as_str()));
        Reply::refusal(refusal::breach(&denial, reader), body)
    }
}
