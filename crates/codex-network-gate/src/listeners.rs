//! The proxy's own listeners, which are never a target and never a parent.
//!
//! [`Listeners`] is told each address that is bound and says of an address that is about to be dialled whether it
//! would lead back to us, in whichever spelling. It deliberately judges nothing else and knows no names.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{PoisonError, RwLock};

/// The bound addresses of one proxy.
#[derive(Debug, Default)]
pub(crate) struct Listeners(RwLock<Vec<SocketAddr>>);

impl Listeners {
    pub(crate) fn add(&self, address: SocketAddr) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(address);
    }

    /// Whether a connection to `target` would reach one of these listeners.
    pub(crate) fn contain(&self, target: SocketAddr) -> bool {
        let listeners = self.0.read().unwrap_or_else(PoisonError::into_inner);
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
