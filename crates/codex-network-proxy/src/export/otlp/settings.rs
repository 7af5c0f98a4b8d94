//! The standard variables of OpenTelemetry, read once.
//!
//! [`OtlpSettings`] comes out, or nothing where no endpoint is named. A variable that cannot be used is an error that names
//! it: evidence that goes nowhere because of a typing mistake would be missed too late. Values are never repeated, for they may
//! be secrets.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use codex_network_gate::TrustRoots;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::super::queue::Queue;
use super::endpoint::{Endpoint, Place};
use super::record::record;
use crate::meters::ExporterMeters;

/// The labels of the two exporters.
pub(super) const LOGS: &str = "otlp_logs";
pub(super) const METRICS: &str = "otlp_metrics";

const TIMEOUT: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_secs(60);
const DELAY: Duration = Duration::from_secs(1);
const CAPACITY: usize = 8_192;
const BATCH: usize = 512;

/// Where evidence is sent, and how.
#[derive(Clone, Debug)]
pub struct OtlpSettings {
    pub(super) logs: Option<Endpoint>,
    pub(super) metrics: Option<Endpoint>,
    pub(super) resource: Vec<(String, String)>,
    /// How long events are gathered, and how often metrics are sent.
    pub(super) delay: Duration,
    pub(super) interval: Duration,
    capacity: usize,
    batch: usize,
}

/// Why the variables cannot be used.
#[derive(Debug)]
pub struct OtlpSettingsError {
    variable: String,
    expected: &'static str,
}

