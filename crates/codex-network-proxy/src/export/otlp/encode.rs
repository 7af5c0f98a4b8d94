//! Evidence as messages of OTLP.
//!
//! [`Encoder`] knows the resource, which is the same in all of them. A metric becomes what its definition says; what audit events
//! become is in `record`.

use std::time::{SystemTime, UNIX_EPOCH};

use codex_network_gate::{AUDIT_TARGET, BOUNDS, Observed};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric as Message,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::metrics::{Family, Kind, Metrics, Sample, Value};

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

    /// The beginning of a message of audit events (`ExportLogsServiceRequest`), up to where so many bytes of records follow.
    pub(super) fn logs_head(&self, records: usize) -> Vec<u8> {
        let mut scope_logs = Vec::new();
        part(&mut scope_logs, 1, &scope(AUDIT_TARGET).encode_to_vec());
        let mut resource_logs = Vec::new();
        part(&mut resource_logs, 1, &self.resource.encode_to_vec());
        begin(&mut resource_logs, 2, scope_logs.len() + records);
        resource_logs.append(&mut scope_logs);
        let mut message = Vec::new();
        begin(&mut message, 1, resource_logs.len() + records);
        message.append(&mut resource_logs);
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

/// A field of bytes: a text, or a message in the message.
pub(super) fn part(to: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    begin(to, tag, bytes.len());
    to.extend_from_slice(bytes);
}

/// The key and the length of a field of bytes.
fn begin(to: &mut Vec<u8>, tag: u32, length: usize) {
    encode_key(tag, WireType::LengthDelimited, to);
    encode_varint(length as u64, to);
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

pub(super) fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
