//! Configs and what comes of them. Most are rows of `tests/data/config/*.txt`, which read as documentation; run with
//! `UPDATE_EXPECTED=1` in the environment to write the outcomes anew, and review the diff.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::file::SourceFile;
use super::layers::Layer;
use super::*;

mod data;
mod files;
mod hostile;
mod narrowing;
mod places;

/// One row of a data file.
#[derive(Debug, Default)]
struct Case {
    title: String,
    flags: String,
    /// The files by the names of their sections; `config` is the user's.
    files: Vec<(String, String)>,
    outcome: String,
}

/// The sections of a case that are files, from the lowest layer to the highest.
const FILES: [(&str, &str, Option<LayerKind>); 6] = [
    ("system", "/etc/codex/config.toml", Some(LayerKind::System)),
    ("config", "config.toml", Some(LayerKind::User)),
    ("project", ".codex/config.toml", Some(LayerKind::Project)),
    (
        "inner project",
        "inner/.codex/config.toml",
        Some(LayerKind::Project),
    ),
    (
        "managed",
        "/etc/codex/managed_config.toml",
        Some(LayerKind::Managed),
    ),
    ("requirements", "/etc/codex/requirements.toml", None),
];

#[test]
fn keys() {
    check_file("keys.txt");
}

#[test]
fn lists() {
    check_file("lists.txt");
}

#[test]
fn profiles() {
    check_file("profiles.txt");
}

#[test]
fn listeners() {
    check_file("listeners.txt");
}

#[test]
fn flags() {
    check_file("flags.txt");
}

#[test]
fn syntax() {
    check_file("syntax.txt");
}

#[test]
fn layers() {
    check_file("layers.txt");
}

#[test]
fn limits() {
    check_file("limits.txt");
}

#[test]
fn requirements() {
    check_file("requirements.txt");
}

#[track_caller]
fn check_file(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/config")
        .join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap()
        .replace("\r\n", "\n");
    let cases = parse_cases(&text);
    let written: String = cases
        .iter()
        .map(|case| render_case(case, &outcome(case)))
        .collect();
    if option_env!("UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, written).unwrap();
        return;
    }
    for case in &cases {
        assert_eq!(outcome(case), case.outcome, "{name}: {}", case.title);
    }
    assert_eq!(
        written, text,
        "{name} is not laid out as the runner writes it"
    );
}

fn parse_cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut section = "";
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("=== ") {
            cases.push(Case {
                title: title.to_owned(),
                ..Case::default()
            });
            section = "";
            continue;
        }
        let case = cases.last_mut().expect("a file begins with `=== title`");
        if let Some(flags) = line.strip_prefix("--- flags ") {
            case.flags = flags.to_owned();
            continue;
        }
        if let Some(name) = line.strip_prefix("--- ") {
            section = name;
            if FILES.iter().any(|(file, _, _)| *file == name) {
                case.files.push((name.to_owned(), String::new()));
            }
            continue;
        }
        let into = match section {
            "outcome" => &mut case.outcome,
            _ => match case.files.last_mut() {
                Some((_, text)) => text,
                None => panic!("{}: a line in section {section:?}: {line}", case.title),
            },
        };
        into.push_str(line);
        into.push('\n');
    }
    for case in &mut cases {
        // One empty line separates the cases.
        case.outcome = format!("{}\n", case.outcome.trim_end_matches('\n'));
    }
    cases
}

fn render_case(case: &Case, outcome: &str) -> String {
    let flags = if case.flags.is_empty() {
        String::new()
    } else {
        format!("--- flags {}\n", case.flags)
    };
    let files: String = case
        .files
        .iter()
        .map(|(name, text)| format!("--- {name}\n{text}"))
        .collect();
    format!("=== {}\n{flags}{files}--- outcome\n{outcome}\n", case.title)
}

