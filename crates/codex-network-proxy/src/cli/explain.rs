//! `codex-network-proxy explain`: what the proxy would do with an access, and why.
//!
//! Comes in: a target and the config files. Goes out: the verdict of the gate itself, the rule with its place, the kind of
//! address, and what would change the answer. It leaves no audit event and no history; with `--resolve` it asks the
//! resolver about a permitted name, as the gate would, and without it no query leaves.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Args;
use codex_network_gate::{Access, Explained, Explanation, Gate, LookUp, ParentProxies};
use codex_network_policy::{AddressClass, AddressRange, Policy, Protocol, Reason, Step, Target};
use codex_network_proxy::config::{Environment, LoadedConfig, NetworkKey, UnixSockets};
use serde_json::{Value, json};

use super::arguments::PolicyArguments;
use super::failure::Failure;
use super::output::Output;
use super::status;

mod question;

use question::{Door, Question};

const EXAMPLES: &str = "\
Examples:
  codex-network-proxy explain https://api.example.com/
      Would this be permitted, and which line says so?
  codex-network-proxy explain example.com:22 --door socks5 --resolve
      Ask the resolver too, so that the addresses are judged.
  codex-network-proxy explain http://example.com/ --method POST --mode limited
  codex-network-proxy explain unix:/run/docker.sock
  codex-network-proxy explain 10.0.0.1 --json | jq -r .reason

A URL's path plays no part. Without --door, http:// is a forward request, https:// a CONNECT, and a host with another
port, or none, a CONNECT too. Exit codes: 0 permitted, 1 refused, 2 the question or the configuration cannot be used.";

/// Say what the proxy would do with a target, which rule decides, and what would change the answer
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// http://host, https://host, host, host:port, [v6]:port, socks5://host:port or unix:/path
    #[arg(value_name = "TARGET")]
    target: String,

    /// The HTTP method [default: GET, or CONNECT at that door]
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,

    /// The door that is asked at
    #[arg(long, value_name = "DOOR")]
    door: Option<Door>,

    /// Ask the resolver about a permitted name, and judge its addresses
    #[arg(long, overrides_with = "no_resolve")]
    resolve: bool,

    /// Let no query leave (the default): addresses of names are then not judged
    #[arg(long, overrides_with = "resolve")]
    no_resolve: bool,

    #[command(flatten)]
    policy: PolicyArguments,

    /// Print one JSON object with the whole trace
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    arguments: &Arguments,
    environment: &Environment,
    sockets: UnixSockets,
) -> Result<Output, Failure> {
    let method = arguments.method.as_deref();
    let question =
        Question::parse(&arguments.target, arguments.door, method).map_err(Failure::Usage)?;
    let config = LoadedConfig::from_files(&arguments.policy.overrides(), environment, sockets)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let look_up = if arguments.resolve {
        LookUp::Permitted
    } else {
        LookUp::Never
    };
    let gate = gate(&config, environment);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")?;
    let access = question.access();
    let explanation = runtime.block_on(gate.explain(&access, look_up));
    // A look-up that the system is busy with cannot be cancelled.
    runtime.shutdown_background();
    let advice = advice(&config, &explanation);
    let text = if arguments.json {
        Output::json(&as_json(&access, &explanation, &advice))
    } else {
        Output::text(as_text(&access, &explanation, &advice))
    };
    Ok(text.code(u8::from(!is_permitted(&explanation.answer))))
}

/// The gate of a proxy with this configuration; its listeners are where it would listen.
fn gate(config: &LoadedConfig, environment: &Environment) -> Gate {
    let own: Vec<SocketAddr> = std::iter::once(config.listeners.http)
        .chain(config.listeners.socks)
        .collect();
    let (mut parents, _) = ParentProxies::of_process();
    // In a shell that `env` has prepared, the variables name a proxy of ours.
    let running = status::all(environment).unwrap_or_default();
    let ours = running.iter().map(|running| running.http);
    let _ = parents.without_listeners(&own.iter().copied().chain(ours).collect::<Vec<_>>());
    let gate = Gate::builder(Policy::compile(config.rules.clone()))
        .parents(parents)
        .build();
    for listener in own {
        gate.add_listener(listener);
    }
    gate
}

