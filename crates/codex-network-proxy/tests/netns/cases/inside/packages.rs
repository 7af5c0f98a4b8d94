//! Package managers where TLS is opened: they install from small registries of the suite's own, and publish nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::cases::clients::python;
use crate::cases::zone::full;
use crate::command::{Said, hexadecimal, output};
use crate::report::{Case, Outcome, skippable};
use crate::world::{World, told_environment};

pub(super) fn cases() -> Vec<Case> {
    vec![
        skippable("inside_cargo", async |world| cargo(&world).await),
        skippable("inside_npm", async |world| npm(&world).await),
        skippable("inside_pip", async |world| pip(&world).await),
    ]
}

/// What the proxy says, wherever a program shows it.
const TEXT: &str = "Codex blocked this request: method not allowed in limited mode.";

async fn pip(world: &World) -> Result<Outcome> {
    let room = world.room("inside-pip")?;
    let mut environment = told_environment(&world.reading, &room);
    environment.extend(python::installation());
    if let Some(skipped) = python::obstacle("pip", &environment).await {
        return Ok(skipped);
    }
    python::publish(&world.origins.files.join("inside/simple"), &environment).await?;
    // pip and npm speak HTTP/1.1, whatever else an origin could.
    for host in ["http1", "http2"] {
        let index = format!("https://{}/files/inside/simple", full(host));
        let target = room.join(host);
        let said = python::download(environment.clone(), &index, &target).await?;
        let arrived = target.join(python::WHEEL_FILE).exists();
        ensure!(said.good && arrived, "{said:?}");
    }
    Ok(Outcome::Passed)
}

/// A room for a package manager: the programs that it runs are found, and its home is empty.
struct Desk {
    room: PathBuf,
    environment: BTreeMap<String, String>,
}

impl Desk {
    /// Writes a file, with the directories above it.
    fn write(&self, path: &str, content: &str) -> Result<()> {
        write(&self.room.join(path), content.as_bytes())
    }

    /// Runs a program in a directory of the room.
    async fn run(&self, directory: &str, program: &str, words: &str) -> Result<Said> {
        let script = "cd \"$1\" && shift && exec \"$@\"";
        let place = self.room.join(directory).display().to_string();
        let fixed = ["-c", script, "sh", &place, program];
        output(
            "sh",
            fixed.into_iter().chain(words.split(' ')),
            &self.environment,
        )
        .await
    }

    async fn good(&self, directory: &str, program: &str, words: &str) -> Result<Said> {
        let said = self.run(directory, program, words).await?;
        ensure!(said.good, "{words}: {said:?}");
        Ok(said)
    }
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    std::fs::create_dir_all(path.parent().context("no directory")?)?;
    std::fs::write(path, content).context("cannot write")
}

async fn npm(world: &World) -> Result<Outcome> {
    let room = world.room("inside-npm")?;
    let mut environment = told_environment(&world.reading, &room);
    for (name, value) in [
        ("update_notifier", "false"),
        ("fetch_retries", "0"),
        ("fetch_timeout", "20000"),
    ] {
        environment.insert(format!("npm_config_{name}"), value.to_owned());
    }
    let desk = Desk { room, environment };
    // Who has to trust an authority of their own has written it down here, and npm then trusts nobody else.
    let other = format!("cafile={}\n", world.origins.authority.display());
    desk.write(".npmrc", &other)?;
    desk.write("package/index.js", "module.exports = 'installed';\n")?;
    let manifest = |version: &str| json!({ "name": "demo", "version": version }).to_string();
    desk.write("package/package.json", &manifest("1.2.3"))?;
    let packed = desk.run("package", "npm", "pack").await?;
    if packed.stderr.contains("not found") {
        return Ok(Outcome::Skipped("npm is not installed".to_owned()));
    }
    ensure!(packed.good, "{packed:?}");
    let archive = std::fs::read(desk.room.join("package/demo-1.2.3.tgz"))?;
    for host in ["http1", "http2"] {
        let registry = format!("https://{}/files/inside/npm-{host}/", full(host));
        let place = world.origins.files.join(format!("inside/npm-{host}"));
        write(&place.join("archives/demo.tgz"), &archive)?;
        let tarball = format!("{registry}archives/demo.tgz");
        let version = json!({ "name": "demo", "version": "1.2.3", "dist": { "tarball": tarball } });
        let package = json!({
            "name": "demo",
            "dist-tags": { "latest": "1.2.3" },
            "versions": { "1.2.3": version },
        });
        write(&place.join("demo"), package.to_string().as_bytes())?;
        let directory = format!("user-{host}");
        desk.write(&format!("{directory}/package.json"), "{}")?;
        let view = format!("view demo version --registry {registry}");
        let view = desk.good(&directory, "npm", &view).await?;
        ensure!(view.stdout.trim() == "1.2.3", "{view:?}");
        let install = format!("install demo --registry {registry}");
        desk.good(&directory, "npm", &install).await?;
        let used = desk.good(&directory, "node", "-p require('demo')").await?;
        ensure!(used.stdout.trim() == "installed", "{used:?}");
        desk.write("package/package.json", &manifest("1.2.4"))?;
        let token = registry.trim_start_matches("https:");
        let publish = format!("publish --registry {registry} --{token}:_authToken=token");
        let publish = desk.run("package", "npm", &publish).await?;
        ensure!(
            !publish.good && publish.stderr.contains("403 Forbidden"),
            "{publish:?}"
        );
    }
    wrote_nothing(world, "/files/inside/npm-")?;
    Ok(Outcome::Passed)
}

