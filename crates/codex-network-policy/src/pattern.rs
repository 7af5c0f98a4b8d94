//! Which hosts an entry of a host list speaks of.
//!
//! [`HostPattern`] is one entry, parsed; [`PatternSet`] is a whole list, compiled so that a look-up costs by the labels
//! of the name and not by the length of the list. Text that other programs would read as something else (a URL, a
//! range of addresses, a shell glob) is an error, and so is a pattern that would open everything.
//!
//! What follows from a match is not known here: lists are allowed or denied by the policy.

use alloc::string::{String, ToString};
use core::error::Error;
use core::fmt;

use crate::host::{Host, HostError, check_label, check_length, ends_in_number, to_ascii};

mod cover;
mod form;
mod glob;
mod rule_id;
mod set;
mod trie;

use form::Form;
pub use form::HostPattern;
use glob::Glob;
pub use rule_id::RuleId;
pub use set::{PatternSet, PatternText};

impl HostPattern {
    /// Parses an entry, without white space around it.
    ///
    /// A port after the host is dropped, as it always was in these lists: ports are not part of a pattern.
    ///
    /// # Errors
    /// When the entry is no host and none of the supported wildcards, or would match every name.
    pub fn parse(text: &str) -> Result<HostPattern, PatternError> {
        let unsupported = |problem| PatternError::Unsupported {
            entry: text.into(),
            problem,
        };
        let malformed = |error| PatternError::Host {
            entry: text.into(),
            error,
        };
        let host = drop_port(text).map_err(unsupported)?;
        if is_global_wildcard(host) {
            return Err(PatternError::GlobalWildcard { entry: text.into() });
        }
        find_foreign_syntax(host).map_or(Ok(()), |problem| Err(unsupported(problem)))?;
        if !host.contains('*') {
            let parsed = Host::parse(host).map_err(malformed)?;
            return match &parsed {
                Host::Name(_) if host.starts_with('[') => {
                    Err(unsupported("brackets are for IPv6 addresses"))
                }
                Host::Name(_) | Host::Address(_) => Ok(HostPattern(Form::Exact(parsed))),
            };
        }
        if host
            .split('.')
            .any(|label| label.contains('*') && !label.is_ascii())
        {
            return Err(unsupported("a label with a star must be ASCII"));
        }
        let ascii = to_ascii(host).map_err(malformed)?;
        let host = ascii
            .strip_suffix('.')
            .unwrap_or(&ascii)
            .to_ascii_lowercase();
        check_wildcard(&host).map_err(|problem| match problem {
            WildcardProblem::Host(error) => malformed(error),
            WildcardProblem::Unsupported(problem) => unsupported(problem),
        })?;
        Ok(HostPattern(wildcard_form(host).map_err(malformed)?))
    }
}

/// Cuts `:443` off. Two or more colons without brackets are an IPv6 address.
fn drop_port(text: &str) -> Result<&str, &'static str> {
    let colon = if text.starts_with('[') {
        text.find("]:").map(|bracket| bracket + 1)
    } else {
        text.find(':').filter(|_| text.matches(':').count() == 1)
    };
    let Some((host, port)) = colon.and_then(|colon| text.split_at_checked(colon)) else {
        return Ok(text);
    };
    if port.starts_with("://") {
        return Err("it is a URL");
    }
    let digits = port.trim_start_matches(':');
    if digits.parse::<u16>().is_ok() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(host)
    } else {
        Err("what follows the `:` is no port")
    }
}

/// Whether no label is left that says which names are meant.
fn is_global_wildcard(host: &str) -> bool {
    host.contains('*')
        && host
            .trim_end_matches('.')
            .split('.')
            .all(|label| label.contains(['*', '?']))
}

/// Names syntax that is at home elsewhere and would silently never match, or match too much, here.
fn find_foreign_syntax(host: &str) -> Option<&'static str> {
    if host.contains("://") {
        return Some("it is a URL");
    }
    if let Some((address, _)) = host.split_once('/') {
        let is_address = matches!(Host::parse(address), Ok(Host::Address(_)));
        return Some(if is_address {
            "ranges of addresses are not supported"
        } else {
            "paths are not part of a host"
        });
    }
    if host.contains(['?', '{', '}', ',']) {
        return Some("`?`, `{}` and lists are not supported");
    }
    if host.contains(['[', ']'])
        && (host.contains('*') || !(host.starts_with('[') && host.ends_with(']')))
    {
        return Some("brackets are for IPv6 addresses");
    }
    None
}

enum WildcardProblem {
    Host(HostError),
    Unsupported(&'static str),
}

/// Checks the lower case ASCII text of a pattern that holds a star.
fn check_wildcard(host: &str) -> Result<(), WildcardProblem> {
    check_length(host).map_err(WildcardProblem::Host)?;
    let labels = host.strip_prefix("**.").unwrap_or(host);
    for label in labels.split('.') {
        if label.contains("**") {
            return Err(WildcardProblem::Unsupported(
                "`**` can only be the first label",
            ));
        }
        check_label(label, &['*']).map_err(WildcardProblem::Host)?;
    }
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    if labels
        .split('.')
        .all(|label| label.contains('*') || is_number(label))
    {
        return Err(WildcardProblem::Unsupported(
            "addresses cannot be matched by a star",
        ));
    }
    if ends_in_number(labels) {
        return Err(WildcardProblem::Host(HostError::AmbiguousIpv4));
    }
    Ok(())
}

/// The form of a checked wildcard: one of the two common ones, or a glob.
fn wildcard_form(host: String) -> Result<Form, HostError> {
    let plain = |name: &str| match Host::parse(name)? {
        Host::Name(name) => Ok(name),
        Host::Address(_) => Err(HostError::AmbiguousIpv4),
    };
    if let Some(base) = host.strip_prefix("*.").filter(|base| !base.contains('*')) {
        return plain(base).map(Form::Below);
    }
    if let Some(base) = host.strip_prefix("**.").filter(|base| !base.contains('*')) {
        return plain(base).map(Form::ApexAndBelow);
    }
    Ok(Form::Glob(Glob::new(&host)))
}

/// Why an entry of a host list is no [`HostPattern`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PatternError {
    /// The entry would match every name.
    GlobalWildcard {
        /// The entry as it is written.
        entry: String,
    },
    /// The entry is written in a syntax that is not supported.
    Unsupported {
        /// The entry as it is written.
        entry: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The entry is no host.
    Host {
        /// The entry as it is written.
        entry: String,
        /// What is wrong.
        error: HostError,
    },
}

impl fmt::Display for PatternError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FORMS: &str =
            "use exact hosts or scoped wildcards like *.example.com or **.example.com";
        let (entry, problem) = match self {
            PatternError::GlobalWildcard { entry } => {
                return write!(
                    formatter,
                    "unsupported global wildcard domain pattern \"{entry}\"; {FORMS}"
                );
            }
            PatternError::Unsupported { entry, problem } => (entry, (*problem).to_string()),
            PatternError::Host { entry, error } => (entry, error.to_string()),
        };
        write!(
            formatter,
            "invalid host pattern `{}`: {problem}; {FORMS}",
            entry.escape_debug()
        )
    }
}

impl Error for PatternError {}

#[cfg(test)]
mod tests;
