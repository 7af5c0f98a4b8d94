//! One generation of the rules, compiled, and the judgement itself.
//!
//! [`Policy::evaluate`] answers an [`AccessRequest`] with a [`Verdict`]; [`Policy::admit`] says whether the addresses
//! that a permitted name resolved to may be dialled. Both are pure and allocate nothing.
//!
//! Asking a decider, resolving, dialling and recording are the gate's.

use core::fmt;
use core::net::IpAddr;

use crate::address::{AddressClass, embedded_ipv4};
use crate::host::{Host, Literal};
use crate::pattern::{PatternText, RuleId};
use crate::reason::Reason;
use crate::request::{AccessRequest, Mode, Protocol, SocketPath, Target};
use crate::rules::{HostList, Interception, Rules, SocketRules, TlsRules};

mod verdict;

pub(crate) use verdict::Approval;
pub use verdict::{Outcome, RuleList, RuleText, Step, Verdict};

/// Names under which cloud machines find their metadata service. Like `localhost` they lead inward by their very name.
const METADATA_NAMES: [&str; 6] = [
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.azure.internal",
    "metadata.goog",
    "metadata.google.internal",
];

/// The compiled rules of one generation.
pub struct Policy {
    enabled: bool,
    mode: Mode,
    allow_local_binding: bool,
    pinned: bool,
    direct_only: bool,
    denied: HostList,
    allowed: HostList,
    sockets: SocketRules,
    tls: TlsRules,
    requires_audit_log: bool,
    hides_details: bool,
}

impl Policy {
    /// Compiles the rules.
    pub fn compile(rules: Rules) -> Policy {
        let Rules {
            enabled,
            mode,
            allow_local_binding,
            pinned,
            direct_only,
            allowed,
            denied,
            sockets,
            tls,
            requires_audit_log,
            hides_details,
        } = rules;
        Policy {
            enabled,
            mode,
            allow_local_binding,
            pinned,
            direct_only,
            denied,
            allowed,
            sockets,
            tls,
            requires_audit_log,
            hides_details,
        }
    }

    /// Judges an access by the rules alone.
    pub fn evaluate(&self, request: &AccessRequest<'_>) -> Verdict {
        self.judge(request, Approval::None, &mut |_| {})
    }

    /// Judges an access that a decider has approved: that the allowlist does not name the host is forgiven, and nothing
    /// else is. The outcome is never [`Outcome::Unlisted`].
    pub fn evaluate_approved(&self, request: &AccessRequest<'_>) -> Verdict {
        self.judge(request, Approval::Decider, &mut |_| {})
    }

    /// What can be said at a door before a target is known.
    ///
    /// # Errors
    /// The reason why this door refuses everything.
    pub fn door(&self, protocol: Protocol) -> Result<(), Reason> {
        if !self.enabled {
            return Err(Reason::ProxyDisabled);
        }
        match (self.mode, protocol) {
            // SOCKS5 shows no method, so that nothing could be limited.
            (Mode::Limited, Protocol::Socks5Tcp | Protocol::Socks5Udp) => {
                Err(Reason::MethodNotAllowed)
            }
            (Mode::Full, _)
            | (Mode::Limited, Protocol::Http | Protocol::HttpsConnect | Protocol::Https) => Ok(()),
        }
    }

    /// Judges the addresses of a permitted host. One that may not be dialled suffices to refuse them all, for a name
    /// that points inward with one answer does so on purpose. An empty slice is admitted.
    ///
    /// # Errors
    /// The class of the first address that may not be dialled.
    pub fn admit(&self, host: &Host, addresses: &[IpAddr]) -> Result<(), AddressClass> {
        if self.allow_local_binding {
            return Ok(());
        }
        let listed = self.allowed.patterns().find_exact(host).is_some();
        addresses
            .iter()
            .map(|address| address.to_canonical())
            .try_for_each(|address| {
                let class = AddressClass::of(address);
                let admitted = match host {
                    Host::Address(literal) => {
                        literal.address() == address && (listed || class.is_public())
                    }
                    // `64:ff9b::127.0.0.1` is loopback of another machine, so the class does not suffice.
                    Host::Name(_) if host.is_localhost() => listed && address.is_loopback(),
                    Host::Name(_) => class.is_public(),
                };
                if admitted { Ok(()) } else { Err(class) }
            })
    }

