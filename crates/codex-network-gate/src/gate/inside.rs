//! What is judged inside of a permitted tunnel: the name in the client's TLS, each request of a tunnel that is
//! opened, and whether it may go on after the policy has changed.
//!
//! A [`ClientHello`] goes to [`Gate::admit_hello`], an [`InnerRequest`] to [`Gate::authorize_within`], which gives a
//! [`Permit`] over the tunnel's own way out: nothing is resolved again and nobody is asked again. What breaks a tunnel's
//! terms is a [`Breach`]. Nothing here reads bytes; the door has parsed them.

use std::net::SocketAddr;

use codex_network_policy::{
    AccessRequest, EncryptedHello, Host, Outcome as Ruling, Policy, Protocol, Reason, Source,
    Target, Verdict,
};

use super::{Access, Basis, Denial, Gate, Refused, allowed, grant, refused_by_rules};
use crate::error::chain;
use crate::evidence::{Connected, Facts, Outcome, is_audited};
use crate::fingerprint::Fingerprint;
use crate::permit::Permit;
use crate::route::Route;

/// The method of whoever asks for a tunnel over HTTP.
const CONNECT: &str = "CONNECT";

/// How a client begins TLS in a tunnel, as far as it says where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The server name.
    pub server_name: HelloName,
    /// Whether a part of it is encrypted (ECH, RFC 9849), which may hold another name.
    pub encrypted: bool,
}

/// The server name of a [`ClientHello`] (SNI, RFC 6066 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloName {
    /// There is none.
    Absent,
    /// This one.
    Host(Host),
    /// There is something that is no host, or the hello itself cannot be read.
    Unreadable,
}

impl HelloName {
    fn host(&self) -> Option<&Host> {
        match self {
            Self::Host(host) => Some(host),
            Self::Absent | Self::Unreadable => None,
        }
    }
}

/// What is known of a connection's identity, for the audit trail.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// The address that was dialled; none behind a parent proxy and for a unix socket.
    pub dialled: Option<SocketAddr>,
    /// How the client began TLS, where it did.
    pub hello: Option<ClientHello>,
    /// The certificate that the origin showed to the proxy itself, where it did.
    pub certificate: Option<Fingerprint>,
}

/// A request inside of an opened tunnel. Where it goes is where the tunnel goes.
#[derive(Clone, Copy, Debug)]
pub struct InnerRequest<'a> {
    /// Its method.
    pub method: &'a str,
    /// Whether it asks to leave HTTP (`Upgrade`).
    pub upgrade: bool,
}

/// What breaks the terms of a permitted tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// A tunnel that has to be opened does not begin with TLS.
    NotTls,
    /// A request names another host or port than the tunnel.
    HostMismatch,
    /// A request asks for a tunnel inside of the tunnel.
    InnerConnect,
    /// The origin has not proved that it is the one that was asked for.
    OriginNotVerified,
}

impl Gate {
    /// Judges how a client begins TLS inside of a tunnel. A yes leaves no record of its own; see
    /// [`Gate::record_connection`].
    ///
    /// # Errors
    /// The [`Denial`], which is recorded: not one byte of the hello may reach the origin.
    pub fn admit_hello(&self, tunnel: &Permit, hello: &ClientHello) -> Result<(), Denial> {
        let Target::Host { host, .. } = tunnel.target() else {
            return Ok(());
        };
        let snapshot = self.store.current();
        let policy = &snapshot.policy;
        let judged = match &hello.server_name {
            HelloName::Host(name) => policy.admit_server_name(host, name),
            // Opened tunnels need it, for it says which certificate the client expects. Addresses are never sent.
            HelloName::Absent if tunnel.is_intercepted() && host.address().is_none() => {
                Err((Reason::ServerNameMismatch, None))
            }
            // The address is the permitted one, and whoever serves it chooses what to show.
            HelloName::Absent => Ok(()),
            HelloName::Unreadable => Err((Reason::ServerNameMismatch, None)),
        };
        let hidden = hello.encrypted && policy.tls_rules().encrypted_hello == EncryptedHello::Deny;
        let (reason, rule) = match judged {
            Err(refused) => refused,
            // An opened tunnel is ours to answer, and we hold no key for the hidden part: it stays unread.
            Ok(()) if hidden && !tunnel.is_intercepted() => (Reason::EncryptedHello, None),
            Ok(()) => return Ok(()),
        };
        let name = hello.server_name.host().map(Host::to_string);
        let verdict = Verdict {
            outcome: Ruling::Deny(reason.clone()),
            rule,
        };
        let refused = Refused {
            verdict: Some(verdict),
            ..Refused::by_policy(reason, Source::BaselinePolicy)
        };
        let access = tunnel_access(tunnel);
        Err(self.refuse_inside(policy, &access, refused, name.as_deref()))
    }

