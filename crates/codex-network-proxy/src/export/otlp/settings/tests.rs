//! What the variables come to.

use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Option<OtlpSettings>, String> {
    let settings = OtlpSettings::from_variables(|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    });
    settings.map_err(|error| error.to_string())
}

const BASE: (&str, &str) = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "http://collector.test:4318/a/",
);

#[test]
fn nothing_is_sent_unless_an_endpoint_is_named() {
    assert!(read(&[]).unwrap().is_none());
    assert!(
        read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")])
            .unwrap()
            .is_none()
    );
    assert!(read(&[("OTEL_SERVICE_NAME", "x")]).unwrap().is_none());
    assert!(
        read(&[BASE, ("OTEL_SDK_DISABLED", "True")])
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_base_gets_the_signals_path_and_a_signals_own_url_is_taken_as_it_is() {
    let settings = read(&[
        BASE,
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://[::1]/x?y=1"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "20"),
    ]);
    let settings = settings.unwrap().unwrap();
    let logs = settings.logs.unwrap();
    assert_eq!((logs.path.as_str(), logs.port), ("/a/v1/logs", 4318));
    assert_eq!(logs.timeout, Duration::from_millis(1500));
    assert!(logs.tls.is_none());
    let metrics = settings.metrics.unwrap();
    assert_eq!((metrics.path.as_str(), metrics.port), ("/x?y=1", 443));
    assert_eq!(metrics.timeout, Duration::from_millis(20));
    assert!(metrics.tls.is_some());
    assert_eq!(metrics.host.to_string(), "::1");
}

#[test]
fn a_signal_can_be_turned_off() {
    let settings = read(&[BASE, ("OTEL_METRICS_EXPORTER", "none")]);
    let settings = settings.unwrap().unwrap();
    assert!(settings.logs.is_some() && settings.metrics.is_none());
}

#[test]
fn headers_are_decoded_and_never_shown() {
    let settings = read(&[
        BASE,
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20s3cret, x-a=b",
        ),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-c=d"),
    ]);
    let settings = settings.unwrap().unwrap();
    assert!(!format!("{settings:?}").contains("s3cret"));
    let logs = settings.logs.unwrap().headers;
    assert_eq!(logs["authorization"], "Bearer s3cret");
    assert_eq!(logs["x-a"], "b");
    let metrics = settings.metrics.unwrap().headers;
    assert_eq!(metrics.len(), 1);
}

#[test]
fn the_resource_names_the_service() {
    let of = |variables: &[(&str, &str)]| {
        let settings = read(&[&[BASE], variables].concat()).unwrap().unwrap();
        let resource = settings.resource.into_iter();
        let resource = resource.filter(|(key, _)| key != "service.version");
        resource
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(of(&[]), "service.name=codex-network-proxy");
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,host.name=b%2Cc");
    assert_eq!(of(&[attributes]), "service.name=a host.name=b,c");
    let name = ("OTEL_SERVICE_NAME", "d");
    assert_eq!(of(&[attributes, name]), "host.name=b,c service.name=d");
}

#[test]
fn what_cannot_be_used_is_named_without_its_value() {
    for (name, value, expected) in [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "s3cret:4318",
            "expected a URL",
        ),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "ftp://s3cret",
            "expected a URL",
        ),
        (
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
            "http://u:s3cret@c.test",
            "a user and a password",
        ),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "only `http/protobuf` is offered",
        ),
        (
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            "gzip",
            "only `none` is offered",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "s3cret",
            "expected `name=value",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a b=s3cret",
            "expected `name=value",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a=%zz",
            "expected `name=value",
        ),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "expected a number"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "expected a number"),
        ("OTEL_LOGS_EXPORTER", "console", "expected `otlp` or `none`"),
        ("OTEL_RESOURCE_ATTRIBUTES", "s3cret", "expected `key=value"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "0", "expected a number"),
    ] {
        let error = read(&[(name, value), BASE]).unwrap_err();
        assert!(
            error.starts_with(&format!("`{name}` cannot be used: {expected}")),
            "{error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }
}
