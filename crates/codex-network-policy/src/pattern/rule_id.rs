//! Numbers of rules, kept narrow because a list can have a million of them.

use core::num::NonZeroU32;

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
pub(super) struct Index(NonZeroU32);

impl Index {
    pub(super) fn new(index: usize) -> Index {
        Index(NonZeroU32::MIN.saturating_add(narrow(index)))
    }

    pub(super) fn get(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A place in a list or a text of a policy.
#[expect(
    clippy::expect_used,
    reason = "a policy with four gigabytes of names is no policy"
)]
pub(super) fn narrow(place: usize) -> u32 {
    u32::try_from(place).expect("fewer than four billion entries")
}