    /// Looks at the origin of a tunnel where the policy wants that (`verify_origin`): makes a TLS handshake of our own with
    /// the address that was dialled, for the name in the client's hello. Returns the certificate where one was looked at.
    ///
    /// # Errors
    /// The [`Denial`], recorded, where no valid certificate for the name is served there.
    pub async fn verify_origin(
        &self,
        tunnel: &Permit,
        dialled: Option<SocketAddr>,
        hello: &ClientHello,
    ) -> Result<Option<Fingerprint>, Denial> {
        let Target::Host { host, .. } = tunnel.target() else {
            return Ok(None);
        };
        if !self.store.current().policy.tls_rules().verify_origin {
            return Ok(None);
        }
        // An address is never sent; without a name the origin shows what it shows to everybody.
        let (name, name_sent) = match hello.server_name.host() {
            Some(name) => (name, true),
            None => (host, false),
        };
        let found = self.upstream.verify(tunnel, dialled, name, name_sent).await;
        found.map(Some).map_err(|error| {
            tracing::info!(target = %tunnel, error = %chain(&error), "the origin is not verified");
            self.refuse_breach(tunnel, Breach::OriginNotVerified, None)
        })
    }

    /// Whether the policy in force now would still admit this server name in the tunnel.
    #[must_use]
    pub fn still_admits(&self, tunnel: &Permit, server_name: &Host) -> bool {
        match tunnel.target() {
            Target::Host { host, .. } => {
                let snapshot = self.store.current();
                snapshot.generation == tunnel.generation()
                    || snapshot.policy.admit_server_name(host, server_name).is_ok()
            }
            Target::Unix(_) => true,
        }
    }

    /// Judges a request inside of an opened tunnel, on the policy in force now. It leaves by the tunnel's own
    /// addresses, which are judged again; a decider's yes to the tunnel stands, and nobody is asked.
    ///
    /// # Errors
    /// The [`Denial`], recorded.
    pub fn authorize_within(
        &self,
        tunnel: &Permit,
        request: InnerRequest<'_>,
    ) -> Result<Permit, Denial> {
        let snapshot = self.store.current();
        let policy = &snapshot.policy;
        let access = inner_access(tunnel, &request);
        if let Err(refused) = self.audited(policy) {
            return Err(self.refuse_inside(policy, &access, refused, None));
        }
        let mut verdict = policy.evaluate(&access.request());
        let mut basis = Basis {
            approved: false,
            rule: verdict.rule,
        };
        if verdict.outcome == Ruling::Unlisted && tunnel.is_approved() {
            verdict = policy.evaluate_approved(&access.request());
            basis.approved = true;
        }
        let approved = basis.approved;
        match &verdict.outcome {
            Ruling::Allow => {}
            Ruling::Deny(_) | Ruling::Unlisted => {
                let refused = Refused {
                    approved,
                    ..refused_by_rules(&access, verdict)
                };
                return Err(self.refuse_inside(policy, &access, refused, None));
            }
        }
        if let Err(refused) = self.admit_route(policy, tunnel) {
            return Err(self.refuse_inside(policy, &access, refused, None));
        }
        let outcome = Outcome {
            via_parent: tunnel.is_via_parent(),
            ..allowed(&access, approved)
        };
        self.evidence.record(&access.facts(), &outcome);
        Ok(grant(snapshot, access, tunnel.route().clone(), basis))
    }

    /// Refuses what breaks the terms of a tunnel, and records it.
    pub fn refuse_breach(&self, tunnel: &Permit, breach: Breach, method: Option<&str>) -> Denial {
        let snapshot = self.store.current();
        let (reason, source) = match breach {
            Breach::NotTls => (Reason::MitmRequired, Source::ModeGuard),
            Breach::HostMismatch => (Reason::PolicyDenied, Source::BaselinePolicy),
            Breach::InnerConnect => (Reason::MethodNotAllowed, Source::ModeGuard),
            Breach::OriginNotVerified => (Reason::OriginNotVerified, Source::BaselinePolicy),
        };
        let access = match breach {
            Breach::NotTls | Breach::OriginNotVerified => tunnel_access(tunnel),
            Breach::HostMismatch | Breach::InnerConnect => inner_access(
                tunnel,
                &InnerRequest {
                    method: method.unwrap_or(CONNECT),
                    upgrade: false,
                },
            ),
        };
        let refused = Refused::by_policy(reason, source);
        self.refuse_inside(&snapshot.policy, &access, refused, None)
    }

