//! SOCKS5 as a client speaks it.

use std::net::{IpAddr, SocketAddr};

use tokio::net::UdpSocket;

use super::{Wire, World, within};

/// One method: no authentication.
pub(crate) const GREETING: [u8; 3] = [5, 1, 0];
pub(crate) const CONNECT: u8 = 1;
pub(crate) const UDP_ASSOCIATE: u8 = 3;

/// An address field: an IP address as its bytes, anything else as a name.
pub(crate) fn address(host: &str, port: u16) -> Vec<u8> {
    let mut bytes = match host.parse() {
        Ok(IpAddr::V4(ip)) => [&[1], ip.octets().as_slice()].concat(),
        Ok(IpAddr::V6(ip)) => [&[4], ip.octets().as_slice()].concat(),
        Err(_) => return name(host.as_bytes(), port),
    };
    bytes.extend(port.to_be_bytes());
    bytes
}

/// An address field that holds `host` as a name, whatever it looks like.
pub(crate) fn name(host: &[u8], port: u16) -> Vec<u8> {
    let length = u8::try_from(host.len()).expect("a name of at most 255 bytes");
    [&[3, length], host, &port.to_be_bytes()].concat()
}

/// A request.
pub(crate) fn request(command: u8, address: &[u8]) -> Vec<u8> {
    [&[5, command, 0], address].concat()
}

impl World {
    /// A SOCKS5 client after its greeting.
    pub(crate) async fn greeted(&self) -> Wire {
        let mut client = self.socks().await;
        client.send(GREETING).await;
        assert_eq!(client.exactly(2).await, [5, 0]);
        client
    }

    /// Sends one request and returns the client with the first two bytes of the reply as a code.
    pub(crate) async fn socks_request(&self, command: u8, address: &[u8]) -> (Wire, u8) {
        let mut client = self.greeted().await;
        client.send(request(command, address)).await;
        let reply = client.exactly(4).await;
        let length = if reply[3] == 1 { 6 } else { 18 };
        client.exactly(length).await;
        (client, reply[1])
    }

    /// An association and the socket of its client.
    pub(crate) async fn associate(&self) -> Datagrams {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut control = self.greeted().await;
        control
            .send(request(UDP_ASSOCIATE, &address("0.0.0.0", 0)))
            .await;
        let relay = bound(&control.exactly(10).await);
        Datagrams {
            control,
            socket,
            relay,
        }
    }
}

/// The address of a successful reply over IPv4.
pub(crate) fn bound(reply: &[u8]) -> SocketAddr {
    assert_eq!(reply[..4], [5, 0, 0, 1], "not a success over IPv4");
    let ip: [u8; 4] = reply[4..8].try_into().unwrap();
    SocketAddr::from((ip, u16::from_be_bytes([reply[8], reply[9]])))
}

/// A UDP association as its client holds it.
pub(crate) struct Datagrams {
    pub(crate) control: Wire,
    pub(crate) socket: UdpSocket,
    pub(crate) relay: SocketAddr,
}

impl Datagrams {
    /// Sends `payload` to a target.
    pub(crate) async fn send(&self, address: &[u8], payload: &[u8]) {
        self.send_raw(&[&[0, 0, 0], address, payload].concat())
            .await;
    }

    pub(crate) async fn send_raw(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.relay).await.unwrap();
    }

    /// The next datagram that comes back, with its header.
    pub(crate) async fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_535];
        let (length, from) = within("a datagram", self.socket.recv_from(&mut buffer))
            .await
            .unwrap();
        assert_eq!(from, self.relay);
        buffer.truncate(length);
        buffer
    }
}
