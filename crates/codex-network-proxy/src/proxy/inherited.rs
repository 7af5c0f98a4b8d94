//! Sockets that somebody else has bound and handed over: systemd, or the process before this one.
//!
//! Main type: [`Inherited`]. Comes in: listening sockets; goes out: the listeners of a proxy's first run. Their backlog
//! outlives the proxy, so that a restart refuses nobody. What the configuration says of addresses holds for them as well,
//! and one that it does not permit is an error, not another address.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use super::{NetworkProxy, Reserved};
use crate::error::{Error, ErrorKind};
use crate::listener::Listener;

/// Sockets to listen on. A clone shares them.
#[derive(Clone, Debug, Default)]
pub(super) struct Inherited {
    pub(super) http: Option<Arc<TcpListener>>,
    pub(super) socks: Option<Arc<TcpListener>>,
}

impl NetworkProxy {
    /// Takes the sockets for its first run. Must be called within a runtime.
    pub(super) fn inherit(&mut self, sockets: &Inherited) -> Result<(), Error> {
        let Inherited { http, socks } = sockets;
        if http.is_none() && socks.is_none() {
            return Ok(());
        }
        let adopt = |name, socket: &Option<Arc<TcpListener>>, expected| {
            let Some(socket) = socket else {
                return Ok(None);
            };
            let (listener, address) = adopt(name, socket, expected)?;
            self.gate.add_listener(address);
            Ok(Some(listener))
        };
        let reserved = Reserved {
            http: adopt("HTTP", http, Some(self.configured.http))?,
            socks: adopt("SOCKS5", socks, self.configured.socks)?,
        };
        self.reserved = Arc::new(Mutex::new(reserved));
        Ok(())
    }
}

fn adopt(
    name: &str,
    socket: &TcpListener,
    expected: Option<SocketAddr>,
) -> Result<(Listener, SocketAddr), Error> {
    let adopted = Listener::adopt(socket).and_then(|listener| {
        let address = listener.address()?;
        Ok((listener, address))
    });
    let (listener, address) = adopted.map_err(|error| {
        let message = format!("the {name} socket that was handed over cannot be listened on");
        Error::new(ErrorKind::Bind, message, error)
    })?;
    if expected == Some(address) {
        return Ok((listener, address));
    }
    let why = match expected {
        Some(_) => "set `dangerously_allow_non_loopback_proxy` to listen where other machines are",
        None => "`enable_socks5` is false",
    };
    let message = format!("the {name} socket that was handed over listens at {address}: {why}");
    let source = std::io::Error::other("the configuration does not permit this address");
    Err(Error::new(ErrorKind::Config, message, source))
}