fn outcome(case: &Case) -> String {
    let (overrides, sockets) = parse_flags(&case.flags);
    match load(case, &overrides, sockets) {
        Ok(config) => render(&config),
        Err(error) => format!("{error}\n"),
    }
}

fn load(
    case: &Case,
    overrides: &Overrides,
    sockets: UnixSockets,
) -> Result<LoadedConfig, ConfigError> {
    let mut layers = Layers::default();
    for (section, path, kind) in FILES {
        let Some((_, text)) = case.files.iter().find(|(name, _)| name == section) else {
            continue;
        };
        let file = SourceFile::from_text(PathBuf::from(path), text.clone());
        match kind {
            Some(kind) => layers.layers.push(Layer { kind, file }),
            None => layers.requirements = Some(file),
        }
    }
    for written in &overrides.settings {
        let file = SourceFile::from_flag(written)?;
        layers.layers.push(Layer {
            kind: LayerKind::Flag,
            file,
        });
    }
    assembly::from_documents(&layers.parse()?, overrides, sockets)
}

/// One user's file and nothing else.
fn load_text(
    text: &str,
    overrides: &Overrides,
    sockets: UnixSockets,
) -> Result<LoadedConfig, ConfigError> {
    let case = Case {
        files: vec![("config".to_owned(), text.to_owned())],
        ..Case::default()
    };
    load(&case, overrides, sockets)
}

/// `macos` and `full-access` are no flags of the program; they stand for the platform and the session.
fn parse_flags(flags: &str) -> (Overrides, UnixSockets) {
    let mut overrides = Overrides::default();
    let mut sockets = UnixSockets::Unsupported;
    let mut words = flags.split(' ').filter(|word| !word.is_empty());
    while let Some(flag) = words.next() {
        if flag == "macos" {
            sockets = UnixSockets::Supported;
            continue;
        }
        if flag == "full-access" {
            overrides.access = SandboxAccess::Full;
            continue;
        }
        let value = words.next().unwrap_or_default().to_owned();
        match flag {
            "-c" => overrides.settings.push(value),
            "--profile" => overrides.profile = Some(value),
            "--allow" => overrides.allow.push(value),
            "--deny" => overrides.deny.push(value),
            "--mode" => {
                overrides.mode = Some(if value == "limited" {
                    NetworkMode::Limited
                } else {
                    NetworkMode::Full
                })
            }
            "--http-addr" => overrides.http_addr = Some(value.parse().unwrap()),
            "--socks-addr" => overrides.socks_addr = Some(value.parse().unwrap()),
            other => panic!("no flag {other}"),
        }
    }
    (overrides, sockets)
}

/// What differs from the default, in a few lines.
fn render(config: &LoadedConfig) -> String {
    let mut text = String::new();
    let state = match &config.disabled {
        Some(reason) => format!("disabled: {reason}"),
        None => format!("enabled, mode {}", config.rules.mode.as_str()),
    };
    writeln!(text, "{state}").unwrap();
    assert_eq!(config.disabled.is_none(), config.rules.enabled);
    assert_eq!(config.settings.enabled, config.rules.enabled);
    writeln!(text, "profile: {:?}", config.profile.as_ref().unwrap()).unwrap();
    let socks = config
        .listeners
        .socks
        .map_or_else(|| "none".to_owned(), |address| address.to_string());
    writeln!(
        text,
        "listen: http {}, socks5 {socks}",
        config.listeners.http
    )
    .unwrap();
    let default = serde_json::to_value(NetworkProxySettings::default()).unwrap();
    let effective = serde_json::to_value(&config.settings).unwrap();
    for (key, value) in effective.as_object().unwrap() {
        // What has a line of its own, or is written only where it is not the default.
        let own_line = ["enabled", "mode", "proxy_url", "socks_url"].contains(&key.as_str());
        let changed = default.get(key) != Some(value) && !value.is_array();
        if changed && !own_line {
            writeln!(text, "{key} = {value}").unwrap();
        }
    }
    for (word, rules) in [
        ("allow", &config.rules.allowed),
        ("deny", &config.rules.denied),
    ] {
        for rule in rules {
            writeln!(text, "{word} {} ({})", rule.pattern, rule.origin).unwrap();
        }
    }
    let sockets = &config.rules.sockets;
    for rule in &sockets.allowed {
        writeln!(text, "socket {} ({})", rule.path.as_str(), rule.origin).unwrap();
    }
    if sockets.supported {
        writeln!(text, "sockets supported").unwrap();
    }
    if config.rules.pinned {
        writeln!(text, "pinned").unwrap();
    }
    for limit in &config.limits {
        writeln!(text, "limit by {}", limit.source).unwrap();
    }
    for warning in &config.warnings {
        writeln!(text, "warning: {warning}").unwrap();
    }
    text
}

