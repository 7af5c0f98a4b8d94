//! The real paths of the machine, in a mount namespace of the test's own: what `/etc/codex/requirements.toml` says binds the
//! binary, whatever flags and variables say.

#![cfg(target_os = "linux")]

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// The binary where `etc` is `/etc`; `None` where this machine lets nobody make such a place.
fn managed(home: &Path, etc: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "/bin/sh", "-c"])
        .arg("mount --bind \"$0\" /etc && exec \"$@\"")
        .arg(etc)
        .arg(env!("CARGO_BIN_EXE_codex-network-proxy"))
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .env("CODEX_HOME", home)
        // Nothing of this is a way around.
        .env("HOME", home)
        .env("ProgramData", home)
        .env("XDG_CONFIG_HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn can_mount() -> bool {
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args([
        "--map-root-user",
        "--mount",
        "/bin/sh",
        "-c",
        "mount --bind \"$0\" /etc",
    ]);
    let tried = command
        .arg(place.path())
        .stderr(Stdio::null())
        .status()
        .await;
    tried.is_ok_and(|status| status.success())
}

#[tokio::test]
async fn requirements_bind_whatever_flags_and_variables_say() {
    if !can_mount().await {
        skip(
            "requirements_bind_whatever_flags_and_variables_say",
            "no mount namespaces here",
        );
        return;
    }
    let home = home(
        "default_permissions = \"mine\"\n[permissions.mine.network]\nenabled = true\nallow_local_binding = true\nallowed_domains = [\"**.evil.invalid\"]\n",
    );
    let etc = tempfile::tempdir().unwrap();
    std::fs::create_dir(etc.path().join("codex")).unwrap();
    std::fs::write(
        etc.path().join("codex/requirements.toml"),
        "[experimental_network]\nmanaged_allowed_domains_only = true\nallowed_domains = [\"good.invalid\"]\nallow_local_binding = false\n",
    )
    .unwrap();
    for flags in [
        &[][..],
        &["--allow", "evil.invalid"],
        &["--profile", "mine"],
        &[
            "-c",
            "experimental_network.managed_allowed_domains_only=false",
        ],
        &[
            "-c",
            "permissions.mine.network.domains={\"evil.invalid\"=\"allow\"}",
        ],
    ] {
        for (host, code) in [("good.invalid", 0), ("evil.invalid", 1), ("127.0.0.1", 1)] {
            let arguments = [&["explain", host][..], flags].concat();
            let output = managed(home.path(), etc.path(), &arguments).output();
            let output = within("the binary", output).await.unwrap();
            assert_eq!(output.status.code(), Some(code), "{arguments:?} {output:?}");
        }
    }
    // And a proxy that serves.
    let running = Running::start_as(
        managed(home.path(), etc.path(), &[]),
        &["--allow", "evil.invalid"],
    )
    .await;
    let answer = running
        .answer("GET http://evil.invalid/ HTTP/1.1\r\n\r\n")
        .await;
    assert!(answer.contains(r#""reason":"not_allowed""#), "{answer}");
    let answer = running
        .answer("GET http://good.invalid/ HTTP/1.1\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
    assert_eq!(running.end("TERM").await.0, Some(0));
    // A broken file of the machine is no way around either.
    std::fs::write(
        etc.path().join("codex/requirements.toml"),
        "[experimental_network",
    )
    .unwrap();
    let output = managed(home.path(), etc.path(), &["check"]).output();
    let output = within("the binary", output).await.unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("/etc/codex/requirements.toml:1:"),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_file_that_may_not_be_read_is_an_error_with_its_name() {
    let home = home("default_permissions = \"p\"\n[permissions.p.network]\nenabled = true\n");
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(home.path(), 0o755);
    mode(&home.path().join("config.toml"), 0o000);
    let mut command = binary(home.path());
    command.arg("check");
    if rustix::process::getuid().is_root() {
        // Root reads everything; nobody does not.
        command.uid(65_534).gid(65_534);
    }
    let output = match within("the binary", command.output()).await {
        Ok(output) => output,
        Err(error) => {
            skip(
                "a_file_that_may_not_be_read_is_an_error_with_its_name",
                &format!("the binary is out of reach: {error}"),
            );
            return;
        }
    };
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("config.toml: cannot read the config file: Permission denied"),
        "{stderr}"
    );
}
