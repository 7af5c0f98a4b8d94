//! `codex-network-proxy ca`, as a person or a script runs it.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Command, binary, run};
use crate::harness::within;

/// A Codex home whose path a shell must quote.
struct Home {
    _parent: tempfile::TempDir,
    path: PathBuf,
}

impl Home {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let name = match cfg!(windows) {
            true => "it's $HOME",
            false => r#"it's $HOME \a "b""#,
        };
        let path = parent.path().join(name);
        std::fs::create_dir(&path).unwrap();
        Self {
            _parent: parent,
            path,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join("proxy").join(name)
    }

    /// Runs `ca` with these words: exit code, stdout, stderr.
    async fn ca(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let words: Vec<_> = ["ca"].iter().chain(words).copied().collect();
        run(&self.path, &words).await
    }

    /// The same, where nothing may go wrong: stdout.
    async fn good(&self, words: &[&str]) -> String {
        let (code, stdout, stderr) = self.ca(words).await;
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{words:?}");
        stdout
    }

    async fn fingerprint(&self) -> String {
        let facts: serde_json::Value =
            serde_json::from_str(&self.good(&["show", "--json"]).await).unwrap();
        facts["fingerprint_sha256"].as_str().unwrap().to_owned()
    }
}

fn sections(file: &Path) -> usize {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(!text.contains("PRIVATE"), "a key in {}", file.display());
    text.matches("-----BEGIN CERTIFICATE-----").count()
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().unwrap().mode() & 0o7777
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs another program; nothing if it is not installed.
async fn other(test: &str, program: &str, arguments: &[&OsStr]) -> Option<std::process::Output> {
    let output = Command::new(program)
        .args(arguments)
        .kill_on_drop(true)
        .output();
    match within("another program", output).await {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED {test}: {program} is not installed"
            );
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

#[tokio::test]
async fn looking_makes_nothing_and_says_how_to_make_it() {
    let home = Home::new();
    for words in [
        &["path"][..],
        &["path", "--bundle"],
        &["show"],
        &["show", "--json"],
    ] {
        let (code, stdout, stderr) = home.ca(words).await;
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert!(stderr.starts_with("error: there is no "), "{stderr}");
        assert!(stderr.contains("codex-network-proxy ca trust"), "{stderr}");
    }
    assert_eq!(std::fs::read_dir(&home.path).unwrap().count(), 0);
}

#[tokio::test]
async fn trust_makes_the_authority_and_the_bundle_once() {
    let home = Home::new();
    let first = home.good(&["trust"]).await;
    assert_eq!(sections(&home.file("ca.pem")), 1);
    assert!(sections(&home.file("ca-bundle.pem")) >= 1);
    #[cfg(unix)]
    {
        assert_eq!(mode(&home.file("")), 0o700);
        assert_eq!(mode(&home.file("ca.key")), 0o600);
    }
    assert_eq!(home.good(&["trust"]).await, first);
    let path = home.good(&["path"]).await;
    assert_eq!(Path::new(path.trim_end()), home.file("ca.pem"));
    let path = home.good(&["path", "--bundle"]).await;
    assert_eq!(Path::new(path.trim_end()), home.file("ca-bundle.pem"));
}

#[cfg(unix)]
#[tokio::test]
async fn a_careless_umask_opens_nothing_to_others() {
    let home = Home::new();
    for words in ["ca trust", "ca rotate"] {
        let script = format!("umask 0 && exec \"$0\" {words}");
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_codex-network-proxy")])
            .env("CODEX_HOME", &home.path);
        let output = within("the binary to end", command.output()).await.unwrap();
        assert!(output.status.success(), "{output:?}");
        for (name, bits) in [
            ("", 0o700),
            ("ca.key", 0o600),
            ("ca.pem", 0o644),
            ("ca-bundle.pem", 0o644),
        ] {
            assert_eq!(mode(&home.file(name)), bits, "{words}: {name}");
        }
    }
}

#[tokio::test]
async fn trust_shows_every_kind_of_client_or_one() {
    let home = Home::new();
    let all = home.good(&["trust"]).await;
    for part in [
        "SSL_CERT_FILE=",
        "NODE_EXTRA_CA_CERTS=",
        "npm_config_cafile=",
        "REQUESTS_CA_BUNDLE=",
        "CURL_CA_BUNDLE=",
        "GIT_SSL_CAINFO=",
        "CARGO_HTTP_CAINFO=",
        "PIP_CERT=",
        "keytool -importcert",
        "-Djavax.net.ssl.trustStore=",
        "security add-trusted-cert",
        "certutil -user -addstore Root",
        "Import-Certificate",
        "update-ca-certificates",
        "update-ca-trust",
        "certutil -A",
        "security.enterprise_roots.enabled",
        &home.fingerprint().await,
    ] {
        assert!(all.contains(part), "no {part} in {all}");
    }
    for (client, part) in [
        ("openssl", "SSL_CERT_FILE="),
        ("node", "NODE_EXTRA_CA_CERTS="),
        ("npm", "npm_config_cafile="),
        ("python", "REQUESTS_CA_BUNDLE="),
        ("curl", "CURL_CA_BUNDLE="),
        ("git", "GIT_SSL_CAINFO="),
        ("cargo", "CARGO_HTTP_CAINFO="),
        ("pip", "PIP_CERT="),
        ("java", "keytool"),
        ("firefox", "certutil -A"),
        ("debian", "update-ca-certificates"),
        ("fedora", "update-ca-trust"),
        ("macos", "add-trusted-cert"),
        ("windows", "Import-Certificate"),
    ] {
        let one = home.good(&["trust", client]).await;
        assert!(one.contains(part), "{one}");
        assert!(all.contains(&one), "{one}");
        assert!(one.lines().count() <= 6, "more than one client: {one}");
    }
}

#[tokio::test]
async fn show_tells_what_openssl_tells() {
    let home = Home::new();
    home.good(&["trust"]).await;
    let text = home.good(&["show"]).await;
    let facts: serde_json::Value =
        serde_json::from_str(&home.good(&["show", "--json"]).await).unwrap();
    assert_eq!(facts["subject"], "CN=network_proxy MITM CA");
    assert_eq!(facts["expires_soon"], false);
    assert_eq!(facts["days_left"], 3_651);
    assert_eq!(facts["key"], home.file("ca.key").to_str().unwrap());
    assert_eq!(facts["certificate"], home.file("ca.pem").to_str().unwrap());
    assert_eq!(
        facts["bundle"],
        home.file("ca-bundle.pem").to_str().unwrap()
    );
    for key in ["subject", "fingerprint_sha256", "not_before", "not_after"] {
        let fact = facts[key].as_str().unwrap();
        assert!(text.contains(fact), "no {fact} in {text}");
    }
    let file = home.file("ca.pem");
    let question = ["x509", "-noout", "-fingerprint", "-sha256", "-in"].map(OsStr::new);
    let question = [&question[..], &[file.as_os_str()]].concat();
    if let Some(output) = other("show_tells_what_openssl_tells", "openssl", &question).await {
        let said = String::from_utf8(output.stdout).unwrap();
        let fingerprint = facts["fingerprint_sha256"].as_str().unwrap();
        assert!(said.trim_end().ends_with(fingerprint), "{said}");
    }
    // Without its bundle an authority is still whole.
    std::fs::remove_file(home.file("ca-bundle.pem")).unwrap();
    assert!(home.good(&["show"]).await.contains("not written yet"));
    let (code, ..) = home.ca(&["path", "--bundle"]).await;
    assert_eq!(code, Some(1));
}

#[tokio::test]
async fn rotate_makes_a_new_one_and_says_what_follows() {
    let home = Home::new();
    // Also where there was none.
    let said = home.good(&["rotate"]).await;
    let old = home.fingerprint().await;
    assert!(said.contains(&old), "{said}");
    assert!(!said.contains("replaces"), "{said}");
    let said = home.good(&["rotate"]).await;
    let new = home.fingerprint().await;
    assert_ne!(old, new);
    for part in [&old, &new, "proxies", "bundle", "store", "ca trust"] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    let bundle = std::fs::read_to_string(home.file("ca-bundle.pem")).unwrap();
    let certificate = std::fs::read_to_string(home.file("ca.pem")).unwrap();
    assert!(bundle.contains(&certificate));
    let first = bundle.find("-----BEGIN CERTIFICATE-----").unwrap();
    assert!(bundle[first..].starts_with(&certificate));
}

#[cfg(unix)]
#[tokio::test]
async fn a_damaged_authority_is_an_error_until_it_is_rotated() {
    type Damage = fn(&Home);
    let damages: [(Damage, &str); 4] = [
        (
            |home| std::fs::remove_file(home.file("ca.pem")).unwrap(),
            "both managed MITM CA files must exist (cert=",
        ),
        (
            |home| std::fs::write(home.file("ca.key"), "-----BEGIN").unwrap(),
            "failed to parse CA key",
        ),
        (
            |home| std::fs::write(home.file("ca.pem"), "").unwrap(),
            "failed to parse CA cert",
        ),
        (
            |home| {
                std::fs::rename(home.file("ca.key"), home.file("other")).unwrap();
                std::os::unix::fs::symlink("other", home.file("ca.key")).unwrap();
            },
            "refusing to use symlink for managed MITM CA key ",
        ),
    ];
    for (damage, message) in damages {
        let home = Home::new();
        home.good(&["trust"]).await;
        damage(&home);
        for words in [&["show"][..], &["trust"]] {
            let (code, stdout, stderr) = home.ca(words).await;
            assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
            assert!(stderr.contains(message), "{stderr}");
            assert!(stderr.contains("codex-network-proxy ca rotate"), "{stderr}");
        }
        home.good(&["rotate"]).await;
        home.good(&["show"]).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_others_may_read_or_swap_is_refused_with_its_remedy() {
    let home = Home::new();
    home.good(&["trust"]).await;
    set_mode(&home.file("ca.key"), 0o644);
    let (code, _, stderr) = home.ca(&["show"]).await;
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains(
            "HOME/proxy/ca.key must not be group/world accessible (mode=644; expected <= 600)"
        ),
        "{stderr}"
    );
    set_mode(&home.file("ca.key"), 0o600);
    set_mode(&home.file(""), 0o777);
    for words in [&["show"][..], &["trust"], &["rotate"]] {
        let (code, stdout, stderr) = home.ca(words).await;
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert!(
            stderr.contains("must not be writable by others"),
            "{stderr}"
        );
        assert!(stderr.contains("chmod go-w"), "{stderr}");
    }
    set_mode(&home.file(""), 0o700);
    home.good(&["show"]).await;
}

#[tokio::test]
async fn processes_that_start_at_once_agree_on_one_authority() {
    for _ in 0..5 {
        let home = Home::new();
        let running: Vec<_> = (0..6)
            .map(|_| binary(&home.path).args(["ca", "trust"]).spawn().unwrap())
            .collect();
        let mut said = Vec::new();
        for process in running {
            let output = within("the binary to end", process.wait_with_output()).await;
            let output = output.unwrap();
            assert!(output.status.success(), "{output:?}");
            said.push(String::from_utf8(output.stdout).unwrap());
        }
        assert!(said[0].contains(&home.fingerprint().await));
        assert!(said.iter().all(|other| *other == said[0]), "{said:?}");
        let mut names: Vec<_> = std::fs::read_dir(home.file(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["ca-bundle.pem", "ca.key", "ca.pem"]);
    }
}

#[tokio::test]
async fn the_bundle_holds_the_roots_that_the_environment_names() {
    let home = Home::new();
    let stranger = Home::new();
    stranger.good(&["trust"]).await;
    let output = binary(&home.path)
        .args(["ca", "trust"])
        .env("SSL_CERT_FILE", stranger.file("ca.pem"))
        .output();
    assert!(
        within("the binary to end", output)
            .await
            .unwrap()
            .status
            .success()
    );
    assert_eq!(sections(&home.file("ca-bundle.pem")), 2);
    // With its own bundle in the environment, a rotation leaves nothing of the old authority.
    let output = binary(&home.path)
        .args(["ca", "rotate"])
        .env("SSL_CERT_FILE", home.file("ca-bundle.pem"))
        .output();
    assert!(
        within("the binary to end", output)
            .await
            .unwrap()
            .status
            .success()
    );
    assert_eq!(sections(&home.file("ca-bundle.pem")), 2);
    let bundle = std::fs::read_to_string(home.file("ca-bundle.pem")).unwrap();
    for certificate in [home.file("ca.pem"), stranger.file("ca.pem")] {
        assert!(bundle.contains(&std::fs::read_to_string(certificate).unwrap()));
    }
}

#[tokio::test]
async fn without_codex_home_the_files_are_in_the_users_home() {
    let home = Home::new();
    let mut command = binary(&home.path);
    command
        .env_remove("CODEX_HOME")
        .env("HOME", &home.path)
        .args(["ca", "trust"]);
    let output = within("the binary to end", command.output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(home.path.join(".codex/proxy/ca.key").is_file());
}

#[tokio::test]
async fn what_cannot_be_asked_for_exits_with_two() {
    let home = Home::new();
    for words in [
        &[][..],
        &["nonsense"],
        &["path", "surplus"],
        &["trust", "nobody"],
        &["trust", "--shell", "csh"],
        &["show", "--bundle"],
        &["rotate", "--json"],
    ] {
        let (code, stdout, stderr) = home.ca(words).await;
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{words:?} {stderr}");
        let says_what = stderr.contains("Usage:") || stderr.starts_with("error: invalid value");
        assert!(says_what, "{words:?} {stderr}");
    }
    let (code, _, stderr) = run(&home.path, &["--mode", "full", "ca", "show"]).await;
    assert_eq!(code, Some(2), "{stderr}");
    let (code, stdout, stderr) = home.ca(&["trust", "java", "--shell", "sh"]).await;
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(stderr.contains("leave `--shell` out"), "{stderr}");
    let (code, _, stderr) = run(&home.path.join("absent"), &["ca", "path"]).await;
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("CODEX_HOME points to"), "{stderr}");
}

#[tokio::test]
async fn every_help_teaches_with_examples() {
    let home = Home::new();
    for words in [
        &["--help"][..],
        &["path", "--help"],
        &["show", "--help"],
        &["rotate", "--help"],
        &["trust", "--help"],
    ] {
        let help = home.good(words).await;
        for part in ["Usage: codex-network-proxy ca", "Examples:"] {
            assert!(help.contains(part), "{help}");
        }
    }
    assert!(!home.file("").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn every_shell_reads_back_the_very_path() {
    let home = Home::new();
    home.good(&["trust"]).await;
    for (program, shell) in [("sh", "sh"), ("bash", "sh"), ("fish", "fish")] {
        let lines = home.good(&["trust", "--shell", shell]).await;
        assert_eq!(lines.lines().count(), 8, "{lines}");
        let one = home.good(&["trust", "pip", "--shell", shell]).await;
        assert!(lines.contains(&one) && one.contains("PIP_CERT"), "{one}");
        let script = format!("{lines}printf %s \"$SSL_CERT_FILE\"");
        let test = "every_shell_reads_back_the_very_path";
        let words = [OsStr::new("-c"), OsStr::new(&script)];
        let Some(output) = other(test, program, &words).await else {
            continue;
        };
        let bundle = home.file("ca-bundle.pem");
        assert_eq!(
            output.stdout,
            bundle.as_os_str().as_encoded_bytes(),
            "{output:?}"
        );
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_home_that_is_no_unicode_has_a_path_but_no_commands() {
    use std::os::unix::ffi::OsStrExt as _;
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join(OsStr::from_bytes(b"\xff"));
    std::fs::create_dir(&path).unwrap();
    let ca = |words: &'static [&str]| {
        within(
            "the binary to end",
            binary(&path).arg("ca").args(words).output(),
        )
    };
    let output = ca(&["rotate"]).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = ca(&["path"]).await.unwrap();
    let expected = path.join("proxy/ca.pem\n");
    assert_eq!(output.stdout, expected.as_os_str().as_encoded_bytes());
    let output = ca(&["trust"]).await.unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("CODEX_HOME"), "{said}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_commands_for_java_make_a_store_with_the_authority_and_the_roots() {
    let test = "the_commands_for_java_make_a_store_with_the_authority_and_the_roots";
    let home = Home::new();
    if other(test, "keytool", &[OsStr::new("-help")])
        .await
        .is_none()
    {
        return;
    }
    // A second time after a rotation, too.
    for _ in 0..2 {
        home.good(&["rotate"]).await;
        let commands = home.good(&["trust", "java"]).await;
        let commands = commands.replace(" ...", " -version");
        let words = [OsStr::new("-ec"), OsStr::new(&commands)];
        let output = other(test, "sh", &words).await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let store = home.file("java-cacerts");
        let list = ["-list", "-storepass", "changeit", "-keystore"].map(OsStr::new);
        let list = [&list[..], &[store.as_os_str()]].concat();
        let output = other(test, "keytool", &list).await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&home.fingerprint().await), "{said}");
        assert!(said.matches("trustedCertEntry").count() >= 1, "{said}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_command_for_nss_adds_the_authority() {
    let test = "the_command_for_nss_adds_the_authority";
    let home = Home::new();
    let command = home.good(&["trust", "firefox"]).await;
    let database = tempfile::tempdir().unwrap();
    let profile = format!("sql:{}", database.path().display());
    let new = ["-N", "--empty-password", "-d", &profile].map(OsStr::new);
    if other(test, "certutil", &new).await.is_none() {
        return;
    }
    let command = command.replace("sql:PROFILE", &profile);
    let words = [OsStr::new("-ec"), OsStr::new(&command)];
    let output = other(test, "sh", &words).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let list = ["-L", "-d", &profile].map(OsStr::new);
    let output = other(test, "certutil", &list).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said
        .lines()
        .find(|line| line.starts_with("codex-network-proxy"));
    assert!(line.is_some_and(|line| line.contains("C,,")), "{said}");
}
