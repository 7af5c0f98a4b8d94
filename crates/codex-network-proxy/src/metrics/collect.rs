//! Reads the meters under the names of the catalogue.
//!
//! Main types: [`Family`], a metric with its [`Sample`]s. Comes in: the gate's meters and the proxy's. What has no limit in
//! number, a host or a client, is in no label.

use std::borrow::Cow;
use std::time::SystemTime;

use codex_network_gate::{DOORS, Gate, GateMeters, Histogram, Observed, Outcomes, Traffic};

use super::catalogue::Metric;
use crate::meters::{ExporterMeters, ListenerMeters, Meters};

/// A metric and its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Which.
    pub metric: Metric,
    /// Its samples; none where nothing has happened yet.
    pub samples: Vec<Sample>,
}

/// One number of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// In the order of the definition.
    pub labels: Vec<(&'static str, Cow<'static, str>)>,
    /// The number.
    pub value: Value,
}

/// What a sample says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a counter.
    Count(u64),
    /// Of a gauge.
    Level(f64),
    /// Of a histogram.
    Observed(Observed),
}

pub(super) fn families(gate: &Gate, meters: &Meters) -> Vec<Family> {
    Metric::ALL
        .into_iter()
        .map(|metric| Family {
            metric,
            samples: samples(metric, gate, meters),
        })
        .collect()
}

fn samples(metric: Metric, gate: &Gate, meters: &Meters) -> Vec<Sample> {
    let counted = gate.meters();
    match metric {
        Metric::Build => vec![labelled("version", env!("CARGO_PKG_VERSION"), level(1))],
        Metric::Start => {
            let started = meters.started.duration_since(SystemTime::UNIX_EPOCH);
            let seconds = started.map_or(0.0, |since| since.as_secs_f64());
            vec![bare(Value::Level(seconds))]
        }
        Metric::Decisions => decisions(counted),
        Metric::DecisionDuration => durations(&counted.decision_time),
        Metric::Lookups => outcomes(&counted.lookups),
        Metric::LookupDuration => durations(&counted.lookup_time),
        Metric::Dials => outcomes(&counted.dials),
        Metric::DialDuration => durations(&counted.dial_time),
        Metric::ConnectionsAccepted => {
            listeners(meters, |listener| Value::Count(listener.accepted.value()))
        }
        Metric::Connections => listeners(meters, |listener| level(listener.open.value())),
        Metric::Tunnels => doors(counted, |traffic| level(traffic.tunnels.value())),
        Metric::Associations => vec![bare(level(meters.associations.value()))],
        Metric::UpstreamConnections => doors(counted, |traffic| level(traffic.open.value())),
        Metric::UpstreamSent => doors(counted, |traffic| Value::Count(traffic.sent.value())),
        Metric::UpstreamReceived => {
            doors(counted, |traffic| Value::Count(traffic.received.value()))
        }
        Metric::PoolConnections => vec![bare(level(meters.pool.kept.value()))],
        Metric::PoolRequests => results(&[
            ("reused", meters.pool.reused.value()),
            ("opened", meters.pool.opened.value()),
        ]),
        Metric::Leaves => results(&[
            ("signed", meters.leaves.signed.value()),
            ("reused", meters.leaves.reused.value()),
        ]),
        Metric::LeavesKept => vec![bare(level(meters.leaves.kept.value()))],
        Metric::PolicyGeneration => {
            let generation = gate.store().current().generation;
            vec![bare(level(i64::try_from(generation).unwrap_or(i64::MAX)))]
        }
        Metric::Reloads => results(&[
            ("good", meters.reloads.taken_up.value()),
            ("failed", meters.reloads.failed.value()),
        ]),
        Metric::ReloadFailing => vec![bare(level(meters.reloads.failing.value()))],
        Metric::Exported => exporters(meters, |exporter| Value::Count(exporter.exported.value())),
        Metric::ExportDropped => {
            exporters(meters, |exporter| Value::Count(exporter.dropped.value()))
        }
        Metric::ExportFailures => {
            exporters(meters, |exporter| Value::Count(exporter.failures.value()))
        }
        Metric::ExportWaiting => exporters(meters, |exporter| level(exporter.waiting.value())),
    }
}

fn decisions(counted: &GateMeters) -> Vec<Sample> {
    let occurred = counted.decisions.occurred();
    occurred
        .map(|(door, decision, reason, count)| Sample {
            labels: vec![
                ("door", Cow::Borrowed(door.as_str())),
                ("decision", Cow::Borrowed(decision.as_str())),
                ("reason", Cow::Borrowed(reason)),
            ],
            value: Value::Count(count),
        })
        .collect()
}

fn doors(counted: &GateMeters, value: impl Fn(&Traffic) -> Value) -> Vec<Sample> {
    let doors = DOORS.into_iter();
    doors
        .map(|door| labelled("door", door.as_str(), value(counted.traffic(door))))
        .collect()
}

fn listeners(meters: &Meters, value: impl Fn(&ListenerMeters) -> Value) -> Vec<Sample> {
    vec![
        labelled("listener", "http", value(&meters.http)),
        labelled("listener", "socks5", value(&meters.socks)),
    ]
}

fn exporters(meters: &Meters, value: impl Fn(&ExporterMeters) -> Value) -> Vec<Sample> {
    let exporters = meters.exporters();
    exporters
        .iter()
        .map(|exporter| labelled("exporter", exporter.name, value(exporter)))
        .collect()
}

fn outcomes(outcomes: &Outcomes) -> Vec<Sample> {
    results(&[
        ("good", outcomes.good.value()),
        ("failed", outcomes.failed.value()),
        ("timed_out", outcomes.timed_out.value()),
    ])
}

fn results(results: &[(&'static str, u64)]) -> Vec<Sample> {
    let results = results.iter();
    results
        .map(|(result, count)| labelled("result", result, Value::Count(*count)))
        .collect()
}

fn durations(histogram: &Histogram) -> Vec<Sample> {
    vec![bare(Value::Observed(histogram.observed()))]
}

fn bare(value: Value) -> Sample {
    Sample {
        labels: Vec::new(),
        value,
    }
}

fn labelled(label: &'static str, text: &'static str, value: Value) -> Sample {
    Sample {
        labels: vec![(label, Cow::Borrowed(text))],
        value,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of connections are far below the 53 bits of a double"
)]
fn level(value: i64) -> Value {
    Value::Level(value as f64)
}
