//! Running other programs, with a limit of time and a clean environment.
//!
//! Main function: [`output`]. A program that does not end in time is killed, and that is an error.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::process::Command;
use tokio::time::timeout;

/// No client of the suite needs longer, even on a machine with two busy cores.
const LIMIT: Duration = Duration::from_secs(40);

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
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
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
