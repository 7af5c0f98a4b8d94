//! The SOCKS5 listener (RFC 1928; SPEC sections E6 and G): CONNECT and UDP ASSOCIATE, without authentication.
//!
//! [`SocksListener`] drives the [`codec`] over a socket, has the target judged, opens it and hands the stream to
//! its tunnel. It is the only place that turns a denial or an upstream error into a reply code. Names are passed
//! on unresolved; an address that is given as a name has become an address in the codec.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use codex_network_gate::{Access, Denial, Gate, UpstreamError};
use codex_network_policy::{Protocol, Reason, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use self::codec::{Command, MethodSelection, Reply, Request, RequestError, Step};
use super::{FIRST_WORDS, Serve, Slots};
use crate::drain;
use crate::meters::Meters;
use crate::tunnel::Tunnel;

pub(crate) mod association;
pub(crate) mod codec;
mod udp;

/// What may still be read from a client that has been refused, so that its reply is not lost to a reset.
const LEFTOVER_BYTES: u64 = 64 * 1024;

/// Serves the connections of the SOCKS5 listener.
#[derive(Clone, Debug)]
pub(crate) struct SocksListener {
    gate: Arc<Gate>,
    /// Whether UDP ASSOCIATE is offered, and how many associations there may be.
    associations: Option<Arc<Slots>>,
    meters: Arc<Meters>,
}

impl SocksListener {
    pub(crate) fn new(gate: Arc<Gate>, offer_udp: bool, meters: Arc<Meters>) -> Self {
        let limits = gate.limits();
        let (all, per_client) = (limits.associations, limits.associations_per_client);
        let associations = offer_udp.then(|| Slots::new("UDP associations", all, per_client));
        Self {
            gate,
            associations,
            meters,
        }
    }
}

impl Serve for SocksListener {
    async fn serve(
        self,
        mut stream: TcpStream,
        client: SocketAddr,
        mut draining: watch::Receiver<bool>,
    ) {
        let limit = self.gate.limits().handshake;
        let mut greeting = Box::pin(timeout(limit, handshake(&mut stream)));
        let handshake = match drain::unless_begun(greeting.as_mut(), &mut draining).await {
            Some(handshake) => handshake,
            None => match timeout(FIRST_WORDS, greeting.as_mut()).await {
                Ok(handshake) => handshake,
                Err(_) => return,
            },
        };
        drop(greeting);
        let (request, early) = match handshake {
            Ok(Ok(Some(asked))) => asked,
            Ok(Ok(None)) => return self.close(stream).await,
            Ok(Err(error)) => return tracing::debug!(%error, "a SOCKS5 client went away"),
            Err(_) => return tracing::debug!(%client, "a SOCKS5 handshake took too long"),
        };
        match request.command {
            Command::Connect => {
                // Boxed, so that a tunnel does not carry the memory of what opened it.
                let opening = Box::pin(async move {
                    let tunnel = self.connect(&mut stream, client, request).await?;
                    Some(tunnel.run(stream, early))
                });
                if let Some(tunnel) = opening.await
                    && let Err(error) = tunnel.await
                {
                    tracing::debug!(%error, "a tunnel ended");
                }
            }
            Command::UdpAssociate => {
                Box::pin(self.associate(stream, client, request, &mut draining)).await;
            }
            Command::Bind | Command::Unknown(_) => {
                self.gate.refuse_unsupported(&access(request, client));
                self.refuse(stream, Reply::CommandNotSupported).await;
            }
        }
    }
}

impl SocksListener {
    /// Judges, dials and replies. Leaves the refused client's stream closed.
    async fn connect(
        &self,
        stream: &mut TcpStream,
        client: SocketAddr,
        request: Request,
    ) -> Option<Tunnel> {
        // Nobody is asked, and nothing is dialled, for a client that has gone; the gate records that it has.
        let opened = tokio::select! {
            opened = self.open(request, client) => opened,
            () = has_gone(stream) => return None,
        };
        match opened {
            Ok(tunnel) => {
                let bound = tunnel.local_address().unwrap_or(UNSPECIFIED);
                let reply = Reply::Succeeded(bound).encode();
                stream.write_all(reply.as_bytes()).await.ok()?;
                Some(tunnel)
            }
            Err(reply) => {
                let _ = stream.write_all(reply.encode().as_bytes()).await;
                self.linger(stream).await;
                None
            }
        }
    }

    /// The tunnel, or the reply that says why there is none.
    async fn open(&self, request: Request, client: SocketAddr) -> Result<Tunnel, Reply> {
        let access = access(request, client);
        let permit = self.gate.authorize(access).await;
        let permit = permit.map_err(|denial| refusal(&denial))?;
        match self.gate.upstream().open(&permit).await {
            Ok(upstream) => {
                let gate = Arc::clone(&self.gate);
                Ok(Tunnel::new(gate, permit, upstream, None))
            }
            Err(error) => {
                tracing::info!(target = %permit, %error, "upstream failed");
                Err(failure(&error))
            }
        }
    }

    async fn associate(
        &self,
        stream: TcpStream,
        client: SocketAddr,
        request: Request,
        draining: &mut watch::Receiver<bool>,
    ) {
        let announced_port = request.port;
        let access = Access {
            protocol: Protocol::Socks5Udp,
            ..access(request, client)
        };
        let Some(associations) = &self.associations else {
            self.gate.refuse_unsupported(&access);
            return self.refuse(stream, Reply::CommandNotSupported).await;
        };
        if let Err(denial) = self.gate.authorize_association(&access) {
            return self.refuse(stream, refusal(&denial)).await;
        }
        let free = associations.free_now();
        let Some(_slot) = free.and_then(|free| associations.give(free, client.ip())) else {
            return self.refuse(stream, Reply::GeneralFailure).await;
        };
        let _open = self.meters.associations.hold();
        tokio::select! {
            ended = udp::serve(&self.gate, stream, client, announced_port) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a UDP association ended");
                }
            }
            () = drain::began(draining) => {}
        }
    }
}

