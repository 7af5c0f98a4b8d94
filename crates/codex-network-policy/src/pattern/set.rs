//! A host list compiled for look-ups.
//!
//! [`PatternSet`] walks the labels of a name through a trie, so that a look-up costs by the labels that the name shares
//! with the list. Patterns with stars in odd places hang on the node of the plain labels at their end and are tried one
//! by one. Addresses have a table of their own.
//!
//! Nothing is allocated while matching.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use hashbrown::HashTable;

use super::form::{Form, HostPattern};
use super::glob::Glob;
use super::rule_id::{Index, RuleId};
use super::trie::{Node, Span, SuffixHash, Trie};
use crate::host::{Host, Literal, Name};

/// The patterns of one list.
#[derive(Clone, Default)]
pub struct PatternSet {
    names: Trie,
    globs: Vec<HungGlob>,
    /// The first glob that ends in a star, and so hangs on no node.
    first_loose_glob: Option<Index>,
    addresses: Vec<(Literal, RuleId)>,
    address_index: HashTable<Index>,
    /// How to write each pattern down again.
    places: Vec<Place>,
}

/// A glob, and the next one that hangs on the same node.
#[derive(Clone)]
struct HungGlob {
    glob: Glob,
    rule: RuleId,
    next: Option<Index>,
}

#[derive(Clone, Copy)]
enum Place {
    Name {
        stars: Stars,
        length: u8,
        start: u32,
    },
    Glob(Index),
    Address(Index),
}

#[derive(Clone, Copy)]
enum Stars {
    None,
    Below,
    ApexAndBelow,
}