fn is_permitted(answer: &Explained) -> bool {
    match answer {
        Explained::Permitted(_)
        | Explained::PermittedViaParent
        | Explained::PermittedSocket(_)
        | Explained::PermittedByName => true,
        Explained::Undecided | Explained::Refused { .. } => false,
    }
}

/// What would change the answer, where something would.
fn advice(config: &LoadedConfig, explanation: &Explanation) -> Vec<String> {
    let Explained::Refused { reason, note, .. } = &explanation.answer else {
        return Vec::new();
    };
    let managed = config.requirements.as_deref().unwrap_or_default();
    let mut advice: Vec<String> = match reason {
        // The trace names the rule already.
        Reason::Denied => vec!["only without that entry could it be permitted".to_owned()],
        Reason::NotAllowed if config.rules.pinned => {
            vec![format!(
                "the allowlist is final: only {managed} can change it"
            )]
        }
        _ => note.iter().cloned().collect(),
    };
    match reason {
        Reason::ProxyDisabled => advice.extend(config.disabled.clone()),
        Reason::MethodNotAllowed | Reason::MitmRequired => {
            let origin = config.origins.get(&NetworkKey::Mode);
            advice.extend(origin.map(|origin| format!("the mode is set in {origin}")));
        }
        Reason::NotAllowed
        | Reason::Denied
        | Reason::NotAllowedLocal
        | Reason::UnixSocketUnsupported
        | Reason::DnsLookupFailed(_)
        | Reason::ServerNameMismatch
        | Reason::EncryptedHello
        | Reason::OriginNotVerified
        | Reason::AuditUnavailable
        | Reason::Cancelled
        | Reason::PolicyDenied
        | Reason::Invented(_) => {}
    }
    advice
}

/// One line that answers, the checks that led to it, and what would change it.
fn as_text(access: &Access<'_>, explanation: &Explanation, advice: &[String]) -> String {
    let trace = explanation.trace(access).to_string();
    let (target, steps) = trace.split_once('\n').unwrap_or((&trace, ""));
    let target = target
        .rsplit_once(": ")
        .map_or(target, |(target, _)| target);
    let verdict = match &explanation.answer {
        Explained::Permitted(_) => "permitted".to_owned(),
        Explained::PermittedViaParent => "permitted, through the parent proxy".to_owned(),
        Explained::PermittedSocket(_) => "permitted".to_owned(),
        Explained::PermittedByName => {
            "permitted, if its addresses are public (not looked up; --resolve does)".to_owned()
        }
        Explained::Undecided => "asked of the decider".to_owned(),
        Explained::Refused { reason, source, .. } => {
            format!("refused, {reason} ({})", source.as_str())
        }
    };
    let mut text = format!(
        "{target} by {}: {verdict}\n",
        door_word(access.protocol, &access.target)
    );
    for step in steps.lines() {
        let _ = writeln!(text, "{step}");
    }
    match &explanation.answer {
        Explained::Permitted(addresses) => {
            for address in addresses {
                let _ = writeln!(text, "  would dial {address} ({})", class(address.ip()));
            }
        }
        Explained::PermittedSocket(path) => {
            let _ = writeln!(text, "  would connect to {}", path.display());
        }
        Explained::PermittedViaParent
        | Explained::PermittedByName
        | Explained::Undecided
        | Explained::Refused { .. } => {}
    }
    let opened = explanation.snapshot.policy.intercepts(access.protocol);
    if opened && is_permitted(&explanation.answer) {
        text.push_str("  the tunnel would be opened, and every request inside be judged\n");
    }
    for line in advice {
        let _ = writeln!(text, "  {line}");
    }
    text
}

