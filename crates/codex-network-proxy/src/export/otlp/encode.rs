//! Evidence as messages of OTLP.
//!
//! [`Encoder`] knows the resource, which is the same in all of them. An audit event becomes a log record whose attributes are
//! the event's fields, under their names and in their order; a metric becomes what its definition says.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use codex_network_gate::{AUDIT_TARGET, BOUNDS, Observed};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::SeverityNumber;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric as Message,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::super::event::{AuditEvent, Value as Field};
use crate::metrics::{Family, Kind, Metrics, Sample, Value};

/// Enough for nearly every record.
const RECORD_BYTES: usize = 1024;

/// Makes messages.
pub(super) struct Encoder {
    resource: Resource,
}

impl Encoder {
    pub(super) fn new(attributes: &[(String, String)]) -> Self {
        let attributes = attributes
            .iter()
            .map(|(key, value)| pair(key, text(value)))
            .collect();
        let resource = Resource {
            attributes,
            ..Resource::default()
        };
        Self { resource }
    }

    /// A message of audit events (`ExportLogsServiceRequest`).
    ///
    /// Field by field, from the outside in, for there are as many as requests: the message's own types would make forty small
    /// pieces of each event first.
    pub(super) fn logs(&self, events: &[Arc<AuditEvent>]) -> Vec<u8> {
        let mut records = Vec::with_capacity(events.len() * RECORD_BYTES);
        part(&mut records, 1, &scope(AUDIT_TARGET).encode_to_vec());
        let mut one = Vec::with_capacity(RECORD_BYTES);
        for event in events {
            one.clear();
            record(&mut one, event);
            part(&mut records, 2, &one);
        }
        let mut resource_logs = Vec::with_capacity(records.len() + RECORD_BYTES);
        part(&mut resource_logs, 1, &self.resource.encode_to_vec());
        part(&mut resource_logs, 2, &records);
        let mut message = Vec::with_capacity(resource_logs.len() + 16);
        part(&mut message, 1, &resource_logs);
        message
    }

    /// A message of all metrics as of now.
    pub(super) fn metrics(&self, metrics: &Metrics) -> Vec<u8> {
        let times = Times {
            start: nanoseconds(metrics.started()),
            now: nanoseconds(SystemTime::now()),
        };
        let families = metrics.families();
        let samples = families.iter().filter(|family| !family.samples.is_empty());
        let scope = ScopeMetrics {
            scope: Some(scope(env!("CARGO_PKG_NAME"))),
            metrics: samples.map(|family| message(family, times)).collect(),
            schema_url: String::new(),
        };
        let resource = ResourceMetrics {
            resource: Some(self.resource.clone()),
            scope_metrics: vec![scope],
            schema_url: String::new(),
        };
        let message = ExportMetricsServiceRequest {
            resource_metrics: vec![resource],
        };
        message.encode_to_vec()
    }
}

/// A `LogRecord`.
fn record(to: &mut Vec<u8>, event: &AuditEvent) {
    let time = nanoseconds(event.time);
    fixed(to, 1, time);
    encode_key(2, WireType::Varint, to);
    encode_varint(u64::from(SeverityNumber::Info as u8), to);
    part(to, 3, b"INFO");
    for (name, value) in event.fields() {
        attribute(to, name, value);
    }
    fixed(to, 11, time);
    part(to, 12, event.name().as_bytes());
}

/// A `KeyValue` of a `LogRecord`, with its `AnyValue`.
fn attribute(to: &mut Vec<u8>, name: &str, value: Field<'_>) {
    // The key of a field takes one byte everywhere here.
    let value_bytes = 1 + match value {
        Field::Text(text) => sized(text.len()),
        Field::Count(count) => encoded_len_varint(integer(count)),
        Field::Integer(number) => encoded_len_varint(number.cast_unsigned()),
        Field::Flag(_) => 1,
        Field::Number(_) => 8,
    };
    encode_key(6, WireType::LengthDelimited, to);
    let pair_bytes = 1 + sized(name.len()) + 1 + sized(value_bytes);
    encode_varint(pair_bytes as u64, to);
    part(to, 1, name.as_bytes());
    encode_key(2, WireType::LengthDelimited, to);
    encode_varint(value_bytes as u64, to);
    match value {
        Field::Text(text) => part(to, 1, text.as_bytes()),
        Field::Flag(flag) => {
            encode_key(2, WireType::Varint, to);
            encode_varint(flag.into(), to);
        }
        Field::Count(count) => {
            encode_key(3, WireType::Varint, to);
            encode_varint(integer(count), to);
        }
        Field::Integer(number) => {
            encode_key(3, WireType::Varint, to);
            encode_varint(number.cast_unsigned(), to);
        }
        Field::Number(number) => fixed(to, 4, number.to_bits()),
    }
}

/// OTLP has no unsigned numbers.
fn integer(count: u64) -> u64 {
    count.min(i64::MAX.cast_unsigned())
}

