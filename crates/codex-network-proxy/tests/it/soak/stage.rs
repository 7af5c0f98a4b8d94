//! The proxies, the name server and the origins of a soak.
//!
//! Main type: [`Stage`]. `full` reads its policy from files that change all along; `reading` opens TLS; `strict` has names that
//! lead inward, and must never dial.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use codex_network_proxy::config::{Environment, LoadedConfig, Overrides, UnixSockets};
use codex_network_proxy::{Limits, NetworkProxy, ParentProxies, Resolver};

use super::origins::{Faulty, Pages};
use crate::harness::site::Site;
use crate::harness::tls::Issuer;
use crate::harness::{Audit, Event, Script, Setup, World};

pub(super) struct Stage {
    pub(super) full: World,
    pub(super) reading: World,
    pub(super) strict: World,
    pub(super) pages: Pages,
    pub(super) faulty: Faulty,
    pub(super) site: Site,
    /// Only for those who flood it, whose events nobody counts.
    pub(super) flooded: Site,
}

/// Short, so that what waits for a limit does not make the soak wait.
fn limits(limits: &mut Limits) {
    let second = Duration::from_secs(1);
    limits.lookup = second;
    limits.lookup_reuse = Duration::from_millis(20);
    limits.connect = second;
    limits.handshake = second;
    limits.request_head = second;
    limits.response_head = second;
    limits.body_idle = second;
    limits.tunnel_idle = Some(2 * second);
    limits.tunnel_half_closed = second;
    limits.association_idle = second;
    limits.pooled_idle = Duration::from_millis(200);
    limits.farewell = Duration::from_millis(200);
    limits.connections = 200;
    limits.associations = 20;
}

/// What `full` reads.
pub(super) fn config(permits_toggle: bool) -> String {
    let toggle = if permits_toggle {
        ", \"toggle.soak.test\""
    } else {
        ""
    };
    format!(
        "default_permissions = \"soak\"\n[permissions.soak.network]\nenabled = true\n\
         allow_local_binding = true\nallowed_domains = [\"*.pages.soak.test\", \"canary.soak.test\", \
         \"*.faulty.soak.test\"{toggle}]\ndenied_domains = [\"denied.pages.soak.test\"]\n"
    )
}

impl Stage {
    pub(super) async fn build() -> Self {
        let issuer = Issuer::new();
        let site = Site::start(issuer.certify("origin.test", &["h2", "http/1.1"])).await;
        let flooded = issuer.certify("flood.origin.test", &["h2", "http/1.1"]);
        let flooded = Site::start(flooded).await;
        let strict = Setup::new()
            .allow(&["**.strict.test"])
            .resolver(Arc::new(Inward::default()))
            .limits(limits)
            .start();
        let strict = strict.await;
        let reading = Setup::intercepting(&issuer)
            .name("flood.origin.test", &["127.0.0.1"])
            .limits(limits)
            .start();
        let reading = reading.await;
        Self {
            full: full().await,
            reading,
            strict,
            pages: Pages::start().await,
            faulty: Faulty::start().await,
            site,
            flooded,
        }
    }

    /// The events of all proxies: they run on one thread, and the audit that began last hears them all.
    pub(super) fn take_events(&self) -> Vec<Event> {
        self.site.asked();
        self.flooded.asked();
        for audit in [&self.strict.audit, &self.reading.audit, &self.full.audit] {
            audit.take_connections();
            audit.take_log();
        }
        for world in [&self.strict, &self.reading, &self.full] {
            let _ = world.proxy.drain_blocked();
        }
        self.full.audit.take()
    }

    /// Replaces the policy of `full` in one of the ways in which files are written. None of them leaves a file empty on the
    /// way, for an empty one is a valid one, which permits nothing.
    pub(super) fn write_config(&self, text: &str, way: u64) {
        let home = self.full.home.path();
        let path = home.join("config.toml");
        if way == 0 {
            use std::io::Write as _;
            let mut file = std::fs::File::options().write(true).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.set_len(u64::try_from(text.len()).unwrap()).unwrap();
            return;
        }
        let aside = home.join("config.new");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(aside, path).unwrap();
        if way == 2 {
            let handle = self.full.handle.as_ref().unwrap();
            handle.reload();
        }
    }

    /// Nothing has reached an origin that no policy permits.
    pub(super) fn assert_untouched(&self) {
        assert_eq!(self.pages.forbidden(), 0, "a forbidden host was dialled");
    }
}

async fn full() -> World {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.toml"), config(false)).unwrap();
    let environment = Environment {
        codex_home: Some(home.path().into()),
        ..Environment::default()
    };
    let overrides = Overrides {
        http_addr: Some("127.0.0.1:0".parse().unwrap()),
        socks_addr: Some("127.0.0.1:0".parse().unwrap()),
        ..Overrides::default()
    };
    let loaded = LoadedConfig::from_files(&overrides, &environment, UnixSockets::Unsupported);
    let audit = Audit::start();
    let mut short = Limits::default();
    limits(&mut short);
    let proxy = NetworkProxy::builder()
        .loaded_config(loaded.unwrap())
        .resolver(Arc::new(Moody::default()))
        .parent_proxies(ParentProxies::default())
        .limits(short)
        .build();
    let proxy = proxy.await.unwrap();
    let handle = proxy.run().await.unwrap();
    World {
        proxy,
        handle: Some(handle),
        script: Arc::<Script>::default(),
        audit,
        home,
    }
}

/// A name server that fails, stalls and changes its mind.
#[derive(Debug, Default)]
struct Moody(AtomicU64);

#[async_trait::async_trait]
impl Resolver for Moody {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let here = Ok(vec![IpAddr::from([127, 0, 0, 1])]);
        match name.split('.').next() {
            Some("fails") => Err(io::ErrorKind::ConnectionRefused.into()),
            Some("unknown") => Err(io::ErrorKind::NotFound.into()),
            Some("empty") => Ok(Vec::new()),
            // Longer than anybody waits. What never ends would keep its slot, as a look-up of the system does.
            Some("stalls") => {
                tokio::time::sleep(Duration::from_secs(3)).await;
                here
            }
            Some("slow") => {
                tokio::time::sleep(Duration::from_millis(150)).await;
                here
            }
            Some("flips") => match self.0.fetch_add(1, Ordering::Relaxed) % 3 {
                0 => Err(io::ErrorKind::NotFound.into()),
                1 => here,
                // Nobody listens there.
                _ => Ok(vec![IpAddr::from([127, 0, 0, 77])]),
            },
            _ => here,
        }
    }
}

/// Names that lead inward, to another place each time.
#[derive(Debug, Default)]
struct Inward(AtomicU64);

#[async_trait::async_trait]
impl Resolver for Inward {
    async fn lookup(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let addresses: &[&str] = match self.0.fetch_add(1, Ordering::Relaxed) % 4 {
            0 => &["127.0.0.1"],
            1 => &["93.184.216.34", "127.0.0.1"],
            2 => &["169.254.169.254"],
            _ => &["::ffff:127.0.0.1", "2606:2800:220:1::1"],
        };
        Ok(addresses.iter().map(|text| text.parse().unwrap()).collect())
    }
}
