//! An audit event as a line of JSON.
//!
//! [`line`] writes an object whose members are the fields of the event, under their names and in their order.

use std::fmt;

use serde::Serialize;
use tracing::Event;
use tracing::field::{Field, Visit};

use crate::export::event::EVENT_BYTES;

/// One line, with its end.
pub(in crate::export) fn line(event: &Event<'_>) -> Vec<u8> {
    let mut line = Line(Vec::with_capacity(EVENT_BYTES));
    event.record(&mut line);
    let Line(mut bytes) = line;
    if bytes.is_empty() {
        bytes.push(b'{');
    }
    bytes.extend_from_slice(b"}\n");
    bytes
}

/// A line that is being written, up to the end of a member.
struct Line(Vec<u8>);

impl Line {
    fn member(&mut self, field: &Field, value: impl Serialize) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        // Texts and numbers into memory: nothing here can fail.
        let _ = serde_json::to_writer(&mut self.0, field.name());
        self.0.push(b':');
        let _ = serde_json::to_writer(&mut self.0, &value);
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, format!("{value:?}"));
    }
}
