//! Node: its own HTTP client over both HTTP doors, and npm against a small registry.

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::command::output;
use crate::report::{Case, Outcome, skippable};
use crate::world::World;

/// `node -e SCRIPT <url>`: prints the status and the body. An `https` URL is fetched in a tunnel.
const SCRIPT: &str = r#"
const http = require('http'), https = require('https'), url = new URL(process.argv[1]);
const proxy = new URL(process.env.HTTP_PROXY);
const show = response => {
  let body = '';
  response.on('data', data => body += data);
  response.on('end', () => console.log(response.statusCode, response.headers['x-proxy-error'], body));
};
const fail = error => { console.log('error', error.message); process.exit(1); };
if (url.protocol === 'http:') {
  http.get({ host: proxy.hostname, port: proxy.port, path: url.href, headers: { host: url.host } }, show).on('error', fail);
} else {
  const request = http.request({ host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: url.hostname + ':443' });
  request.on('connect', (response, socket) => {
    if (response.statusCode !== 200) return show(response), socket.resume();
    https.get({ socket, servername: url.hostname, host: url.hostname, path: '/', agent: false }, show).on('error', fail);
  });
  request.on('error', fail).end();
}
"#;

pub(super) fn cases() -> Vec<Case> {
    vec![
        skippable("npm_view", npm),
        skippable("npm_view_refused", npm_refused),
        skippable("node_http", async |world| {
            node(world, "http://shop.allowed.example/", "200 undefined {").await
        }),
        skippable("node_https", async |world| {
            node(world, "https://shop.allowed.example/", "\"tls\":true").await
        }),
        skippable("node_refused_http", async |world| {
            node(
                world,
                "http://unlisted.example/",
                "403 blocked-by-allowlist {",
            )
            .await
        }),
        skippable("node_refused_https", async |world| {
            node(
                world,
                "https://unlisted.example/",
                "403 blocked-by-allowlist",
            )
            .await
        }),
    ]
}

async fn node(world: Arc<World>, url: &str, holds: &str) -> Result<Outcome> {
    let environment = world.client_environment(&world.room("node")?);
    let Ok(said) = output("node", ["-e", SCRIPT, url], &environment).await else {
        return Ok(Outcome::Skipped("node is not installed".to_owned()));
    };
    ensure!(said.stdout.contains(holds), "no `{holds}` in {said:?}");
    Ok(Outcome::Passed)
}

async fn npm(world: Arc<World>) -> Result<Outcome> {
    let registry = "https://shop.allowed.example/files/npm/";
    let package = json!({
        "name": "demo",
        "dist-tags": { "latest": "1.2.3" },
        "versions": { "1.2.3": {
            "name": "demo",
            "version": "1.2.3",
            "dist": { "tarball": format!("{registry}demo.tgz"), "shasum": "00" },
        } },
    });
    let directory = world.origins.files.join("npm");
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join("demo"), package.to_string())?;
    view(world, registry, true, "1.2.3").await
}

async fn npm_refused(world: Arc<World>) -> Result<Outcome> {
    view(world, "http://unlisted.example/npm/", false, "403").await
}

async fn view(world: Arc<World>, registry: &str, good: bool, holds: &str) -> Result<Outcome> {
    let room = world.room(if good { "npm" } else { "npm-refused" })?;
    let mut environment = world.client_environment(&room);
    for (name, value) in [
        ("update_notifier", "false"),
        ("fetch_retries", "0"),
        ("fetch_timeout", "20000"),
    ] {
        environment.insert(format!("npm_config_{name}"), value.to_owned());
    }
    let arguments = ["view", "demo", "version", "--registry", registry];
    let Ok(said) = output("npm", arguments, &environment).await else {
        return Ok(Outcome::Skipped("npm is not installed".to_owned()));
    };
    let text = format!("{}{}", said.stdout, said.stderr);
    ensure!(said.good == good && text.contains(holds), "{said:?}");
    Ok(Outcome::Passed)
}