impl fmt::Display for OtlpSettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` cannot be used: {}", self.variable, self.expected)
    }
}

impl std::error::Error for OtlpSettingsError {}

impl OtlpSettings {
    /// Reads the variables through `read`. `None` where none of them names an endpoint, or `OTEL_SDK_DISABLED` is `true`.
    ///
    /// # Errors
    /// [`OtlpSettingsError`] names the variable and says what would have been right.
    pub fn from_variables(
        read: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, OtlpSettingsError> {
        // An empty variable counts as one that is not there.
        let variables = Variables {
            read: &|name| read(name).filter(|value| !value.trim().is_empty()),
        };
        let disabled = variables.read("OTEL_SDK_DISABLED");
        if disabled.is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let logs = variables.endpoint("LOGS", "/v1/logs")?;
        let metrics = variables.endpoint("METRICS", "/v1/metrics")?;
        if logs.is_none() && metrics.is_none() {
            return Ok(None);
        }
        let capacity = variables.number("OTEL_BLRP_MAX_QUEUE_SIZE", CAPACITY)?;
        Ok(Some(Self {
            logs,
            metrics,
            resource: variables.resource()?,
            delay: variables.duration("OTEL_BLRP_SCHEDULE_DELAY", DELAY)?,
            interval: variables.duration("OTEL_METRIC_EXPORT_INTERVAL", INTERVAL)?,
            capacity,
            batch: variables.number("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", BATCH.min(capacity))?,
        }))
    }

    pub(in crate::export) fn log_queue(&self) -> Option<Arc<Queue>> {
        let queue = || Queue::new(LOGS, self.capacity, self.batch, record);
        self.logs.as_ref().map(|_| queue())
    }

    pub(in crate::export) fn metrics_meters(&self) -> Option<Arc<ExporterMeters>> {
        self.metrics.as_ref().map(|_| ExporterMeters::new(METRICS))
    }
}

struct Variables<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
}

impl Variables<'_> {
    fn read(&self, name: &str) -> Option<String> {
        (self.read)(name)
    }

    /// The value for a signal, or for all, with the variable's name.
    fn of_signal(&self, signal: &str, rest: &str) -> Option<(String, String)> {
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_{rest}");
        let common = format!("OTEL_EXPORTER_OTLP_{rest}");
        [own, common]
            .into_iter()
            .find_map(|name| Some((self.read(&name)?, name)))
    }

    fn endpoint(&self, signal: &str, suffix: &str) -> Result<Option<Endpoint>, OtlpSettingsError> {
        let exporter = format!("OTEL_{signal}_EXPORTER");
        match self.read(&exporter).as_deref().map(str::trim) {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(_) => return Err(wrong(exporter, "expected `otlp` or `none`")),
        }
        let Some((url, name)) = self.of_signal(signal, "ENDPOINT") else {
            return Ok(None);
        };
        let suffix = (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then_some(suffix);
        let place = Place::parse(&url, suffix).map_err(|expected| wrong(name, expected))?;
        self.require(signal, "PROTOCOL", "http/protobuf")?;
        self.require(signal, "COMPRESSION", "none")?;
        Ok(Some(Endpoint {
            tls: if place.is_tls {
                Some(self.roots(signal)?)
            } else {
                None
            },
            host: place.host,
            port: place.port,
            path: place.path,
            headers: self.headers(signal)?,
            timeout: match self.of_signal(signal, "TIMEOUT") {
                Some((_, name)) => self.duration(&name, TIMEOUT)?,
                None => TIMEOUT,
            },
        }))
    }

    /// Of several things that the standard offers we have one.
    fn require(
        &self,
        signal: &str,
        rest: &str,
        only: &'static str,
    ) -> Result<(), OtlpSettingsError> {
        match self.of_signal(signal, rest) {
            Some((value, name)) if value.trim() != only => Err(wrong(
                name,
                match only {
                    "none" => "only `none` is offered",
                    _ => {
                        "only `http/protobuf` is offered, which collectors usually take on port 4318"
                    }
                },
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn roots(&self, signal: &str) -> Result<TrustRoots, OtlpSettingsError> {
        let Some((path, name)) = self.of_signal(signal, "CERTIFICATE") else {
            return Ok(TrustRoots::of_system());
        };
        let read = std::fs::read(path).and_then(|pem| TrustRoots::from_pem(&pem));
        read.map_err(|_| {
            wrong(
                name,
                "expected a file that can be read, with certificates in PEM",
            )
        })
    }

    fn headers(&self, signal: &str) -> Result<HeaderMap, OtlpSettingsError> {
        let mut headers = HeaderMap::new();
        let Some((text, name)) = self.of_signal(signal, "HEADERS") else {
            return Ok(headers);
        };
        let pairs = pairs(&text).and_then(|pairs| {
            let pairs = pairs.into_iter().map(|(key, value)| {
                let key = HeaderName::from_str(&key).ok()?;
                let mut value = HeaderValue::from_str(&value).ok()?;
                value.set_sensitive(true);
                Some((key, value))
            });
            pairs.collect::<Option<Vec<_>>>()
        });
        let pairs = pairs.ok_or_else(|| {
            wrong(
                name,
                "expected `name=value,name=value`, values percent-encoded",
            )
        })?;
        headers.extend(pairs);
        Ok(headers)
    }

    fn resource(&self) -> Result<Vec<(String, String)>, OtlpSettingsError> {
        let name = "OTEL_RESOURCE_ATTRIBUTES";
        let text = self.read(name).unwrap_or_default();
        let mut attributes = pairs(&text).ok_or_else(|| {
            wrong(
                name.to_owned(),
                "expected `key=value,key=value`, values percent-encoded",
            )
        })?;
        if let Some(service) = self.read("OTEL_SERVICE_NAME") {
            attributes.retain(|(key, _)| key != "service.name");
            attributes.push(("service.name".to_owned(), service));
        }
        let mut default = |key: &str, value: &str| {
            if !attributes.iter().any(|(known, _)| known == key) {
                attributes.push((key.to_owned(), value.to_owned()));
            }
        };
        default("service.name", env!("CARGO_PKG_NAME"));
        default("service.version", env!("CARGO_PKG_VERSION"));
        Ok(attributes)
    }

    fn duration(&self, name: &str, default: Duration) -> Result<Duration, OtlpSettingsError> {
        let Some(text) = self.read(name) else {
            return Ok(default);
        };
        let milliseconds = text.trim().parse().ok().filter(|count| *count > 0);
        milliseconds
            .map(Duration::from_millis)
            .ok_or_else(|| wrong(name.to_owned(), "expected a number of milliseconds"))
    }

    fn number(&self, name: &str, default: usize) -> Result<usize, OtlpSettingsError> {
        let Some(text) = self.read(name) else {
            return Ok(default);
        };
        let number = text.trim().parse().ok();
        number
            .filter(|number| (1..=1_000_000).contains(number))
            .ok_or_else(|| wrong(name.to_owned(), "expected a number from 1 to 1000000"))
    }
}

fn wrong(variable: String, expected: &'static str) -> OtlpSettingsError {
    OtlpSettingsError { variable, expected }
}

/// `key=value,key=value`, as of W3C baggage: values may be percent-encoded.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let members = text.split(',').map(str::trim);
    members
        .filter(|member| !member.is_empty())
        .map(|member| {
            let (key, value) = member.split_once('=')?;
            let (key, value) = (key.trim(), decoded(value.trim())?);
            (!key.is_empty()).then(|| (key.to_owned(), value))
        })
        .collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