fn class(address: std::net::IpAddr) -> String {
    let class = AddressClass::of(address).as_str();
    match AddressRange::of(address) {
        Some(range) => format!("{class}: {}, {}", range.prefix, range.name),
        None => class.to_owned(),
    }
}

fn door_word(protocol: Protocol, target: &Target) -> &'static str {
    match (protocol, target) {
        (_, Target::Unix(_)) => "x-unix-socket",
        (Protocol::Http, Target::Host { .. }) => "HTTP",
        (Protocol::HttpsConnect, Target::Host { .. }) => "CONNECT",
        (Protocol::Https, Target::Host { .. }) => "HTTPS inside a tunnel",
        (Protocol::Socks5Tcp, Target::Host { .. }) => "SOCKS5",
        (Protocol::Socks5Udp, Target::Host { .. }) => "SOCKS5 UDP",
    }
}

fn as_json(access: &Access<'_>, explanation: &Explanation, advice: &[String]) -> Value {
    let policy = &explanation.snapshot.policy;
    let trace = explanation.trace(access);
    let rule = |id: codex_network_policy::RuleId| {
        let rule = policy.rule(id);
        json!({
            "list": rule.list.as_str(),
            "pattern": rule.pattern.map(|pattern| pattern.to_string()),
            "source": rule.origin.as_ref().map(|origin| origin.source.to_string()),
            "line": rule.origin.and_then(|origin| origin.line),
        })
    };
    let steps = trace.steps().iter().map(|step| match *step {
        Step::Door { open } => json!({ "check": "door", "open": open }),
        Step::Denylist { rule: found } => json!({ "check": "denylist", "rule": found.map(rule) }),
        Step::LocalTarget { opened_by } => {
            json!({ "check": "local target", "opened_by": opened_by.map(rule) })
        }
        Step::Allowlist { rule: found } => json!({ "check": "allowlist", "rule": found.map(rule) }),
        Step::Mode { passes } => json!({ "check": "mode", "passes": passes }),
        Step::SocketPlatform { supported } => {
            json!({ "check": "platform has unix sockets", "passes": supported })
        }
        Step::Sockets {
            allow_all,
            rule: found,
        } => {
            json!({ "check": "unix sockets", "allow_all": allow_all, "rule": found.map(rule) })
        }
    });
    let steps: Vec<Value> = steps.collect();
    let (host, port, path) = match &access.target {
        Target::Host { host, port } => (Some(host.to_string()), Some(*port), None),
        Target::Unix(path) => (None, None, Some(path.to_string())),
    };
    let (word, addresses, judged) = match &explanation.answer {
        Explained::Permitted(addresses) => ("permitted", Some(addresses), true),
        Explained::PermittedViaParent | Explained::PermittedSocket(_) => ("permitted", None, true),
        Explained::PermittedByName => ("permitted", None, false),
        Explained::Undecided => ("undecided", None, false),
        Explained::Refused { .. } => ("refused", None, true),
    };
    let (reason, source) = match &explanation.answer {
        Explained::Refused { reason, source, .. } => (Some(reason.as_str()), Some(source.as_str())),
        Explained::Permitted(_)
        | Explained::PermittedViaParent
        | Explained::PermittedSocket(_)
        | Explained::PermittedByName
        | Explained::Undecided => (None, None),
    };
    json!({
        "verdict": word,
        "reason": reason,
        "source": source,
        "protocol": access.protocol.as_str(),
        "method": access.method,
        "host": host,
        "port": port,
        "path": path,
        "rule": trace.verdict().rule.map(rule),
        "address_class": trace.address_class().map(AddressClass::as_str),
        "addresses_judged": judged,
        "addresses": addresses.map(|addresses| addresses.iter().map(|address| json!({
            "address": address.to_string(), "class": AddressClass::of(address.ip()).as_str(),
        })).collect::<Vec<_>>()),
        "via_parent": explanation.answer == Explained::PermittedViaParent,
        "trace": steps,
        "advice": advice,
    })
}
