//! Python: the clients that people use, each by its own habits, and pip against a small index.
//!
//! The interpreter is `CNP_PYTHON`, else `python3`. A client that it does not have is skipped.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::command::{Said, output};
use crate::report::{Case, Outcome, skippable};
use crate::world::World;

/// Title, module, and a script that sets `status` and `body` from `url`. All of them find the proxy in the environment, but
/// for PySocks, which is told.
const CLIENTS: &[(&str, &str, &str)] = &[
    (
        "urllib",
        "urllib.request",
        "
import urllib.request, urllib.error
try:
    answer = urllib.request.urlopen(url, timeout=20)
    status, body = answer.status, answer.read().decode()
except urllib.error.HTTPError as error:
    status, body = error.code, error.read().decode()
",
    ),
    ("requests", "requests", "import requests\nanswer = requests.get(url, timeout=20)\nstatus, body = answer.status_code, answer.text"),
    (
        "requests_post",
        "requests",
        "
import requests
answer = requests.post(url, data=(b'x' * 1000 for _ in range(1000)), timeout=20)
status, body = answer.status_code, answer.text
if status == 200: assert '\"bytes\":1000000' in body, body
",
    ),
    (
        "requests_socks5h",
        "requests, socks",
        "
import os, requests
proxies = dict.fromkeys(('http', 'https'), os.environ['ALL_PROXY'])
answer = requests.get(url, proxies=proxies, timeout=20)
status, body = answer.status_code, answer.text
",
    ),
    (
        "urllib3",
        "urllib3",
        "
import os, urllib3
pool = urllib3.ProxyManager(os.environ['HTTP_PROXY'], ca_certs=os.environ['SSL_CERT_FILE'], retries=False, timeout=20)
answer = pool.request('GET', url)
status, body = answer.status, answer.data.decode()
",
    ),
    (
        "httpx",
        "httpx",
        "
import importlib.util, os
# Without socksio httpx stops at the sight of a SOCKS proxy, whatever the URL.
if importlib.util.find_spec('socksio') is None: os.environ.pop('ALL_PROXY'), os.environ.pop('all_proxy')
import httpx
answer = httpx.get(url, timeout=20)
status, body = answer.status_code, answer.text
",
    ),
    (
        "aiohttp",
        "aiohttp",
        "
import aiohttp, asyncio
async def fetch():
    async with aiohttp.ClientSession(trust_env=True) as session:
        async with session.get(url) as answer:
            return answer.status, await answer.text()
status, body = asyncio.run(asyncio.wait_for(fetch(), 20))
",
    ),
    (
        "pysocks",
        "socks",
        "
import os, socks, ssl
from urllib.parse import urlsplit
there, proxy = urlsplit(url), urlsplit(os.environ['ALL_PROXY'])
stream = socks.socksocket()
stream.settimeout(20)
stream.set_proxy(socks.SOCKS5, proxy.hostname, proxy.port, rdns=True)
stream.connect((there.hostname, 443 if there.scheme == 'https' else 80))
if there.scheme == 'https': stream = ssl.create_default_context().wrap_socket(stream, server_hostname=there.hostname)
stream.sendall(f'GET / HTTP/1.0\\r\\nHost: {there.hostname}\\r\\n\\r\\n'.encode())
body = b''.join(iter(lambda: stream.recv(4096), b'')).decode()
status = int(body.split()[1])
",
    ),
];

/// Refusals are told as an answer or as an exception; both name what happened.
const TELL: &str = "
print(status, body)
";

/// Title, scheme and host, and words of which one must be in the output.
const VISITS: &[(&str, &str, &[&str])] = &[
    (
        "http",
        "http://shop.allowed.example/",
        &["\"server\":\"151.101.1.1\""],
    ),
    ("https", "https://shop.allowed.example/", &["\"tls\":true"]),
    (
        "refused_http",
        "http://unlisted.example/",
        &["403 {\"status\":\"blocked\"", "0x02"],
    ),
    (
        "refused_https",
        "https://unlisted.example/",
        &["403", "0x02"],
    ),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        skippable("pip_download", async |world| {
            pip(world, "https://shop.allowed.example/files/simple", true).await
        }),
        skippable("pip_download_refused", async |world| {
            pip(world, "https://unlisted.example/simple", false).await
        }),
    ];
    for (client, modules, script) in CLIENTS {
        for (visit, url, holds) in VISITS {
            cases.push(skippable(
                format!("python_{client}_{visit}"),
                async move |world| fetch(world, modules, script, url, holds).await,
            ));
        }
    }
    cases
}

