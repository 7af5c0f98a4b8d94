//! Audit events in a file and at a collector: real sockets, messages decoded with the types of OpenTelemetry's own crate.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::harness::tls::{Certified, Issuer};

/// What a collector does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Takes,
    /// Reads and never answers.
    Silent,
    /// 503.
    Busy,
    /// 400.
    Refuses,
    /// Takes all records but one.
    Picks,
}

/// What a collector got.
#[derive(Default)]
struct Got {
    /// Everything, as it came.
    bytes: Vec<u8>,
    heads: Vec<String>,
    records: Vec<LogRecord>,
    resource: Vec<KeyValue>,
    metrics: Option<ExportMetricsServiceRequest>,
    /// Why handshakes failed.
    alerts: Vec<String>,
}

/// A collector that speaks OTLP over HTTP.
struct Collector {
    address: std::net::SocketAddr,
    mood: watch::Sender<Mood>,
    got: Arc<Mutex<Got>>,
    arrived: watch::Receiver<u64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    async fn start(mood: Mood) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), mood, None)
    }

    async fn start_tls(tls: Certified) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(listener, Mood::Takes, Some(tls))
    }

    fn serve(listener: TcpListener, mood: Mood, tls: Option<Certified>) -> Self {
        let address = listener.local_addr().unwrap();
        let mood = watch::Sender::new(mood);
        let got: Arc<Mutex<Got>> = Arc::default();
        let (arrives, arrived) = watch::channel(0);
        let (moods, kept) = (mood.subscribe(), Arc::clone(&got));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let seat = Seat {
                    moods: moods.clone(),
                    kept: Arc::clone(&kept),
                    arrives: arrives.clone(),
                };
                let tls = tls.clone();
                connections.spawn(async move {
                    match tls {
                        None => seat.serve(stream).await,
                        Some(tls) => match tls.accept_stream(stream).await {
                            Ok(stream) => seat.serve(stream).await,
                            Err(error) => seat.turned_away(&error),
                        },
                    }
                });
            }
        });
        Self {
            address,
            mood,
            got,
            arrived,
            task,
        }
    }

    /// Waits until what it got is as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Got) -> bool) {
        within(what, async {
            while !wanted(&self.got.lock().unwrap()) {
                self.arrived.changed().await.unwrap();
            }
        })
        .await;
    }

    fn environment(&self, home: &Path) -> Command {
        let mut command = binary(home);
        command
            .env(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("http://{}", self.address),
            )
            .env("OTEL_BLRP_SCHEDULE_DELAY", "20")
            .env("OTEL_METRIC_EXPORT_INTERVAL", "50");
        command
    }
}

/// What one connection of a collector needs.
struct Seat {
    moods: watch::Receiver<Mood>,
    kept: Arc<Mutex<Got>>,
    arrives: watch::Sender<u64>,
}

impl Seat {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut wire = BufReader::new(stream);
        while let Some((head, body)) = message(&mut wire).await {
            let mood = *self.moods.borrow();
            let (status, answer) = self.kept.lock().unwrap().take(mood, head, &body);
            self.arrives.send_modify(|count| *count += 1);
            if mood == Mood::Silent {
                std::future::pending::<()>().await;
            }
            let length = answer.len();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
            let answer = [head.as_bytes(), &answer].concat();
            if wire.write_all(&answer).await.is_err() || wire.flush().await.is_err() {
                return;
            }
        }
    }

    fn turned_away(self, error: &std::io::Error) {
        self.kept.lock().unwrap().alerts.push(error.to_string());
        self.arrives.send_modify(|count| *count += 1);
    }
}

