//! Where the config is looked for, and files that are no config.

use std::ffi::OsString;

use tempfile::TempDir;

use super::*;

fn load(environment: &Environment, config_file: Option<&Path>) -> Result<LoadedConfig, String> {
    let overrides = Overrides {
        config_file: config_file.map(Path::to_owned),
        ..Overrides::default()
    };
    LoadedConfig::from_files(&overrides, environment, UnixSockets::Unsupported)
        .map_err(|error| error.to_string())
}

fn home(path: &Path) -> Environment {
    Environment {
        home: Some(path.to_owned()),
        ..Environment::default()
    }
}

fn codex_home(path: &Path) -> Environment {
    Environment {
        codex_home: Some(path.as_os_str().to_owned()),
        ..Environment::default()
    }
}

const ENABLED: &str = "default_permissions = \"p\"\n[permissions.p.network]\nenabled = true\n";

#[test]
fn the_file_is_found_in_either_home() {
    let directory = TempDir::new().unwrap();
    let own = directory.path().join(".codex");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("config.toml"), ENABLED).unwrap();

    let loaded = load(&home(directory.path()), None).unwrap();
    assert_eq!(
        (loaded.profile, loaded.file),
        (
            Some(Profile::Named("p".to_owned())),
            Some(own.join("config.toml"))
        )
    );

    // The canonical path counts, so that a rule names the file that was really read.
    let link = own.join("..").join(".codex");
    let loaded = load(&codex_home(&link), None).unwrap();
    let canonical = codex_home(&own).config_file().unwrap();
    assert_eq!(loaded.file, Some(canonical));

    // An empty variable is no variable.
    let environment = Environment {
        codex_home: Some(OsString::new()),
        home: Some(directory.path().to_owned()),
        ..Environment::default()
    };
    assert_eq!(
        load(&environment, None).unwrap().profile,
        Some(Profile::Named("p".to_owned()))
    );
}

#[test]
fn a_missing_file_is_an_empty_one() {
    let directory = TempDir::new().unwrap();
    for environment in [home(directory.path()), codex_home(directory.path())] {
        let loaded = load(&environment, None).unwrap();
        assert_eq!(
            (loaded.profile, loaded.file, loaded.disabled),
            (Some(Profile::Default), None, None)
        );
    }
}

#[test]
fn a_codex_home_that_is_named_must_be_there() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("missing");
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(
        load(&codex_home(&missing), None).unwrap_err(),
        format!(
            "CODEX_HOME points to \"{}\", but that path does not exist",
            missing.display()
        )
    );
    assert_eq!(
        load(&codex_home(&file), None).unwrap_err(),
        format!(
            "CODEX_HOME points to \"{}\", but that path is not a directory",
            file.display()
        )
    );
}

#[test]
fn no_home_is_an_error_unless_a_file_is_named() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("my.toml");
    std::fs::write(&file, ENABLED).unwrap();
    let nowhere = Environment::default();
    let error = load(&nowhere, None).unwrap_err();
    assert!(
        error.starts_with("Could not find home directory"),
        "{error}"
    );
    assert_eq!(
        load(
            &Environment {
                home: Some(PathBuf::new()),
                ..nowhere.clone()
            },
            None
        )
        .unwrap_err(),
        error
    );
    assert_eq!(load(&nowhere, Some(&file)).unwrap().file, Some(file));
}

#[test]
fn a_file_that_is_named_must_be_a_config() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("latin1"), b"a = 1\nb = \"\xe9\"\n").unwrap();
    let too_large = std::fs::File::create(path("large")).unwrap();
    too_large.set_len(16 * 1024 * 1024 + 1).unwrap();
    let check = |path: &Path, expected: &str| {
        assert_eq!(
            load(&Environment::default(), Some(path)).unwrap_err(),
            format!("{}: {expected}", path.display())
        );
    };
    check(&path("missing"), "there is no such config file");
    check(
        directory.path(),
        "the config must be a regular file, and this is a directory",
    );
    check(&path("latin1"), "line 2 is not UTF-8; a TOML file must be");
    check(&path("large"), "the config file is larger than 16 MiB");
    #[cfg(unix)]
    check(
        Path::new("/dev/null"),
        "the config must be a regular file, and this is something else",
    );
}

#[test]
fn a_mistake_is_told_in_parts_too() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("config.toml");
    std::fs::write(
        &file,
        ENABLED.replace("enabled = true", "  mode = \"limitd\""),
    )
    .unwrap();
    let overrides = Overrides {
        config_file: Some(file.clone()),
        ..Overrides::default()
    };
    let error = LoadedConfig::from_files(
        &overrides,
        &Environment::default(),
        UnixSockets::Unsupported,
    )
    .unwrap_err();
    assert_eq!(error.file(), file.to_str());
    assert_eq!((error.line(), error.column()), (Some(3), Some(10)));
    assert_eq!(error.key(), Some("permissions.p.network.mode"));
    assert_eq!(
        (error.value(), error.suggestion()),
        (Some("limitd"), Some("limited"))
    );
    assert_eq!(error.expected(), Some("expected \"full\" or \"limited\""));
}

#[test]
fn a_hundred_thousand_patterns_are_read() {
    let mut text = ENABLED.to_owned();
    for list in ["allowed_domains", "denied_domains"] {
        writeln!(text, "{list} = [").unwrap();
        for number in 0..50_000 {
            writeln!(text, "  \"*.host-{number}.example.com\",").unwrap();
        }
        writeln!(text, "]").unwrap();
    }
    let loaded = load_text(&text, &Overrides::default(), UnixSockets::Unsupported).unwrap();
    assert_eq!(
        loaded
            .rules
            .denied
            .iter()
            .next_back()
            .unwrap()
            .origin
            .to_string(),
        "config.toml:100006"
    );
    assert_eq!(
        (loaded.rules.allowed.len(), loaded.rules.denied.len()),
        (50_000, 50_000)
    );
}
