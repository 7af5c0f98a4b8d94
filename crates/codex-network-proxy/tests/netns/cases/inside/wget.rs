//! wget, which reads the variables for proxies but none for trust.

use anyhow::{Result, ensure};

use super::visit::ORIGINS;
use crate::cases::zone::full;
use crate::command::output;
use crate::report::{Case, Outcome, skippable};
use crate::world::{World, told_environment};

pub(super) fn cases() -> Vec<Case> {
    vec![skippable("inside_wget", async |world| wget(&world).await)]
}

async fn wget(world: &World) -> Result<Outcome> {
    let room = world.room("wget")?;
    let environment = told_environment(&world.reading, &room);
    if output("wget", ["--version"], &environment).await.is_err() {
        return Ok(Outcome::Skipped("wget is not installed".to_owned()));
    }
    let bundle = &environment["SSL_CERT_FILE"];
    let trust = format!("--ca-certificate={bundle}");
    let fixed = ["--tries=1", "--timeout=20", "-nv", "-S", "-O", "-", &trust];
    for (host, _) in ORIGINS {
        let url = format!("https://{}/echo/wget", full(host));
        let get = output(
            "wget",
            fixed.into_iter().chain([url.as_str()]),
            &environment,
        )
        .await?;
        ensure!(get.good && get.stdout.contains("\"tls\":true"), "{get:?}");
        let head = fixed.into_iter().chain(["--spider", &url]);
        let head = output("wget", head, &environment).await?;
        ensure!(head.good && head.stdout.is_empty(), "{head:?}");
        let post = ["--content-on-error", "--post-data=text", &url];
        let post = output("wget", fixed.into_iter().chain(post), &environment).await?;
        let is_told = post.stdout.ends_with("method not allowed in limited mode.")
            && post
                .stderr
                .contains("x-proxy-error: blocked-by-method-policy")
            && post.stderr.contains("ERROR 403: Forbidden");
        ensure!(!post.good && is_told, "{post:?}");
    }
    let hits = world.origins.hits();
    let posted = hits
        .iter()
        .find(|hit| hit.path == "/echo/wget" && hit.method == "POST");
    ensure!(posted.is_none(), "the origin was reached: {posted:?}");
    Ok(Outcome::Passed)
}