    /// Records what proved the identity of a connection: the address that was dialled, the name in the client's TLS,
    /// the certificate that the origin showed to us.
    pub fn record_connection(&self, permit: &Permit, proof: &Proof) {
        if !is_audited() {
            return;
        }
        let facts = Facts {
            protocol: permit.protocol(),
            target: permit.target(),
            method: None,
            client: permit.client(),
            server_name: None,
        };
        let (server_name, encrypted_hello) = match &proof.hello {
            Some(hello) => (hello.server_name.host(), hello.encrypted),
            None => (None, false),
        };
        let rule = permit.rule();
        self.evidence.record_connection(
            &facts,
            &Connected {
                // A parent's address proves nothing about the origin.
                dialled: proof.dialled.filter(|_| !permit.is_via_parent()),
                server_name,
                encrypted_hello,
                certificate: proof.certificate.as_ref(),
                rule: rule.as_deref(),
                approved: permit.is_approved(),
                via_parent: permit.is_via_parent(),
            },
        );
    }

    /// Records that a client ended the handshake in an opened tunnel with this alert: it does not accept our certificate.
    pub fn record_distrust(&self, tunnel: &Permit, alert: &str) {
        let facts = Facts {
            protocol: tunnel.protocol(),
            target: tunnel.target(),
            method: None,
            client: tunnel.client(),
            server_name: None,
        };
        self.evidence.record_distrust(&facts, alert);
    }

    /// Whether the policy in force now would still permit this tunnel, judged afresh and without asking anybody.
    /// A decider's yes stands.
    #[must_use]
    pub fn still_permits(&self, permit: &Permit, method: Option<&str>, upgrade: bool) -> bool {
        let snapshot = self.store.current();
        if snapshot.generation == permit.generation() {
            return true;
        }
        permit.outlive_policy();
        let policy = &snapshot.policy;
        // What is inside would go on unseen.
        if policy.intercepts(permit.protocol()) && !permit.is_intercepted() {
            return false;
        }
        let request = AccessRequest {
            protocol: permit.protocol(),
            target: permit.target(),
            method,
            upgrade,
        };
        let verdict = if permit.is_approved() {
            policy.evaluate_approved(&request)
        } else {
            policy.evaluate(&request)
        };
        let allowed = match (&verdict.outcome, permit.target()) {
            (Ruling::Allow, _) => true,
            // A socket that was reached by another path than the listed one, which has to be listed still.
            (Ruling::Unlisted, Target::Unix(_)) => permit.socket_rule().is_some_and(|path| {
                let listed = &policy.socket_rules().allowed;
                listed.iter().any(|rule| rule.path == *path)
            }),
            (Ruling::Unlisted | Ruling::Deny(_), _) => false,
        };
        let way_out = !(permit.is_via_parent() && policy.is_direct_only());
        allowed && way_out && self.admit_route(policy, permit).is_ok()
    }

    /// Judges the addresses that a permit names once more, on this policy.
    fn admit_route(&self, policy: &Policy, permit: &Permit) -> Result<(), Refused> {
        match (permit.target(), permit.route()) {
            (Target::Host { host, .. }, Route::Address(_) | Route::Addresses { .. }) => {
                self.admit(policy, host, permit.route())
            }
            (Target::Host { .. }, Route::Parent(_) | Route::Socket { .. })
            | (Target::Unix(_), _) => Ok(()),
        }
    }

    fn refuse_inside(
        &self,
        policy: &Policy,
        access: &Access<'_>,
        refused: Refused,
        server_name: Option<&str>,
    ) -> Denial {
        let facts = Facts {
            server_name,
            ..access.facts()
        };
        self.refuse(policy, self.evidence.begin(facts), access, refused)
    }
}

/// A tunnel's own access, as it was judged.
fn tunnel_access(tunnel: &Permit) -> Access<'static> {
    Access {
        protocol: tunnel.protocol(),
        target: tunnel.target().clone(),
        method: (tunnel.protocol() == Protocol::HttpsConnect).then_some(CONNECT),
        upgrade: false,
        tls: false,
        client: tunnel.client(),
    }
}

fn inner_access<'a>(tunnel: &Permit, request: &InnerRequest<'a>) -> Access<'a> {
    Access {
        protocol: Protocol::Https,
        target: tunnel.target().clone(),
        method: Some(request.method),
        upgrade: request.upgrade,
        tls: true,
        client: tunnel.client(),
    }
}
