//! An audit event on its way out.
//!
//! [`AuditEvent`] is what `tracing` hands over, copied: names and values in their order. It takes every field as it is, for
//! what may be in an event is decided where events are made.

use std::fmt;
use std::time::SystemTime;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use tracing::field::{Field, Visit};

/// The field that says which event it is.
const NAME: &str = "event.name";

/// The field that only events of losses have.
const LOST: &str = "network.audit.lost";

/// One event.
#[derive(Debug)]
pub(super) struct AuditEvent {
    pub(super) time: SystemTime,
    pub(super) fields: Vec<(&'static str, Value)>,
}

/// The value of a field.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Value {
    Text(Box<str>),
    Count(u64),
    Integer(i64),
    Flag(bool),
    Number(f64),
}

impl AuditEvent {
    pub(super) fn of(event: &tracing::Event<'_>) -> Self {
        let fields = Vec::with_capacity(event.metadata().fields().len());
        let mut copied = Self {
            time: SystemTime::now(),
            fields,
        };
        event.record(&mut copied);
        copied
    }

    /// Whether it says how many others an exporter has lost.
    pub(super) fn tells_of_losses(&self) -> bool {
        matches!(self.fields.last(), Some((LOST, _)))
    }

    /// Which event it is.
    pub(super) fn name(&self) -> &str {
        let name = self.fields.iter().find(|(field, _)| *field == NAME);
        match name {
            Some((_, Value::Text(name))) => name,
            Some(_) | None => "",
        }
    }
}

impl Visit for AuditEvent {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), Value::Text(value.into())));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), Value::Count(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), Value::Integer(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), Value::Flag(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.push((field.name(), Value::Number(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}").into_boxed_str();
        self.fields.push((field.name(), Value::Text(text)));
    }
}

/// As an object of JSON, its fields in their order.
impl Serialize for AuditEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
