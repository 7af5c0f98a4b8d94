//! A decider that maps approved commands to hosts: who was allowed to run a command is allowed what it needs.
//!
//! A proxy cannot see which program a connection comes from, so each command gets a proxy of its own, and its decider
//! writes the command into the request before it is judged. What the config files allow or deny stays so: the decider is
//! asked about hosts that no list mentions.
//!
//! `cargo run --example approved_commands -- 'npm install=packages.example.com' 'cargo build=crates.example.org'`

#![expect(clippy::print_stdout, reason = "an example says what it does")]

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use codex_network_proxy::{
    NetworkDecision, NetworkPolicyDecider, NetworkPolicyRequest, NetworkProxy,
};

/// The commands that somebody has approved, each with a host that it needs.
struct Approved(Vec<(String, String)>);

impl Approved {
    fn decide(&self, request: &NetworkPolicyRequest) -> NetworkDecision {
        let needs = |(command, host): &(String, String)| {
            request.command.as_ref() == Some(command) && request.host == *host
        };
        if self.0.iter().any(needs) {
            NetworkDecision::Allow
        } else {
            // Refused now. A program that sees the `ask` may have a person approve more, for the next attempt.
            NetworkDecision::ask("not_allowed")
        }
    }
}

/// Decides for one command.
struct ForCommand {
    command: String,
    approved: Arc<Approved>,
}

#[async_trait]
impl NetworkPolicyDecider for ForCommand {
    async fn decide(&self, request: NetworkPolicyRequest) -> NetworkDecision {
        self.approved.decide(&NetworkPolicyRequest {
            command: Some(self.command.clone()),
            ..request
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut approved = Vec::new();
    for argument in std::env::args().skip(1) {
        let (command, host) = argument
            .split_once('=')
            .ok_or("expected arguments like 'npm install=packages.example.com'")?;
        approved.push((command.to_owned(), host.to_owned()));
    }
    let approved = Arc::new(Approved(approved));
    let mut handles = Vec::new();
    for (command, _) in &approved.0 {
        let proxy = NetworkProxy::builder()
            .http_addr("127.0.0.1:0".parse()?)
            .socks_addr("127.0.0.1:0".parse()?)
            .policy_decider(ForCommand {
                command: command.clone(),
                approved: Arc::clone(&approved),
            })
            .build()
            .await?;
        handles.push(proxy.run().await?);
        // A program would start the command here, with the variables of `proxy.apply_to_env(&mut env)`.
        println!("{command}: {}", proxy.http_addr());
    }
    for handle in handles {
        handle.wait().await?;
    }
    Ok(())
}
