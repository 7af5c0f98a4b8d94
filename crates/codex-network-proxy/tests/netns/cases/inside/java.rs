//! Java: its trust store, which `codex-network-proxy ca trust java` tells how to make.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::Mutex;

use super::scripts::{Trust, data};
use crate::command::{bare_environment, output};
use crate::report::Outcome;
use crate::world::World;

/// The program and the first of its arguments.
pub(super) type Prepared = Result<(String, Vec<String>), Outcome>;

/// How Java is started for its script.
pub(super) async fn command(world: &World, trust: Trust<'_>) -> Result<Prepared> {
    // Without its compiler, Java cannot run a source file.
    let environment = bare_environment();
    if output("javac", ["-version"], &environment).await.is_err() {
        return Ok(Err(Outcome::Skipped("javac is not installed".to_owned())));
    }
    let mut arguments = vec!["-Djavax.net.ssl.trustStorePassword=changeit".to_owned()];
    if let Trust::In(certificate) = trust {
        let store = store(world, certificate).await?;
        arguments.push(format!("-Djavax.net.ssl.trustStore={}", store.display()));
    }
    arguments.push(data("Visits.java"));
    Ok(Ok(("java".to_owned(), arguments)))
}

/// The store that trusts this certificate, made once.
async fn store(world: &World, certificate: &Path) -> Result<PathBuf> {
    static MADE: Mutex<Option<HashMap<PathBuf, PathBuf>>> = Mutex::const_new(None);
    let mut made = MADE.lock().await;
    let made = made.get_or_insert_default();
    if let Some(store) = made.get(certificate) {
        return Ok(store.clone());
    }
    let store = if certificate.starts_with(&world.reading.home) {
        as_told(world).await?
    } else {
        let store = world.room("java-stores")?.join(made.len().to_string());
        let words = "-importcert -noprompt -storepass changeit -keystore STORE -file FILE";
        let words = words.replace("STORE", &store.display().to_string());
        let words = words.replace("FILE", &certificate.display().to_string());
        let said = output("keytool", words.split(' '), &bare_environment()).await?;
        ensure!(said.good, "{said:?}");
        store
    };
    made.insert(certificate.to_owned(), store.clone());
    Ok(store)
}

/// Runs the commands that the proxy prints for Java. The last of them shows which property names the store.
async fn as_told(world: &World) -> Result<PathBuf> {
    let mut environment = bare_environment();
    let home = world.reading.home.display().to_string();
    environment.insert("CODEX_HOME".to_owned(), home);
    let this = env!("CARGO_BIN_EXE_codex-network-proxy");
    let said = output(this, ["ca", "trust", "java"], &environment).await?;
    ensure!(said.good, "{said:?}");
    let (last, commands): (Vec<&str>, Vec<&str>) = said
        .stdout
        .lines()
        .partition(|line| line.starts_with("java "));
    let property = "-Djavax.net.ssl.trustStore=";
    let store = last.iter().find_map(|line| {
        let words = line.split([' ', '\'']);
        words
            .into_iter()
            .find_map(|word| word.strip_prefix(property))
    });
    let store = PathBuf::from(store.with_context(|| format!("no property: {said:?}"))?);
    let script = commands.join("\n");
    let said = output("sh", ["-ec", &script], &environment).await?;
    ensure!(said.good && store.exists(), "{script}: {said:?}");
    Ok(store)
}
