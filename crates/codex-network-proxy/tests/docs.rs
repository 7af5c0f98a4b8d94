//! The documents say what the code does: every key, every reason and every field of the audit event is in them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use codex_network_policy::{InventedReason, LookupFailure, Reason};
use codex_network_proxy::NetworkProxyConfig;
use codex_network_proxy::config::{Key, Kind, NetworkKey, RequirementKey};
use codex_network_proxy::metrics::{self, Metric};

fn document(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(name)).unwrap()
}

/// The rows of a table of keys, as the documents show them.
fn rows(keys: impl Iterator<Item = Key>) -> String {
    let mut text = "\n| key | type and default | meaning |\n|---|---|---|\n".to_owned();
    for key in keys {
        let default = match (key.kind, key.default) {
            (_, "") | (Kind::PatternTable | Kind::PathTable, _) => String::new(),
            (_, default) => format!(", `{default}`"),
        };
        let kind = key.kind.as_str();
        text.push_str(&format!(
            "| `{}` | {kind}{default} | {} |\n",
            key.name, key.meaning
        ));
    }
    text + "\n"
}

/// The rows of `docs/guarantees.md`: number, and the words in backticks of the column that names tests.
fn guarantees() -> Vec<(String, Vec<String>)> {
    let text = document("docs/guarantees.md");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.split(" | ").collect();
        let number = cells.first()?.trim();
        number
            .starts_with(|first: char| first.is_ascii_digit())
            .then(|| {
                let names = cells[2].split('`').skip(1).step_by(2).map(str::to_owned);
                (number.to_owned(), names.collect())
            })
    });
    rows.collect()
}

/// All test sources and product sources of the crates, for the names of the tests in them.
fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_guarantee_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut code = String::new();
    sources(&root.join("crates"), &mut code);
    let rows = guarantees();
    assert_eq!(rows.len(), 40);
    for (number, names) in rows {
        assert!(!names.is_empty(), "row {number} names no test");
        for name in names {
            let exists = code.contains(&format!("fn {name}("))
                || root
                    .join("fuzz/fuzz_targets")
                    .join(format!("{name}.rs"))
                    .exists()
                || name.starts_with("cargo xtask ");
            assert!(exists, "row {number}: there is no test `{name}`");
        }
    }
}

/// What `cargo xtask defences` takes out is what the guarantees rest on.
#[test]
fn every_guarantee_has_a_defence_that_can_be_taken_out() {
    let defences = document("xtask/defences.txt");
    let mut proved: Vec<(&str, &str)> = Vec::new();
    let mut row = "";
    for line in defences.lines() {
        if let Some(head) = line.strip_prefix("== ") {
            row = head.split_once(' ').unwrap().0;
        } else if let Some(test) = line.strip_prefix("test ") {
            proved.push((row, test.rsplit([' ', ':']).next().unwrap()));
        }
    }
    for (number, names) in guarantees() {
        // Refusals that wait for nothing are refusals without a question, which is row 12.
        let rows = [number.as_str(), if number == "33" { "12" } else { "" }];
        let mut tests = proved
            .iter()
            .filter(|(row, _)| rows.contains(row))
            .peekable();
        assert!(
            tests.peek().is_some(),
            "row {number} has no defence to take out"
        );
        for (_, test) in tests {
            assert!(
                names.iter().any(|name| name == test),
                "row {number}: `{test}` is not named"
            );
        }
    }
}

/// Run with `UPDATE_EXPECTED=1` in the environment to write the tables anew.
#[test]
fn tables_of_keys_are_those_of_the_code() {
    for (name, mark, rows) in [
        (
            "docs/config.md",
            "keys",
            rows(NetworkKey::ALL.into_iter().map(NetworkKey::key)),
        ),
        (
            "docs/managed.md",
            "requirement keys",
            rows(RequirementKey::ALL.into_iter().map(RequirementKey::key)),
        ),
        ("docs/metrics.md", "metrics", metric_rows()),
    ] {
        let text = document(name);
        let (begin, end) = (
            format!("<!-- {mark} -->\n"),
            format!("<!-- end of {mark} -->"),
        );
        let (before, rest) = text.split_once(&begin).unwrap();
        let (_, after) = rest.split_once(&end).unwrap();
        let expected = format!("{before}{begin}{rows}{end}{after}");
        if option_env!("UPDATE_EXPECTED").is_some() {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
            fs::write(root.join(name), expected).unwrap();
        } else {
            assert!(
                text == expected,
                "{name} has another table; UPDATE_EXPECTED=1 writes it"
            );
        }
    }
}