/// How many bytes a length and what is so long take.
fn sized(length: usize) -> usize {
    encoded_len_varint(length as u64) + length
}

/// A field of bytes: a text, or a message in the message.
fn part(to: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, to);
    encode_varint(bytes.len() as u64, to);
    to.extend_from_slice(bytes);
}

/// A field of eight bytes.
fn fixed(to: &mut Vec<u8>, tag: u32, value: u64) {
    encode_key(tag, WireType::SixtyFourBit, to);
    to.extend_from_slice(&value.to_le_bytes());
}

/// When counting began, and when it was looked at.
#[derive(Clone, Copy)]
struct Times {
    start: u64,
    now: u64,
}

fn message(family: &Family, times: Times) -> Message {
    let definition = family.metric.definition();
    let temporality = AggregationTemporality::Cumulative.into();
    let samples = family.samples.iter();
    let data = match definition.kind {
        Kind::Counter => metric::Data::Sum(Sum {
            data_points: samples.map(|sample| number(sample, times)).collect(),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        Kind::Gauge => metric::Data::Gauge(Gauge {
            data_points: samples.map(|sample| number(sample, times)).collect(),
        }),
        Kind::Histogram => metric::Data::Histogram(Histogram {
            data_points: samples
                .filter_map(|sample| histogram(sample, times))
                .collect(),
            aggregation_temporality: temporality,
        }),
    };
    Message {
        name: definition.name.to_owned(),
        description: definition.meaning.to_owned(),
        unit: definition.unit.symbol().to_owned(),
        data: Some(data),
        ..Message::default()
    }
}

fn number(sample: &Sample, times: Times) -> NumberDataPoint {
    let value = match &sample.value {
        Value::Count(count) => {
            number_data_point::Value::AsInt(i64::try_from(*count).unwrap_or(i64::MAX))
        }
        Value::Level(level) => number_data_point::Value::AsDouble(*level),
        Value::Observed(observed) => number_data_point::Value::AsDouble(observed.sum),
    };
    NumberDataPoint {
        attributes: labels(sample),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn histogram(sample: &Sample, times: Times) -> Option<HistogramDataPoint> {
    let observed: &Observed = match &sample.value {
        Value::Observed(observed) => observed,
        Value::Count(_) | Value::Level(_) => return None,
    };
    Some(HistogramDataPoint {
        attributes: labels(sample),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        count: observed.count(),
        sum: Some(observed.sum),
        bucket_counts: observed.buckets.to_vec(),
        explicit_bounds: BOUNDS.to_vec(),
        ..HistogramDataPoint::default()
    })
}

fn labels(sample: &Sample) -> Vec<KeyValue> {
    let labels = sample.labels.iter();
    labels
        .map(|(name, value)| pair(name, text(value)))
        .collect()
}

fn scope(name: &str) -> InstrumentationScope {
    InstrumentationScope {
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn text(value: &str) -> any_value::Value {
    any_value::Value::StringValue(value.to_owned())
}

fn pair(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use prost::Message as _;

    use super::*;

    #[test]
    fn an_event_is_read_by_the_types_of_the_protocol() {
        let long = "x".repeat(300);
        let mut event = AuditEvent::at(UNIX_EPOCH + std::time::Duration::from_nanos(7), 8);
        event.push("event.name", Field::Text("a.name"));
        event.push("text", Field::Text(&long));
        event.push("empty", Field::Text(""));
        event.push("count", Field::Count(u64::MAX));
        event.push("number", Field::Integer(-5));
        event.push("flag", Field::Flag(true));
        event.push("share", Field::Number(0.5));
        let encoder = Encoder::new(&[("service.name".to_owned(), "a".to_owned())]);
        let events = [Arc::new(event), Arc::new(AuditEvent::at(UNIX_EPOCH, 0))];
        let bytes = encoder.logs(&events);
        let message = ExportLogsServiceRequest::decode(bytes.as_slice()).unwrap();

        let logs = &message.resource_logs[0];
        assert_eq!(logs.resource.as_ref(), Some(&encoder.resource));
        let scope = &logs.scope_logs[0];
        assert_eq!(scope.scope.as_ref().unwrap().name, AUDIT_TARGET);
        let [record, empty] = scope.log_records.as_slice() else {
            panic!("two records: {scope:?}");
        };
        assert_eq!((record.time_unix_nano, empty.time_unix_nano), (7, 0));
        assert_eq!(record.observed_time_unix_nano, 7);
        assert_eq!(record.severity_number(), SeverityNumber::Info);
        assert_eq!(record.severity_text, "INFO");
        assert_eq!(record.event_name, "a.name");
        let integer = any_value::Value::IntValue;
        assert_eq!(
            record.attributes,
            [
                pair("event.name", text("a.name")),
                pair("text", text(&long)),
                pair("empty", text("")),
                pair("count", integer(i64::MAX)),
                pair("number", integer(-5)),
                pair("flag", any_value::Value::BoolValue(true)),
                pair("share", any_value::Value::DoubleValue(0.5)),
            ]
        );
    }
}
