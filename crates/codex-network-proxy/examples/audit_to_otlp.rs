//! A proxy whose audit events go to an OpenTelemetry collector: `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318`.
//!
//! Give it the hosts to allow. It says where it listens, serves until its standard input ends, and sends the rest.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use codex_network_proxy::{Exports, NetworkProxy, NetworkProxyConfig, OtlpSettings};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[tokio::main]
#[expect(
    clippy::disallowed_methods,
    reason = "an example reads its environment"
)]
async fn main() -> Result<(), Box<dyn Error>> {
    let otlp = OtlpSettings::from_variables(|name| std::env::var(name).ok())?
        .ok_or("set OTEL_EXPORTER_OTLP_ENDPOINT")?;
    let exports = Exports::builder().otlp(otlp).start()?;
    tracing_subscriber::registry().with(exports.layer()).init();

    let hosts: Vec<String> = std::env::args().skip(1).collect();
    let network = serde_json::json!({ "enabled": true, "allowed_domains": hosts });
    let config: NetworkProxyConfig = serde_json::from_value(network)?;
    let proxy = NetworkProxy::builder()
        .config(config)
        .http_addr("127.0.0.1:0".parse()?)
        .socks_addr("127.0.0.1:0".parse()?)
        .exports(&exports)
        .build()
        .await?;
    let handle = proxy.run().await?;
    writeln!(std::io::stdout(), "http://{}", proxy.http_addr())?;

    let ended = || std::io::stdin().read_to_end(&mut Vec::new());
    tokio::task::spawn_blocking(ended).await??;
    handle.shutdown().await?;
    let sent = tokio::task::spawn_blocking(move || exports.finish(Duration::from_secs(3)));
    Ok(sent.await?)
}
