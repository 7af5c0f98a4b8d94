//! Files that change while the proxy runs: every way of changing them, what broken ones do, tunnels, and load.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use codex_network_proxy::config::{Environment, LoadedConfig, Overrides, SystemFiles, UnixSockets};
use codex_network_proxy::{NetworkProxy, NetworkProxyHandle, ParentProxies, PolicyStatus};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::harness::{Answer, Audit, Origin, Script, Wire, within};

mod load;

/// A proxy whose files are in a directory of its own.
struct Watched {
    root: TempDir,
    proxy: NetworkProxy,
    handle: NetworkProxyHandle,
    status: watch::Receiver<PolicyStatus>,
    audit: Audit,
}

/// Allows these hosts, which lead to this machine.
fn allowing(hosts: &[&str]) -> String {
    format!(
        "default_permissions = \"p\"\n[permissions.p.network]\nenabled = true\nallow_local_binding = true\nallowed_domains = {hosts:?}\n"
    )
}

impl Watched {
    async fn start(prepare: impl FnOnce(&Path)) -> Self {
        let audit = Audit::start();
        let root = TempDir::new().unwrap();
        fs::create_dir_all(root.path().join("home")).unwrap();
        prepare(root.path());
        let environment = Environment {
            codex_home: Some(root.path().join("home").into_os_string()),
            system: SystemFiles {
                config: Some(root.path().join("etc/codex/config.toml")),
                requirements: Some(root.path().join("etc/codex/requirements.toml")),
                ..SystemFiles::default()
            },
            ..Environment::default()
        };
        let overrides = Overrides {
            http_addr: Some("127.0.0.1:0".parse().unwrap()),
            socks_addr: Some("127.0.0.1:0".parse().unwrap()),
            ..Overrides::default()
        };
        let config =
            LoadedConfig::from_files(&overrides, &environment, UnixSockets::Unsupported).unwrap();
        let script = Script::default();
        for name in ["a.test", "b.test"] {
            script.set(name, Answer::Addresses(vec!["127.0.0.1".parse().unwrap()]));
        }
        let proxy = NetworkProxy::builder()
            .loaded_config(config)
            .resolver(std::sync::Arc::new(script))
            .parent_proxies(ParentProxies::default())
            .build()
            .await
            .unwrap();
        let handle = proxy.run().await.unwrap();
        Self {
            status: proxy.policy_status(),
            root,
            proxy,
            handle,
            audit,
        }
    }

    async fn with(text: &str) -> Self {
        Self::start(|root| fs::write(root.join("home/config.toml"), text).unwrap()).await
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    /// Waits until the status is as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&PolicyStatus) -> bool) {
        let waited = within(what, self.status.wait_for(wanted));
        drop(waited.await.unwrap());
    }

    /// Waits until exactly these hosts are allowed, and asks for them.
    async fn allows(&mut self, hosts: &[&str]) {
        let wanted = hosts.to_vec();
        self.until(&format!("{hosts:?}"), move |status| {
            status.config.full_settings().allowed_domains == wanted && status.failure.is_none()
        })
        .await;
        for host in ["a.test", "b.test"] {
            assert_eq!(self.permits(host).await, hosts.contains(&host), "{host}");
        }
    }

    async fn permits(&self, host: &str) -> bool {
        let mut client = Wire::connect(self.proxy.http_addr()).await;
        // Port 9 of this machine: permitted or not is all that matters.
        client
            .send(format!("GET http://{host}:9/ HTTP/1.1\r\n\r\n"))
            .await;
        let answer = client.message().await;
        assert!(
            answer.starts_with("HTTP/1.1 403") || answer.starts_with("HTTP/1.1 502"),
            "{answer}"
        );
        answer.starts_with("HTTP/1.1 502")
    }
}