impl SocksListener {
    async fn refuse(&self, mut stream: TcpStream, reply: Reply) {
        let _ = stream.write_all(reply.encode().as_bytes()).await;
        self.close(stream).await;
    }

    async fn close(&self, mut stream: TcpStream) {
        self.linger(&mut stream).await;
    }

    /// Ends our side and reads what is still under way, for a moment.
    async fn linger(&self, stream: &mut TcpStream) {
        if stream.shutdown().await.is_ok() {
            let mut rest = stream.take(LEFTOVER_BYTES);
            let mut nowhere = tokio::io::sink();
            let discard = tokio::io::copy(&mut rest, &mut nowhere);
            let _ = timeout(self.gate.limits().farewell, discard).await;
        }
    }
}

/// Returns when the client has closed its side, which no client does before it has its reply. One that has sent
/// something ahead cannot be watched: its end stands behind what it has sent.
async fn has_gone(stream: &TcpStream) {
    match stream.peek(&mut [0]).await {
        Ok(0) | Err(_) => {}
        Ok(_) => std::future::pending().await,
    }
}

/// A bound address that says nothing, for an upstream that has none to tell.
const UNSPECIFIED: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

fn access(request: Request, client: SocketAddr) -> Access<'static> {
    Access {
        protocol: Protocol::Socks5Tcp,
        target: Target::Host {
            host: request.host,
            port: request.port,
        },
        method: None,
        upgrade: false,
        tls: false,
        client: Some(client),
    }
}

/// Reads the greeting and the request. `None` where the client was answered with an error already.
async fn handshake(stream: &mut TcpStream) -> io::Result<Option<(Request, Bytes)>> {
    let mut received = BytesMut::with_capacity(codec::LONGEST_HANDSHAKE_MESSAGE);
    let method = loop {
        match codec::parse_greeting(&received) {
            Ok(Step::Done { value, consumed }) => {
                received.advance(consumed);
                break value;
            }
            Ok(Step::NeedMore) => read_some(stream, &mut received).await?,
            Err(_) => return Ok(None),
        }
    };
    stream.write_all(&method.encode()).await?;
    if method == MethodSelection::NoneAcceptable {
        return Ok(None);
    }
    loop {
        match codec::parse_request(&received) {
            Ok(Step::Done { value, consumed }) => {
                received.advance(consumed);
                return Ok(Some((value, received.freeze())));
            }
            Ok(Step::NeedMore) => read_some(stream, &mut received).await?,
            Err(error) => {
                reject(stream, &error).await?;
                return Ok(None);
            }
        }
    }
}

async fn reject(stream: &mut TcpStream, error: &RequestError) -> io::Result<()> {
    tracing::debug!(%error, "a SOCKS5 request could not be read");
    match error.reply() {
        Some(reply) => stream.write_all(reply.encode().as_bytes()).await,
        None => Ok(()),
    }
}

async fn read_some(stream: &mut TcpStream, received: &mut BytesMut) -> io::Result<()> {
    match stream.read_buf(received).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// The reply for the gate's no.
fn refusal(denial: &Denial) -> Reply {
    match denial.reason() {
        Reason::DnsLookupFailed(_) => Reply::HostUnreachable,
        Reason::NotAllowed
        | Reason::NotAllowedLocal
        | Reason::Denied
        | Reason::MethodNotAllowed
        | Reason::MitmRequired
        | Reason::ProxyDisabled
        | Reason::UnixSocketUnsupported
        | Reason::ServerNameMismatch
        | Reason::EncryptedHello
        | Reason::OriginNotVerified
        | Reason::AuditUnavailable
        | Reason::Cancelled
        | Reason::PolicyDenied
        | Reason::Invented(_) => Reply::NotAllowed,
    }
}

/// The reply for an upstream that could not be opened.
fn failure(error: &UpstreamError) -> Reply {
    if error.is_timeout() {
        return Reply::TtlExpired;
    }
    match error.io_kind() {
        Some(io::ErrorKind::ConnectionRefused) => Reply::ConnectionRefused,
        Some(io::ErrorKind::NetworkUnreachable) => Reply::NetworkUnreachable,
        Some(io::ErrorKind::HostUnreachable) => Reply::HostUnreachable,
        Some(_) | None => Reply::GeneralFailure,
    }
}
