//! Drives one UDP [`Association`] over its sockets (SPEC section G).
//!
//! [`serve`] owns the relay socket, asks the gate for each target that the association wants judged, and ends
//! with the control connection. The rules are the association's, the judgement is the gate's; only the moving of
//! datagrams is here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use codex_network_gate::{Access, Datagrams, Gate, Permit};
use codex_network_policy::{Protocol, Reason, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::association::{Association, ClientDatagram, Finding, Judged, PermittedPeers};
use super::codec::Reply;

/// The largest UDP payload, and room for a SOCKS5 header in front of it.
const LARGEST_DATAGRAM: usize = 65_535;

impl PermittedPeers for Permit {
    fn peers(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses()
    }
}

/// Offers a relay address to the client of `control` and relays until `control` is closed.
pub(super) async fn serve(
    gate: &Arc<Gate>,
    mut control: TcpStream,
    client: SocketAddr,
    announced_port: u16,
) -> io::Result<()> {
    let relay = UdpSocket::bind(SocketAddr::new(control.local_addr()?.ip(), 0)).await?;
    let upstream = gate.upstream().datagrams()?;
    let reply = Reply::Succeeded(relay.local_addr()?).encode();
    control.write_all(reply.as_bytes()).await?;
    let association = Association::new(
        client,
        announced_port,
        gate.store().current().generation,
        gate.limits().association_idle,
        Instant::now(),
    );
    let driver = Driver {
        gate: Arc::clone(gate),
        client,
        relay,
        upstream,
        association,
        judgements: JoinSet::new(),
        judged: Vec::new(),
    };
    driver.run(control).await
}

struct Driver {
    gate: Arc<Gate>,
    client: SocketAddr,
    relay: UdpSocket,
    upstream: Datagrams,
    association: Association<Permit>,
    judgements: JoinSet<Finding<Permit>>,
    /// Which target each judgement under way is about. The association bounds their number.
    judged: Vec<(Id, Target)>,
}

impl Driver {
    async fn run(mut self, mut control: TcpStream) -> io::Result<()> {
        let mut changes = self.gate.store().watch();
        let mut from_client = vec![0; LARGEST_DATAGRAM];
        let mut from_upstream = vec![0; LARGEST_DATAGRAM];
        let mut ignored = [0; 256];
        loop {
            let idle_at = self.association.idle_at();
            tokio::select! {
                read = control.read(&mut ignored) => {
                    // Nothing is expected on the control connection; its end is the association's.
                    if !matches!(read, Ok(length) if length > 0) {
                        return Ok(());
                    }
                }
                () = sleep_until(idle_at.unwrap_or_else(Instant::now)), if idle_at.is_some() => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                changed = changes.changed() => {
                    changed.map_err(io::Error::other)?;
                    if !self.apply_policy() {
                        return Ok(());
                    }
                }
                received = self.relay.recv_from(&mut from_client) => {
                    // An error here is about an earlier datagram, not about the socket.
                    if let Ok((length, from)) = received {
                        self.send_upstream(&from_client[..length], from).await;
                    }
                }
                Some(finding) = self.judgements.join_next_with_id() => {
                    self.judged(finding).await;
                }
                received = self.upstream.receive(&mut from_upstream) => {
                    if let Ok((length, from)) = received {
                        self.send_to_client(&from_upstream[..length], from).await;
                    }
                }
            }
        }
    }

    fn generation(&self) -> u64 {
        self.gate.store().current().generation
    }

    /// Drops the targets that a new policy forbids; `false` where it forbids associations.
    fn apply_policy(&mut self) -> bool {
        let snapshot = self.gate.store().current();
        let gate = &self.gate;
        self.association
            .policy_changed(snapshot.generation, |_, permit| {
                gate.still_permits(permit, None, false)
            });
        snapshot.policy.door(Protocol::Socks5Udp).is_ok()
    }

    async fn send_upstream(&mut self, datagram: &[u8], from: SocketAddr) {
        let generation = self.generation();
        match self
            .association
            .client_datagram(from, datagram, generation, Instant::now())
        {
            ClientDatagram::Send { permit, payload } => {
                send(&self.upstream, permit, payload).await;
            }
            ClientDatagram::Judge(target) => self.judge(target),
            ClientDatagram::Held => {}
            ClientDatagram::Dropped(why) => tracing::debug!(%why, "a datagram was dropped"),
        }
    }

    fn judge(&mut self, target: Target) {
        let gate = Arc::clone(&self.gate);
        let client = Some(self.client);
        let access_target = target.clone();
        let judgement = self.judgements.spawn(async move {
            let access = Access {
                protocol: Protocol::Socks5Udp,
                target: access_target,
                method: None,
                upgrade: false,
                tls: false,
                client,
            };
            match gate.authorize(access).await {
                Ok(permit) => Finding::Permitted(permit),
                Err(denial) => match denial.reason() {
                    // Both may be over in a moment, and are asked about again.
                    Reason::DnsLookupFailed(_) | Reason::AuditUnavailable => Finding::Unresolved,
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
                    | Reason::Cancelled
                    | Reason::PolicyDenied
                    | Reason::Invented(_) => Finding::Refused,
                },
            }
        });
        self.judged.push((judgement.id(), target));
    }

    async fn judged(&mut self, finding: Result<(Id, Finding<Permit>), JoinError>) {
        let (id, finding) = match finding {
            Ok(finding) => finding,
            Err(error) => (error.id(), Finding::Refused),
        };
        let Some(position) = self.judged.iter().position(|(judged, _)| *judged == id) else {
            return;
        };
        let (_, target) = self.judged.swap_remove(position);
        let generation = self.generation();
        match self
            .association
            .judged(&target, finding, generation, Instant::now())
        {
            Judged::Send { permit, payloads } => {
                for payload in payloads {
                    send(&self.upstream, permit, &payload).await;
                }
            }
            Judged::JudgeAgain(target) => self.judge(target),
            Judged::Nothing => {}
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "to the association's own client, not to a target"
    )]
    async fn send_to_client(&mut self, payload: &[u8], from: SocketAddr) {
        let generation = self.generation();
        let to = self
            .association
            .upstream_datagram(from, generation, Instant::now());
        if let Some(to) = to {
            let datagram = [to.header.as_bytes(), payload].concat();
            if let Err(error) = self.relay.send_to(&datagram, to.client).await {
                tracing::debug!(%error, "a reply could not be sent");
            }
        }
    }
}

async fn send(upstream: &Datagrams, permit: &Permit, payload: &[u8]) {
    if let Err(error) = upstream.send(permit, payload).await {
        tracing::debug!(%error, "a datagram could not be sent");
    }
}
