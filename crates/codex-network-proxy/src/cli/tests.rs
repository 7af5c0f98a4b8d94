//! The commands that answer and end, as golden files: `tests/data/cli/*.txt`. Run with `UPDATE_EXPECTED=1` in the
//! environment to write the answers anew, and review the diff.
//!
//! A case is a title, files below a directory of its own (`ROOT` in what is shown), and steps. After a step its exit code,
//! stdout and stderr follow, and after an edit the file.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use codex_network_proxy::config::{NetworkKey, RequirementKey, SystemFiles};

use super::*;

#[derive(Debug, Default)]
struct Case {
    title: String,
    files: Vec<(String, String)>,
    steps: Vec<String>,
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut in_file = false;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("=== ") {
            cases.push(Case {
                title: title.to_owned(),
                ..Case::default()
            });
            in_file = false;
            continue;
        }
        let case = cases.last_mut().expect("a file begins with `=== title`");
        if let Some(path) = line.strip_prefix("--- file ") {
            case.files.push((path.to_owned(), String::new()));
            in_file = true;
        } else if let Some(step) = line.strip_prefix("$ ") {
            case.steps.push(step.to_owned());
            in_file = false;
        } else if line.starts_with("--- ") {
            in_file = false;
        } else if in_file {
            let (_, text) = case.files.last_mut().expect("made above");
            text.push_str(line);
            text.push('\n');
        }
    }
    cases
}

/// Words of a command line; single quotes keep spaces.
fn words(step: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in step.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            letter => words.last_mut().expect("never empty").push(letter),
        }
    }
    words
}

fn outcome(case: &Case) -> String {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("home")).unwrap();
    for (path, text) in &case.files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut shown = format!("=== {}\n", case.title);
    for (path, text) in &case.files {
        write!(shown, "--- file {path}\n{text}").unwrap();
    }
    let shown_root = root.path().display().to_string();
    for step in &case.steps {
        let before = read(root.path());
        writeln!(shown, "$ {step}").unwrap();
        let arguments = words(&step.replace("ROOT", &shown_root));
        let (code, stdout, stderr) = run(root.path(), &arguments);
        writeln!(shown, "--- exit code {code}").unwrap();
        for (name, text) in [("stdout", stdout), ("stderr", stderr)] {
            if !text.is_empty() {
                let end = if text.ends_with('\n') { "" } else { "\n" };
                // Blank lines would end the case for a reader.
                write!(shown, "--- {name}\n{text}{end}").unwrap();
            }
        }
        let after = read(root.path());
        if before != after {
            write!(
                shown,
                "--- home/config.toml afterwards\n{}",
                after.unwrap_or_default()
            )
            .unwrap();
        }
    }
    shown.replace(&shown_root, "ROOT") + "\n"
}

fn read(root: &Path) -> Option<String> {
    fs::read_to_string(root.join("home/config.toml")).ok()
}

fn run(root: &Path, arguments: &[String]) -> (u8, String, String) {
    let environment = Environment {
        codex_home: Some(root.join("home").into_os_string()),
        home: None,
        working_directory: Some(root.join("project")),
        system: SystemFiles {
            config: Some(root.join("etc/config.toml")),
            managed: Some(root.join("etc/managed_config.toml")),
            requirements: Some(root.join("etc/requirements.toml")),
            ..SystemFiles::default()
        },
    };
    let line = std::iter::once("codex-network-proxy").chain(arguments.iter().map(String::as_str));
    let arguments = match Arguments::try_parse_from(line) {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap();
            let text = error.to_string();
            return if error.use_stderr() {
                (code, String::new(), text)
            } else {
                (code, text, String::new())
            };
        }
    };
    let command = arguments.command.expect("a command");
    match answer(&command, &environment, UnixSockets::Unsupported) {
        Ok(output) => {
            let notes = output.notes.iter().map(|note| format!("{note}\n"));
            (output.code, output.stdout, notes.collect())
        }
        Err(Failure::Usage(message)) => (2, String::new(), format!("error: {message}\n")),
        Err(Failure::Other(error)) => (1, String::new(), format!("error: {error:#}\n")),
    }
}

#[track_caller]
fn check_file(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/cli")
        .join(name);
    let text = fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
    let cases = parse(&text);
    let written: String = cases.iter().map(outcome).collect();
    if option_env!("UPDATE_EXPECTED").is_some() {
        fs::write(&path, written).unwrap();
        return;
    }
    for case in &cases {
        let outcome = outcome(case);
        assert!(text.contains(&outcome), "{name}: now it is\n{outcome}");
    }
    assert_eq!(
        written, text,
        "{name} is not laid out as the runner writes it"
    );
}

#[test]
fn checking() {
    check_file("check.txt");
}

#[test]
fn explaining() {
    check_file("explain.txt");
}

#[test]
fn editing() {
    check_file("policy.txt");
}

#[test]
fn beginning() {
    check_file("init.txt");
}

#[test]
fn helping() {
    check_file("help.txt");
}

#[test]
fn messages() {
    check_file("messages.txt");
}

/// The schema knows what the reader knows: it is made from the same table, and the template and it agree.
#[test]
fn the_schema_names_every_key_with_its_meaning() {
    let root = tempfile::tempdir().unwrap();
    for (file, path, count) in [
        (
            "config",
            "/properties/permissions/additionalProperties/properties/network",
            NetworkKey::ALL.len(),
        ),
        (
            "requirements",
            "/properties/experimental_network",
            RequirementKey::ALL.len(),
        ),
    ] {
        let (code, stdout, _) = run(root.path(), &["schema".to_owned(), file.to_owned()]);
        assert_eq!(code, 0);
        let schema: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        let table = schema.pointer(path).unwrap();
        assert_eq!(table["additionalProperties"], false);
        let keys = table["properties"].as_object().unwrap();
        assert_eq!(keys.len(), count);
        for (key, schema) in keys {
            assert!(
                schema["description"]
                    .as_str()
                    .is_some_and(|text| text.len() > 5),
                "{key}"
            );
            assert!(schema.get("type").or(schema.get("enum")).is_some(), "{key}");
        }
    }
}

#[test]
fn completions_and_pages_are_made_for_all_commands() {
    let root = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        run(root.path(), &words)
    };
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (code, stdout, _) = run(&["completions", shell]);
        assert_eq!(code, 0, "{shell}");
        assert!(stdout.contains("explain"), "{shell}");
    }
    let (code, stdout, _) = run(&["man"]);
    assert!(code == 0 && stdout.starts_with(".ie") && stdout.contains("codex\\-network\\-proxy"));
    for command in Arguments::command().get_subcommands() {
        let name = command.get_name();
        let (code, page, stderr) = run(&["man", name]);
        assert_eq!(code, 0, "{name}: {stderr}");
        assert!(page.contains("Examples"), "{name} has no examples");
    }
    let (code, _, stderr) = run(&["man", "nonsense"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("expected one of run, check"), "{stderr}");
}
