//! An audit event as a log record of OTLP.
//!
//! [`record`] writes it field by field, as it stands in the message that holds it (`ScopeLogs.log_records`): there are as many as
//! requests, and the message's own types would make forty small pieces of each first. The attributes are the event's fields,
//! under their names and in their order.

use std::fmt;
use std::ops::Range;
use std::time::SystemTime;

use opentelemetry_proto::tonic::logs::v1::SeverityNumber;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use tracing::Event;
use tracing::field::{Field, Visit};

use super::encode::{nanoseconds, part};
use crate::export::event::{EVENT_BYTES, NAME};

/// Room for the key and the length of the record, before the length is known.
const HEAD: usize = 1 + 10;

/// One record, with its key and its length.
pub(in crate::export) fn record(event: &Event<'_>) -> Vec<u8> {
    record_at(event, SystemTime::now())
}

fn record_at(event: &Event<'_>, time: SystemTime) -> Vec<u8> {
    let time = nanoseconds(time);
    let mut bytes = Vec::with_capacity(EVENT_BYTES);
    bytes.resize(HEAD, 0);
    fixed(&mut bytes, 1, time);
    encode_key(2, WireType::Varint, &mut bytes);
    encode_varint(u64::from(SeverityNumber::Info as u8), &mut bytes);
    part(&mut bytes, 3, b"INFO");
    let mut record = Record { bytes, name: 0..0 };
    event.record(&mut record);
    let Record { mut bytes, name } = record;
    fixed(&mut bytes, 11, time);
    encode_key(12, WireType::LengthDelimited, &mut bytes);
    encode_varint(name.len() as u64, &mut bytes);
    bytes.extend_from_within(name);

    let length = bytes.len() - HEAD;
    let mut head = Vec::with_capacity(HEAD);
    encode_key(2, WireType::LengthDelimited, &mut head);
    encode_varint(length as u64, &mut head);
    bytes.drain(..HEAD - head.len());
    bytes[..head.len()].copy_from_slice(&head);
    bytes
}

/// A record that is being written.
struct Record {
    bytes: Vec<u8>,
    /// Where the name of the event stands.
    name: Range<usize>,
}

impl Record {
    /// Adds an attribute: a `KeyValue` with its `AnyValue`, whose one field, `tag`, takes `size` bytes.
    fn attribute(&mut self, name: &str, tag: u32, wire: WireType, size: usize) {
        // Every key of a field takes one byte here.
        let value = 1 + size;
        let pair = 1 + sized(name.len()) + 1 + sized(value);
        let to = &mut self.bytes;
        encode_key(6, WireType::LengthDelimited, to);
        encode_varint(pair as u64, to);
        part(to, 1, name.as_bytes());
        encode_key(2, WireType::LengthDelimited, to);
        encode_varint(value as u64, to);
        encode_key(tag, wire, to);
    }

    fn number(&mut self, name: &str, tag: u32, value: u64) {
        self.attribute(name, tag, WireType::Varint, encoded_len_varint(value));
        encode_varint(value, &mut self.bytes);
    }
}

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        let name = field.name();
        self.attribute(name, 1, WireType::LengthDelimited, sized(value.len()));
        encode_varint(value.len() as u64, &mut self.bytes);
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(value.as_bytes());
        if name == NAME {
            self.name = begin..self.bytes.len();
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        // OTLP has no unsigned numbers.
        self.number(field.name(), 3, value.min(i64::MAX.cast_unsigned()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field.name(), 3, value.cast_unsigned());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field.name(), 2, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.attribute(field.name(), 4, WireType::SixtyFourBit, size_of::<u64>());
        self.bytes.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// How many bytes a length and what is so long take.
fn sized(length: usize) -> usize {
    encoded_len_varint(length as u64) + length
}

/// A field of eight bytes.
fn fixed(to: &mut Vec<u8>, tag: u32, value: u64) {
    encode_key(tag, WireType::SixtyFourBit, to);
    to.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use codex_network_gate::AUDIT_TARGET;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
    use prost::Message as _;

    use super::super::encode::Encoder;
    use super::*;
    use crate::export::queue::Queue;
    use crate::export::queue::tests::heard;

    fn pair(key: &str, value: any_value::Value) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        }
    }

    #[test]
    fn an_event_is_read_by_the_types_of_the_protocol() {
        let long = "x".repeat(20_000);
        let queue = Queue::new("test", 8, 8, |event| {
            record_at(event, UNIX_EPOCH + Duration::from_nanos(7))
        });
        heard(&queue, || {
            tracing::event!(
                target: AUDIT_TARGET,
                tracing::Level::INFO,
                {
                    "event.name" = "a.name",
                    "text" = long.as_str(),
                    "empty" = "",
                    "absent" = None::<&str>,
                    "shown" = %"a b",
                    "count" = u64::MAX,
                    "number" = -5_i64,
                    "flag" = true,
                    "share" = 0.5,
                }
            );
            tracing::event!(target: AUDIT_TARGET, tracing::Level::INFO, { "n" = 1_u64 });
        });
        let batch = queue.take();
        assert_eq!(batch.events, 2);
        let encoder = Encoder::new(&[("service.name".to_owned(), "a".to_owned())]);
        let mut bytes = encoder.logs_head(batch.bytes.len());
        bytes.extend_from_slice(&batch.bytes);
        let message = ExportLogsServiceRequest::decode(bytes.as_slice()).unwrap();

        let text = |text: &str| any_value::Value::StringValue(text.to_owned());
        let logs = &message.resource_logs[0];
        let resource = logs.resource.as_ref().unwrap();
        assert_eq!(resource.attributes, [pair("service.name", text("a"))]);
        let scope = &logs.scope_logs[0];
        assert_eq!(scope.scope.as_ref().unwrap().name, AUDIT_TARGET);
        let [record, short] = scope.log_records.as_slice() else {
            panic!("two records: {scope:?}");
        };
        assert_eq!((record.time_unix_nano, short.time_unix_nano), (7, 7));
        assert_eq!(record.observed_time_unix_nano, 7);
        assert_eq!(record.severity_number(), SeverityNumber::Info);
        assert_eq!(record.severity_text, "INFO");
        assert_eq!(record.event_name, "a.name");
        assert_eq!((short.event_name.as_str(), short.attributes.len()), ("", 1));
        let integer = any_value::Value::IntValue;
        assert_eq!(
            record.attributes,
            [
                pair("event.name", text("a.name")),
                pair("text", text(&long)),
                pair("empty", text("")),
                pair("shown", text("a b")),
                pair("count", integer(i64::MAX)),
                pair("number", integer(-5)),
                pair("flag", any_value::Value::BoolValue(true)),
                pair("share", any_value::Value::DoubleValue(0.5)),
            ]
        );
    }
}