pub(in crate::cases) fn interpreter() -> String {
    std::env::var("CNP_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// Why a script that needs these modules cannot run here.
pub(in crate::cases) async fn obstacle(
    modules: &str,
    environment: &BTreeMap<String, String>,
) -> Option<Outcome> {
    let import = format!("import {modules}");
    let why = match output(&interpreter(), ["-c", &import], environment).await {
        Ok(said) if said.good => return None,
        Ok(said) => said
            .stderr
            .lines()
            .last()
            .unwrap_or("import failed")
            .to_owned(),
        Err(error) => error.to_string(),
    };
    Some(Outcome::Skipped(format!(
        "{} cannot `{import}`: {why}",
        interpreter()
    )))
}

fn environment(world: &World, room: &str) -> Result<BTreeMap<String, String>> {
    let mut environment = world.client_environment(&world.room(room)?);
    environment.extend(installation());
    Ok(environment)
}

/// Where pyenv's `python3` finds the interpreter.
pub(in crate::cases) fn installation() -> Option<(String, String)> {
    let root = std::env::var("PYENV_ROOT").ok()?;
    Some(("PYENV_ROOT".to_owned(), root))
}

async fn fetch(
    world: Arc<World>,
    modules: &str,
    script: &str,
    url: &str,
    holds: &[&str],
) -> Result<Outcome> {
    let environment = environment(&world, "python")?;
    if let Some(skipped) = obstacle(modules, &environment).await {
        return Ok(skipped);
    }
    let script = format!("import sys\nurl = sys.argv[1]\n{script}\n{TELL}");
    let said = output(&interpreter(), ["-c", &script, url], &environment).await?;
    let text = format!("{}{}", said.stdout, said.stderr);
    ensure!(
        holds.iter().any(|words| text.contains(words)),
        "none of {holds:?} in {said:?}"
    );
    Ok(Outcome::Passed)
}

pub(in crate::cases) const WHEEL_FILE: &str = "demo-1.0-py3-none-any.whl";

/// Makes a package of nothing but its description.
const WHEEL: &str = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    wheel.writestr('demo-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n')
    wheel.writestr('demo-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('demo-1.0.dist-info/RECORD', '')
";

async fn pip(world: Arc<World>, index: &str, good: bool) -> Result<Outcome> {
    let room = if good { "pip" } else { "pip-refused" };
    let environment = environment(&world, room)?;
    if let Some(skipped) = obstacle("pip", &environment).await {
        return Ok(skipped);
    }
    if good {
        publish(&world.origins.files.join("simple"), &environment).await?;
    }
    let target = world.room(room)?.join("target");
    let said = download(environment, index, &target).await?;
    ensure!(said.good == good, "{said:?}");
    if good {
        ensure!(target.join(WHEEL_FILE).exists(), "{said:?}");
    } else {
        ensure!(
            format!("{}{}", said.stdout, said.stderr).contains("403"),
            "{said:?}"
        );
    }
    Ok(Outcome::Passed)
}

/// Makes an index of one package.
pub(in crate::cases) async fn publish(
    index: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<()> {
    let directory = index.join("demo");
    std::fs::create_dir_all(&directory)?;
    let path = directory.join(WHEEL_FILE).display().to_string();
    let said = output(&interpreter(), ["-c", WHEEL, &path], environment).await?;
    ensure!(said.good, "no wheel: {said:?}");
    let page = format!("<!DOCTYPE html><a href=\"{WHEEL_FILE}\">{WHEEL_FILE}</a>");
    std::fs::write(directory.join("index.html"), page)?;
    Ok(())
}

/// Has pip download the package of an index into a directory.
pub(in crate::cases) async fn download(
    mut environment: BTreeMap<String, String>,
    index: &str,
    target: &Path,
) -> Result<Said> {
    // The machine may know other places to find packages.
    environment.insert("PIP_CONFIG_FILE".to_owned(), "/dev/null".to_owned());
    let fixed =
        "-m pip download -vv --no-deps --no-cache-dir --disable-pip-version-check --retries 0";
    let target = target.display().to_string();
    let varied = ["--index-url", index, "-d", &target, "demo==1.0"];
    output(&interpreter(), fixed.split(' ').chain(varied), &environment).await
}
