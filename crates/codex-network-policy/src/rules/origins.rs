//! Where the rules of a list are written, eight bytes a rule.
//!
//! [`Origins`] keeps each source text once and a number and a line for each rule.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::origin::Origin;

#[derive(Clone, Default)]
pub(super) struct Origins {
    sources: Vec<Arc<str>>,
    numbers: BTreeMap<Arc<str>, u32>,
    places: Vec<(u32, Option<NonZeroU32>)>,
}

impl Origins {
    pub(super) fn push(&mut self, origin: &Origin) {
        let number = match self.numbers.get(&origin.source) {
            Some(number) => *number,
            None => {
                // INVARIANT: there are no more sources than rules, and rules are numbered with 32 bits as well.
                let number = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
                self.sources.push(Arc::clone(&origin.source));
                self.numbers.insert(Arc::clone(&origin.source), number);
                number
            }
        };
        self.places.push((number, origin.line));
    }

    pub(super) fn reserve(&mut self, additional: usize) {
        self.places.reserve(additional);
    }

    pub(super) fn get(&self, index: usize) -> Option<Origin> {
        let (source, line) = *self.places.get(index)?;
        Some(Origin {
            source: Arc::clone(self.sources.get(source as usize)?),
            line,
        })
    }
}
