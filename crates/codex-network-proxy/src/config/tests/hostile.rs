//! Files that were made to harm the reader: they are refused, or read, in bounded time and without a deep stack.

use std::time::Duration;

use tokio::time::Instant;

use super::*;

#[track_caller]
fn read(what: &str, text: &str) -> Result<LoadedConfig, ConfigError> {
    let started = Instant::now();
    let read = load_text(text, &Overrides::default(), UnixSockets::Unsupported);
    let taken = started.elapsed();
    // Generous, for tests run without optimisation and beside others; quadratic behaviour takes minutes.
    assert!(taken < Duration::from_secs(20), "{what} took {taken:?}");
    read
}

#[test]
fn deep_nesting_is_refused() {
    const DEEP: usize = 200_000;
    for (what, text) in [
        (
            "arrays",
            format!("a = {}{}", "[".repeat(DEEP), "]".repeat(DEEP)),
        ),
        ("open arrays", format!("a = {}", "[".repeat(DEEP))),
        (
            "inline tables",
            format!("a = {}1{}", "{ a = ".repeat(DEEP), " }".repeat(DEEP)),
        ),
        ("a dotted key", format!("{}a = 1", "a.".repeat(DEEP))),
        ("a dotted table", format!("[{}a]", "a.".repeat(DEEP))),
        (
            "an array of dotted tables",
            format!("[[{}a]]", "a.".repeat(DEEP)),
        ),
        (
            "a dotted key in quotes",
            format!("{}a = 1", "\"a\" . ".repeat(DEEP)),
        ),
    ] {
        let error = read(what, &text).expect_err(what);
        assert!(error.line().is_some(), "{what}: {error}");
        assert!(error.to_string().len() < 2_000, "{what}");
    }
}

#[test]
fn huge_keys_and_values_are_shown_in_part() {
    const HUGE: usize = 10 * 1024 * 1024;
    let key = "k".repeat(HUGE);
    let head = "default_permissions = \"p\"\n[permissions.p.network]\n";
    for (what, text) in [
        ("a key", format!("{head}{key} = 1\n")),
        ("a value", format!("{head}mode = \"{key}\"\n")),
        (
            "a pattern",
            format!("{head}allowed_domains = [\"{key}\"]\n"),
        ),
        (
            "a profile",
            format!("default_permissions = \"{key}\"\n[permissions]\n"),
        ),
        ("a comment", format!("{head}frobnicate = 1 # {key}\n")),
    ] {
        let error = read(what, &text).expect_err(what);
        assert!(
            error.to_string().len() < 2_000,
            "{what}: {}",
            error.to_string().len()
        );
    }
}

#[test]
fn ten_megabytes_are_read() {
    let mut text = "default_permissions = \"p\"\n[permissions.p.network]\nenabled = true\nallowed_domains = [\n".to_owned();
    let mut number = 0;
    while text.len() < 10 * 1024 * 1024 {
        writeln!(
            text,
            "  \"*.host-{number}.a-rather-long-name-to-fill-the-file.example.com\","
        )
        .unwrap();
        number += 1;
    }
    text.push_str("]\n");
    assert_eq!(read("10 MB", &text).unwrap().rules.allowed.len(), number);
}

#[test]
fn many_tables_and_keys_are_read() {
    let mut text =
        "default_permissions = \"p\"\n[permissions.p.network]\nenabled = true\n".to_owned();
    for number in 0..100_000 {
        writeln!(text, "[permissions.q{number}.network]\nenabled = true").unwrap();
    }
    read("many profiles", &text).unwrap();
    let mut text = "default_permissions = \"p0\"\n".to_owned();
    for number in 0..20_000 {
        writeln!(
            text,
            "[permissions.p{number}]\nextends = \"p{}\"",
            number + 1
        )
        .unwrap();
    }
    text.push_str("[permissions.p20000]\n");
    read("a long line of parents", &text).unwrap();
}
