//! Whether a list speaks of every host that one pattern speaks of: "A covers B".
//!
//! [`PatternSet::find_cover`] answers for a whole list, at the cost of the pattern's labels; [`HostPattern::covers`] for
//! one entry. Both are sound and not complete: where they say yes every host of B is one of A; a pattern that is covered
//! only by several entries together, or by the shape of two globs, counts as not covered. Managed limits rest on this,
//! so that "not sure" has to mean "no".

use super::form::{Form, HostPattern};
use super::rule_id::RuleId;
use super::set::PatternSet;
use crate::host::Name;

impl HostPattern {
    /// Whether this entry speaks of every host that `other` speaks of.
    pub fn covers(&self, other: &HostPattern) -> bool {
        match (&self.0, &other.0) {
            (_, Form::Exact(host)) => self.matches(host),
            (Form::Exact(_), Form::Below(_) | Form::ApexAndBelow(_) | Form::Glob(_)) => false,
            (Form::Below(base), Form::Below(name)) => is_at_or_below(name.as_str(), base),
            (Form::Below(base), Form::ApexAndBelow(name)) => {
                name != base && is_at_or_below(name.as_str(), base)
            }
            (Form::ApexAndBelow(base), Form::Below(name) | Form::ApexAndBelow(name)) => {
                is_at_or_below(name.as_str(), base)
            }
            (Form::Below(base) | Form::ApexAndBelow(base), Form::Glob(glob)) => {
                is_at_or_below(glob.plain_suffix(), base)
            }
            (Form::Glob(own), Form::Glob(glob)) => own == glob,
            (Form::Glob(_), Form::Below(_) | Form::ApexAndBelow(_)) => false,
        }
    }
}

impl PatternSet {
    /// An entry that speaks of every host that `pattern` speaks of, if one entry alone does.
    pub fn find_cover(&self, pattern: &HostPattern) -> Option<RuleId> {
        match &pattern.0 {
            Form::Exact(host) => self.find(host),
            Form::Below(name) => self.find_above(name.as_str(), |node| node.below),
            Form::ApexAndBelow(name) => self.find_above(name.as_str(), |_| None),
            // Every name that the glob matches lies below its plain suffix.
            Form::Glob(glob) => self
                .find_same_glob(glob)
                .or_else(|| self.find_above(glob.plain_suffix(), |node| node.below)),
        }
    }
}

/// Whether `name` is the base or lies below it.
fn is_at_or_below(name: &str, base: &Name) -> bool {
    name.strip_suffix(base.as_str())
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_the_specification() {
        for (managed, covered, others) in [
            (
                "x.com",
                &["x.com", "X.com."][..],
                &["a.x.com", "*.x.com", "**.x.com", "y.com"][..],
            ),
            (
                "*.x.com",
                &["a.x.com", "*.x.com", "*.a.x.com", "**.a.x.com", "r*.x.com"],
                &["x.com", "**.x.com", "ax.com", "*.com", "r*.com"],
            ),
            (
                "**.x.com",
                &[
                    "x.com",
                    "a.x.com",
                    "*.x.com",
                    "**.x.com",
                    "*.a.x.com",
                    "**.a.x.com",
                ],
                &["ax.com", "*.ax.com", "**.com"],
            ),
            (
                "r*.x.com",
                &["r1.x.com", "r*.x.com"],
                &["a.r1.x.com", "r1*.x.com", "*.x.com"],
            ),
            (
                "127.0.0.1",
                &["127.0.0.1", "::ffff:127.0.0.1"],
                &["127.0.0.2"],
            ),
        ] {
            let parse = |text: &str| HostPattern::parse(text).unwrap();
            let managed = parse(managed);
            let covers = |text: &&&str| managed.covers(&parse(text));
            assert_eq!(
                covered.iter().filter(|text| !covers(text)).count(),
                0,
                "{managed}"
            );
            assert_eq!(others.iter().filter(covers).count(), 0, "{managed}");
        }
    }
}
