//! An audit event on its way out.
//!
//! [`Write`] is how an exporter writes an event down, once, in its own form, beside the request that it tells of. It takes every
//! field as it is: what may be in an event is decided where events are made.

use tracing::Event;

/// The field that says which event it is.
pub(super) const NAME: &str = "event.name";

/// The field that only events of losses have.
const LOST: &str = "network.audit.lost";

/// Enough for nearly every event, and little enough that allocators keep such pieces at hand.
pub(super) const EVENT_BYTES: usize = 1000;

/// Writes an event down in the form of an exporter.
pub(super) type Write = fn(&Event<'_>) -> Vec<u8>;

/// Whether it says how many others an exporter has lost.
pub(super) fn tells_of_losses(event: &Event<'_>) -> bool {
    event.metadata().fields().field(LOST).is_some()
}
