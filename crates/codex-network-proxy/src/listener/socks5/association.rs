//! The rules of one UDP association: whose datagrams count, which targets they may go to, and which
//! replies go back (SPEC G).
//!
//! Main type: [`Association`]. Datagrams, judgements and the time come in; what to do with a
//! datagram comes out. Everything that a client could make grow is bounded: the targets it names,
//! the judgements under way, the datagrams that wait for one. Deliberately not here: sockets, the
//! clock, and the judgement itself, which is the gate's; the permit is a parameter of which only
//! the peers are asked ([`PermittedPeers`]).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use codex_network_policy::Target;
use tokio::time::Instant;

use self::judgement::{JUDGEMENT_LIMIT, Judgement, Waiting};
use super::codec::{self, DatagramError, Encoded};

mod judgement;
#[cfg(test)]
mod tests;

/// Targets that are remembered at once. Beyond it the one that was used least recently is
/// forgotten: its replies are dropped, and its next datagram is judged afresh.
const TARGET_LIMIT: usize = 256;
// INVARIANT: there always is a target without a judgement under way, which may be forgotten.
const _: () = assert!(JUDGEMENT_LIMIT < TARGET_LIMIT);
/// How long a target is left alone whose judgement failed for want of an answer from the resolver.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// What an association asks of a permit.
pub(crate) trait PermittedPeers {
    /// The addresses to which datagrams under this permit are sent.
    fn peers(&self) -> impl Iterator<Item = SocketAddr>;
}

/// What became of a datagram that arrived at the relay address.
#[derive(Debug)]
#[must_use]
pub(crate) enum ClientDatagram<'a, P> {
    /// Send the payload under this permit.
    Send {
        permit: &'a P,
        payload: &'a [u8],
    },
    /// Have the target judged and report to [`Association::judged`]; the payload is kept until
    /// then.
    Judge(Target),
    /// The target's judgement is under way, the payload waits for it.
    Held,
    Dropped(Dropped),
}

/// Why a datagram goes nowhere. The client is never told, and the association lives on.
#[derive(Debug)]
pub(crate) enum Dropped {
    NotTheClient,
    Malformed(DatagramError),
    Fragment,
    Refused,
    /// Too much waits for judgements already.
    Overload,
}

/// For logs.
impl fmt::Display for Dropped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dropped::NotTheClient => formatter.write_str("it is not from the association's client"),
            Dropped::Malformed(error) => error.fmt(formatter),
            Dropped::Fragment => formatter.write_str("it is a fragment"),
            Dropped::Refused => formatter.write_str("its target is refused"),
            Dropped::Overload => formatter.write_str("too much waits for judgements"),
        }
    }
}

/// How a judgement ended.
#[derive(Debug)]
pub(crate) enum Finding<P> {
    Permitted(P),
    /// The policy or the decider says no, which holds for this generation of the policy.
    Refused,
    /// The name is permitted, but no address could be found; this says nothing about the next
    /// attempt.
    Unresolved,
}

/// What to do after a judgement.
#[derive(Debug)]
#[must_use]
pub(crate) enum Judged<'a, P> {
    /// Send the payloads that have waited, in this order.
    Send {
        permit: &'a P,
        payloads: Vec<Box<[u8]>>,
    },
    /// The policy changed meanwhile, so the finding is void. The payloads wait on.
    JudgeAgain(Target),
    Nothing,
}

/// An upstream datagram's way to the client: the header, then the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToClient {
    pub(crate) client: SocketAddr,
    pub(crate) header: Encoded,
}

/// One UDP association, which the driver ends with its control connection or at
/// [`Association::idle_at`].
#[derive(Debug)]
pub(crate) struct Association<P> {
    control_peer: SocketAddr,
    announced_port: u16,
    /// The source of the first datagram that counted, as the relay socket shows it.
    client: Option<SocketAddr>,
    generation: u64,
    targets: HashMap<Target, Known<P>>,
    waiting: Waiting,
    /// Counts uses of targets, to find the one used least recently.
    uses: u64,
    idle_limit: Duration,
    active_at: Instant,
}