impl Got {
    fn take(&mut self, mood: Mood, head: String, body: &[u8]) -> (u16, Vec<u8>) {
        let logs = head.starts_with("POST /v1/logs ");
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(body);
        self.heads.push(head);
        let mut answer = Vec::new();
        match mood {
            Mood::Silent | Mood::Busy => return (503, answer),
            Mood::Refuses => return (400, answer),
            Mood::Takes | Mood::Picks => {}
        }
        if !logs {
            self.metrics = Some(ExportMetricsServiceRequest::decode(body).unwrap());
            return (200, answer);
        }
        let mut message = ExportLogsServiceRequest::decode(body).unwrap();
        let mut resource = message.resource_logs.remove(0);
        let scope = resource.scope_logs.remove(0);
        assert_eq!(scope.scope.unwrap().name, "codex_otel.network_proxy");
        self.resource = resource.resource.unwrap().attributes;
        self.records.extend(scope.log_records);
        if mood == Mood::Picks {
            let partial_success = Some(ExportLogsPartialSuccess {
                rejected_log_records: 1,
                error_message: "one was not to our taste".to_owned(),
            });
            answer = ExportLogsServiceResponse { partial_success }.encode_to_vec();
        }
        (200, answer)
    }

    /// The hosts of the decisions, in the order in which they came.
    fn hosts(&self) -> Vec<String> {
        let records = self.records.iter();
        records
            .filter_map(|record| fields(&record.attributes).remove("server.address"))
            .collect()
    }

    /// The numbers of the events that tell of losses.
    fn losses(&self) -> Vec<String> {
        let records = self.records.iter();
        records
            .filter_map(|record| fields(&record.attributes).remove("network.audit.lost"))
            .collect()
    }
}

