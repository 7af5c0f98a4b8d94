//! Asks a person, on the terminal, about each host that no list mentions. The client's request is held meanwhile.
//!
//! `y` permits the host for those who wait for it now, `a` for as long as the program runs, `d` denies it for as long, and
//! anything else refuses what waits. Several requests for one host are one question, and whoever is not answered within a
//! minute is refused.
//!
//! `cargo run --example approval_prompt`

#![expect(clippy::print_stdout, reason = "an example says what it does")]

use std::error::Error;
use std::io::{self, Write as _};
use std::time::Duration;

use codex_network_proxy::{NetworkDecision, NetworkPolicyRequest, NetworkProxy};
use tokio::sync::{mpsc, oneshot};

/// A request that waits for a person.
type Question = (NetworkPolicyRequest, oneshot::Sender<NetworkDecision>);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (ask, mut questions) = mpsc::channel::<Question>(16);
    let proxy = NetworkProxy::builder()
        .http_addr("127.0.0.1:0".parse()?)
        .socks_addr("127.0.0.1:0".parse()?)
        .decider_timeout(Duration::from_secs(60))
        .policy_decider(move |request: NetworkPolicyRequest| {
            let ask = ask.clone();
            async move {
                let (tell, told) = oneshot::channel();
                let asked = ask.send((request, tell)).await;
                let nobody = NetworkDecision::ask("not_allowed");
                match asked {
                    Ok(()) => told.await.unwrap_or(nobody),
                    Err(_) => nobody,
                }
            }
        })
        .build()
        .await?;
    let handle = proxy.run().await?;
    println!("HTTP proxy listening on {}", proxy.http_addr());
    while let Some((request, tell)) = questions.recv().await {
        if tell.is_closed() {
            // Whoever asked has gone, and nobody needs to think about it any more.
            continue;
        }
        let Some(answer) = read_answer(&request).await? else {
            break;
        };
        let decision = match answer.as_str() {
            "y" => NetworkDecision::Allow,
            "a" => match proxy.add_allowed_domain(&request.host).await {
                Ok(()) => NetworkDecision::Allow,
                // A managed limit forbids it, whatever a person says.
                Err(error) => {
                    println!("{error}");
                    NetworkDecision::deny("not_allowed")
                }
            },
            "d" => {
                proxy.add_denied_domain(&request.host).await?;
                NetworkDecision::deny("denied")
            }
            _ => NetworkDecision::deny("not_allowed"),
        };
        // An answer that comes too late is told to nobody.
        let _ = tell.send(decision);
    }
    Ok(handle.shutdown().await?)
}

/// What the person says, or `None` at the end of the input.
async fn read_answer(request: &NetworkPolicyRequest) -> io::Result<Option<String>> {
    let (host, port) = (&request.host, request.port);
    let protocol = request.protocol.as_policy_protocol();
    println!("{protocol} to {host}:{port}? [y]es, [a]lways, [d]eny always, [N]o: ");
    io::stdout().flush()?;
    // Reading a terminal blocks its thread, so it is not one of those that serve.
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        let bytes = io::stdin().read_line(&mut line)?;
        Ok((bytes > 0).then(|| line.trim().to_lowercase()))
    });
    read.await.map_err(io::Error::other)?
}
