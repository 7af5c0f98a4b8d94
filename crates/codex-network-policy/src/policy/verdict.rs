//! The words of a judgement.
//!
//! [`Verdict`] is the answer and the rule that decided; a [`Step`] is one check on the way to it; [`RuleText`] shows a
//! rule to people.

use core::fmt;

use crate::pattern::{PatternText, RuleId};
use crate::reason::Reason;
use crate::rules::Origin;

/// The answer of the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What follows.
    pub outcome: Outcome,
    /// The rule that decided, where one did.
    pub rule: Option<RuleId>,
}

impl Verdict {
    pub(super) fn deny(reason: Reason, rule: Option<RuleId>) -> Verdict {
        Verdict {
            outcome: Outcome::Deny(reason),
            rule,
        }
    }
}

/// What follows from the rules for one access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The rules permit it.
    Allow,
    /// The rules refuse it, and nobody can lift that.
    Deny(Reason),
    /// No rule speaks of it. It is refused unless a decider approves (hosts) or the real path is listed (sockets).
    Unlisted,
}

/// Whether a decider has approved an access that no rule speaks of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Approval {
    None,
    Decider,
}

/// One check of a judgement and what it found. The last one of a judgement decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Is the proxy enabled, and this door open in this mode?
    Door {
        /// Whether it is.
        open: bool,
    },
    /// Does the denylist name the host?
    Denylist {
        /// The entry that does.
        rule: Option<RuleId>,
    },
    /// The target is local or otherwise not public. Is it listed exactly?
    LocalTarget {
        /// The entry that is this target.
        opened_by: Option<RuleId>,
    },
    /// Does the allowlist name the host?
    Allowlist {
        /// The entry that does.
        rule: Option<RuleId>,
    },
    /// Does the mode let the request pass?
    Mode {
        /// Whether it does.
        passes: bool,
    },
    /// Does the platform have the unix door?
    SocketPlatform {
        /// Whether it does.
        supported: bool,
    },
    /// Is the path of the socket listed?
    Sockets {
        /// Whether every path is.
        allow_all: bool,
        /// The entry that is this path.
        rule: Option<RuleId>,
    },
}

/// A rule in words.
#[derive(Clone, Debug)]
pub struct RuleText<'a> {
    /// The list it stands in.
    pub list: RuleList,
    /// What it says. `None` only for an id that another policy gave out.
    pub pattern: Option<PatternText<'a>>,
    /// Where it is written. `None` only for an id that another policy gave out.
    pub origin: Option<Origin>,
}

impl fmt::Display for RuleText<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.pattern, &self.origin) {
            (Some(pattern), Some(origin)) => {
                write!(formatter, "{} `{pattern}` ({origin})", self.list)
            }
            (None, _) | (_, None) => write!(formatter, "{}, unknown rule", self.list),
        }
    }
}

/// The lists of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleList {
    /// Hosts that may not be reached.
    Denied,
    /// Hosts that may be reached.
    Allowed,
    /// Unix sockets that may be reached.
    Sockets,
}

impl RuleList {
    /// The word in explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            RuleList::Denied => "denylist",
            RuleList::Allowed => "allowlist",
            RuleList::Sockets => "unix sockets",
        }
    }
}

impl fmt::Display for RuleList {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}
