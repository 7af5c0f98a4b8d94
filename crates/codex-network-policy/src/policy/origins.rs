//! Where the rules of a policy are written, eight bytes a rule.
//!
//! [`Origins`] keeps each source text once and a number and a line for each rule.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use crate::rules::Origin;

#[derive(Default)]
pub(super) struct Origins {
    sources: Vec<Arc<str>>,
    places: Vec<(u32, Option<NonZeroU32>)>,
}

impl Origins {
    pub(super) fn collect<'a>(origins: impl Iterator<Item = &'a Origin>) -> Origins {
        let mut collected = Origins::default();
        let mut numbers = BTreeMap::new();
        collected.places.reserve_exact(origins.size_hint().0);
        for origin in origins {
            let number = *numbers.entry(&origin.source).or_insert_with(|| {
                collected.sources.push(Arc::clone(&origin.source));
                // INVARIANT: there are no more sources than rules, and rules are numbered with 32 bits as well.
                u32::try_from(collected.sources.len() - 1).unwrap_or(u32::MAX)
            });
            collected.places.push((number, origin.line));
        }
        collected
    }

    pub(super) fn get(&self, index: usize) -> Option<Origin> {
        let (source, line) = *self.places.get(index)?;
        Some(Origin {
            source: Arc::clone(self.sources.get(source as usize)?),
            line,
        })
    }
}
