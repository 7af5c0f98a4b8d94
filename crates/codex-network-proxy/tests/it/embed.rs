//! The library as an embedding program sees it: public names only.

use std::sync::{Arc, Mutex};

use codex_network_proxy::{
    ConfigReloader, ConfigState, Limits, NetworkProxy, NetworkProxyConfig, NetworkProxyConstraints,
    NetworkProxyHandle, NetworkProxySettings, NetworkProxyState, ParentProxies, build_config_state,
};

use crate::harness::{Answer, Audit, Nobody, Script, Wire};

mod apart;
mod asking;
mod edits;
mod history;
mod state;

/// Enabled, with these lists; every name of `*.test` leads to this machine.
fn settings(allowed: &[&str], denied: &[&str]) -> NetworkProxySettings {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    NetworkProxySettings {
        enabled: true,
        allow_local_binding: true,
        allowed_domains: owned(allowed),
        denied_domains: owned(denied),
        ..NetworkProxySettings::default()
    }
}

fn config_state(network: NetworkProxySettings, limits: NetworkProxyConstraints) -> ConfigState {
    build_config_state(NetworkProxyConfig { network }, limits).unwrap()
}

/// What a reloader does when it is asked.
#[derive(Clone)]
enum Next {
    Nothing,
    Config(Box<ConfigState>),
    Failure(&'static str),
    Panic,
    Silence,
}

/// A reloader that does what the test says, and does it once. Whoever wants its configuration now gets the last one.
#[derive(Clone)]
struct Reloader {
    next: Arc<Mutex<Next>>,
    last: Arc<Mutex<Option<ConfigState>>>,
}

impl Reloader {
    fn idle() -> Self {
        Self {
            next: Arc::new(Mutex::new(Next::Nothing)),
            last: Arc::default(),
        }
    }

    fn will(&self, next: Next) {
        if let Next::Config(state) = &next {
            *self.last.lock().unwrap() = Some(state.as_ref().clone());
        }
        *self.next.lock().unwrap() = next;
    }

    async fn act(&self) -> anyhow::Result<Option<ConfigState>> {
        let next = std::mem::replace(&mut *self.next.lock().unwrap(), Next::Nothing);
        match next {
            Next::Nothing => Ok(None),
            Next::Config(state) => Ok(Some(*state)),
            Next::Failure(why) => Err(anyhow::anyhow!(why)),
            Next::Panic => panic!("a reloader of somebody else"),
            Next::Silence => std::future::pending().await,
        }
    }
}

#[async_trait::async_trait]
impl ConfigReloader for Reloader {
    fn source_label(&self) -> String {
        "the test".to_owned()
    }

    async fn maybe_reload(&self) -> anyhow::Result<Option<ConfigState>> {
        self.act().await
    }

    async fn reload_now(&self) -> anyhow::Result<ConfigState> {
        // The proxy's own asking may have been quicker.
        let state = self.act().await?;
        let last = self.last.lock().unwrap().clone();
        state
            .or(last)
            .ok_or_else(|| anyhow::anyhow!("there is no other configuration"))
    }
}

/// A proxy that was built of a state.
struct Shared {
    state: Arc<NetworkProxyState>,
    proxy: NetworkProxy,
    handle: NetworkProxyHandle,
    reloader: Reloader,
    audit: Audit,
}

impl Shared {
    async fn start(network: NetworkProxySettings, limits: NetworkProxyConstraints) -> Self {
        let audit = Audit::start();
        let reloader = Reloader::idle();
        let state = Arc::new(NetworkProxyState::with_reloader(
            config_state(network, limits),
            Arc::new(reloader.clone()),
        ));
        let proxy = proxy_of(&state, |builder| builder).await;
        Self {
            handle: proxy.run().await.unwrap(),
            state,
            proxy,
            reloader,
            audit,
        }
    }

    async fn permits(&self, host: &str) -> bool {
        permits(&self.proxy, host).await
    }
}

/// A proxy of `state` for which every name that a test uses leads to this machine.
async fn proxy_of(
    state: &Arc<NetworkProxyState>,
    change: impl FnOnce(
        codex_network_proxy::NetworkProxyBuilder,
    ) -> codex_network_proxy::NetworkProxyBuilder,
) -> NetworkProxy {
    let builder = NetworkProxy::builder()
        .state(Arc::clone(state))
        .resolver(Arc::new(names()))
        .parent_proxies(ParentProxies::default())
        .limits(Limits::default());
    change(builder).build().await.unwrap()
}

fn names() -> Script {
    let script = Script::default();
    for name in ["a.test", "b.test", "c.test", "x.c.test"] {
        script.set(name, Answer::Addresses(vec!["127.0.0.1".parse().unwrap()]));
    }
    script
}

/// Whether a request is permitted that leads to nobody; its answer then is 502.
async fn permits(proxy: &NetworkProxy, host: &str) -> bool {
    let nobody = Nobody::listens();
    let mut client = Wire::connect(proxy.http_addr()).await;
    let request = format!("GET http://{host}:{}/ HTTP/1.1\r\n\r\n", nobody.port);
    client.send(request).await;
    let answer = client.message().await;
    assert!(
        answer.starts_with("HTTP/1.1 403") || answer.starts_with("HTTP/1.1 502"),
        "{answer}"
    );
    answer.starts_with("HTTP/1.1 502")
}
