//! One request after the other to a collector, over a connection that is kept.
//!
//! [`Post::send`] takes a [`Message`] and says what became of it. It follows no redirect, and reads no more of an answer than it
//! needs; when to try again is for others to say.

use std::time::Duration;

use bytes::buf::Chain;
use bytes::{Buf as _, Bytes};
use codex_network_gate::{Collector, chain};
use http::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::endpoint::Endpoint;

const AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// How much of an answer is read.
const ANSWER: usize = 64 * 1024;

/// What is sent: in two pieces, so that what is large is never copied.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) head: Bytes,
    pub(super) rest: Bytes,
}

type Body = Full<Chain<Bytes, Bytes>>;

impl Message {
    fn body(&self) -> Body {
        Full::new(self.head.clone().chain(self.rest.clone()))
    }
}

/// Sends messages to one endpoint.
pub(super) struct Post {
    endpoint: Endpoint,
    collector: Collector,
    host: String,
    kept: Option<SendRequest<Body>>,
    connections: JoinSet<()>,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The collector took it, but for so many of its records.
    Taken { rejected: u64 },
    /// It never will.
    Refused,
    /// It wants it again, perhaps after this time.
    Later { after: Option<Duration> },
}

impl Post {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let default = if endpoint.tls.is_some() { 443 } else { 80 };
        let host = match &endpoint.host {
            host if host.address().is_some_and(|address| address.is_ipv6()) => format!("[{host}]"),
            host => host.to_string(),
        };
        let host = match endpoint.port {
            port if port == default => host,
            port => format!("{host}:{port}"),
        };
        let collector =
            Collector::of_operator(endpoint.host.clone(), endpoint.port, endpoint.tls.clone());
        Self {
            endpoint,
            collector,
            host,
            kept: None,
            connections: JoinSet::new(),
        }
    }

    /// Sends one message, within the time that the settings give.
    pub(super) async fn send(&mut self, message: &Message) -> Result<Sent, String> {
        let limit = self.endpoint.timeout;
        let ended = timeout(limit, self.send_unlimited(message)).await;
        ended.unwrap_or_else(|_| {
            self.connections.abort_all();
            self.kept = None;
            Err(format!("no answer within {} ms", limit.as_millis()))
        })
    }

    async fn send_unlimited(&mut self, message: &Message) -> Result<Sent, String> {
        while self.connections.try_join_next().is_some() {}
        // One that was kept may have been closed meanwhile, which says nothing about the collector.
        if let Some(mut kept) = self.kept.take()
            && kept.ready().await.is_ok()
            && let Ok(response) = kept.send_request(self.request(message)?).await
        {
            return self.answer(kept, response).await;
        }
        let connection = self.collector.open(self.endpoint.timeout).await;
        let connection = connection.map_err(|error| chain(&error))?;
        let (mut sender, driver) = http1::handshake(TokioIo::new(connection))
            .await
            .map_err(|error| chain(&error))?;
        self.connections.spawn(async move {
            let _ = driver.await;
        });
        let response = sender.send_request(self.request(message)?).await;
        let response = response.map_err(|error| chain(&error))?;
        self.answer(sender, response).await
    }

    fn request(&self, message: &Message) -> Result<Request<Body>, String> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.endpoint.path)
            .header(HOST, &self.host)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(message.body());
        let mut request = request.map_err(|error| chain(&error))?;
        for (name, value) in &self.endpoint.headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }

    async fn answer(
        &mut self,
        sender: SendRequest<Body>,
        response: Response<Incoming>,
    ) -> Result<Sent, String> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER).collect().await;
        if let Ok(body) = body {
            self.kept = Some(sender);
            if head.status.is_success() {
                let rejected = rejected(body.to_bytes());
                return Ok(Sent::Taken { rejected });
            }
        }
        match head.status {
            // It was taken, and what else the answer says cannot be read.
            status if status.is_success() => Ok(Sent::Taken { rejected: 0 }),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Ok(Sent::Later {
                after: head.headers.get(RETRY_AFTER).and_then(seconds),
            }),
            _ => Ok(Sent::Refused),
        }
    }
}

/// How many records the collector did not take. The answers to logs and to metrics have the same form.
fn rejected(body: Bytes) -> u64 {
    let answer = ExportLogsServiceResponse::decode(body).ok();
    let partial = answer.and_then(|answer| answer.partial_success);
    partial.map_or(0, |partial| {
        u64::try_from(partial.rejected_log_records).unwrap_or(0)
    })
}

fn seconds(value: &HeaderValue) -> Option<Duration> {
    let seconds = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
