//! `codex-network-proxy schema`: the JSON Schema by which editors complete and check a config file.
//!
//! Comes in: which of the two files. Goes out: the schema, made from the library's one table of keys.

use clap::{Args, ValueEnum};
use codex_network_proxy::config::{Key, Kind, NetworkKey, RequirementKey};
use serde_json::{Map, Value, json};

use super::output::Output;

const EXAMPLES: &str = "\
Examples:
  codex-network-proxy schema > codex-config.schema.json
      Then write `#:schema ./codex-config.schema.json` into the first line of config.toml.
  codex-network-proxy schema requirements";

/// Print the JSON Schema of a config file, for editors
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Which file
    #[arg(value_name = "FILE", default_value = "config")]
    file: File,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum File {
    /// config.toml
    Config,
    /// requirements.toml
    Requirements,
}

pub(super) fn run(arguments: &Arguments) -> Output {
    Output::json(&match arguments.file {
        File::Config => config(),
        File::Requirements => requirements(),
    })
}

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Codex has many more keys, so unknown ones are errors in the network table only.
fn config() -> Value {
    let network = table(NetworkKey::ALL.into_iter().map(NetworkKey::key));
    json!({
        "$schema": DIALECT,
        "title": "The network part of Codex's config.toml",
        "type": "object",
        "properties": {
            "default_permissions": {
                "type": "string",
                "description": "The profile that governs: the name of a table in [permissions], or `:workspace`, `:read-only`, `:danger-full-access`.",
            },
            "project_root_markers": {
                "type": "array",
                "items": { "type": "string" },
                "default": [".git"],
                "description": "What the root of a project holds.",
            },
            "projects": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": { "trust_level": { "type": "string" } },
                },
            },
            "permissions": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": {
                        "extends": {
                            "type": "string",
                            "description": "A profile whose tables stand below those of this one.",
                        },
                        "network": network,
                    },
                },
            },
        },
    })
}

fn requirements() -> Value {
    json!({
        "$schema": DIALECT,
        "title": "The network part of Codex's requirements.toml",
        "type": "object",
        "properties": {
            "experimental_network": table(RequirementKey::ALL.into_iter().map(RequirementKey::key)),
        },
    })
}

fn table(keys: impl Iterator<Item = Key>) -> Value {
    let properties: Map<String, Value> = keys
        .map(|key| (key.name.to_owned(), property(&key)))
        .collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn property(key: &Key) -> Value {
    let permission = json!({ "enum": ["allow", "deny"] });
    let mut schema = match key.kind {
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Address => json!({ "type": "string" }),
        Kind::Mode => json!({ "enum": ["full", "limited"] }),
        Kind::AllowDeny => permission,
        Kind::Port => json!({ "type": "integer", "minimum": 1, "maximum": 65535 }),
        Kind::Patterns => json!({ "type": "array", "items": { "type": "string", "minLength": 1 } }),
        Kind::Paths => json!({ "type": "array", "items": { "type": "string", "pattern": "^/" } }),
        Kind::PatternTable | Kind::PathTable => {
            json!({ "type": "object", "additionalProperties": permission })
        }
    };
    schema["description"] = json!(key.meaning.replace('`', ""));
    // Defaults are TOML; all that occur are JSON as well.
    if let Ok(default) = serde_json::from_str::<Value>(key.default) {
        schema["default"] = default;
    }
    schema
}
