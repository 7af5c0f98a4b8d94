//! Go: its script, compiled once.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::java::Prepared;
use super::scripts::data;
use crate::command::bare_environment;
use crate::report::Outcome;
use crate::world::World;

/// Newer versions compile their standard library first, which takes minutes on two busy cores.
pub(super) const COMPILES_WITHIN: Duration = Duration::from_secs(240);

/// The compiled script.
pub(super) async fn command(world: &World) -> Result<Prepared> {
    static BUILT: OnceCell<Option<String>> = OnceCell::const_new();
    let built = BUILT.get_or_try_init(|| build(world)).await?;
    Ok(match built {
        Some(program) => Ok((program.clone(), Vec::new())),
        None => Err(Outcome::Skipped("go is not installed".to_owned())),
    })
}

async fn build(world: &World) -> Result<Option<String>> {
    let program = world.room("go-build")?.join("visits").display().to_string();
    // What the compiler remembers outlives the suite.
    let cache = format!("{}/go-cache", env!("CARGO_TARGET_TMPDIR"));
    let built = Command::new("go")
        .args(["build", "-o", &program, &data("visits.go")])
        .env_clear()
        .envs(bare_environment())
        .envs([
            ("GOCACHE", cache.as_str()),
            ("GOTOOLCHAIN", "local"),
            ("GO111MODULE", "off"),
            ("CGO_ENABLED", "0"),
        ])
        .kill_on_drop(true)
        .output();
    let built = timeout(COMPILES_WITHIN, built)
        .await
        .context("go build hangs")?;
    match built {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("cannot start go"),
        Ok(built) => {
            ensure!(
                built.status.success(),
                "{}",
                String::from_utf8_lossy(&built.stderr)
            );
            Ok(Some(program))
        }
    }
}
