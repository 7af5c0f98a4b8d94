//! A browser without a window loads a page with all that belongs to it, by nothing but a proxy's address and a trusted
//! certificate in its store.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::visit::{ORIGINS, Speaks, Way};
use super::{distrust, scripts};
use crate::cases::zone::full;
use crate::command::{Said, output};
use crate::report::{Case, Outcome, skippable};
use crate::world::{World, told_environment};

/// No reporting, no updates, no window; and nothing about certificates.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // The page's clock runs until nothing is left to do, but no longer than this.
    "--virtual-time-budget=20000",
];

pub(super) fn cases() -> Vec<Case> {
    let opened = ORIGINS.into_iter().map(|(host, origin)| {
        skippable(format!("inside_chromium_{host}"), async move |world| {
            page(&world, Way::Opened, host, origin).await
        })
    });
    let others = [
        skippable("opaque_chromium", async |world| {
            page(&world, Way::Opaque, "both", Speaks::Both).await
        }),
        skippable("distrust_chromium", async |world| distrusts(&world).await),
    ];
    opened.chain(others).collect()
}

/// What the page tells of itself (`tests/data/clients/page/script.js`).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    failed: Option<String>,
    color: String,
    image: u32,
    get: Fetched,
    post: Fetched,
    socket: String,
    /// The version of HTTP that the browser spoke in each of the two requests.
    hops: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fetched {
    status: u16,
    error: Option<String>,
    text: String,
}

async fn page(world: &World, way: Way, host: &'static str, origin: Speaks) -> Result<Outcome> {
    let name = format!("{way:?}-chromium-{host}").to_lowercase();
    let room = world.room(&name)?;
    let (environment, authority) = match way {
        Way::Opened => (
            told_environment(&world.reading, &room),
            world.reading.home.join("proxy/ca.pem"),
        ),
        Way::Opaque => (
            world.client_environment(&room),
            world.origins.authority.clone(),
        ),
    };
    if let Some(skipped) = obstacle(&environment).await {
        return Ok(skipped);
    }
    serve_page(world)?;
    trust(world, &environment, &room, &authority).await?;
    let url = format!("https://{}/files/page/#{name}", full(host));
    let said = browse(&environment, &room, &url).await?;
    let page = read(&said).with_context(|| format!("{said:?}"))?;
    compare(world, way, (host, origin), &name, &page).with_context(|| format!("{page:?}"))?;
    if way == Way::Opaque {
        // Browsers send an encrypted part with every hello, real or made up, and the default lets it pass.
        let host = full(host);
        let hello = |event: &serde_json::Value| {
            event["server.address"] == host.as_str() && event["tls.client.encrypted_hello"] == true
        };
        let event = world.proxy.wait_for(hello).await;
        event.context("no hello with an encrypted part")?;
    }
    Ok(Outcome::Passed)
}

fn compare(
    world: &World,
    way: Way,
    (host, origin): (&str, Speaks),
    name: &str,
    page: &Page,
) -> Result<()> {
    ensure!(page.failed.is_none(), "the script failed");
    ensure!(page.color == "rgb(1, 2, 3)", "no style sheet");
    ensure!(page.image == 7, "no image");
    let hop = match origin {
        Speaks::Http1 => "http/1.1",
        Speaks::Http2 | Speaks::Both => "h2",
    };
    ensure!(page.hops == [hop, hop], "not by {hop}");
    ensure!(page.get.status == 200, "no answer to GET");
    ensure!(
        page.get.text.contains("\"tls\":true"),
        "not the origin's answer"
    );
    let host = full(host);
    let hits = world.origins.hits();
    let seen = |method: &str, path: &str| {
        let mut hits = hits.iter().filter(|hit| hit.host == host);
        hits.any(|hit| hit.method == method && hit.path == path)
    };
    for file in ["", "style.css", "script.js", "image.svg"] {
        let path = format!("/files/page/{file}");
        ensure!(seen("GET", &path), "the origin has not served {path}");
    }
    // The origin agrees to leave HTTP and then says nothing that a browser understands.
    ensure!(page.socket == "failed", "a socket");
    let (posted, upgraded) = (
        seen("POST", &format!("/echo/{name}")),
        seen("GET", &format!("/socket/{name}")),
    );
    match way {
        Way::Opaque => {
            ensure!(page.post.status == 200 && posted, "nothing posted");
            ensure!(upgraded, "no socket was asked for");
        }
        Way::Opened => {
            let error = page.post.error.as_deref();
            let text = "Codex blocked this request: method not allowed in limited mode.";
            ensure!(
                page.post.status == 403 && page.post.text == text,
                "no refusal"
            );
            ensure!(error == Some("blocked-by-method-policy"), "{error:?}");
            ensure!(!posted && !upgraded, "the origin was reached");
        }
    }
    Ok(())
}

