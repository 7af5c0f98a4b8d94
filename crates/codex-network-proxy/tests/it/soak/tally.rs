//! What the clients were told, against what the proxies have on record.
//!
//! [`Tally`] counts verdicts by host on both sides. For a host whose clients always wait for their verdict the two must be
//! equal; where a client may be gone before it is heard, there may be fewer events than requests, and never more.

use std::collections::BTreeMap;

use super::stage::Stage;

/// Permitted and refused.
type Count = (u64, u64);

#[derive(Default)]
pub(super) struct Tally {
    told: BTreeMap<&'static str, Count>,
    /// Requests whose verdict nobody has waited for.
    unheard: BTreeMap<&'static str, u64>,
    recorded: BTreeMap<String, Count>,
}

impl Tally {
    /// A client was told its verdict.
    pub(super) fn told(&mut self, host: &'static str, permitted: bool) {
        let (yes, no) = self.told.entry(host).or_default();
        *(if permitted { yes } else { no }) += 1;
    }

    /// A client did not wait, or asked for what leaves any number of events.
    pub(super) fn unheard(&mut self, host: &'static str) {
        *self.unheard.entry(host).or_default() += 1;
    }

    /// Takes what the proxies have recorded since the last call.
    pub(super) fn take_events(&mut self, stage: &Stage) {
        for event in stage.take_events() {
            let host = event.field("server.address").unwrap_or("-").to_owned();
            let permitted = event.field("network.policy.decision") == Some("allow");
            let (yes, no) = self.recorded.entry(host).or_default();
            *(if permitted { yes } else { no }) += 1;
        }
    }

    pub(super) fn assert_even(&self) {
        for (host, recorded) in &self.recorded {
            if !self.unheard.contains_key(host.as_str()) {
                let told = self.told.get(host.as_str()).copied().unwrap_or_default();
                assert_eq!(told, *recorded, "verdicts told and recorded about `{host}`");
            }
        }
        for (host, told) in &self.told {
            let recorded = self.recorded.get(*host).copied().unwrap_or_default();
            assert!(
                recorded.0 >= told.0 && recorded.1 >= told.1,
                "verdicts told {told:?} and recorded {recorded:?} about `{host}`"
            );
        }
    }

    pub(super) fn summary(&self) -> String {
        let sum = |counts: &mut dyn Iterator<Item = &Count>| {
            counts.fold((0, 0), |(yes, no), count| (yes + count.0, no + count.1))
        };
        let told = sum(&mut self.told.values());
        let recorded = sum(&mut self.recorded.values());
        format!(
            "{} permitted and {} refused, {} did not wait; {} and {} on record",
            told.0,
            told.1,
            self.unheard.values().sum::<u64>(),
            recorded.0,
            recorded.1
        )
    }
}
