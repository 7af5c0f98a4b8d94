//! An audit event on its way out.
//!
//! [`AuditEvent`] is what `tracing` hands over, copied: names and values in their order, all texts in one piece, for the copy is
//! made beside a request. It takes every field as it is: what may be in an event is decided where events are made.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use tracing::field::{Field, Visit};

/// The field that says which event it is.
const NAME: &str = "event.name";

/// The field that only events of losses have.
const LOST: &str = "network.audit.lost";

/// Enough for the texts of nearly every event.
const TEXTS_BYTES: usize = 512;

/// One event.
#[derive(Debug)]
pub(super) struct AuditEvent {
    pub(super) time: SystemTime,
    /// The values that are texts, one behind the other.
    texts: String,
    fields: Vec<(&'static str, Copied)>,
}

/// The value of a field as it is kept.
#[derive(Debug)]
enum Copied {
    /// The next text, up to this place.
    Text(usize),
    Other(Value<'static>),
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Count(u64),
    Integer(i64),
    Flag(bool),
    Number(f64),
}

impl AuditEvent {
    pub(super) fn of(event: &tracing::Event<'_>) -> Self {
        let mut copied = Self::at(SystemTime::now(), event.metadata().fields().len());
        event.record(&mut copied);
        copied
    }

    /// An event without fields, with room for so many.
    pub(super) fn at(time: SystemTime, fields: usize) -> Self {
        Self {
            time,
            texts: String::with_capacity(TEXTS_BYTES),
            fields: Vec::with_capacity(fields),
        }
    }

    /// Adds a field.
    pub(super) fn push(&mut self, name: &'static str, value: Value<'_>) {
        let copied = match value {
            Value::Text(text) => {
                self.texts.push_str(text);
                Copied::Text(self.texts.len())
            }
            Value::Count(count) => Copied::Other(Value::Count(count)),
            Value::Integer(number) => Copied::Other(Value::Integer(number)),
            Value::Flag(flag) => Copied::Other(Value::Flag(flag)),
            Value::Number(number) => Copied::Other(Value::Number(number)),
        };
        self.fields.push((name, copied));
    }

    /// Names and values, in their order.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, Value<'_>)> {
        let mut from = 0;
        self.fields.iter().map(move |(name, value)| match value {
            Copied::Text(to) => {
                let text = self.texts.get(from..*to).unwrap_or_default();
                from = *to;
                (*name, Value::Text(text))
            }
            Copied::Other(value) => (*name, *value),
        })
    }

    /// Whether it says how many others an exporter has lost.
    pub(super) fn tells_of_losses(&self) -> bool {
        matches!(self.fields.last(), Some((LOST, _)))
    }

    /// Which event it is.
    pub(super) fn name(&self) -> &str {
        match self.fields().find(|(field, _)| *field == NAME) {
            Some((_, Value::Text(name))) => name,
            Some(_) | None => "",
        }
    }
}

impl Visit for AuditEvent {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field.name(), Value::Text(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field.name(), Value::Count(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field.name(), Value::Integer(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field.name(), Value::Flag(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field.name(), Value::Number(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Into a string: nothing here can fail but the value itself, which is then cut short.
        let _ = write!(self.texts, "{value:?}");
        self.fields
            .push((field.name(), Copied::Text(self.texts.len())));
    }
}

/// As an object of JSON, its fields in their order.
impl Serialize for AuditEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for (name, value) in self.fields() {
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}
