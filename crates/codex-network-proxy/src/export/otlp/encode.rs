//! Evidence as messages of OTLP.
//!
//! [`Encoder`] knows the resource, which is the same in all of them. An audit event becomes a log record whose attributes are
//! the event's fields, under their names and in their order; a metric becomes what its definition says.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use codex_network_gate::{AUDIT_TARGET, BOUNDS, Observed};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric as Message,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::super::event::{AuditEvent, Value as Field};
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

    /// A message of audit events.
    pub(super) fn logs(&self, events: &[Arc<AuditEvent>]) -> Vec<u8> {
        let records = events.iter().map(|event| record(event)).collect();
        let scope = ScopeLogs {
            scope: Some(scope(AUDIT_TARGET)),
            log_records: records,
            schema_url: String::new(),
        };
        let resource = ResourceLogs {
            resource: Some(self.resource.clone()),
            scope_logs: vec![scope],
            schema_url: String::new(),
        };
        let message = ExportLogsServiceRequest {
            resource_logs: vec![resource],
        };
        message.encode_to_vec()
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

fn record(event: &AuditEvent) -> LogRecord {
    let time = nanoseconds(event.time);
    let attributes = event.fields.iter().map(|(name, value)| {
        let value = match value {
            Field::Text(value) => text(value),
            Field::Count(value) => {
                any_value::Value::IntValue(i64::try_from(*value).unwrap_or(i64::MAX))
            }
            Field::Integer(value) => any_value::Value::IntValue(*value),
            Field::Flag(value) => any_value::Value::BoolValue(*value),
            Field::Number(value) => any_value::Value::DoubleValue(*value),
        };
        pair(name, value)
    });
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time,
        severity_number: SeverityNumber::Info.into(),
        severity_text: "INFO".to_owned(),
        attributes: attributes.collect(),
        event_name: event.name().to_owned(),
        ..LogRecord::default()
    }
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
