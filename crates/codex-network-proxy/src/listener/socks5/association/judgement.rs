//! A judgement of a target in a UDP association, and the bounds on what waits for judgements.
//!
//! Main types: [`Judgement`], of one target, and [`Waiting`], the sum of the association.
//! Deliberately not here: who judges, and what is sent or dropped afterwards.

use tokio::time::Instant;

/// Judgements under way at once; a judgement may wait for a resolver, or for a human.
pub(super) const JUDGEMENT_LIMIT: usize = 32;
/// Datagrams of one target that wait for its judgement.
pub(super) const HELD_DATAGRAM_LIMIT: usize = 8;
/// Bytes that wait for judgements in the whole association; one largest datagram always fits.
pub(super) const HELD_BYTE_LIMIT: usize = 64 * 1024;

#[derive(Debug)]
pub(super) enum Judgement {
    UnderWay {
        asked_at: u64,
        held: Vec<Box<[u8]>>,
    },
    /// Holds for its generation, and only until `again_at` if the name could not be resolved.
    Ended {
        generation: u64,
        again_at: Option<Instant>,
    },
}

/// How much waits for judgements in the whole association.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) judgements: usize,
    pub(super) bytes: usize,
}

impl Waiting {
    pub(super) fn is_waiting(&self) -> bool {
        self.judgements > 0
    }

    pub(super) fn has_room(&self) -> bool {
        self.judgements < JUDGEMENT_LIMIT
    }

    pub(super) fn judge(&mut self, generation: u64, payload: &[u8]) -> Judgement {
        self.judgements += 1;
        let mut held = Vec::new();
        // Without room this datagram is lost, but the next one finds the target judged.
        self.hold(&mut held, payload);
        Judgement::UnderWay {
            asked_at: generation,
            held,
        }
    }

    pub(super) fn hold(&mut self, held: &mut Vec<Box<[u8]>>, payload: &[u8]) -> bool {
        let fits =
            held.len() < HELD_DATAGRAM_LIMIT && self.bytes + payload.len() <= HELD_BYTE_LIMIT;
        if fits {
            self.bytes += payload.len();
            held.push(payload.into());
        }
        fits
    }

    pub(super) fn finish(&mut self, payloads: &[Box<[u8]>]) {
        self.judgements -= 1;
        self.bytes -= payloads.iter().map(|payload| payload.len()).sum::<usize>();
    }
}
