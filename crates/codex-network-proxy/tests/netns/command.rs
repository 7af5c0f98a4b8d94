//! Running other programs, with a limit of time and a clean environment.
//!
//! Main functions: [`output`], and [`digest`] for output that must not be held. A program that does not end in time is
//! killed, and that is an error.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// No client of the suite needs longer, even on a machine with two busy cores.
const LIMIT: Duration = Duration::from_secs(40);

/// How much of an output [`digest`] keeps.
const BEGINNING: usize = 64 * 1024;

/// What a program said, and whether it was content.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) good: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program with this environment and no other.
pub(crate) async fn output<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
    environment: &BTreeMap<String, String>,
) -> Result<Said> {
    let output = command(program, arguments, environment).output();
    let output = timeout(LIMIT, output)
        .await
        .with_context(|| format!("`{program}` did not end within {} s", LIMIT.as_secs()))?
        .with_context(|| format!("cannot start `{program}`"))?;
    Ok(Said {
        good: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a program and keeps no more of its output than its beginning, and the SHA-256 of all of it in hexadecimal.
pub(crate) async fn digest<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
    environment: &BTreeMap<String, String>,
) -> Result<(Said, String)> {
    let mut child = command(program, arguments, environment)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{program}`"))?;
    let mut stdout = child.stdout.take().context("no stdout")?;
    let mut stderr = child.stderr.take().context("no stderr")?;
    let mut sum = ring::digest::Context::new(&ring::digest::SHA256);
    let (mut beginning, mut errors) = (Vec::new(), Vec::new());
    let read = async {
        let mut piece = vec![0; 65_536];
        loop {
            let length = stdout.read(&mut piece).await?;
            if length == 0 {
                return anyhow::Ok(());
            }
            sum.update(&piece[..length]);
            let room = BEGINNING.saturating_sub(beginning.len()).min(length);
            beginning.extend_from_slice(&piece[..room]);
        }
    };
    let whole = async {
        let (read, heard) = tokio::join!(read, stderr.read_to_end(&mut errors));
        read?;
        heard?;
        anyhow::Ok(child.wait().await?)
    };
    let status = timeout(LIMIT, whole)
        .await
        .with_context(|| format!("`{program}` did not end within {} s", LIMIT.as_secs()))??;
    let said = Said {
        good: status.success(),
        stdout: String::from_utf8_lossy(&beginning).into_owned(),
        stderr: String::from_utf8_lossy(&errors).into_owned(),
    };
    Ok((said, hexadecimal(sum.finish().as_ref())))
}

fn command<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
    environment: &BTreeMap<String, String>,
) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Bytes in hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a program could not be started because there is none of this name.
pub(crate) fn is_missing(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::NotFound)
}

/// What every program needs to be found and to speak plain English.
pub(crate) fn bare_environment() -> BTreeMap<String, String> {
    let path = std::env::var("PATH").unwrap_or_default();
    // Debian keeps `ip` where users do not look.
    let path = format!("{path}:/usr/sbin:/sbin");
    BTreeMap::from([
        ("PATH".to_owned(), path),
        ("LC_ALL".to_owned(), "C.UTF-8".to_owned()),
    ])
}