/// One retries, as people do.
async fn distrusts(world: &World) -> Result<Outcome> {
    let environment = distrust::environment(world, "chromium")?;
    if let Some(skipped) = obstacle(&environment).await {
        return Ok(skipped);
    }
    let (host, room) = (full("distrust-chromium"), world.room("distrust-chromium")?);
    for _ in 0..2 {
        let said = browse(&environment, &room, &format!("https://{host}/")).await?;
        ensure!(
            said.stderr.contains("ERR_CERT_AUTHORITY_INVALID"),
            "{said:?}"
        );
    }
    distrust::is_told_of(world, &host, "certificate_unknown").await?;
    Ok(Outcome::Passed)
}

/// What keeps a browser from running here.
async fn obstacle(environment: &BTreeMap<String, String>) -> Option<Outcome> {
    let browser = output("chromium", ["--version"], environment).await;
    if !browser.is_ok_and(|said| said.good) {
        return Some(Outcome::Skipped("chromium is not installed".to_owned()));
    }
    // It shows its usage, and that is an error.
    let store = output("certutil", ["--help"], environment).await;
    let why = "certutil is not installed (libnss3-tools)";
    store.is_err().then(|| Outcome::Skipped(why.to_owned()))
}

async fn browse(environment: &BTreeMap<String, String>, room: &Path, url: &str) -> Result<Said> {
    let varied = [
        format!("--user-data-dir={}", room.join("profile").display()),
        format!("--proxy-server={}", environment["HTTPS_PROXY"]),
        "--dump-dom".to_owned(),
        url.to_owned(),
    ];
    let fixed = FLAGS.map(ToOwned::to_owned);
    output("chromium", fixed.into_iter().chain(varied), environment).await
}

/// Puts an authority into the browser's store: ours by the command that the proxy prints.
async fn trust(
    world: &World,
    environment: &BTreeMap<String, String>,
    room: &Path,
    authority: &Path,
) -> Result<()> {
    let store = room.join(".pki/nssdb");
    std::fs::create_dir_all(&store)?;
    let mut command = format!(
        "certutil -A -n authority -t C,, -i {} -d sql:PROFILE",
        authority.display()
    );
    if authority.starts_with(&world.reading.home) {
        let mut environment = environment.clone();
        let home = world.reading.home.display().to_string();
        environment.insert("CODEX_HOME".to_owned(), home);
        let this = env!("CARGO_BIN_EXE_codex-network-proxy");
        let said = output(this, ["ca", "trust", "firefox"], &environment).await?;
        let line = said
            .stdout
            .lines()
            .find(|line| line.starts_with("certutil "));
        command = line
            .with_context(|| format!("no command: {said:?}"))?
            .to_owned();
    }
    let command = command.replace("PROFILE", &store.display().to_string());
    let said = output("sh", ["-c", &command], environment).await?;
    ensure!(said.good, "{command}: {said:?}");
    Ok(())
}

fn serve_page(world: &World) -> Result<()> {
    let place = world.origins.files.join("page");
    std::fs::create_dir_all(&place)?;
    for file in ["index.html", "style.css", "script.js", "image.svg"] {
        // Replaced as a whole, for another browser may be reading it.
        let fresh = tempfile::NamedTempFile::new_in(&place)?;
        std::fs::copy(scripts::data(&format!("page/{file}")), fresh.path())?;
        fresh.persist(place.join(file))?;
    }
    Ok(())
}

/// What the page has written into itself.
fn read(said: &Said) -> Result<Page> {
    let (_, rest) = said
        .stdout
        .split_once("<p id=\"told\">")
        .context("no page")?;
    let (told, _) = rest.split_once("</p>").context("no end")?;
    let told = told
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    ensure!(!told.is_empty(), "the page has told nothing");
    Ok(serde_json::from_str(&told)?)
}
