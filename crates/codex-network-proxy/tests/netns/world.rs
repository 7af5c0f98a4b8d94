//! Everything a case may use: the name server, the origins, and the proxies.
//!
//! Main type: [`World`]. Cases share it, so each asks for hosts that no other case asks for where it counts something.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::cases::zone;
use crate::command::bare_environment;
use crate::dns::NameServer;
use crate::origin::Origins;
use crate::proxy::{Plan, Proxy};

/// What a user would write for a public policy. Ports are the defaults.
const PUBLIC: &str = r#"
default_permissions = "suite"

[permissions.suite.network]
enabled = true
allowed_domains = ["**.allowed.example", "1.2.3.4", "2606:2800:220:1::1"]
denied_domains = ["**.denied.allowed.example", "151.101.9.9"]
"#;

/// Read-only access to the same hosts, also inside TLS.
const READING: &str = "mode = \"limited\"\nmitm = true\n";

/// A policy that lists the loopback, listens on every address, and still must not be led to itself.
const LOCAL: &str = r#"
default_permissions = "suite"

[permissions.suite.network]
enabled = true
proxy_url = "http://0.0.0.0:3140"
socks_url = "socks5://0.0.0.0:8091"
dangerously_allow_non_loopback_proxy = true
allowed_domains = ["**.allowed.example", "127.0.0.1", "localhost", "::1", "151.101.1.1"]
"#;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) names: NameServer,
    pub(crate) origins: Origins,
    /// A public policy; full mode.
    pub(crate) proxy: Proxy,
    /// The same policy in limited mode, in a process that shares nothing with the other.
    pub(crate) limited: Proxy,
    /// The same policy in limited mode, with interception.
    pub(crate) reading: Proxy,
    /// A policy that lists the loopback.
    pub(crate) local: Proxy,
    pub(crate) directory: TempDir,
}

impl World {
    pub(crate) async fn create() -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        let path = directory.path();
        let names = NameServer::start(zone::zone()?).await?;
        let origins = Origins::start(path, zone::certified_names()).await?;
        let authority = origins.authority.as_path();
        let limited = [
            "--mode",
            "limited",
            "--http-addr",
            "127.0.0.1:3130",
            "--socks-addr",
            "127.0.0.1:8082",
        ];
        let reading = [
            "--http-addr",
            "127.0.0.1:3131",
            "--socks-addr",
            "127.0.0.1:8083",
        ];
        let opened = format!("{PUBLIC}{READING}");
        Ok(Self {
            proxy: start(path, authority, "public", PUBLIC, &[]).await?,
            limited: start(path, authority, "limited", PUBLIC, &limited).await?,
            reading: start(path, authority, "reading", &opened, &reading).await?,
            local: start(path, authority, "local", LOCAL, &[]).await?,
            names,
            origins,
            directory,
        })
    }

    /// One more proxy with the public policy and these lines besides, for a case of its own.
    pub(crate) async fn another_proxy(
        &self,
        name: &str,
        lines: &str,
        ports: [u16; 2],
    ) -> Result<Proxy> {
        let [http, socks] = ports.map(|port| format!("127.0.0.1:{port}"));
        start(
            self.directory.path(),
            &self.origins.authority,
            name,
            &format!("{PUBLIC}{lines}"),
            &["--http-addr", &http, "--socks-addr", &socks],
        )
        .await
    }

    /// An empty directory for one case.
    pub(crate) fn room(&self, name: &str) -> Result<PathBuf> {
        let room = self.directory.path().join("rooms").join(name);
        std::fs::create_dir_all(&room).context("cannot make a directory")?;
        Ok(room)
    }

    /// The environment of a real client: what the proxy told to export, whom to trust, and a home of its own.
    pub(crate) fn client_environment(&self, room: &Path) -> BTreeMap<String, String> {
        let mut environment = told_environment(&self.proxy, room);
        for name in [
            "SSL_CERT_FILE",
            "CURL_CA_BUNDLE",
            "REQUESTS_CA_BUNDLE",
            "GIT_SSL_CAINFO",
            "NODE_EXTRA_CA_CERTS",
            "PIP_CERT",
            "npm_config_cafile",
        ] {
            environment.insert(
                name.to_owned(),
                self.origins.authority.display().to_string(),
            );
        }
        environment
    }
}

/// The environment of a client that was told nothing but where the proxy is and whom to trust, by the proxy itself.
pub(crate) fn told_environment(proxy: &Proxy, room: &Path) -> BTreeMap<String, String> {
    let mut environment = bare_environment();
    environment.extend(proxy.exports.clone());
    for name in ["HOME", "TMPDIR"] {
        environment.insert(name.to_owned(), room.display().to_string());
    }
    environment
}

async fn start(
    directory: &Path,
    authority: &Path,
    name: &str,
    config: &str,
    arguments: &[&str],
) -> Result<Proxy> {
    let plan = Plan {
        name,
        config,
        arguments,
        authority,
    };
    Proxy::start(directory, &plan).await
}
