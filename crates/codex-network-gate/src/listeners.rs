//! The proxy's own listeners, which are never a target and never a parent.
//!
//! [`Listeners`] is told each address and each socket that is bound and says of an address that is about to be dialled
//! whether it would lead back to us, in whichever spelling. Of sockets it gives the list: who opens one follows its links. It deliberately judges nothing else and knows no names.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

/// What one proxy is bound to.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    addresses: RwLock<Vec<SocketAddr>>,
    sockets: RwLock<Vec<PathBuf>>,
}

impl Listeners {
    pub(crate) fn add(&self, address: SocketAddr) {
        self.addresses
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(address);
    }

    pub(crate) fn add_socket(&self, path: PathBuf) {
        self.sockets
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(path);
    }

    /// The unix sockets.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        let sockets = self.sockets.read();
        sockets.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a connection to `target` would reach one of these listeners.
    pub(crate) fn contain(&self, target: SocketAddr) -> bool {
        let listeners = self
            .addresses
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        listeners.iter().any(|listener| leads_to(*listener, target))
    }
}

/// Whether a connection to `target` would reach `listener`. Every loopback address counts as every other: which of
/// them a system hands to which listener is not worth a guess.
pub(crate) fn leads_to(listener: SocketAddr, target: SocketAddr) -> bool {
    // An IPv4-mapped address is dialled as IPv4, so it has to be compared as that.
    let ip = target.ip().to_canonical();
    listener.port() == target.port()
        && (ip == listener.ip().to_canonical()
            || ip.is_loopback()
            || ip.is_unspecified()
            || (listener.ip().is_unspecified() && is_of_this_machine(target)))
}

/// Whether this machine owns the address: only then can something be bound to it. The scope of a link-local
/// address stays with it, without which there is nothing to bind to.
fn is_of_this_machine(mut address: SocketAddr) -> bool {
    address.set_port(0);
    UdpSocket::bind(address).is_ok()
}

#[cfg(test)]
mod tests;
