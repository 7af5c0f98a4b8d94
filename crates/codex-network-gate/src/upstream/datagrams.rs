//! The upstream sockets of a UDP association.
//!
//! [`Datagrams::send`] takes a [`Permit`] with every datagram. What comes back is handed over with its sender;
//! the association passes on only what comes from an address that it has dialled.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;

use crate::meter::Traffic;
use crate::permit::Permit;

/// One unconnected socket of each address family that the machine has.
#[derive(Debug)]
pub struct Datagrams {
    ipv4: Option<UdpSocket>,
    ipv6: Option<UdpSocket>,
    traffic: Arc<Traffic>,
}

impl Datagrams {
    pub(super) fn bind(traffic: Arc<Traffic>) -> io::Result<Self> {
        let ipv4 = bind((Ipv4Addr::UNSPECIFIED, 0).into());
        let ipv6 = bind((Ipv6Addr::UNSPECIFIED, 0).into());
        match (ipv4, ipv6) {
            (Err(error), Err(_)) => Err(error),
            (ipv4, ipv6) => Ok(Self {
                ipv4: ipv4.ok(),
                ipv6: ipv6.ok(),
                traffic,
            }),
        }
    }

    /// Sends `payload` to the permit's target, to the first of its addresses that the system can send to.
    ///
    /// # Errors
    /// The last error where no address could be sent to; a permit without addresses sends nothing.
    #[expect(
        clippy::disallowed_methods,
        reason = "the sender of datagrams: only to a Permit's addresses"
    )]
    pub async fn send(&self, permit: &Permit, payload: &[u8]) -> io::Result<SocketAddr> {
        let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in permit.addresses() {
            let socket = if address.is_ipv4() {
                &self.ipv4
            } else {
                &self.ipv6
            };
            let Some(socket) = socket else { continue };
            match socket.send_to(payload, address).await {
                Ok(sent) => {
                    self.traffic.sent.add(sent as u64);
                    return Ok(address);
                }
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    /// Receives one datagram from whoever sent it.
    ///
    /// # Errors
    /// What the system reports; an unreachable peer of an earlier datagram may be such an error.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = self.receive_from_any(buffer).await?;
        self.traffic.received.add(received.0 as u64);
        Ok(received)
    }

    async fn receive_from_any(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match (&self.ipv4, &self.ipv6) {
            (Some(ipv4), Some(ipv6)) => loop {
                // Readiness first, so that both families can share one buffer.
                let socket = tokio::select! {
                    ready = ipv4.readable() => { ready?; ipv4 }
                    ready = ipv6.readable() => { ready?; ipv6 }
                };
                match socket.try_recv_from(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    received => return received,
                }
            },
            (Some(socket), None) | (None, Some(socket)) => socket.recv_from(buffer).await,
            (None, None) => std::future::pending().await,
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    if address.is_ipv6() {
        // Else the two sockets would both receive what comes from IPv4.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
