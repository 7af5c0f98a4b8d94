//! The events of the proxy that runs on this thread.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Metadata, Subscriber, span};

use super::within;

/// One audit event: its fields in the order in which they were recorded.
#[derive(Clone, Debug)]
pub(crate) struct Event(pub(crate) Vec<(&'static str, String)>);

impl Event {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(field, _)| *field == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The event in the short form of the specification, without time and client.
    pub(crate) fn line(&self) -> String {
        let field = |name| self.field(name).unwrap_or("-");
        let mut line = format!(
            "{} {} {}:{} reason={} method={} source={} scope={} override={}",
            field("network.transport.protocol"),
            field("network.policy.decision"),
            field("server.address"),
            field("server.port"),
            field("network.policy.reason"),
            field("http.request.method"),
            field("network.policy.source"),
            field("network.policy.scope"),
            field("network.policy.override"),
        );
        for (name, label) in [
            ("network.upstream", "upstream"),
            ("tls.client.server_name", "server_name"),
        ] {
            if let Some(value) = self.field(name) {
                line.push_str(&format!(" {label}={value}"));
            }
        }
        line
    }

    /// What proved the identity of a connection, without time and client.
    pub(crate) fn proof(&self) -> String {
        let fields = [
            "network.transport.protocol",
            "server.address",
            "network.peer.address",
            "tls.client.server_name",
            "tls.client.encrypted_hello",
            "tls.server.hash.sha256",
            "network.policy.rule",
        ];
        fields.map(|name| self.field(name).unwrap_or("-")).join(" ")
    }
}

/// Collects what this thread records, until it is dropped.
pub(crate) struct Audit {
    records: Arc<Records>,
    _guard: DefaultGuard,
}

#[derive(Debug, Default)]
struct Records {
    events: Mutex<Vec<Event>>,
    connections: Mutex<Vec<Event>>,
    arrived: Notify,
    log: Mutex<String>,
}

impl Audit {
    pub(crate) fn start() -> Self {
        let records = Arc::new(Records::default());
        let guard = tracing::subscriber::set_default(Recorder(Arc::clone(&records)));
        Self {
            records,
            _guard: guard,
        }
    }

    /// The audit events since the last call.
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.records.events.lock().unwrap())
    }

    /// Waits for an event, and takes it and what has come with it.
    pub(crate) async fn next(&self) -> Vec<Event> {
        self.next_of(&self.records.events).await
    }

    /// Waits for the event of a connection, and takes it.
    pub(crate) async fn next_connection(&self) -> Event {
        let mut connections = self.next_of(&self.records.connections).await;
        assert_eq!(connections.len(), 1, "{connections:?}");
        connections.remove(0)
    }

    /// The events of connections since the last call.
    pub(crate) fn take_connections(&self) -> Vec<Event> {
        std::mem::take(&mut self.records.connections.lock().unwrap())
    }

    async fn next_of(&self, records: &Mutex<Vec<Event>>) -> Vec<Event> {
        within("an audit event", async {
            loop {
                let arrived = self.records.arrived.notified();
                let events = std::mem::take(&mut *records.lock().unwrap());
                if !events.is_empty() {
                    return events;
                }
                arrived.await;
            }
        })
        .await
    }

    /// Forgets what was logged, so that a long test does not grow.
    pub(crate) fn take_log(&self) -> String {
        std::mem::take(&mut self.records.log.lock().unwrap())
    }

    /// Everything that was logged at any level, audit events included.
    pub(crate) fn log(&self) -> String {
        self.records.log.lock().unwrap().clone()
    }
}

struct Recorder(Arc<Records>);

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("codex")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields(Vec::new());
        event.record(&mut fields);
        let mut log = self.0.log.lock().unwrap();
        for (name, value) in &fields.0 {
            log.push_str(&format!("{name}={value} "));
        }
        log.push('\n');
        if event.metadata().target() == "codex_otel.network_proxy" {
            let event = Event(fields.0);
            let records = match event.field("event.name") {
                Some("codex.network_proxy.connection") => &self.0.connections,
                _ => &self.0.events,
            };
            records.lock().unwrap().push(event);
            self.0.arrived.notify_waiters();
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Fields(Vec<(&'static str, String)>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}