/// The rows of the table of metrics.
fn metric_rows() -> String {
    let mut text =
        "\n| in text | in OTLP | kind | labels | meaning |\n|---|---|---|---|---|\n".to_owned();
    for metric in Metric::ALL {
        let definition = metric.definition();
        let (kind, suffix) = match definition.kind {
            metrics::Kind::Counter => ("counter", "_total"),
            metrics::Kind::Gauge => ("gauge", ""),
            metrics::Kind::Histogram => ("histogram", ""),
        };
        let labels: Vec<String> = definition
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        text.push_str(&format!(
            "| `{}{suffix}` | `{}`, {} | {kind} | {} | {} |\n",
            definition.text_name(),
            definition.name,
            definition.unit.symbol(),
            labels.join(", "),
            definition.meaning,
        ));
    }
    text + "\n"
}

#[test]
fn every_command_is_described() {
    let readme = document("README.md");
    for command in [
        "run",
        "check",
        "explain",
        "status",
        "env",
        "init",
        "policy",
        "ca",
        "schema",
        "completions",
        "man",
    ] {
        assert!(
            readme.contains(&format!("`{command}")),
            "README.md has no row for {command}"
        );
    }
}

#[test]
fn every_config_key_is_described() {
    // Some keys are written only where they are not the default.
    let unusual = serde_json::json!({ "encrypted_client_hello": "deny", "verify_origin": true, "hide_refusal_details": true, "require_audit_log": true });
    let unusual: NetworkProxyConfig = serde_json::from_value(unusual).unwrap();
    let config = serde_json::to_value(unusual).unwrap();
    let guide = document("docs/config.md");
    let keys = config["network"].as_object().unwrap().keys();
    let missing: Vec<_> = keys
        .filter(|key| !guide.contains(&format!("| `{key}` |")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/config.md does not describe {missing:?}"
    );
}

#[test]
fn every_reason_is_described_with_its_header() {
    let guide = document("docs/config.md");
    let (_, guide) = guide.split_once("\n## Reasons\n").unwrap();
    let reasons = [
        Reason::NotAllowed,
        Reason::NotAllowedLocal,
        Reason::Denied,
        Reason::MethodNotAllowed,
        Reason::MitmRequired,
        Reason::ProxyDisabled,
        Reason::UnixSocketUnsupported,
        Reason::DnsLookupFailed(LookupFailure::Failed),
        Reason::ServerNameMismatch,
        Reason::EncryptedHello,
        Reason::OriginNotVerified,
        Reason::AuditUnavailable,
        Reason::Cancelled,
        Reason::PolicyDenied,
    ];
    for reason in reasons {
        let row = guide
            .lines()
            .find(|line| line.starts_with(&format!("| `{}`", reason.as_str())))
            .unwrap_or_else(|| panic!("docs/config.md has no row for {}", reason.as_str()));
        if let Some(header) = reason.header() {
            assert!(
                row.contains(header),
                "the row of {} lacks {header}",
                reason.as_str()
            );
        }
        match reason {
            // A new reason does not build before it has its line above.
            Reason::NotAllowed
            | Reason::NotAllowedLocal
            | Reason::Denied
            | Reason::MethodNotAllowed
            | Reason::MitmRequired
            | Reason::ProxyDisabled
            | Reason::UnixSocketUnsupported
            | Reason::DnsLookupFailed(_)
            | Reason::ServerNameMismatch
            | Reason::EncryptedHello
            | Reason::OriginNotVerified
            | Reason::AuditUnavailable
            | Reason::Cancelled
            | Reason::PolicyDenied => {}
            Reason::Invented(word) => drop::<InventedReason>(word),
        }
    }
}

#[test]
fn every_audit_field_is_described() {
    let guide = document("docs/config.md");
    let source = document("crates/codex-network-gate/src/evidence/event.rs");
    let fields: Vec<_> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" = "))
        .map(|(field, _)| field)
        .collect();
    assert!(
        fields.len() >= 13,
        "the fields of the event were not found: {fields:?}"
    );
    for field in fields {
        assert!(
            guide.contains(&format!("`{field}`")),
            "docs/config.md does not mention {field}"
        );
    }
}

#[test]
fn every_variable_of_trust_is_described() {
    let guide = document("docs/tls.md");
    for key in codex_network_proxy::client_env::TRUST_ENV_KEYS {
        assert!(
            guide.contains(&format!("`{key}`")),
            "docs/tls.md does not mention {key}"
        );
    }
}

#[test]
fn the_readme_runs_the_main_job_and_the_tests() {
    let readme = document("README.md");
    assert!(readme.contains("cargo run -p codex-network-proxy -- --allow example.com"));
    assert!(readme.contains("cargo test --workspace"));
}