    /// The text and the origin of a rule that a verdict of this policy names.
    pub fn rule(&self, id: RuleId) -> RuleText<'_> {
        let index = id.index();
        let (denied, hosts) = (self.denied.len(), self.denied.len() + self.allowed.len());
        if index < denied {
            host_rule(RuleList::Denied, &self.denied, index)
        } else if index < hosts {
            host_rule(RuleList::Allowed, &self.allowed, index - denied)
        } else {
            let rule = self.sockets.allowed.get(index - hosts);
            RuleText {
                list: RuleList::Sockets,
                pattern: rule.map(|rule| PatternText::verbatim(rule.path.as_str())),
                origin: rule.map(|rule| rule.origin.clone()),
            }
        }
    }

    /// Judges the server name with which a client begins TLS inside of a permitted tunnel.
    ///
    /// One that was permitted for a name is for that name only. One that was permitted for an address may lead to any
    /// name that is served there, but for those on the denylist.
    ///
    /// # Errors
    /// The reason why the name is refused, and the rule where there is one.
    pub fn admit_server_name(
        &self,
        target: &Host,
        server_name: &Host,
    ) -> Result<(), (Reason, Option<RuleId>)> {
        match target {
            _ if target == server_name => Ok(()),
            Host::Name(_) => Err((Reason::ServerNameMismatch, None)),
            Host::Address(_) => match self.find_denied(server_name) {
                Some(rule) => Err((Reason::Denied, Some(rule))),
                None => Ok(()),
            },
        }
    }

    /// Whether a tunnel that comes by this door is to be opened, so that the requests inside are judged.
    pub fn intercepts(&self, protocol: Protocol) -> bool {
        let opened = match (self.tls.interception, self.mode) {
            (Interception::Always, _) | (Interception::WhenLimited, Mode::Limited) => true,
            (Interception::WhenLimited, Mode::Full) | (Interception::Unavailable, _) => false,
        };
        opened && protocol == Protocol::HttpsConnect
    }

    /// What is said about TLS inside of tunnels.
    pub fn tls_rules(&self) -> TlsRules {
        self.tls
    }

    /// Whether everything is refused while no audit log can be written.
    pub fn requires_audit_log(&self) -> bool {
        self.requires_audit_log
    }

    /// Whether a refused client is told no more than the reason.
    pub fn hides_details(&self) -> bool {
        self.hides_details
    }

    /// What is said about unix sockets. Links are followed by the gate, which needs the listed paths for it.
    pub fn socket_rules(&self) -> &SocketRules {
        &self.sockets
    }

    /// Whether anything is let through at all.
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// How much of HTTP is let through.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether non-public addresses are treated like public ones.
    pub fn allow_local_binding(&self) -> bool {
        self.allow_local_binding
    }

    /// Whether the allowlist is final, so that no decider has a say.
    pub fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// Whether no parent proxy is used.
    pub fn is_direct_only(&self) -> bool {
        self.direct_only
    }

    /// The one judgement behind verdicts and explanations. `note` hears of every check that was made, in order.
    pub(crate) fn judge(
        &self,
        request: &AccessRequest<'_>,
        approval: Approval,
        note: &mut impl FnMut(Step),
    ) -> Verdict {
        if let Err(reason) = self.door(request.protocol) {
            note(Step::Door { open: false });
            return Verdict::deny(reason, None);
        }
        note(Step::Door { open: true });
        match request.target {
            Target::Host { host, port: _ } => self.judge_host(host, request, approval, note),
            Target::Unix(path) => self.judge_socket(path, request, approval, note),
        }
    }

    fn judge_host(
        &self,
        host: &Host,
        request: &AccessRequest<'_>,
        approval: Approval,
        note: &mut impl FnMut(Step),
    ) -> Verdict {
        let denied = self.find_denied(host);
        note(Step::Denylist { rule: denied });
        if denied.is_some() {
            return Verdict::deny(Reason::Denied, denied);
        }
        if !self.allow_local_binding && is_local(host) {
            let opened = self
                .allowed
                .patterns()
                .find_exact(host)
                .map(|rule| rule.after(self.denied.len()));
            note(Step::LocalTarget { opened_by: opened });
            if opened.is_none() {
                return Verdict::deny(Reason::NotAllowedLocal, None);
            }
        }
        let allowed = self
            .allowed
            .patterns()
            .find(host)
            .map(|rule| rule.after(self.denied.len()));
        note(Step::Allowlist { rule: allowed });
        match (allowed, approval) {
            // Whoever pinned the list has the last word, also about what a decider approved before.
            (None, _) if self.pinned => return Verdict::deny(Reason::NotAllowed, None),
            (None, Approval::None) => {
                return Verdict {
                    outcome: Outcome::Unlisted,
                    rule: None,
                };
            }
            (Some(_), _) | (None, Approval::Decider) => {}
        }
        match self.find_mode_refusal(request) {
            Some(reason) => {
                note(Step::Mode { passes: false });
                Verdict::deny(reason, None)
            }
            None => {
                note(Step::Mode { passes: true });
                Verdict {
                    outcome: Outcome::Allow,
                    rule: allowed,
                }
            }
        }
    }

    /// A denied address is denied in every disguise: inside an IPv6 address, and in any zone.
    fn find_denied(&self, host: &Host) -> Option<RuleId> {
        self.denied.patterns().find(host).or_else(|| match host {
            Host::Name(_) => None,
            Host::Address(literal) => self.find_denied_disguise(literal),
        })
    }

    fn find_denied_disguise(&self, literal: &Literal) -> Option<RuleId> {
        let find = |address| self.denied.patterns().find_address(address, None);
        match literal.address() {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => {
                let without_zone = literal.zone().and_then(|_| find(IpAddr::V6(address)));
                without_zone.or_else(|| {
                    embedded_ipv4(address).find_map(|embedded| find(IpAddr::V4(embedded)))
                })
            }
        }
    }

    fn find_mode_refusal(&self, request: &AccessRequest<'_>) -> Option<Reason> {
        match (self.mode, request.protocol) {
            (Mode::Full, _) => None,
            (Mode::Limited, Protocol::HttpsConnect) => {
                (!self.intercepts(request.protocol)).then_some(Reason::MitmRequired)
            }
            (
                Mode::Limited,
                Protocol::Http | Protocol::Https | Protocol::Socks5Tcp | Protocol::Socks5Udp,
            ) => {
                let reads = request
                    .method
                    .is_some_and(|method| self.mode.allows_method(method));
                // After an upgrade no method tells what the bytes do.
                (!reads || request.upgrade).then_some(Reason::MethodNotAllowed)
            }
        }
    }

    fn judge_socket(
        &self,
        path: &SocketPath,
        request: &AccessRequest<'_>,
        approval: Approval,
        note: &mut impl FnMut(Step),
    ) -> Verdict {
        if let Some(reason) = self.find_mode_refusal(request) {
            note(Step::Mode { passes: false });
            return Verdict::deny(reason, None);
        }
        note(Step::Mode { passes: true });
        note(Step::SocketPlatform {
            supported: self.sockets.supported,
        });
        if !self.sockets.supported {
            return Verdict::deny(Reason::UnixSocketUnsupported, None);
        }
        if !path.is_absolute() {
            note(Step::Sockets {
                allow_all: false,
                rule: None,
            });
            return Verdict::deny(Reason::NotAllowed, None);
        }
        let listed = self
            .sockets
            .allowed
            .iter()
            .position(|rule| rule.path == *path);
        let rule = listed.map(|index| RuleId::at(self.denied.len() + self.allowed.len() + index));
        note(Step::Sockets {
            allow_all: self.sockets.allow_all,
            rule,
        });
        match (rule, approval) {
            (None, _) if self.sockets.allow_all => Verdict {
                outcome: Outcome::Allow,
                rule,
            },
            (Some(_), _) => Verdict {
                outcome: Outcome::Allow,
                rule,
            },
            (None, Approval::None) => Verdict {
                outcome: Outcome::Unlisted,
                rule,
            },
            // A decider has no say about sockets.
            (None, Approval::Decider) => Verdict::deny(Reason::NotAllowed, None),
        }
    }
}

/// The entry of a host list at this place.
fn host_rule(kind: RuleList, list: &HostList, index: usize) -> RuleText<'_> {
    RuleText {
        list: kind,
        pattern: list.patterns().text(RuleId::at(index)),
        origin: list.origin(index),
    }
}

impl fmt::Debug for Policy {
    /// A policy can have a million rules, so only their number is shown.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Policy")
            .field("enabled", &self.enabled)
            .field("mode", &self.mode)
            .field("allow_local_binding", &self.allow_local_binding)
            .field("denied", &self.denied.len())
            .field("allowed", &self.allowed.len())
            .field("sockets", &self.sockets.allowed.len())
            .finish()
    }
}

/// Whether the very text of a host says that it is not a public one.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Name(name) => host.is_localhost() || METADATA_NAMES.contains(&name.as_str()),
        Host::Address(literal) => !AddressClass::of(literal.address()).is_public(),
    }
}

#[cfg(test)]
mod tests;
