//! Limits above the user's configuration, and whether a configuration stays inside them.
//!
//! Main type: [`Constraints`]. Comes in: a [`Candidate`], what a configuration amounts to after every layer, flag or live
//! edit. Goes out: nothing, or the first limit that it breaks as a [`ConstraintError`]. Limits can only narrow: the check
//! changes nothing and repairs nothing, so whoever calls it refuses the whole candidate. Where limits come from and how
//! they are merged into a configuration is not known here.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use crate::pattern::{HostPattern, PatternSet};
use crate::request::{Mode, SocketPath};
use crate::rules::{HostList, Origin, Rule, SocketRule};

/// What a configuration may not exceed. An absent limit limits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    /// `false`: the proxy cannot be enabled.
    pub enabled: Option<bool>,
    /// The most permissive mode.
    pub mode: Option<Mode>,
    /// `false`: a parent proxy cannot be used.
    pub allow_upstream_proxy: Option<bool>,
    /// `false`: no listener can be reachable from other machines.
    pub dangerously_allow_non_loopback_proxy: Option<bool>,
    /// `false`: sockets have to be listed.
    pub dangerously_allow_all_unix_sockets: Option<bool>,
    /// `false`: local addresses have to be listed.
    pub allow_local_binding: Option<bool>,
    /// What the allowlist may hold.
    pub allowed: Option<HostLimit>,
    /// What the denylist has to hold.
    pub denied: Option<HostLimit>,
    /// The only sockets that may be listed.
    pub sockets: Option<Vec<SocketPath>>,
}

/// A managed list of hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLimit {
    /// The entries.
    pub patterns: Vec<HostPattern>,
    /// How far the effective list may differ from them.
    pub expansion: Expansion,
}

/// How far an effective list may differ from a managed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expansion {
    /// It holds the managed entries and may hold others.
    Open,
    /// It holds the managed entries and no others.
    Closed,
    /// An allowlist holds only what the managed entries cover; a denylist holds the managed entries.
    Unset,
}

/// What a configuration amounts to, in the terms that can be limited.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Whether the proxy is enabled.
    pub enabled: bool,
    /// The mode.
    pub mode: Mode,
    /// Whether a parent proxy is used.
    pub allow_upstream_proxy: bool,
    /// Whether listeners may be reachable from other machines.
    pub dangerously_allow_non_loopback_proxy: bool,
    /// Whether every socket may be reached.
    pub dangerously_allow_all_unix_sockets: bool,
    /// Whether local addresses need no entry.
    pub allow_local_binding: bool,
    /// The allowlist.
    pub allowed: &'a HostList,
    /// The denylist.
    pub denied: &'a HostList,
    /// The listed sockets.
    pub sockets: &'a [SocketRule],
}

/// A limit that a configuration breaks. `Display` is the sentence that users of Codex know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConstraintError {
    /// The key with its table: `network.allowed_domains`.
    pub field_name: &'static str,
    /// What was refused.
    pub candidate: String,
    /// What is allowed instead.
    pub allowed: String,
    /// Where the first refused entry is written, if an entry is at fault.
    pub origin: Option<Origin>,
    /// The first refused entry.
    pub entry: Option<String>,
}

const ALLOWED_DOMAINS: &str = "network.allowed_domains";
const DENIED_DOMAINS: &str = "network.denied_domains";

impl Constraints {
    /// Whether the candidate stays inside the limits.
    ///
    /// # Errors
    /// The first limit that it breaks.
    pub fn check(&self, candidate: &Candidate<'_>) -> Result<(), ConstraintError> {
        switch("network.enabled", self.enabled, candidate.enabled)?;
        self.check_mode(candidate.mode)?;
        switch(
            "network.allow_upstream_proxy",
            self.allow_upstream_proxy,
            candidate.allow_upstream_proxy,
        )?;
        switch(
            "network.dangerously_allow_non_loopback_proxy",
            self.dangerously_allow_non_loopback_proxy,
            candidate.dangerously_allow_non_loopback_proxy,
        )?;
        // A list of the only sockets would mean nothing beside a switch that permits every socket.
        let all_sockets = match (self.dangerously_allow_all_unix_sockets, &self.sockets) {
            (None, Some(_)) => Some(false),
            (limit, _) => limit,
        };
        switch(
            "network.dangerously_allow_all_unix_sockets",
            all_sockets,
            candidate.dangerously_allow_all_unix_sockets,
        )?;
        switch(
            "network.allow_local_binding",
            self.allow_local_binding,
            candidate.allow_local_binding,
        )?;
        if let Some(limit) = &self.allowed {
            check_allowed(limit, candidate)?;
        }
        if let Some(limit) = &self.denied {
            check_denied(limit, candidate)?;
        }
        match &self.sockets {
            Some(limit) => check_sockets(limit, candidate.sockets),
            None => Ok(()),
        }
    }

    /// Whether these limits limit nothing.
    pub fn is_empty(&self) -> bool {
        *self == Constraints::default()
    }

    fn check_mode(&self, candidate: Mode) -> Result<(), ConstraintError> {
        match (self.mode, candidate) {
            (Some(Mode::Limited), Mode::Full) => Err(ConstraintError::new(
                "network.mode",
                "Full",
                "Limited or more restrictive",
            )),
            (Some(Mode::Limited), Mode::Limited) | (Some(Mode::Full) | None, _) => Ok(()),
        }
    }
}

