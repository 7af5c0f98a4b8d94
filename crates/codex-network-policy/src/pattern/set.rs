//! A host list compiled for look-ups.
//!
//! [`PatternSet`] is a trie of labels, read from the right, whose nodes lie in one hash table: a node is found by the
//! hash of its whole suffix, which grows label by label while a name is walked. The walk ends at the first suffix that
//! no pattern has, so its cost is that of the labels that the name shares with the list. Patterns with stars in odd
//! places hang on the node of the plain labels at their end and are tried one by one.
//!
//! Nothing is allocated while matching.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU32;

use hashbrown::HashTable;

use super::form::{Form, HostPattern};
use super::glob::Glob;
use crate::host::{Host, Literal};

/// Which rule decided: the place of an entry in its list. A policy numbers the entries of all its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(Index);

impl RuleId {
    /// The id of the entry at `index`.
    pub(crate) fn at(index: usize) -> RuleId {
        RuleId(Index::new(index))
    }

    /// The place of the entry, counted from zero.
    pub fn index(self) -> usize {
        self.0.get()
    }

    /// The same entry when `count` others stand before its list.
    pub(crate) fn after(self, count: usize) -> RuleId {
        RuleId::at(self.index() + count)
    }
}

/// A place in a list, half as wide as a pointer, and no wider when it may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Index(NonZeroU32);

impl Index {
    #[expect(
        clippy::expect_used,
        reason = "four billion entries and their texts do not fit into memory"
    )]
    fn new(index: usize) -> Index {
        let next = u32::try_from(index)
            .ok()
            .and_then(|index| index.checked_add(1))
            .and_then(NonZeroU32::new);
        Index(next.expect("fewer than four billion entries"))
    }

    fn get(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// The patterns of one list.
#[derive(Default)]
pub struct PatternSet {
    /// The texts of the nodes. A node's suffix is the tail of a text that was written for it or for a deeper node.
    texts: String,
    /// The first node, if there is any, is the root: the suffix that every name has.
    nodes: Vec<Node>,
    node_index: HashTable<Index>,
    globs: Vec<HungGlob>,
    addresses: Vec<(Literal, RuleId)>,
    address_index: HashTable<Index>,
    /// How to write each pattern down again.
    places: Vec<Place>,
}

/// A suffix that some pattern has, and what the patterns say about it.
#[derive(Default)]
struct Node {
    start: usize,
    length: u8,
    exact: Option<RuleId>,
    below: Option<RuleId>,
    apex_and_below: Option<RuleId>,
    first_glob: Option<Index>,
}

struct HungGlob {
    glob: Glob,
    rule: RuleId,
    next: Option<Index>,
}

#[derive(Clone, Copy)]
enum Place {
    Exact(Index),
    Below(Index),
    ApexAndBelow(Index),
    Glob(Index),
    Address(Index),
}

impl PatternSet {
    /// Compiles a list. Of equal patterns the first one decides.
    pub fn compile<'a>(patterns: impl IntoIterator<Item = &'a HostPattern>) -> PatternSet {
        let patterns = patterns.into_iter();
        let mut set = PatternSet::default();
        set.nodes.push(Node::default());
        set.places.reserve_exact(patterns.size_hint().0);
        for pattern in patterns {
            set.insert(pattern);
        }
        set.texts.shrink_to_fit();
        set.nodes.shrink_to_fit();
        set
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
            Host::Name(name) => {
                let hash = SuffixHash::of(name.as_str());
                self.find_node(hash, name.as_str())
                    .and_then(|node| self.nodes[node.get()].exact)
            }
            Host::Address(literal) => self.find_address(literal.address(), literal.zone()),
        }
    }

    /// The entry that is this address in this zone.
    pub(crate) fn find_address(&self, address: IpAddr, zone: Option<&str>) -> Option<RuleId> {
        let same = |entry: &Literal| entry.address() == address && entry.zone() == zone;
        let index = self.address_index.find(hash_address(address), |entry| {
            same(&self.addresses[entry.get()].0)
        })?;
        Some(self.addresses[index.get()].1)
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
        let node = |node: Index| self.suffix(&self.nodes[node.get()]);
        Some(PatternText(match *self.places.get(rule.index())? {
            Place::Exact(index) => Text::Name("", node(index)),
            Place::Below(index) => Text::Name("*.", node(index)),
            Place::ApexAndBelow(index) => Text::Name("**.", node(index)),
            Place::Glob(index) => Text::Name("", self.globs[index.get()].glob.as_str()),
            Place::Address(index) => Text::Address(&self.addresses[index.get()].0),
        }))
    }

    fn find_name(&self, name: &str) -> Option<RuleId> {
        let mut found = self.find_glob(self.nodes.first()?, name);
        let mut hash = SuffixHash::default();
        let mut start = name.len();
        for label in name.rsplit('.') {
            start -= label.len();
            hash.push(label);
            let Some(index) = self.find_node(hash, &name[start..]) else {
                break;
            };
            let node = &self.nodes[index.get()];
            let here = if start == 0 { node.exact } else { node.below };
            found = here
                .or(node.apex_and_below)
                .or_else(|| self.find_glob(node, name))
                .or(found);
            // The dot before this label; there is none at the start of the name.
            start = start.saturating_sub(1);
        }
        found
    }

    fn find_node(&self, hash: SuffixHash, suffix: &str) -> Option<Index> {
        let same = |index: &Index| self.suffix(&self.nodes[index.get()]) == suffix;
        self.node_index.find(hash.finish(), same).copied()
    }

    fn find_glob(&self, node: &Node, name: &str) -> Option<RuleId> {
        let mut next = node.first_glob;
        while let Some(index) = next {
            let hung = &self.globs[index.get()];
            if hung.glob.matches(name) {
                return Some(hung.rule);
            }
            next = hung.next;
        }
        None
    }

    fn suffix(&self, node: &Node) -> &str {
        &self.texts[node.start..node.start + usize::from(node.length)]
    }

    fn insert(&mut self, pattern: &HostPattern) {
        let rule = RuleId::at(self.places.len());
        let place = match &pattern.0 {
            Form::Exact(Host::Address(literal)) => self.insert_address(literal, rule),
            Form::Exact(Host::Name(name)) => {
                let node = self.ensure_node(name.as_str());
                self.nodes[node.get()].exact.get_or_insert(rule);
                Place::Exact(node)
            }
            Form::Below(name) => {
                let node = self.ensure_node(name.as_str());
                self.nodes[node.get()].below.get_or_insert(rule);
                Place::Below(node)
            }
            Form::ApexAndBelow(name) => {
                let node = self.ensure_node(name.as_str());
                self.nodes[node.get()].apex_and_below.get_or_insert(rule);
                Place::ApexAndBelow(node)
            }
            Form::Glob(glob) => {
                let node = self.ensure_node(glob.plain_suffix());
                let index = Index::new(self.globs.len());
                let next = self.nodes[node.get()].first_glob.replace(index);
                self.globs.push(HungGlob {
                    glob: glob.clone(),
                    rule,
                    next,
                });
                Place::Glob(index)
            }
        };
        self.places.push(place);
    }

    fn insert_address(&mut self, literal: &Literal, rule: RuleId) -> Place {
        let index = Index::new(self.addresses.len());
        let known = self
            .find_address(literal.address(), literal.zone())
            .is_some();
        self.addresses.push((literal.clone(), rule));
        if !known {
            let rehash = |index: &Index| hash_address(self.addresses[index.get()].0.address());
            self.address_index
                .insert_unique(hash_address(literal.address()), index, rehash);
        }
        Place::Address(index)
    }

    /// The node of a suffix. Nodes for all shorter suffixes are made too, so that a walk may end where one is missing.
    fn ensure_node(&mut self, text: &str) -> Index {
        let mut node = Index::new(0);
        let mut hash = SuffixHash::default();
        let mut start = text.len();
        let mut written_at = None;
        for label in text.rsplit('.').filter(|_| !text.is_empty()) {
            start -= label.len();
            hash.push(label);
            let suffix = &text[start..];
            node = self.find_node(hash, suffix).unwrap_or_else(|| {
                let written_at = *written_at.get_or_insert_with(|| {
                    self.texts.push_str(text);
                    self.texts.len() - text.len()
                });
                self.insert_node(hash, written_at + start, suffix.len())
            });
            start = start.saturating_sub(1);
        }
        node
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a name has at most 253 bytes"
    )]
    fn insert_node(&mut self, hash: SuffixHash, start: usize, length: usize) -> Index {
        let index = Index::new(self.nodes.len());
        self.nodes.push(Node {
            start,
            length: length as u8,
            ..Node::default()
        });
        let rehash = |index: &Index| {
            let node = &self.nodes[index.get()];
            SuffixHash::of(&self.texts[node.start..node.start + usize::from(node.length)]).finish()
        };
        self.node_index.insert_unique(hash.finish(), index, rehash);
        index
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
#[derive(Clone, Copy, Debug)]
pub struct PatternText<'a>(Text<'a>);

