//! One host list, in the form in which it is judged.
//!
//! [`HostList`] takes rules in one by one and compiles each at once, so that a long list exists once: the configuration,
//! the policy and whoever compares two configurations share it, at about eighty bytes an entry. A rule of its own is put
//! together where one is asked for.
//!
//! It is not known here whether a list allows or denies.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use super::origin::Origin;
use super::origins::Origins;
use crate::pattern::{HostPattern, PatternSet, PatternText, RuleId};

/// One entry of a host list.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The hosts it speaks of.
    pub pattern: HostPattern,
    /// Where it is written.
    pub origin: Origin,
}

/// The entries of one host list, in the order in which they were added. A clone shares them.
#[derive(Clone, Default)]
pub struct HostList(Arc<Entries>);

#[derive(Clone, Default)]
struct Entries {
    patterns: PatternSet,
    origins: Origins,
}

impl HostList {
    /// Adds an entry at the end. Of equal patterns the first one decides.
    pub fn push(&mut self, rule: Rule) {
        let entries = Arc::make_mut(&mut self.0);
        entries.patterns.push(&rule.pattern);
        entries.origins.push(&rule.origin);
    }

    /// Makes room for entries that are about to be added.
    pub fn reserve(&mut self, additional: usize) {
        let entries = Arc::make_mut(&mut self.0);
        entries.patterns.reserve(additional);
        entries.origins.reserve(additional);
    }

    /// Keeps only the entries that `keep` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&Rule) -> bool) {
        let kept: HostList = self.iter().filter(|rule| keep(rule)).collect();
        if kept.len() < self.len() {
            *self = kept;
        }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.0.patterns.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.patterns.is_empty()
    }

    /// The entry at this place, counted from zero.
    pub fn get(&self, index: usize) -> Option<Rule> {
        Some(Rule {
            pattern: self.0.patterns.pattern(RuleId::at(index))?,
            origin: self.origin(index)?,
        })
    }

    /// The entries in their order.
    pub fn iter(&self) -> HostListIter<'_> {
        HostListIter {
            list: self,
            places: 0..self.len(),
        }
    }

    /// The canonical texts of the entries, in their order.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = PatternText<'_>> {
        self.0.patterns.texts()
    }

    /// Whether this very pattern is an entry, however it was written.
    pub fn contains(&self, pattern: &HostPattern) -> bool {
        self.0.patterns.find_same(pattern).is_some()
    }

    /// The patterns, for look-ups. An id is the place of an entry.
    pub fn patterns(&self) -> &PatternSet {
        &self.0.patterns
    }

    /// The origin of the entry at this place.
    pub(crate) fn origin(&self, index: usize) -> Option<Origin> {
        self.0.origins.get(index)
    }
}

impl Extend<Rule> for HostList {
    fn extend<I: IntoIterator<Item = Rule>>(&mut self, rules: I) {
        let rules = rules.into_iter();
        self.reserve(rules.size_hint().0);
        rules.for_each(|rule| self.push(rule));
    }
}

impl FromIterator<Rule> for HostList {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> HostList {
        let mut list = HostList::default();
        list.extend(rules);
        list
    }
}

impl From<Vec<Rule>> for HostList {
    fn from(rules: Vec<Rule>) -> HostList {
        rules.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a HostList {
    type Item = Rule;
    type IntoIter = HostListIter<'a>;

    fn into_iter(self) -> HostListIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for HostList {
    /// A list can have a million entries, so only their number is shown.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HostList")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// The entries of a [`HostList`], one rule at a time.
#[derive(Clone, Debug)]
pub struct HostListIter<'a> {
    list: &'a HostList,
    places: Range<usize>,
}

impl Iterator for HostListIter<'_> {
    type Item = Rule;

    fn next(&mut self) -> Option<Rule> {
        self.list.get(self.places.next()?)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl DoubleEndedIterator for HostListIter<'_> {
    fn next_back(&mut self) -> Option<Rule> {
        self.list.get(self.places.next_back()?)
    }
}

impl ExactSizeIterator for HostListIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};

    const TEXTS: [&str; 9] = [
        "example.com",
        "*.example.com",
        "**.example.com",
        "a*.example.com",
        "*.b*.example.com",
        "127.0.0.1",
        "::1",
        "fe80::1%eth0",
        "example.com",
    ];

    fn rule(text: &str, line: u32) -> Rule {
        Rule {
            pattern: HostPattern::parse(text).unwrap(),
            origin: Origin {
                source: format!("file{}", line % 2).into(),
                line: line.try_into().ok(),
            },
        }
    }

    fn rules() -> Vec<Rule> {
        (1..)
            .zip(TEXTS)
            .map(|(line, text)| rule(text, line))
            .collect()
    }

    #[test]
    fn what_went_in_comes_out() {
        let list = HostList::from(rules());
        assert_eq!(list.len(), TEXTS.len());
        for (before, after) in rules().iter().zip(&list) {
            assert_eq!(before.pattern, after.pattern);
            assert_eq!(before.origin, after.origin);
        }
        let backwards: Vec<String> = list.iter().rev().map(|it| it.pattern.to_string()).collect();
        assert!(backwards.iter().rev().eq(TEXTS.iter()));
        assert!(list.texts().map(|text| text.to_string()).eq(TEXTS));
        assert!(list.get(TEXTS.len()).is_none());
    }

    #[test]
    fn only_the_very_pattern_is_contained() {
        let list = HostList::from(rules());
        let contains = |text: &str| list.contains(&HostPattern::parse(text).unwrap());
        for text in TEXTS {
            assert!(contains(text), "{text}");
        }
        for text in [
            "a.example.com",
            "*.a.example.com",
            "**.a.example.com",
            "b*.example.com",
            "127.0.0.2",
            "fe80::1",
            "com",
            "*.com",
        ] {
            assert!(!contains(text), "{text}");
        }
    }

    #[test]
    fn what_is_not_kept_is_gone() {
        let mut list = HostList::from(rules());
        list.retain(|rule| rule.pattern.is_exact());
        let kept = list.texts().map(|text| text.to_string());
        assert!(kept.eq(TEXTS.into_iter().filter(|text| !text.contains('*'))));
        let gone = HostPattern::parse("*.example.com").unwrap();
        assert!(!list.contains(&gone));
    }

    #[test]
    fn a_clone_is_changed_alone() {
        let list = HostList::from(rules());
        let mut longer = list.clone();
        longer.push(rule("other.test", 10));
        let other = HostPattern::parse("other.test").unwrap();
        assert_eq!((list.len(), list.contains(&other)), (TEXTS.len(), false));
        assert_eq!(
            (longer.len(), longer.contains(&other)),
            (TEXTS.len() + 1, true)
        );
    }
}