impl<P: PermittedPeers> Association<P> {
    /// For the client at the other end of the control connection. An announced port of zero means
    /// that the client does not know yet; the announced address says nothing, as it is often
    /// `0.0.0.0` or one behind a NAT.
    pub(crate) fn new(
        control_peer: SocketAddr,
        announced_port: u16,
        generation: u64,
        idle_limit: Duration,
        now: Instant,
    ) -> Association<P> {
        Association {
            control_peer: canonical(control_peer),
            announced_port,
            client: None,
            generation,
            targets: HashMap::new(),
            waiting: Waiting::default(),
            uses: 0,
            idle_limit,
            active_at: now,
        }
    }

    /// When nothing has passed for so long that the association ends. None while a judgement is
    /// under way, which has a limit of its own.
    pub(crate) fn idle_at(&self) -> Option<Instant> {
        if self.waiting.is_waiting() {
            None
        } else {
            self.active_at.checked_add(self.idle_limit)
        }
    }

    /// The policy is now of this generation. Every target is judged again when its next datagram
    /// comes; until then replies pass only from targets of which `stands` is sure that the new
    /// policy permits them as well. A driver that lets a datagram bring the new generation first
    /// thereby says that none of them stands.
    pub(crate) fn policy_changed(
        &mut self,
        generation: u64,
        mut stands: impl FnMut(&Target, &P) -> bool,
    ) {
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        for known in self.targets.values_mut() {
            known.permit = known
                .permit
                .take()
                .filter(|permit| stands(&known.target, permit));
        }
    }

