//! What is shipped for operators fits the binary, and the schema of the system that reads it.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use super::{run, skip};
use crate::harness::within;

fn shipped(directory: &str) -> Vec<(PathBuf, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../contrib");
    let files = std::fs::read_dir(root.join(directory)).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    };
    files.into_iter().map(read).collect()
}

/// The flags that a file gives to the proxy.
fn flags(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| line.starts_with("- --") || line.starts_with("ExecStart="));
    let words = lines.flat_map(str::split_whitespace);
    words
        .filter(|word| word.starts_with("--"))
        .map(|word| word.split('=').next().unwrap().to_owned())
        .collect()
}

/// The `config.toml` of each ConfigMap.
fn configurations(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim() != "config.toml: |" {
            continue;
        }
        let mut config = String::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("    ") || line.is_empty()) {
            config.push_str(line.trim_start());
            config.push('\n');
        }
        found.push(config);
    }
    found
}

#[tokio::test]
async fn flags_and_configurations_are_those_of_this_binary() {
    let home = tempfile::tempdir().unwrap();
    let (_, help, _) = run(home.path(), &["--help"]).await;
    let (mut known, mut checked) = (0, 0);
    for (path, text) in [shipped("kubernetes"), shipped("systemd")].concat() {
        for flag in flags(&text) {
            let spelled = [format!("{flag} "), format!("{flag}\n")];
            let is_known = spelled.iter().any(|flag| help.contains(flag.as_str()));
            assert!(is_known, "{}: {flag}", path.display());
            known += 1;
        }
        for config in configurations(&text) {
            std::fs::write(home.path().join("config.toml"), config).unwrap();
            let (code, _, stderr) = run(home.path(), &["check"]).await;
            assert_eq!(code, Some(0), "{}: {stderr}", path.display());
            checked += 1;
        }
    }
    assert!(known >= 6 && checked >= 2, "{known} {checked}");
}

#[tokio::test]
async fn manifests_fit_the_schema_of_kubernetes() {
    const TEST: &str = "manifests_fit_the_schema_of_kubernetes";
    let Some(python) = std::env::var_os("CNP_PYTHON") else {
        return skip(TEST, "CNP_PYTHON is not set, see .ci/run");
    };
    let validate = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command
            .args(["-m", "kubernetes_validate"])
            .args(arguments)
            .stdin(Stdio::null());
        command
    };
    let works = validate(&["--help"]).output().await;
    if !works.is_ok_and(|output| output.status.success()) {
        return skip(TEST, "the Python of CNP_PYTHON has no kubernetes-validate");
    }
    for (path, _) in shipped("kubernetes") {
        let mut command = validate(&["--strict"]);
        let output = within("its verdict", command.arg(&path).output()).await;
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}
