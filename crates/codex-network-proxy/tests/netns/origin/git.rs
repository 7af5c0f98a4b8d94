//! Git's smart HTTP: one run of `git http-backend` per request (CGI, RFC 3875).

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::Response;
use http::request::Parts;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::content::Content;
use crate::command::bare_environment;

pub(super) async fn answer(files: &Path, head: &Parts, body: Bytes) -> Result<Response<Content>> {
    let field = |name: &str| {
        let value = head.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    };
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .envs(bare_environment())
        .env("GIT_PROJECT_ROOT", files.join("git"))
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROTOCOL", field("git-protocol"))
        .env("PATH_INFO", head.uri.path().trim_start_matches("/git"))
        .env("QUERY_STRING", head.uri.query().unwrap_or(""))
        .env("REQUEST_METHOD", head.method.as_str())
        .env("CONTENT_TYPE", field("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", field("content-encoding"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start `git http-backend`")?;
    let mut input = child.stdin.take().context("no input")?;
    let feed = async move {
        let _ = input.write_all(&body).await;
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    let output = output?.stdout;
    let end = output
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .context("no CGI head")?;
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").context("no CGI field")?;
        response = if name.eq_ignore_ascii_case("status") {
            response.status(value.split(' ').next().unwrap_or("500"))
        } else {
            response.header(name, value)
        };
    }
    Ok(response.body(Content::from(output[end + 4..].to_vec()))?)
}