    /// A datagram arrived at the relay address while the policy is of this generation.
    pub(crate) fn client_datagram<'a>(
        &'a mut self,
        from: SocketAddr,
        bytes: &'a [u8],
        generation: u64,
        now: Instant,
    ) -> ClientDatagram<'a, P> {
        if !self.is_client(from) {
            return ClientDatagram::Dropped(Dropped::NotTheClient);
        }
        let datagram = match codec::parse_datagram(bytes) {
            Ok(datagram) => datagram,
            Err(error) => return ClientDatagram::Dropped(Dropped::Malformed(error)),
        };
        if datagram.fragment != 0 {
            return ClientDatagram::Dropped(Dropped::Fragment);
        }
        self.client.get_or_insert(from);
        self.active_at = now;
        self.policy_changed(generation, |_, _| false);
        self.route(datagram.target, datagram.payload, now)
    }

    /// The judgement asked for by [`ClientDatagram::Judge`] has ended; the policy is now of this
    /// generation.
    pub(crate) fn judged(
        &mut self,
        target: &Target,
        finding: Finding<P>,
        generation: u64,
        now: Instant,
    ) -> Judged<'_, P> {
        self.policy_changed(generation, |_, _| false);
        let Some(known) = self.targets.get_mut(target) else {
            return Judged::Nothing;
        };
        let Judgement::UnderWay {
            ref mut asked_at,
            ref mut held,
        } = known.judgement
        else {
            return Judged::Nothing;
        };
        self.active_at = now;
        if *asked_at != generation {
            *asked_at = generation;
            return Judged::JudgeAgain(known.target.clone());
        }
        let payloads = mem::take(held);
        self.waiting.finish(&payloads);
        let (permit, again_at) = match finding {
            Finding::Permitted(permit) => (Some(permit), None),
            Finding::Refused => (None, None),
            Finding::Unresolved => (None, now.checked_add(RETRY_PAUSE)),
        };
        known.judgement = Judgement::Ended {
            generation,
            again_at,
        };
        known.permit = permit;
        match &known.permit {
            Some(permit) => Judged::Send { permit, payloads },
            None => Judged::Nothing,
        }
    }

    /// A datagram arrived from outside. It passes only from a peer to which this client was
    /// permitted to send, so nobody else can reach the client, or be made to answer it.
    pub(crate) fn upstream_datagram(
        &mut self,
        from: SocketAddr,
        generation: u64,
        now: Instant,
    ) -> Option<ToClient> {
        self.policy_changed(generation, |_, _| false);
        let client = self.client?;
        let from = canonical(from);
        let known = self.targets.values_mut().find(|known| {
            known
                .permit
                .as_ref()
                .is_some_and(|permit| permit.peers().any(|peer| canonical(peer) == from))
        })?;
        self.uses += 1;
        known.used = self.uses;
        self.active_at = now;
        Some(ToClient {
            client,
            header: codec::datagram_header(from),
        })
    }

    fn is_client(&self, from: SocketAddr) -> bool {
        let from = canonical(from);
        match self.client {
            Some(client) => canonical(client) == from,
            None => {
                let mut expected = self.control_peer;
                expected.set_port(if self.announced_port == 0 {
                    from.port()
                } else {
                    self.announced_port
                });
                expected == from
            }
        }
    }

    /// Where a datagram of the client goes.
    fn route<'a>(
        &'a mut self,
        target: Target,
        payload: &'a [u8],
        now: Instant,
    ) -> ClientDatagram<'a, P> {
        let may_judge = self.waiting.has_room();
        if may_judge && self.targets.len() >= TARGET_LIMIT && !self.targets.contains_key(&target) {
            self.forget_least_recently_used();
        }
        self.uses += 1;
        let known = match self.targets.entry(target) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                if !may_judge {
                    return ClientDatagram::Dropped(Dropped::Overload);
                }
                let target = entry.key().clone();
                let judgement = self.waiting.judge(self.generation, payload);
                entry.insert(Known {
                    target: target.clone(),
                    used: self.uses,
                    permit: None,
                    judgement,
                });
                return ClientDatagram::Judge(target);
            }
        };
        known.used = self.uses;
        match known.judgement {
            Judgement::UnderWay { ref mut held, .. } => {
                if self.waiting.hold(held, payload) {
                    ClientDatagram::Held
                } else {
                    ClientDatagram::Dropped(Dropped::Overload)
                }
            }
            Judgement::Ended {
                generation,
                again_at,
            } if generation == self.generation
                && again_at.is_none_or(|again_at| now < again_at) =>
            {
                match &known.permit {
                    Some(permit) => ClientDatagram::Send { permit, payload },
                    None => ClientDatagram::Dropped(Dropped::Refused),
                }
            }
            Judgement::Ended { .. } if !may_judge => ClientDatagram::Dropped(Dropped::Overload),
            Judgement::Ended { .. } => {
                known.judgement = self.waiting.judge(self.generation, payload);
                ClientDatagram::Judge(known.target.clone())
            }
        }
    }

    fn forget_least_recently_used(&mut self) {
        let oldest = self
            .targets
            .values()
            .filter(|known| !matches!(known.judgement, Judgement::UnderWay { .. }))
            .min_by_key(|known| known.used)
            .map(|known| known.target.clone());
        if let Some(oldest) = oldest {
            self.targets.remove(&oldest);
        }
    }
}

/// A target that this client has named.
#[derive(Debug)]
struct Known<P> {
    target: Target,
    used: u64,
    /// Replies pass while there is one; it is sent under only if its judgement is of the current
    /// generation.
    permit: Option<P>,
    judgement: Judgement,
}

/// One form for one peer: a mapped address as IPv4, and no flow label, which may differ between
/// datagrams. The scope stays, as it tells link-local peers apart.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(mut v6) => match v6.ip().to_ipv4_mapped() {
            Some(ip) => SocketAddr::from((ip, v6.port())),
            None => {
                v6.set_flowinfo(0);
                SocketAddr::V6(v6)
            }
        },
        SocketAddr::V4(_) => address,
    }
}
