//! The plain names of a host list, label by label from the right.
//!
//! [`Trie`] keeps a [`Node`] for every suffix of every name in one hash table. A node is found by the hash of its whole
//! suffix, which grows by one label at a time while a name is walked, and is confirmed by its text. The walk ends at
//! the first suffix that no name has.
//!
//! What the patterns say at a node is for the set to fill in and to read.

use alloc::string::String;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::rule_id::{Index, RuleId, narrow};

#[derive(Clone, Default)]
pub(super) struct Trie {
    /// The texts of the nodes. A node's suffix is the tail of a text that was written for it or for a deeper node.
    texts: String,
    nodes: HashTable<Node>,
}

/// A suffix that some pattern has, and what the patterns say about it.
#[derive(Clone)]
pub(super) struct Node {
    // Kept so that a mismatch is seen without the text, and the table can grow without it.
    hash: u64,
    start: u32,
    length: u8,
    pub(super) exact: Option<RuleId>,
    pub(super) below: Option<RuleId>,
    pub(super) apex_and_below: Option<RuleId>,
    pub(super) first_glob: Option<Index>,
}

/// Where the text of a node lies.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) length: u8,
}

impl Node {
    pub(super) fn span(&self) -> Span {
        Span {
            start: self.start,
            length: self.length,
        }
    }
}

impl Trie {
    /// The nodes of the suffixes of a name, from the shortest to the longest, each with whether it is the whole name.
    pub(super) fn walk(&self, name: &str) -> impl Iterator<Item = (&Node, bool)> {
        suffixes(name).map_while(|(hash, suffix)| {
            let node = self.find_suffix(hash, suffix)?;
            Some((node, suffix.len() == name.len()))
        })
    }

    /// The node of the whole name.
    pub(super) fn find(&self, name: &str) -> Option<&Node> {
        self.find_suffix(suffixes(name).last()?.0, name)
    }

    /// The node of a name, made if there is none. Nodes for all its suffixes are made too, so that a walk may end where
    /// one is missing. The last one is given to `fill`, unless the name is empty.
    pub(super) fn ensure(&mut self, name: &str, mut fill: impl FnMut(&mut Node)) {
        let Trie { texts, nodes } = self;
        let mut written_at = None;
        for (hash, suffix) in suffixes(name) {
            let same = |node: &Node| node.hash == hash && read(texts, node.span()) == suffix;
            let mut entry = match nodes.entry(hash, same, |node| node.hash) {
                Entry::Occupied(entry) => entry,
                Entry::Vacant(entry) => {
                    let end = *written_at.get_or_insert_with(|| {
                        texts.push_str(name);
                        texts.len()
                    });
                    entry.insert(Node::new(hash, end - suffix.len(), suffix.len()))
                }
            };
            if suffix.len() == name.len() {
                fill(entry.get_mut());
            }
        }
    }

    pub(super) fn text(&self, span: Span) -> &str {
        read(&self.texts, span)
    }

    /// Makes room for names that are about to be added. Most names of a long list add one node, and growing the table
    /// bit by bit would write every node several times.
    pub(super) fn reserve(&mut self, names: usize) {
        self.nodes.reserve(names, |node| node.hash);
    }

    fn find_suffix(&self, hash: u64, suffix: &str) -> Option<&Node> {
        self.nodes.find(hash, |node| {
            node.hash == hash && self.text(node.span()) == suffix
        })
    }
}

impl Node {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a name has at most 253 bytes"
    )]
    fn new(hash: u64, start: usize, length: usize) -> Node {
        Node {
            hash,
            start: narrow(start),
            length: length as u8,
            exact: None,
            below: None,
            apex_and_below: None,
            first_glob: None,
        }
    }
}

fn read(texts: &str, span: Span) -> &str {
    let start = span.start as usize;
    texts
        .get(start..start + usize::from(span.length))
        .unwrap_or_default()
}