impl PatternSet {
    /// Compiles a list. Of equal patterns the first one decides.
    pub fn compile<'a>(patterns: impl IntoIterator<Item = &'a HostPattern>) -> PatternSet {
        let patterns = patterns.into_iter();
        let mut set = PatternSet::default();
        set.reserve(patterns.size_hint().0);
        for pattern in patterns {
            set.push(pattern);
        }
        set
    }

    /// Adds a pattern at the end.
    pub(crate) fn push(&mut self, pattern: &HostPattern) {
        let place = self.insert(pattern);
        self.places.push(place);
    }

    /// Makes room for patterns that are about to be added.
    pub(crate) fn reserve(&mut self, additional: usize) {
        self.places.reserve(additional);
        self.names.reserve(additional);
    }

    /// The entry that speaks of a host, if there is one; of several, the one with the longest plain name.
    pub fn find(&self, host: &Host) -> Option<RuleId> {
        match host {
            Host::Name(name) => self.find_name(name.as_str()),
            Host::Address(literal) => self.find_address(literal.address(), literal.zone()),
        }
    }

    /// The entry without a star that is this host, if there is one.
    pub fn find_exact(&self, host: &Host) -> Option<RuleId> {
        match host {
            Host::Name(name) => self.names.find(name.as_str())?.exact,
            Host::Address(literal) => self.find_address(literal.address(), literal.zone()),
        }
    }

    /// The entry that is this address in this zone.
    pub(crate) fn find_address(&self, address: IpAddr, zone: Option<&str>) -> Option<RuleId> {
        let same = |entry: &Literal| entry.address() == address && entry.zone() == zone;
        let index = self.address_index.find(hash_address(address), |&index| {
            self.addresses
                .get(index.get())
                .is_some_and(|(entry, _)| same(entry))
        })?;
        self.addresses.get(index.get()).map(|&(_, rule)| rule)
    }

    /// Whether the list has no entry.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The canonical text of an entry of this list.
    pub fn text(&self, rule: RuleId) -> Option<PatternText<'_>> {
        self.places
            .get(rule.index())
            .map(|place| self.text_at(place))
    }

    /// The canonical texts of all entries, in their order.
    pub(crate) fn texts(&self) -> impl ExactSizeIterator<Item = PatternText<'_>> {
        self.places.iter().map(|place| self.text_at(place))
    }

    /// An entry of this list as a pattern of its own.
    pub(crate) fn pattern(&self, rule: RuleId) -> Option<HostPattern> {
        let form = match *self.places.get(rule.index())? {
            Place::Name {
                stars,
                length,
                start,
            } => {
                let name = Name::from_canonical(self.names.text(Span { start, length }));
                match stars {
                    Stars::None => Form::Exact(Host::Name(name)),
                    Stars::Below => Form::Below(name),
                    Stars::ApexAndBelow => Form::ApexAndBelow(name),
                }
            }
            Place::Glob(index) => Form::Glob(self.globs.get(index.get())?.glob.clone()),
            Place::Address(index) => {
                let (literal, _) = self.addresses.get(index.get())?;
                Form::Exact(Host::Address(literal.clone()))
            }
        };
        Some(HostPattern(form))
    }

    /// The entry that is this very pattern.
    pub(crate) fn find_same(&self, pattern: &HostPattern) -> Option<RuleId> {
        match &pattern.0 {
            Form::Exact(host) => self.find_exact(host),
            Form::Below(name) => self.names.find(name.as_str())?.below,
            Form::ApexAndBelow(name) => self.names.find(name.as_str())?.apex_and_below,
            Form::Glob(glob) => self.find_same_glob(glob),
        }
    }

    fn text_at(&self, place: &Place) -> PatternText<'_> {
        let text = match *place {
            Place::Name {
                stars,
                length,
                start,
            } => Text::Name(stars, self.names.text(Span { start, length })),
            Place::Glob(index) => {
                let hung = self.globs.get(index.get());
                Text::Name(Stars::None, hung.map_or("", |hung| hung.glob.as_str()))
            }
            Place::Address(index) => match self.addresses.get(index.get()) {
                Some((literal, _)) => Text::Address(literal),
                None => Text::Name(Stars::None, ""),
            },
        };
        PatternText(text)
    }

    fn find_name(&self, name: &str) -> Option<RuleId> {
        let loose = self.find_glob(self.first_loose_glob, name);
        self.names.walk(name).fold(loose, |found, (node, whole)| {
            let here = if whole { node.exact } else { node.below };
            here.or(node.apex_and_below)
                .or_else(|| self.find_glob(node.first_glob, name))
                .or(found)
        })
    }

    /// The nearest entry for everything below a suffix of `name`. What counts at the whole name is for `at_name` to say,
    /// besides an entry for the name and all below it.
    pub(super) fn find_above(
        &self,
        name: &str,
        at_name: impl Fn(&Node) -> Option<RuleId>,
    ) -> Option<RuleId> {
        self.names.walk(name).fold(None, |found, (node, whole)| {
            let here = if whole { at_name(node) } else { node.below };
            here.or(node.apex_and_below).or(found)
        })
    }

    /// The entry that is this very glob.
    pub(super) fn find_same_glob(&self, glob: &Glob) -> Option<RuleId> {
        let hung = |index: Index| self.globs.get(index.get());
        let first = match glob.plain_suffix() {
            "" => self.first_loose_glob,
            suffix => self.names.find(suffix).and_then(|node| node.first_glob),
        };
        core::iter::successors(first.and_then(hung), |glob| glob.next.and_then(hung))
            .find(|hung| hung.glob == *glob)
            .map(|hung| hung.rule)
    }

    fn find_glob(&self, first: Option<Index>, name: &str) -> Option<RuleId> {
        let hung = |index: Index| self.globs.get(index.get());
        core::iter::successors(first.and_then(hung), |glob| glob.next.and_then(hung))
            .find(|hung| hung.glob.matches(name))
            .map(|hung| hung.rule)
    }

    fn insert(&mut self, pattern: &HostPattern) -> Place {
        let rule = RuleId::at(self.places.len());
        match &pattern.0 {
            Form::Exact(Host::Address(literal)) => self.insert_address(literal, rule),
            Form::Exact(Host::Name(name)) => self.insert_name(name.as_str(), Stars::None, rule),
            Form::Below(name) => self.insert_name(name.as_str(), Stars::Below, rule),
            Form::ApexAndBelow(name) => self.insert_name(name.as_str(), Stars::ApexAndBelow, rule),
            Form::Glob(glob) => self.insert_glob(glob, rule),
        }
    }

    fn insert_name(&mut self, name: &str, stars: Stars, rule: RuleId) -> Place {
        let mut span = Span {
            start: 0,
            length: 0,
        };
        self.names.ensure(name, |node: &mut Node| {
            let slot = match stars {
                Stars::None => &mut node.exact,
                Stars::Below => &mut node.below,
                Stars::ApexAndBelow => &mut node.apex_and_below,
            };
            slot.get_or_insert(rule);
            span = node.span();
        });
        Place::Name {
            stars,
            length: span.length,
            start: span.start,
        }
    }

    fn insert_glob(&mut self, glob: &Glob, rule: RuleId) -> Place {
        let index = Index::new(self.globs.len());
        let next = match glob.plain_suffix() {
            "" => self.first_loose_glob.replace(index),
            suffix => {
                let mut next = None;
                self.names
                    .ensure(suffix, |node| next = node.first_glob.replace(index));
                next
            }
        };
        self.globs.push(HungGlob {
            glob: glob.clone(),
            rule,
            next,
        });
        Place::Glob(index)
    }

    fn insert_address(&mut self, literal: &Literal, rule: RuleId) -> Place {
        let index = Index::new(self.addresses.len());
        let known = self
            .find_address(literal.address(), literal.zone())
            .is_some();
        self.addresses.push((literal.clone(), rule));
        if !known {
            let hash = |index: &Index| {
                self.addresses
                    .get(index.get())
                    .map_or(0, |(entry, _)| hash_address(entry.address()))
            };
            self.address_index
                .insert_unique(hash_address(literal.address()), index, hash);
        }
        Place::Address(index)
    }
}

impl fmt::Debug for PatternSet {
    /// A list can have a million entries, so only their number is shown.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PatternSet")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// The canonical text of an entry, put together while it is displayed.
#[derive(Clone, Copy)]
pub struct PatternText<'a>(Text<'a>);

impl<'a> PatternText<'a> {
    /// A text that is already as it shall be shown.
    pub(crate) fn verbatim(text: &'a str) -> PatternText<'a> {
        PatternText(Text::Name(Stars::None, text))
    }
}

#[derive(Clone, Copy)]
enum Text<'a> {
    Name(Stars, &'a str),
    Address(&'a Literal),
}

impl fmt::Display for PatternText<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Text::Name(Stars::None, name) => formatter.write_str(name),
            Text::Name(Stars::Below, name) => write!(formatter, "*.{name}"),
            Text::Name(Stars::ApexAndBelow, name) => write!(formatter, "**.{name}"),
            Text::Address(literal) => write!(formatter, "{literal}"),
        }
    }
}

impl fmt::Debug for PatternText<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PatternText({self})")
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "both halves go in, one after the other"
)]
fn hash_address(address: IpAddr) -> u64 {
    let bits = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let mut hash = SuffixHash::default();
    hash.mix((bits >> 64) as u64);
    hash.mix(bits as u64);
    hash.finish()
}

#[cfg(test)]
mod tests;
