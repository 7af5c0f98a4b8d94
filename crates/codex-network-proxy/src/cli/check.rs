//! `codex-network-proxy check`: loads everything and shows what it amounts to.
//!
//! Comes in: the config files and flags. Goes out: the effective policy by source, the limits and who sets them, and what
//! is worth a second look. It starts nothing. A mistake is shown with a caret, and the exit code is 2.

use std::collections::BTreeMap;

use clap::Args;
use codex_network_policy::{Origin, Rule};
use codex_network_proxy::config::{
    Environment, Limit, LimitKind, LoadedConfig, NetworkKey, Remark, UnixSockets,
};
use serde_json::{Value, json};

use super::arguments::PolicyArguments;
use super::describe;
use super::failure::Failure;
use super::output::Output;

const EXAMPLES: &str = "\
Examples:
  codex-network-proxy check
      Show what $CODEX_HOME/config.toml and all that stands above it amount to.
  codex-network-proxy check --config new.toml && mv new.toml ~/.codex/config.toml
      Put a file in place only if it can be used.
  codex-network-proxy check --json | jq -r '.allowed[].pattern'
      List the patterns of the allowlist.

Exit codes: 0 the configuration can be used, 2 it cannot.";

/// Check the configuration, and show the policy that it makes and where each rule comes from
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    policy: PolicyArguments,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    arguments: &Arguments,
    environment: &Environment,
    sockets: UnixSockets,
) -> Result<Output, Failure> {
    let config = LoadedConfig::from_files(&arguments.policy.overrides(), environment, sockets)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let remarks = config.review();
    if arguments.json {
        return Ok(Output::json(&as_json(&config, &remarks)));
    }
    Ok(Output::text(as_text(&config, &remarks)))
}

/// One line of the policy: which line of a file it stands in, and what it says.
type Lines = Vec<(Option<u32>, String)>;

fn as_text(config: &LoadedConfig, remarks: &[Remark]) -> String {
    let mut text = String::new();
    let mut say = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    say(&format!("policy: {}", describe::origin(config)));
    match &config.disabled {
        Some(why) => say(&format!("disabled: {why}")),
        None => {
            let socks = config.listeners.socks;
            let socks = socks.map_or_else(String::new, |socks| format!(" and socks5h://{socks}"));
            let mode = config.settings.mode;
            say(&format!(
                "enabled, mode {mode}, listens on http://{}{socks}",
                config.listeners.http
            ));
        }
    }
    for (source, mut lines) in by_source(config) {
        say("");
        say(&format!("{source}:"));
        lines.sort();
        if lines.is_empty() {
            say("         nothing that is in effect");
        }
        for (line, what) in lines {
            let line = line.map_or_else(String::new, |line| line.to_string());
            say(&format!("  {line:>5}  {what}"));
        }
    }
    if !config.limits.is_empty() {
        say("");
        say("limits:");
        for limit in &config.limits {
            let kind = kind(limit);
            say(&format!("  {} ({kind})", limit.source));
            for line in describe::limit(limit) {
                say(&format!("         {line}"));
            }
        }
    }
    if !remarks.is_empty() {
        say("");
        say("worth a second look:");
        for Remark { text, origin } in remarks {
            match origin {
                Some(origin) => say(&format!("  {origin}: {text}")),
                None => say(&format!("  {text}")),
            }
        }
    }
    text
}

fn kind(limit: &Limit) -> &'static str {
    match limit.kind {
        LimitKind::Layer => "config layer of this machine",
        LimitKind::Requirements => "managed requirements",
        LimitKind::Given => "the program",
    }
}

/// Every rule and setting under the file or flag that it comes from, the lowest layer first.
fn by_source(config: &LoadedConfig) -> Vec<(String, Lines)> {
    let layers = config.layers.iter().map(|(_, label)| label.to_string());
    let files = layers.chain(config.requirements.iter().map(ToString::to_string));
    let mut sources: Vec<(String, Lines)> = Vec::new();
    for file in files {
        if sources.iter().all(|(known, _)| *known != file) {
            sources.push((file, Vec::new()));
        }
    }
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for (number, (source, _)) in sources.iter().enumerate() {
        numbers.insert(source.clone(), number);
    }
    let mut add = |origin: &Origin, what: String| {
        let line = origin.line.map(std::num::NonZero::get);
        let next = sources.len();
        let number = *numbers.entry(origin.source.to_string()).or_insert(next);
        if number == next {
            sources.push((origin.source.to_string(), Vec::new()));
        }
        sources[number].1.push((line, what));
    };
    for (key, origin) in &config.origins {
        if let Some(value) = describe::setting(*key, &config.settings) {
            add(origin, format!("{} = {value}", key.name()));
        }
    }
    for rule in &config.rules.allowed {
        add(&rule.origin, format!("allow {}", rule.pattern));
    }
    for rule in &config.rules.denied {
        add(&rule.origin, format!("deny {}", rule.pattern));
    }
    for rule in &config.rules.sockets.allowed {
        add(&rule.origin, format!("allow unix:{}", rule.path));
    }
    sources
}

fn as_json(config: &LoadedConfig, remarks: &[Remark]) -> Value {
    let place = |origin: &Origin| json!({ "source": &*origin.source, "line": origin.line });
    let hosts = |rules: &[Rule]| -> Vec<Value> {
        let rule = |rule: &Rule| {
            let mut value = place(&rule.origin);
            value["pattern"] = json!(rule.pattern.to_string());
            value
        };
        rules.iter().map(rule).collect()
    };
    let sockets = config.rules.sockets.allowed.iter().map(|rule| {
        let mut value = place(&rule.origin);
        value["path"] = json!(rule.path.as_str());
        value
    });
    let settings = NetworkKey::ALL.into_iter().filter_map(|key| {
        let value = describe::setting_json(key, &config.settings)?;
        let mut setting = config.origins.get(&key).map_or_else(|| json!({}), place);
        setting["value"] = value;
        Some((key.name().to_owned(), setting))
    });
    json!({
        "enabled": config.disabled.is_none(),
        "disabled_because": config.disabled,
        "profile": describe::profile(config),
        "http": config.listeners.http.to_string(),
        "socks": config.listeners.socks.map(|socks| socks.to_string()),
        "layers": config.layers.iter().map(|(kind, label)| json!({ "kind": kind.as_str(), "source": &**label })).collect::<Vec<_>>(),
        "requirements": config.requirements.as_deref(),
        "allowlist_is_final": config.rules.pinned,
        "settings": settings.collect::<serde_json::Map<_, _>>(),
        "allowed": hosts(&config.rules.allowed),
        "denied": hosts(&config.rules.denied),
        "unix_sockets": sockets.collect::<Vec<_>>(),
        "limits": config.limits.iter().map(|limit| json!({
            "source": &*limit.source, "kind": kind(limit), "limits": describe::limit(limit),
        })).collect::<Vec<_>>(),
        "warnings": remarks.iter().map(|remark| {
            let mut value = remark.origin.as_ref().map_or_else(|| json!({}), place);
            value["text"] = json!(remark.text);
            value
        }).collect::<Vec<_>>(),
    })
}