/// The suffixes of a name that begin at a label, from the shortest to the longest, each with its hash.
fn suffixes(name: &str) -> impl Iterator<Item = (u64, &str)> {
    let mut hash = SuffixHash::default();
    let mut rest = name.as_bytes();
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let start = hash.push_label(rest);
        // Without the label and the dot before it.
        rest = rest.get(..start.saturating_sub(1)).unwrap_or_default();
        Some((hash.finish(), name.get(start..).unwrap_or_default()))
    })
}

/// The hash of a suffix that grows to the left by one label at a time.
///
/// It is not keyed: what lies in the table comes from the configuration, and a client can only look up.
#[derive(Clone, Copy, Default)]
pub(super) struct SuffixHash(u64);

impl SuffixHash {
    /// Takes the last label of `text` in, and tells where it begins. One pass finds the dot and gathers the bytes.
    fn push_label(&mut self, text: &[u8]) -> usize {
        let mut word = 0;
        let mut length: u8 = 0;
        for &byte in text.iter().rev().take_while(|&&byte| byte != b'.') {
            word = word << 8 | u64::from(byte);
            length += 1;
            if length.is_multiple_of(8) {
                self.mix(word);
                word = 0;
            }
        }
        // At most seven bytes are left, so the length fits above them. It tells `ab.c` from `a.bc`.
        self.mix(word | u64::from(length) << 56);
        text.len() - usize::from(length)
    }

    pub(super) fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER);
    }

    /// Spreads the high bits, where multiplication gathers what it knows, over all of them.
    pub(super) fn finish(self) -> u64 {
        (self.0 ^ (self.0 >> 32)).wrapping_mul(MULTIPLIER)
    }
}

/// An odd number without pattern (the fraction of the golden ratio).
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use std::collections::HashSet;

    #[test]
    fn suffixes_begin_at_labels_and_grow_to_the_left() {
        let found = |name| suffixes(name).map(|(_, suffix)| suffix).collect::<Vec<_>>();
        assert_eq!(found("a.bc.def"), ["def", "bc.def", "a.bc.def"]);
        assert_eq!(found("def"), ["def"]);
        assert_eq!(found(""), [""; 0]);
    }

    #[test]
    fn suffixes_that_differ_have_hashes_that_differ() {
        let names = [
            "ab.c",
            "a.bc",
            "abc",
            "c.ab",
            "a.b.c",
            "abcdefgh",
            "abcdefgh.a",
            "a.abcdefgh",
            "abcdefg.h",
            "ba.c",
            "a.a",
            "a.a.a",
            "aa",
            "aaaaaaaaaaaaaaaa",
            "aaaaaaaa.aaaaaaaa",
        ];
        let hashes: HashSet<_> = names
            .iter()
            .filter_map(|name| suffixes(name).last())
            .map(|(hash, _)| hash)
            .collect();
        assert_eq!(hashes.len(), names.len());
    }

    #[test]
    fn a_node_is_half_a_cache_line() {
        assert_eq!(size_of::<Node>(), 32);
    }

    #[test]
    fn a_walk_ends_where_no_name_goes_on() {
        let mut trie = Trie::default();
        trie.ensure("a.b.c", |_| {});
        trie.ensure("x.b.c", |_| {});
        let walk = |name| {
            trie.walk(name)
                .map(|(node, whole)| (trie.text(node.span()), whole))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            walk("a.b.c"),
            [("c", false), ("b.c", false), ("a.b.c", true)]
        );
        assert_eq!(
            walk("z.a.b.c"),
            [("c", false), ("b.c", false), ("a.b.c", false)]
        );
        assert_eq!(walk("a.x.c"), [("c", false)]);
        assert_eq!(walk("c"), [("c", true)]);
        assert_eq!(walk("d"), []);
        assert!(trie.find("b.c").is_some_and(|node| node.exact.is_none()));
        assert!(trie.find("a.c").is_none());
    }
}