impl ConstraintError {
    fn new(
        field_name: &'static str,
        candidate: impl Into<String>,
        allowed: impl Into<String>,
    ) -> ConstraintError {
        ConstraintError {
            field_name,
            candidate: candidate.into(),
            allowed: allowed.into(),
            origin: None,
            entry: None,
        }
    }

    fn at(mut self, entry: impl fmt::Display, origin: &Origin) -> ConstraintError {
        self.entry = Some(entry.to_string());
        self.origin = Some(origin.clone());
        self
    }
}

impl fmt::Display for ConstraintError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "invalid value for {}: {} (allowed {})",
            self.field_name, self.candidate, self.allowed
        )
    }
}

impl Error for ConstraintError {}

fn switch(
    field_name: &'static str,
    limit: Option<bool>,
    candidate: bool,
) -> Result<(), ConstraintError> {
    if limit == Some(false) && candidate {
        let allowed = "false (disabled by managed config)";
        return Err(ConstraintError::new(field_name, "true", allowed));
    }
    Ok(())
}

fn check_allowed(limit: &HostLimit, candidate: &Candidate<'_>) -> Result<(), ConstraintError> {
    match limit.expansion {
        Expansion::Open => {
            // An entry that the user denies instead is narrower than one that is missing.
            let present = [candidate.allowed, candidate.denied];
            let what = "missing managed allowed_domains entries";
            check_present(ALLOWED_DOMAINS, what, limit, &present)
        }
        Expansion::Closed => {
            let what = "must match managed allowed_domains";
            check_same(ALLOWED_DOMAINS, what, limit, candidate.allowed)
        }
        Expansion::Unset => {
            let managed = PatternSet::compile(&limit.patterns);
            let wider: Vec<Rule> = candidate
                .allowed
                .iter()
                .filter(|rule| managed.find_cover(&rule.pattern).is_none())
                .collect();
            let Some(first) = wider.first() else {
                return Ok(());
            };
            let shown = list(wider.iter().map(|rule| &rule.pattern));
            let what = "subset of managed allowed_domains";
            Err(ConstraintError::new(ALLOWED_DOMAINS, shown, what)
                .at(&first.pattern, &first.origin))
        }
    }
}

fn check_denied(limit: &HostLimit, candidate: &Candidate<'_>) -> Result<(), ConstraintError> {
    match limit.expansion {
        Expansion::Open | Expansion::Unset => {
            let what = "missing managed denied_domains entries";
            check_present(DENIED_DOMAINS, what, limit, &[candidate.denied])
        }
        Expansion::Closed => {
            let what = "must match managed denied_domains";
            check_same(DENIED_DOMAINS, what, limit, candidate.denied)
        }
    }
}

fn check_present(
    field_name: &'static str,
    what: &str,
    limit: &HostLimit,
    present: &[&HostList],
) -> Result<(), ConstraintError> {
    let missing: Vec<_> = limit
        .patterns
        .iter()
        .filter(|pattern| !present.iter().any(|list| list.contains(pattern)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(ConstraintError::new(
        field_name,
        what,
        list(missing.into_iter()),
    ))
}

fn check_same(
    field_name: &'static str,
    what: &str,
    limit: &HostLimit,
    rules: &HostList,
) -> Result<(), ConstraintError> {
    let managed: BTreeSet<&HostPattern> = limit.patterns.iter().collect();
    let foreign = rules.iter().find(|rule| !managed.contains(&rule.pattern));
    if foreign.is_none() && managed.iter().all(|pattern| rules.contains(pattern)) {
        return Ok(());
    }
    let error = ConstraintError::new(field_name, list(rules.texts()), what);
    Err(match foreign {
        Some(rule) => error.at(&rule.pattern, &rule.origin),
        None => error,
    })
}

fn check_sockets(limit: &[SocketPath], rules: &[SocketRule]) -> Result<(), ConstraintError> {
    let managed: BTreeSet<&SocketPath> = limit.iter().collect();
    let wider: Vec<&SocketRule> = rules
        .iter()
        .filter(|rule| !managed.contains(&rule.path))
        .collect();
    let Some(first) = wider.first() else {
        return Ok(());
    };
    let shown = list(wider.iter().map(|rule| &rule.path));
    let what = "subset of managed allow_unix_sockets";
    Err(
        ConstraintError::new("network.allow_unix_sockets", shown, what)
            .at(&first.path, &first.origin),
    )
}

/// `["a", "b"]`, and no more of it than a person reads.
fn list(entries: impl ExactSizeIterator<Item = impl fmt::Display>) -> String {
    const SHOWN: usize = 20;
    let more = entries.len().saturating_sub(SHOWN);
    let shown: Vec<String> = entries
        .take(SHOWN)
        .map(|entry| format!("{:?}", entry.to_string()))
        .collect();
    let shown = shown.join(", ");
    match more {
        0 => format!("[{shown}]"),
        more => format!("[{shown}, and {more} more]"),
    }
}

#[cfg(test)]
mod tests;