async fn cargo(world: &World) -> Result<Outcome> {
    let room = world.room("inside-cargo")?;
    let mut environment = told_environment(&world.reading, &room);
    // The very program that runs or has built these tests: rustup's stand-in looks into the home, which is empty here.
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| env!("CARGO").to_owned());
    // Where rustup has its toolchains, if cargo is of them.
    for name in ["RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
        environment.extend(std::env::var(name).map(|value| (name.to_owned(), value)));
    }
    if let Some(directory) = Path::new(&cargo).parent().filter(|path| path.is_absolute()) {
        let path = format!("{}:{}", directory.display(), environment["PATH"]);
        environment.insert("PATH".to_owned(), path);
    }
    environment.insert(
        "CARGO_HOME".to_owned(),
        room.join("home").display().to_string(),
    );
    environment.insert(
        "CARGO_REGISTRIES_SUITE_TOKEN".to_owned(),
        "token".to_owned(),
    );
    let mut desk = Desk { room, environment };
    let manifest = |name: &str| {
        format!(
            "[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2021\"\nlicense = \"MIT\"\ndescription = \"{name}\"\n"
        )
    };
    for name in ["demo", "more"] {
        desk.write(&format!("{name}/Cargo.toml"), &manifest(name))?;
        desk.write(&format!("{name}/src/lib.rs"), "")?;
    }
    let package = "package --no-verify --allow-dirty --offline";
    let packaged = desk.run("demo", &cargo, package).await?;
    if !packaged.good && packaged.stderr.contains("not found") {
        return Ok(Outcome::Skipped("cargo is not installed".to_owned()));
    }
    ensure!(packaged.good, "{packaged:?}");
    let archive = std::fs::read(desk.room.join("demo/target/package/demo-1.0.0.crate"))?;
    for host in ["http1", "http2", "both"] {
        let place = world.origins.files.join(format!("inside/cargo-{host}"));
        let url = format!("https://{}/files/inside/cargo-{host}", full(host));
        serve_crate(&place, &url, &archive)?;
        let index = format!("sparse+{url}/index/");
        desk.environment
            .insert("CARGO_REGISTRIES_SUITE_INDEX".to_owned(), index);
        let user = format!("user-{host}");
        desk.write(&format!("{user}/Cargo.toml"), &manifest("user"))?;
        desk.write(&format!("{user}/src/lib.rs"), "pub use demo;")?;
        desk.good(&user, &cargo, "add demo --registry suite")
            .await?;
        desk.good(&user, &cargo, "fetch").await?;
        desk.good(&user, &cargo, "check --offline").await?;
        let publish = "publish --no-verify --allow-dirty --registry suite";
        let publish = desk.run("more", &cargo, publish).await?;
        let is_told = publish.stderr.contains("got 403")
            && publish
                .stderr
                .contains("x-proxy-error: blocked-by-method-policy")
            && publish.stderr.contains(TEXT);
        ensure!(!publish.good && is_told, "{publish:?}");
    }
    wrote_nothing(world, "/files/inside/cargo-")?;
    Ok(Outcome::Passed)
}

/// A sparse registry of one crate.
fn serve_crate(place: &Path, url: &str, archive: &[u8]) -> Result<()> {
    let config = json!({ "dl": format!("{url}/crates/{{crate}}-{{version}}"), "api": url });
    write(
        &place.join("index/config.json"),
        config.to_string().as_bytes(),
    )?;
    let sum = ring::digest::digest(&ring::digest::SHA256, archive);
    let entry = json!({
        "name": "demo",
        "vers": "1.0.0",
        "deps": [],
        "cksum": hexadecimal(sum.as_ref()),
        "features": {},
        "yanked": false,
    });
    write(
        &place.join("index/de/mo/demo"),
        entry.to_string().as_bytes(),
    )?;
    write(&place.join("crates/demo-1.0.0"), archive)
}

/// No origin has seen more than reading below this path.
fn wrote_nothing(world: &World, path: &str) -> Result<()> {
    let hits = world.origins.hits();
    let mut hits = hits.iter().filter(|hit| hit.path.starts_with(path));
    let wrote = hits.find(|hit| !["GET", "HEAD", "OPTIONS"].contains(&hit.method.as_str()));
    ensure!(wrote.is_none(), "the origin was reached: {wrote:?}");
    Ok(())
}