proptest! {
    /// Whatever stands in the file, the answer is a config or a message with a place inside the file.
    #[test]
    fn no_text_makes_the_reader_panic(text in toml_like()) {
        let lines = text.lines().count().max(1) + 1;
        if let Err(error) = load_text(&text, &Overrides::default(), UnixSockets::Supported) {
            let line = error.line().expect("a mistake in a file has a place");
            prop_assert!(line >= 1 && line as usize <= lines, "line {} of {} in {:?}", line, lines, text);
            let shown = error.to_string();
            prop_assert!(!shown.chars().any(|character| character.is_control() && character != '\n'), "{:?}", shown);
        }
    }

    #[test]
    fn no_address_makes_the_reader_panic(text in "\\PC{0,40}|(http://)?[a-z0-9.:@/\\[\\]%]{0,30}") {
        let settings = NetworkProxySettings { proxy_url: text, ..NetworkProxySettings::default() };
        let config = NetworkProxyConfig { network: settings };
        if let Ok(config) = LoadedConfig::from_config(config, &Overrides::default(), UnixSockets::Supported) {
            prop_assert!(config.listeners.http.ip().is_loopback());
        }
    }
}

/// Lines that look like a config, with mistakes of every kind between them, and now and then anything at all.
fn toml_like() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        prop::sample::select(vec![
            "default_permissions",
            "permissions",
            "permissions.web",
            "permissions.web.network",
            "sandbox_mode",
            "extends",
            "enabled",
            "mode",
            "proxy_url",
            "socks_url",
            "allowed_domains",
            "denied_domains",
            "allow_unix_sockets",
            "domains",
            "unix_sockets",
            "mitm",
            "alowed_domains",
            "\"*.example.com\"",
            "\"/run/a\"",
            "features.network_proxy",
        ])
        .prop_map(str::to_owned),
        "[a-z\"'.]{0,12}",
        "\"\\PC{0,6}\"",
    ];
    let value = prop_oneof![
        prop::sample::select(vec![
            "true",
            "false",
            "1",
            "1.5",
            "1979-05-27",
            "\"web\"",
            "\"full\"",
            "\"allow\"",
            "\"deny\"",
            "[]",
            "{}",
            "[1]",
            "[\"example.com\"]",
            "[\"*\"]",
            "[\"/run/a\", \"b\"]",
            "{ \"a.com\" = \"allow\" }",
            "\"http://[::1]:9\"",
            "\"",
            "[",
            "{",
            "\"\"\"",
            "'\u{1b}'",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,20}",
    ];
    let line = prop_oneof![
        4 => (key.clone(), value).prop_map(|(key, value)| format!("{key} = {value}")),
        3 => key.clone().prop_map(|key| format!("[{key}]")),
        1 => key.prop_map(|key| format!("[[{key}]]")),
        1 => "\\PC{0,20}",
        1 => any::<String>(),
    ];
    (prop::bool::ANY, prop::collection::vec(line, 0..12)).prop_map(|(selected, lines)| {
        let head = if selected {
            "default_permissions = \"web\"\n[permissions.web.network]\n"
        } else {
            ""
        };
        format!("{head}{}", lines.join("\n"))
    })
}
