//! The catalogue, and what is shown of it.

use std::collections::BTreeSet;

use codex_network_gate::Histogram;
use codex_network_policy::{Policy, Rules};

use super::*;

fn metrics() -> Metrics {
    let gate = Gate::builder(Policy::compile(Rules::default())).build();
    Metrics::new(Arc::new(gate), Arc::new(Meters::new(Arc::default())))
}

#[test]
fn each_metric_has_its_row_and_a_name_of_its_own() {
    let mut names = BTreeSet::new();
    for (index, metric) in Metric::ALL.into_iter().enumerate() {
        assert_eq!(metric as usize, index);
        let definition = metric.definition();
        assert!(definition.name.starts_with("codex.network_proxy."));
        assert!(names.insert(definition.text_name()), "{}", definition.name);
        assert!(!definition.meaning.ends_with('.'));
    }
}

#[test]
fn samples_have_the_labels_and_the_kind_of_their_metric() {
    let metrics = metrics();
    metrics
        .meters
        .add_exporter(crate::meters::ExporterMeters::new("file"));
    for family in metrics.families() {
        let definition = family.metric.definition();
        for sample in family.samples {
            let labels: Vec<&str> = sample.labels.iter().map(|(name, _)| *name).collect();
            assert_eq!(labels, definition.labels, "{}", definition.name);
            let kind = match sample.value {
                Value::Count(_) => Kind::Counter,
                Value::Level(_) => Kind::Gauge,
                Value::Observed(_) => Kind::Histogram,
            };
            assert_eq!(kind, definition.kind, "{}", definition.name);
        }
    }
}

/// Shows families as text.
struct Shown<'a>(&'a [Family]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(f, self.0)
    }
}

#[test]
fn text_is_open_metrics() {
    let histogram = Histogram::default();
    histogram.observe(std::time::Duration::from_micros(1_500));
    histogram.observe(std::time::Duration::from_secs(301));
    let families = [
        Family {
            metric: Metric::UpstreamSent,
            samples: vec![Sample {
                labels: vec![("door", "a\"b\\c\nd".into())],
                value: Value::Count(7),
            }],
        },
        Family {
            metric: Metric::DialDuration,
            samples: vec![Sample {
                labels: Vec::new(),
                value: Value::Observed(histogram.observed()),
            }],
        },
        Family {
            metric: Metric::Associations,
            samples: vec![Sample {
                labels: Vec::new(),
                value: Value::Level(2.0),
            }],
        },
    ];
    let expected = r#"# TYPE codex_network_proxy_upstream_sent_bytes counter
# UNIT codex_network_proxy_upstream_sent_bytes bytes
# HELP codex_network_proxy_upstream_sent_bytes bytes to origins, inside of TLS where the proxy speaks it
codex_network_proxy_upstream_sent_bytes_total{door="a\"b\\c\nd"} 7
# TYPE codex_network_proxy_dial_duration_seconds histogram
# UNIT codex_network_proxy_dial_duration_seconds seconds
# HELP codex_network_proxy_dial_duration_seconds how long opening a TCP connection took, where it succeeded
codex_network_proxy_dial_duration_seconds_bucket{le="1e-5"} 0
codex_network_proxy_dial_duration_seconds_bucket{le="0.0001"} 0
codex_network_proxy_dial_duration_seconds_bucket{le="0.0005"} 0
codex_network_proxy_dial_duration_seconds_bucket{le="0.001"} 0
codex_network_proxy_dial_duration_seconds_bucket{le="0.0025"} 1
codex_network_proxy_dial_duration_seconds_bucket{le="0.005"} 1
codex_network_proxy_dial_duration_seconds_bucket{le="0.01"} 1
codex_network_proxy_dial_duration_seconds_bucket{le="0.025"} 1
codex_network_proxy_dial_duration_seconds_bucket{le="0.05"} 1
codex_network_proxy_dial_duration_seconds_bucket{le="0.1"} 1
codex_network_proxy_dial_duration_seconds_bucket{le="0.25"} 1
codex_network_proxy_dial_duration_seconds_bucket{le="0.5"} 1
codex_network_proxy_dial_duration_seconds_bucket{le="1.0"} 1
codex_network_proxy_dial_duration_seconds_bucket{le="5.0"} 1
codex_network_proxy_dial_duration_seconds_bucket{le="30.0"} 1
codex_network_proxy_dial_duration_seconds_bucket{le="300.0"} 1
codex_network_proxy_dial_duration_seconds_bucket{le="+Inf"} 2
codex_network_proxy_dial_duration_seconds_count 2
codex_network_proxy_dial_duration_seconds_sum 301.0015
# TYPE codex_network_proxy_associations gauge
# HELP codex_network_proxy_associations UDP associations that are open
codex_network_proxy_associations 2
# EOF
"#;
    assert_eq!(Shown(&families).to_string(), expected);
}

#[test]
fn a_token_is_compared_whole() {
    let token = BearerToken::new("0123456789abcdef").unwrap();
    let shows = |value: &str| {
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", value.parse().unwrap());
        token.is_in(&headers)
    };
    assert!(shows("Bearer 0123456789abcdef"));
    assert!(shows("bearer 0123456789abcdef"));
    for wrong in [
        "Bearer 0123456789abcde",
        "Bearer 0123456789abcdeg",
        "Bearer 0123456789abcdefg",
        "Bearer  0123456789abcdef",
        "Basic 0123456789abcdef",
        "Bearer",
        "",
    ] {
        assert!(!shows(wrong), "{wrong}");
    }
    let mut twice = http::HeaderMap::new();
    for _ in 0..2 {
        twice.append("authorization", "Bearer 0123456789abcdef".parse().unwrap());
    }
    assert!(!token.is_in(&twice));
    for unfit in ["", "short", "0123456789 abcdef", "0123456789\u{e4}bcdef"] {
        assert!(BearerToken::new(unfit).is_err(), "{unfit}");
    }
    assert_eq!(format!("{token:?}"), "BearerToken");
}

#[cfg(unix)]
#[test]
fn a_token_s_file_is_for_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    std::fs::write(&path, "0123456789abcdef\n").unwrap();
    for (mode, fits) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(BearerToken::from_file(&path).is_ok(), fits, "{mode:o}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "x".repeat(5_000)).unwrap();
    assert!(BearerToken::from_file(&path).is_err());
}
