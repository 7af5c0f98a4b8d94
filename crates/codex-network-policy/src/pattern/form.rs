//! One entry of a host list, parsed.
//!
//! [`HostPattern`] is what the parser makes and what a set is compiled from. It can match by itself, one host at a
//! time; that is for explanations and tests.

use core::fmt;

use super::glob::Glob;
use crate::host::{Host, Name};

/// One entry of a host list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern(pub(super) Form);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Form {
    /// `example.com`, an address: this host only.
    Exact(Host),
    /// `*.example.com`: any depth below the name.
    Below(Name),
    /// `**.example.com`: the name and any depth below.
    ApexAndBelow(Name),
    /// Stars elsewhere.
    Glob(Glob),
}

impl HostPattern {
    /// Whether the entry holds no star. Only such an entry can open a local target.
    pub fn is_exact(&self) -> bool {
        matches!(self.0, Form::Exact(_))
    }

    /// Whether the entry speaks of a host. For one entry at a time; a list is a `PatternSet`.
    pub fn matches(&self, host: &Host) -> bool {
        match (&self.0, host) {
            (Form::Exact(listed), host) => listed == host,
            (Form::Below(base), Host::Name(name)) => is_below(name, base),
            (Form::ApexAndBelow(base), Host::Name(name)) => name == base || is_below(name, base),
            (Form::Glob(glob), Host::Name(name)) => glob.matches(name.as_str()),
            (Form::Below(_) | Form::ApexAndBelow(_) | Form::Glob(_), Host::Address(_)) => false,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Exact(host) => write!(formatter, "{host}"),
            Form::Below(name) => write!(formatter, "*.{name}"),
            Form::ApexAndBelow(name) => write!(formatter, "**.{name}"),
            Form::Glob(glob) => write!(formatter, "{glob}"),
        }
    }
}

fn is_below(name: &Name, base: &Name) -> bool {
    name.as_str()
        .strip_suffix(base.as_str())
        .is_some_and(|rest| rest.ends_with('.'))
}