async fn message(wire: &mut (impl AsyncBufRead + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if wire.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    wire.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

fn fields(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let pairs = attributes.iter().map(|pair| {
        let value = match pair.value.clone().unwrap().value.unwrap() {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            Value::BoolValue(flag) => flag.to_string(),
            other => panic!("{other:?} is no field of ours"),
        };
        (pair.key.clone(), value)
    });
    pairs.collect()
}

fn get(host: &str) -> String {
    format!("GET http://{host}/ HTTP/1.1\r\n\r\n")
}

#[tokio::test]
async fn a_collector_gets_every_decision_and_the_metrics() {
    let mut collector = Collector::start(Mood::Takes).await;
    let home = home("");
    let mut command = collector.environment(home.path());
    command
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b")
        .env("OTEL_SERVICE_NAME", "tested")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=here");
    let proxy = Running::start_as(command, &[]).await;
    proxy.answer(&get("one.test")).await;
    proxy.answer("CONNECT two.test:443 HTTP/1.1\r\n\r\n").await;
    collector
        .until("two decisions", |got| got.records.len() == 2)
        .await;
    {
        let got = collector.got.lock().unwrap();
        let head = got.heads[0].to_ascii_lowercase();
        for line in [
            "content-type: application/x-protobuf\r\n",
            "x-key: a b\r\n",
            &format!("host: {}\r\n", collector.address),
        ] {
            assert!(head.contains(line), "{head}");
        }
        let resource = fields(&got.resource);
        assert_eq!(resource["service.name"], "tested");
        assert_eq!(resource["deployment.environment"], "here");
        assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
        let record = &got.records[0];
        assert_eq!(record.event_name, "codex.network_proxy.policy_decision");
        assert_eq!(record.severity_text, "INFO");
        assert!(record.body.is_none() && record.time_unix_nano > 0);
        let names: Vec<&str> = record.attributes.iter().map(|pair| &*pair.key).collect();
        assert_eq!(
            names,
            [
                "event.name",
                "event.timestamp",
                "network.policy.scope",
                "network.policy.decision",
                "network.policy.source",
                "network.policy.reason",
                "network.transport.protocol",
                "server.address",
                "server.port",
                "http.request.method",
                "client.address",
                "network.policy.override",
            ]
        );
        let fields = fields(&record.attributes);
        assert_eq!(fields["server.address"], "one.test");
        assert_eq!(fields["server.port"], "80");
        assert_eq!(fields["network.policy.override"], "false");
    }
    let counted = |got: &Got| {
        let message = got.metrics.clone()?;
        let resource = message.resource_metrics.first()?;
        let mut metrics = resource.scope_metrics.first()?.metrics.iter();
        let decisions = metrics.find(|metric| metric.name == "codex.network_proxy.decisions")?;
        use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point};
        let Some(Data::Sum(sum)) = &decisions.data else {
            panic!("a counter is a sum");
        };
        assert!(sum.is_monotonic);
        let points = sum.data_points.iter().map(|point| {
            let Some(number_data_point::Value::AsInt(count)) = point.value else {
                panic!("a count is a whole number");
            };
            (fields(&point.attributes)["door"].clone(), count)
        });
        Some(points.collect::<Vec<_>>())
    };
    let both = vec![("http".to_owned(), 1), ("https_connect".to_owned(), 1)];
    collector
        .until("the counts", |got| counted(got) == Some(both.clone()))
        .await;
    #[cfg(unix)]
    assert_eq!(proxy.end("TERM").await.0, Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn what_waits_is_sent_at_the_end() {
    let collector = Collector::start(Mood::Takes).await;
    let home = home("");
    let mut command = collector.environment(home.path());
    command
        .env("OTEL_BLRP_SCHEDULE_DELAY", "60000")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "60000");
    let proxy = Running::start_as(command, &[]).await;
    proxy.answer(&get("one.test")).await;
    assert_eq!(proxy.end("TERM").await.0, Some(0));
    let got = collector.got.lock().unwrap();
    assert_eq!(got.hosts(), ["one.test"]);
    assert!(got.metrics.is_some());
}

/// The tests of a collector that fails: few events have room, and every request is answered all the same.
async fn through_trouble(mut collector: Collector, back: impl FnOnce(&mut Collector)) {
    let home = home("");
    let mut command = collector.environment(home.path());
    command
        .env("OTEL_METRICS_EXPORTER", "none")
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
        .env("OTEL_BLRP_MAX_QUEUE_SIZE", "4")
        .env("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "2");
    let mut proxy = Running::start_as(command, &[]).await;
    for number in 0..20 {
        let answer = proxy.answer(&get(&format!("h{number}.test"))).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    while !proxy.line().await.contains("evidence cannot be sent") {}
    back(&mut collector);
    collector
        .until("the loss", |got| !got.losses().is_empty())
        .await;
    while !proxy.line().await.contains("takes evidence again") {}
    // At most a batch under way and a full queue were left; all others are told of, and what comes next arrives.
    proxy.answer(&get("after.test")).await;
    collector
        .until("what came after", |got| {
            got.hosts().last().is_some_and(|host| host == "after.test")
        })
        .await;
    let got = collector.got.lock().unwrap();
    let lost: usize = got
        .losses()
        .iter()
        .map(|lost| lost.parse::<usize>().unwrap())
        .sum();
    let mut arrived = got.hosts();
    arrived.dedup();
    assert_eq!(arrived.len() - 1 + lost, 20, "{arrived:?} and {lost}");
    assert!(lost >= 14);
}

#[tokio::test]
async fn a_collector_that_is_down_costs_events_and_no_request_and_the_loss_is_told() {
    let mut collector = Collector::start(Mood::Takes).await;
    // Nobody listens at its address until it is back.
    collector.task.abort();
    let _ = (&mut collector.task).await;
    through_trouble(collector, |collector| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(collector.address).unwrap();
        *collector = Collector::serve(socket.listen(16).unwrap(), Mood::Takes, None);
    })
    .await;
}

#[tokio::test]
async fn a_collector_that_is_slow_costs_the_same() {
    let collector = Collector::start(Mood::Silent).await;
    through_trouble(collector, |collector| {
        collector.mood.send_replace(Mood::Takes);
    })
    .await;
}

#[tokio::test]
async fn a_collector_that_asks_for_patience_is_given_it() {
    let collector = Collector::start(Mood::Busy).await;
    through_trouble(collector, |collector| {
        collector.mood.send_replace(Mood::Takes);
    })
    .await;
}

#[tokio::test]
async fn a_collector_over_tls_has_to_prove_its_name() {
    let home = home("");
    let issuer = Issuer::new();
    let roots = home.path().join("roots.pem");
    std::fs::write(&roots, &issuer.1).unwrap();
    for (name, issuer, proves) in [
        ("localhost", &issuer, true),
        ("other.test", &issuer, false),
        ("localhost", &Issuer::new(), false),
    ] {
        let mut collector = Collector::start_tls(issuer.certify(name, &[])).await;
        let mut command = collector.environment(home.path());
        let port = collector.address.port();
        command
            .env(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("https://localhost:{port}"),
            )
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", &roots)
            .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20k3y");
        let proxy = Running::start_as(command, &[]).await;
        proxy.answer(&get("one.test")).await;
        if proves {
            collector
                .until("the decision", |got| got.hosts() == ["one.test"])
                .await;
        } else {
            collector
                .until("an alert", |got| !got.alerts.is_empty())
                .await;
        }
        let (code, _, stderr) = proxy.end("TERM").await;
        assert_eq!(code, Some(0));
        let warned = stderr.contains("evidence cannot be sent to the collector");
        assert_eq!(warned, !proves, "{stderr}");
        assert_eq!(collector.got.lock().unwrap().bytes.is_empty(), !proves);
    }
}

#[tokio::test]
async fn what_a_collector_refuses_is_lost_and_told() {
    let mut collector = Collector::start(Mood::Refuses).await;
    let home = home("");
    let proxy = Running::start_as(collector.environment(home.path()), &[]).await;
    proxy.answer(&get("one.test")).await;
    collector
        .until("the refusal", |got| {
            got.heads.iter().any(|head| head.contains("/v1/logs"))
        })
        .await;
    collector.mood.send_replace(Mood::Picks);
    proxy.answer(&get("two.test")).await;
    collector
        .until("the second", |got| got.hosts().len() == 1)
        .await;
    collector.mood.send_replace(Mood::Takes);
    proxy.answer(&get("three.test")).await;
    collector
        .until("the loss", |got| !got.losses().is_empty())
        .await;
    let got = collector.got.lock().unwrap();
    assert_eq!(got.hosts(), ["two.test", "three.test"]);
    // One by the refusal of a whole message, and one record of the next.
    assert_eq!(got.losses(), ["2"]);
}

#[tokio::test]
async fn variables_that_cannot_be_used_end_the_start_without_being_repeated() {
    let home = home("");
    let mut command = binary(home.path());
    let output = command
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://user:s3cret@collector.test",
        )
        .output();
    let output = within("the binary to end", output).await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with("error: `OTEL_EXPORTER_OTLP_ENDPOINT` cannot be used: "),
        "{stderr}"
    );
    assert!(!stderr.contains("s3cret"), "{stderr}");
}

#[tokio::test]
async fn the_example_sends_what_its_proxy_decides() {
    let mut collector = Collector::start(Mood::Takes).await;
    // `cargo test` has built it; where only this test was asked for, it is built here.
    let example = Path::new(env!("CARGO_BIN_EXE_codex-network-proxy"))
        .with_file_name("examples")
        .join(format!("audit_to_otlp{}", std::env::consts::EXE_SUFFIX));
    if !example.exists() {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--package", "codex-network-proxy"])
            .args(["--example", "audit_to_otlp"])
            .status();
        assert!(built.await.unwrap().success());
    }
    let mut child = Command::new(example)
        .arg("allowed.invalid")
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("http://{}", collector.address),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = within("its address", lines.next_line()).await.unwrap();
    let line = line.unwrap();
    let address = line.strip_prefix("http://").unwrap().parse().unwrap();
    let mut client = Wire::connect(address).await;
    client.send(get("one.test")).await;
    client.message().await;
    drop(client);
    drop(child.stdin.take());
    let status = within("its end", child.wait()).await.unwrap();
    assert!(status.success());
    collector
        .until("the decision", |got| got.hosts() == ["one.test"])
        .await;
    assert!(collector.got.lock().unwrap().metrics.is_some());
}

mod canary;
#[cfg(unix)]
mod file;
