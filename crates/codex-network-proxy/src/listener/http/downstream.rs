//! What the HTTP doors know of the connection that a request came on.
//!
//! [`Downstream`] is shared by the requests of one connection. It judges nothing.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use codex_network_gate::Gate;
use tokio::sync::watch;

use super::exit::Exit;
use crate::exchange::Exchange;
use crate::intercept::Interceptor;

/// What the doors know of the connection that a request came on.
#[derive(Debug)]
pub(super) struct Downstream {
    pub(super) gate: Arc<Gate>,
    pub(super) exchange: Arc<Exchange>,
    /// Opens tunnels, where there is an authority to sign for them.
    pub(super) interceptor: Option<Arc<Interceptor>>,
    pub(super) client: SocketAddr,
    pub(super) draining: watch::Receiver<bool>,
    exit: Mutex<Option<Exit>>,
}

impl Downstream {
    pub(super) fn new(
        gate: Arc<Gate>,
        exchange: Arc<Exchange>,
        interceptor: Option<Arc<Interceptor>>,
        client: SocketAddr,
        draining: watch::Receiver<bool>,
    ) -> Self {
        Self {
            gate,
            exchange,
            interceptor,
            client,
            draining,
            exit: Mutex::default(),
        }
    }

    pub(super) fn leave_http(&self, exit: Exit) {
        *self.exit.lock().unwrap_or_else(PoisonError::into_inner) = Some(exit);
    }

    /// The way out of HTTP that a request has opened, once HTTP has ended.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.exit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