#[tokio::test]
async fn a_changed_file_takes_effect_and_the_log_tells_what_changed() {
    let mut watched = Watched::with(&allowing(&["a.test"])).await;
    assert!(watched.permits("a.test").await);
    let mut text = allowing(&["b.test"]);
    text.push_str(
        "denied_domains = [\"c.test\"]\nmode = \"limited\"\nproxy_url = \"127.0.0.1:1\"\n",
    );
    watched.write("home/config.toml", &text);
    watched.allows(&["b.test"]).await;
    let log = watched.audit.log();
    for line in [
        "config entry added to allowlist: b.test",
        "config entry removed from allowlist: a.test",
        "config entry added to denylist: c.test",
        "config setting changed: mode = \"limited\"",
        "proxy_url = \"127.0.0.1:1\"; it takes effect when the proxy is started again",
        "reloaded config from config layers",
    ] {
        assert!(log.contains(line), "no {line:?} in {log}");
    }
    watched.handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_file_may_be_replaced_vanish_and_appear() {
    let mut watched = Watched::with(&allowing(&["a.test"])).await;
    watched.write("home/new.toml", &allowing(&["b.test"]));
    fs::rename(
        watched.path("home/new.toml"),
        watched.path("home/config.toml"),
    )
    .unwrap();
    watched.allows(&["b.test"]).await;
    fs::remove_file(watched.path("home/config.toml")).unwrap();
    watched.allows(&[]).await;
    watched.write("home/config.toml", &allowing(&["a.test", "b.test"]));
    watched.allows(&["a.test", "b.test"]).await;
    // The directory as a whole.
    watched.write("home2/config.toml", &allowing(&["a.test"]));
    fs::rename(watched.path("home"), watched.path("old")).unwrap();
    fs::rename(watched.path("home2"), watched.path("home")).unwrap();
    watched.allows(&["a.test"]).await;
    watched.write("home/config.toml", &allowing(&["b.test"]));
    watched.allows(&["b.test"]).await;
}

#[cfg(unix)]
#[tokio::test]
async fn links_may_be_swapped() {
    use std::os::unix::fs::symlink;
    let mut watched = Watched::start(|root| {
        for (version, host) in [("..1", "a.test"), ("..2", "b.test")] {
            fs::create_dir(root.join("home").join(version)).unwrap();
            let file = root.join("home").join(version).join("config.toml");
            fs::write(file, allowing(&[host])).unwrap();
        }
        symlink("..1", root.join("home/..data")).unwrap();
        symlink("..data/config.toml", root.join("home/config.toml")).unwrap();
    })
    .await;
    watched.allows(&["a.test"]).await;
    symlink("..2", watched.path("home/..new")).unwrap();
    fs::rename(watched.path("home/..new"), watched.path("home/..data")).unwrap();
    watched.allows(&["b.test"]).await;
    // And what the link leads to now.
    watched.write("home/..2/config.toml", &allowing(&["a.test"]));
    watched.allows(&["a.test"]).await;
}

#[tokio::test]
async fn requirements_may_appear_where_not_even_their_directory_was() {
    let mut watched = Watched::with(&allowing(&["a.test", "b.test"])).await;
    watched.write(
        "etc/codex/requirements.toml",
        "[experimental_network]\nmanaged_allowed_domains_only = true\nallowed_domains = [\"a.test\"]\n",
    );
    watched.allows(&["a.test"]).await;
    let limits = watched.status.borrow().config.limits.len();
    assert_eq!(limits, 1);
    fs::remove_dir_all(watched.path("etc")).unwrap();
    watched.allows(&["a.test", "b.test"]).await;
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_told_once() {
    let mut watched = Watched::with(&allowing(&["a.test"])).await;
    for (broken, told) in [
        ("default_permissions = ", "not valid TOML"),
        (
            "default_permissions = \"x\"\n[permissions]\n",
            "undefined profile",
        ),
    ] {
        watched.write("home/config.toml", broken);
        watched
            .until("a failure", |status| {
                status
                    .failure
                    .as_ref()
                    .is_some_and(|failure| failure.contains(told))
            })
            .await;
        assert!(watched.permits("a.test").await);
        assert!(!watched.permits("b.test").await);
    }
    // The same broken file again is no news.
    let before = watched
        .audit
        .log()
        .matches("keeping previous config")
        .count();
    watched.handle.reload();
    watched.write("home/config.toml", &allowing(&["b.test"]));
    watched.allows(&["b.test"]).await;
    let log = watched.audit.log();
    let told = log.matches("keeping previous config").count();
    assert!(told <= before + 1 && before >= 1, "{log}");
    for part in [
        "failed to reload config from config layers: ",
        "config.toml:1:",
        "undefined profile `x`",
    ] {
        assert!(log.contains(part), "no {part:?} in {log}");
    }
}

#[tokio::test]
async fn a_limit_that_the_new_file_breaks_keeps_the_old_policy() {
    let mut watched = Watched::start(|root| {
        fs::create_dir_all(root.join("etc/codex")).unwrap();
        fs::write(root.join("etc/codex/config.toml"), allowing(&["a.test"])).unwrap();
    })
    .await;
    watched.allows(&["a.test"]).await;
    watched.write("home/config.toml", &allowing(&["a.test", "b.test"]));
    watched
        .until("a refusal", |status| {
            status
                .failure
                .as_ref()
                .is_some_and(|failure| failure.contains("subset of managed allowed_domains"))
        })
        .await;
    assert!(!watched.permits("b.test").await);
}

#[tokio::test]
async fn a_directory_in_the_place_of_the_file_keeps_the_old_policy() {
    let mut watched = Watched::with(&allowing(&["a.test"])).await;
    fs::remove_file(watched.path("home/config.toml")).unwrap();
    // The moment without a file may have been seen, and is a policy of its own.
    fs::create_dir(watched.path("home/config.toml")).unwrap();
    watched
        .until("a failure", |status| {
            status
                .failure
                .as_ref()
                .is_some_and(|failure| failure.contains("a directory"))
        })
        .await;
    fs::remove_dir(watched.path("home/config.toml")).unwrap();
    watched.write("home/config.toml", &allowing(&["b.test"]));
    watched.allows(&["b.test"]).await;
}

#[tokio::test]
async fn a_disabled_proxy_refuses_and_an_enabled_one_serves_again() {
    let mut watched = Watched::with(&allowing(&["a.test"])).await;
    watched.write(
        "home/config.toml",
        &allowing(&["a.test"]).replace("enabled = true", "enabled = false"),
    );
    watched
        .until("it to be disabled", |status| {
            !status.config.settings.enabled
        })
        .await;
    let mut client = Wire::connect(watched.proxy.http_addr()).await;
    client.send("GET http://a.test:9/ HTTP/1.1\r\n\r\n").await;
    assert!(client.message().await.starts_with("HTTP/1.1 503"));
    watched.write("home/config.toml", &allowing(&["a.test"]));
    watched
        .until("it to be enabled", |status| status.config.settings.enabled)
        .await;
    assert!(watched.permits("a.test").await);
}

#[tokio::test]
async fn tunnels_that_the_new_policy_forbids_end_within_a_second_and_others_live_on() {
    let watched = Watched::with(&allowing(&["a.test", "b.test"])).await;
    let origin = Origin::start().await;
    let mut tunnels = Vec::new();
    for host in ["a.test", "b.test"] {
        let mut client = Wire::connect(watched.proxy.http_addr()).await;
        client
            .send(format!("CONNECT {host}:{} HTTP/1.1\r\n\r\n", origin.port))
            .await;
        assert!(client.head().await.starts_with("HTTP/1.1 200"));
        tunnels.push((client, origin.accept().await));
    }
    watched.write("home/config.toml", &allowing(&["b.test"]));
    let changed = Instant::now();
    let (mut kept, mut kept_upstream) = tunnels.pop().unwrap();
    let (mut ended, mut ended_upstream) = tunnels.pop().unwrap();
    ended.closed().await;
    ended_upstream.closed().await;
    assert!(
        changed.elapsed() < Duration::from_secs(1),
        "{:?}",
        changed.elapsed()
    );
    kept.send("ping").await;
    assert_eq!(kept_upstream.exactly(4).await, b"ping");
    kept_upstream.send("pong").await;
    assert_eq!(kept.exactly(4).await, b"pong");
}

#[tokio::test]
async fn history_and_totals_survive() {
    let mut watched = Watched::with(&allowing(&["a.test"])).await;
    assert!(!watched.permits("b.test").await);
    watched.write("home/config.toml", &allowing(&["b.test"]));
    watched.allows(&["b.test"]).await;
    // The second refusal is that of `a.test` just now.
    assert_eq!(watched.proxy.blocked_total(), 2);
    assert_eq!(watched.proxy.blocked_snapshot()[0].host, "b.test");
}

#[tokio::test]
async fn a_config_that_is_not_to_be_reloaded_stays() {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("config.toml"), allowing(&["a.test"])).unwrap();
    let environment = Environment {
        codex_home: Some(root.path().as_os_str().to_owned()),
        ..Environment::default()
    };
    let overrides = Overrides {
        http_addr: Some("127.0.0.1:0".parse().unwrap()),
        socks_addr: Some("127.0.0.1:0".parse().unwrap()),
        ..Overrides::default()
    };
    let config =
        LoadedConfig::from_files(&overrides, &environment, UnixSockets::Unsupported).unwrap();
    let proxy = NetworkProxy::builder()
        .loaded_config(config)
        .reload(false)
        .build()
        .await
        .unwrap();
    let handle = proxy.run().await.unwrap();
    let mut status = proxy.policy_status();
    fs::write(root.path().join("config.toml"), "").unwrap();
    handle.reload();
    let changed = timeout(Duration::from_millis(700), status.changed()).await;
    assert!(changed.is_err(), "{changed:?}");
    handle.shutdown().await.unwrap();
}