impl<'a> PatternText<'a> {
    /// A text that is already as it shall be shown.
    pub(crate) fn verbatim(text: &'a str) -> PatternText<'a> {
        PatternText(Text::Name("", text))
    }
}

#[derive(Clone, Copy, Debug)]
enum Text<'a> {
    Name(&'static str, &'a str),
    Address(&'a Literal),
}

impl fmt::Display for PatternText<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Text::Name(stars, name) => write!(formatter, "{stars}{name}"),
            Text::Address(literal) => write!(formatter, "{literal}"),
        }
    }
}

/// The hash of a suffix that grows to the left by one label at a time.
///
/// It is not keyed: what lies in the table comes from the configuration, and a client can only look up.
#[derive(Clone, Copy, Default)]
struct SuffixHash(u64);

impl SuffixHash {
    fn of(name: &str) -> SuffixHash {
        let mut hash = SuffixHash::default();
        name.rsplit('.').for_each(|label| hash.push(label));
        hash
    }

    fn push(&mut self, label: &str) {
        let mut chunks = label.as_bytes().chunks_exact(8);
        for chunk in &mut chunks {
            self.mix(
                chunk
                    .iter()
                    .fold(0, |word, &byte| word << 8 | u64::from(byte)),
            );
        }
        // The length in the highest byte tells `ab.c` from `a.bc`, as the dots are left out.
        let rest = chunks
            .remainder()
            .iter()
            .fold(label.len() as u64, |word, &byte| {
                word << 8 | u64::from(byte)
            });
        self.mix(rest);
    }

    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER);
    }

    /// Spreads the high bits, where multiplication gathers what it knows, over all of them.
    fn finish(self) -> u64 {
        (self.0 ^ (self.0 >> 32)).wrapping_mul(MULTIPLIER)
    }
}

/// An odd number without pattern (the fraction of the golden ratio).
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

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
