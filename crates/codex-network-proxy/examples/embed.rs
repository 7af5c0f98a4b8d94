//! A proxy in five lines: what the config files say, on a port that the system chooses.
//!
//! `cargo run --example embed`, then point a program at the address that it prints.

#![expect(clippy::print_stdout, reason = "an example says what it does")]

use codex_network_proxy::NetworkProxy;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listens_at = "127.0.0.1:0".parse()?;
    let proxy = NetworkProxy::builder()
        .http_addr(listens_at)
        .build()
        .await?;
    let handle = proxy.run().await?;
    println!("HTTP proxy listening on {}", proxy.http_addr());
    Ok(handle.wait().await?)
}
