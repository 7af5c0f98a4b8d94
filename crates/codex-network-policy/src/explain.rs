//! Why a verdict is what it is, for people.
//!
//! [`Trace`] runs the same judgement as `Policy::evaluate` and keeps what every check found: which rule decided, where
//! it is written, and what kind of address was asked for. Its `Display` is the explanation, one line a check.
//!
//! It only explains; it has no code of its own that could judge differently.

use alloc::vec::Vec;
use core::fmt;

use crate::address::{AddressClass, AddressRange};
use crate::host::Host;
use crate::pattern::RuleId;
use crate::policy::{Approval, Outcome, Policy, RuleText, Step, Verdict};
use crate::request::{AccessRequest, Target};

/// A judgement with everything that led to it.
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    policy: &'a Policy,
    target: &'a Target,
    verdict: Verdict,
    steps: Vec<Step>,
}

impl<'a> Trace<'a> {
    /// Judges an access and keeps the steps.
    pub fn of(policy: &'a Policy, request: &AccessRequest<'a>) -> Trace<'a> {
        let mut steps = Vec::new();
        let verdict = policy.judge(request, Approval::None, &mut |step| steps.push(step));
        Trace {
            policy,
            target: request.target,
            verdict,
            steps,
        }
    }

    /// What `Policy::evaluate` says to the same request.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The checks that were made, in order. The last one decided.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The rule that decided, where one did.
    pub fn rule(&self) -> Option<RuleText<'a>> {
        self.verdict.rule.map(|rule| self.policy.rule(rule))
    }

    /// What the address is for, if the target is an address.
    pub fn address_class(&self) -> Option<AddressClass> {
        self.address().map(AddressClass::of)
    }

    /// The row of the registries that makes the address non-public, if the target is such an address.
    pub fn address_range(&self) -> Option<&'static AddressRange> {
        self.address().and_then(AddressRange::of)
    }

    fn address(&self) -> Option<core::net::IpAddr> {
        match self.target {
            Target::Host { host, port: _ } => host.address(),
            Target::Unix(_) => None,
        }
    }

    fn write_step(&self, formatter: &mut fmt::Formatter<'_>, step: Step) -> fmt::Result {
        let rule = |id: RuleId| self.policy.rule(id);
        match step {
            Step::Door { open: true } => {
                write!(formatter, "the proxy is enabled and the door is open")
            }
            Step::Door { open: false } if self.policy.enabled() => {
                write!(
                    formatter,
                    "the door is closed in {} mode",
                    self.policy.mode()
                )
            }
            Step::Door { open: false } => write!(formatter, "the proxy is disabled"),
            Step::Denylist { rule: Some(id) } => write!(formatter, "denied by {}", rule(id)),
            Step::Denylist { rule: None } => write!(formatter, "no rule of the denylist matches"),
            Step::LocalTarget { opened_by } => {
                match self.address_range() {
                    Some(range) => write!(
                        formatter,
                        "the address is not public ({}: {}, {}, {})",
                        range.class, range.prefix, range.name, range.document
                    )?,
                    None => write!(formatter, "the name stands for a local service")?,
                }
                match opened_by {
                    Some(id) => write!(formatter, ", but it is listed by {}", rule(id)),
                    None => write!(formatter, ", and no rule without a star lists it"),
                }
            }
            Step::Allowlist { rule: Some(id) } => write!(formatter, "allowed by {}", rule(id)),
            Step::Allowlist { rule: None } if self.policy.is_pinned() => write!(
                formatter,
                "no rule of the allowlist matches, and the list is final"
            ),
            Step::Allowlist { rule: None } => write!(formatter, "no rule of the allowlist matches"),
            Step::Mode { passes: true } => {
                write!(formatter, "{} mode lets it pass", self.policy.mode())
            }
            Step::Mode { passes: false } => {
                write!(formatter, "{} mode refuses it", self.policy.mode())
            }
            Step::SocketPlatform { supported: true } => {
                write!(formatter, "unix sockets are supported here")
            }
            Step::SocketPlatform { supported: false } => {
                write!(formatter, "unix sockets are not supported here")
            }
            Step::Sockets {
                allow_all: _,
                rule: Some(id),
            } => write!(formatter, "allowed by {}", rule(id)),
            Step::Sockets {
                allow_all: true,
                rule: None,
            } => write!(formatter, "every unix socket is allowed"),
            Step::Sockets {
                allow_all: false,
                rule: None,
            } => write!(formatter, "no rule lists this path as text"),
        }
    }
}

impl fmt::Display for Trace<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target {
            Target::Host {
                host: host @ Host::Address(literal),
                port,
            } if literal.address().is_ipv6() => {
                write!(formatter, "[{host}]:{port}: ")?;
            }
            Target::Host { host, port } => write!(formatter, "{host}:{port}: ")?,
            Target::Unix(path) => write!(formatter, "{path}: ")?,
        }
        match &self.verdict.outcome {
            Outcome::Allow => write!(formatter, "allowed")?,
            Outcome::Deny(reason) => write!(formatter, "refused, {reason}")?,
            Outcome::Unlisted => write!(formatter, "refused unless approved, not_allowed")?,
        }
        for &step in &self.steps {
            formatter.write_str("\n  ")?;
            self.write_step(formatter, step)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
