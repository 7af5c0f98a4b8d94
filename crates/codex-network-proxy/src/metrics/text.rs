//! The OpenMetrics text format, version 1.0.
//!
//! [`write`] takes families and gives text. Label values are escaped, although ours are words of the proxy's own.

use std::fmt;

use codex_network_gate::{BOUNDS, Observed};

use super::catalogue::Kind;
use super::collect::{Family, Sample, Value};

pub(super) fn write(f: &mut fmt::Formatter<'_>, families: &[Family]) -> fmt::Result {
    for family in families {
        let definition = family.metric.definition();
        let name = definition.text_name();
        let kind = match definition.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        writeln!(f, "# TYPE {name} {kind}")?;
        if let Some(unit) = definition.unit.word() {
            writeln!(f, "# UNIT {name} {unit}")?;
        }
        writeln!(f, "# HELP {name} {}", Escaped(definition.meaning))?;
        for sample in &family.samples {
            match &sample.value {
                Value::Count(count) => writeln!(f, "{name}_total{} {count}", Labels(sample, None))?,
                Value::Level(level) => writeln!(f, "{name}{} {level}", Labels(sample, None))?,
                Value::Observed(observed) => histogram(f, &name, sample, observed)?,
            }
        }
    }
    writeln!(f, "# EOF")
}

fn histogram(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    sample: &Sample,
    observed: &Observed,
) -> fmt::Result {
    let bounds = BOUNDS.iter().map(|bound| format!("{bound:?}"));
    let bounds = bounds.chain(["+Inf".to_owned()]);
    let mut below = 0;
    for (bound, count) in bounds.zip(observed.buckets) {
        below += count;
        writeln!(f, "{name}_bucket{} {below}", Labels(sample, Some(&bound)))?;
    }
    writeln!(f, "{name}_count{} {below}", Labels(sample, None))?;
    writeln!(f, "{name}_sum{} {}", Labels(sample, None), observed.sum)
}

/// The labels of a sample, and the bound of a bucket.
struct Labels<'a>(&'a Sample, Option<&'a str>);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(sample, bound) = self;
        let labels = sample.labels.iter();
        let labels = labels.map(|(name, value)| (*name, value.as_ref()));
        let mut separator = "{";
        for (name, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            write!(f, "{separator}{name}=\"{}\"", Escaped(value))?;
            separator = ",";
        }
        if separator == "," {
            f.write_str("}")?;
        }
        Ok(())
    }
}

/// Text between quotes, or behind `HELP`.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                letter => write!(f, "{letter}")?,
            }
        }
        Ok(())
    }
}
