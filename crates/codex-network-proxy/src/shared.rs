//! What an embedding program shares with its proxy: the configuration in force, the history, the session.
//!
//! Main type: [`NetworkProxyState`], under the name that existing users know; every proxy has one. Comes in: a
//! [`ConfigState`] that the program built, and perhaps a [`ConfigReloader`] to ask for the next one. Goes out: questions
//! about what is in force, live edits, the history. It judges no access: that is the gate's part, on the same policy.

use std::sync::Arc;

use codex_network_gate::{
    BlockedRequest, BlockedRequestObserver, History, Limits, NetworkProxyAuditMetadata,
};
use codex_network_policy::{AccessRequest, Host, Mode, Outcome, Protocol, SocketPath, Target};

use crate::authority::CertificateAuthority;
use crate::config::{Edit, LoadedConfig, NetworkProxyConfig};
use crate::error::{Error, ErrorKind};
use crate::in_force::{InForce, Requests, Signing};
use crate::reload;

mod config_state;
mod reloader;

pub use config_state::{ConfigState, build_config_state};
pub use reloader::ConfigReloader;
pub(crate) use reloader::Polling;
use reloader::Reloading;

/// What is in force in one proxy, or in several that are to be one.
#[derive(Debug)]
pub struct NetworkProxyState {
    in_force: Arc<InForce>,
    history: History,
    metadata: NetworkProxyAuditMetadata,
    signing: Option<Signing>,
    reloading: Option<Reloading>,
}

impl NetworkProxyState {
    /// Puts `state` in force, and asks `reloader` for what follows it.
    #[must_use]
    pub fn with_reloader(state: ConfigState, reloader: Arc<dyn ConfigReloader>) -> Self {
        Self::with_reloader_and_audit_metadata(
            state,
            reloader,
            NetworkProxyAuditMetadata::default(),
        )
    }

    /// As [`NetworkProxyState::with_reloader`]; `observer` is told of each refusal.
    #[must_use]
    pub fn with_reloader_and_blocked_observer(
        state: ConfigState,
        reloader: Arc<dyn ConfigReloader>,
        observer: Option<Arc<dyn BlockedRequestObserver>>,
    ) -> Self {
        Self::with_reloader_and_audit_metadata_and_blocked_observer(
            state,
            reloader,
            NetworkProxyAuditMetadata::default(),
            observer,
        )
    }

    /// As [`NetworkProxyState::with_reloader`]; `metadata` stands in each audit event.
    #[must_use]
    pub fn with_reloader_and_audit_metadata(
        state: ConfigState,
        reloader: Arc<dyn ConfigReloader>,
        metadata: NetworkProxyAuditMetadata,
    ) -> Self {
        let (config, signing) = state.into_parts();
        Self {
            metadata,
            reloading: Some(Reloading::new(reloader)),
            ..Self::of(config, signing)
        }
    }

    /// All of it together.
    #[must_use]
    pub fn with_reloader_and_audit_metadata_and_blocked_observer(
        state: ConfigState,
        reloader: Arc<dyn ConfigReloader>,
        metadata: NetworkProxyAuditMetadata,
        observer: Option<Arc<dyn BlockedRequestObserver>>,
    ) -> Self {
        let state = Self::with_reloader_and_audit_metadata(state, reloader, metadata);
        state.history.observe(observer);
        state
    }

    /// Of a configuration without an embedder's reloader.
    pub(crate) fn of(config: LoadedConfig, signing: Option<Signing>) -> Self {
        let interception = Signing::reach(signing.as_ref(), false);
        Self {
            in_force: Arc::new(InForce::new(config, interception)),
            history: History::new(Limits::default().history),
            metadata: NetworkProxyAuditMetadata::default(),
            signing,
            reloading: None,
        }
    }

    pub(crate) fn in_force(&self) -> &Arc<InForce> {
        &self.in_force
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    pub(crate) fn signing(&self) -> Option<&Signing> {
        self.signing.as_ref()
    }

    /// The session that each audit event names.
    #[must_use]
    pub fn audit_metadata(&self) -> &NetworkProxyAuditMetadata {
        &self.metadata
    }

    /// Tells `observer` of each refusal from now on, instead of whoever was told before.
    #[expect(
        clippy::unused_async,
        reason = "the public interface, fixed by existing users"
    )]
    pub async fn set_blocked_request_observer(
        &self,
        observer: Option<Arc<dyn BlockedRequestObserver>>,
    ) {
        self.history.observe(observer);
    }

    /// The settings in force, live edits included.
    ///
    /// # Errors
    /// None today. What cannot be reloaded leaves the last good configuration in force.
    pub async fn current_cfg(&self) -> Result<NetworkProxyConfig, Error> {
        let config = self.latest().await;
        Ok(NetworkProxyConfig {
            network: config.full_settings(),
        })
    }

    /// The allowlist and the denylist in force, in their canonical spelling.
    ///
    /// # Errors
    /// As for [`NetworkProxyState::current_cfg`].
    pub async fn current_patterns(&self) -> Result<(Vec<String>, Vec<String>), Error> {
        let config = self.latest().await;
        let settings = config.full_settings();
        Ok((settings.allowed_domains, settings.denied_domains))
    }

    /// Whether the proxy lets anything through.
    ///
    /// # Errors
    /// As for [`NetworkProxyState::current_cfg`].
    pub async fn enabled(&self) -> Result<bool, Error> {
        Ok(self.latest().await.settings.enabled)
    }

    /// Whether a parent proxy may be used.
    ///
    /// # Errors
    /// As for [`NetworkProxyState::current_cfg`].
    pub async fn allow_upstream_proxy(&self) -> Result<bool, Error> {
        Ok(self.latest().await.settings.allow_upstream_proxy)
    }

    /// Which requests are possible at all.
    ///
    /// # Errors
    /// As for [`NetworkProxyState::current_cfg`].
    pub async fn network_mode(&self) -> Result<Mode, Error> {
        Ok(self.latest().await.settings.mode)
    }

    /// Whether the mode permits this method.
    ///
    /// # Errors
    /// As for [`NetworkProxyState::current_cfg`].
    pub async fn method_allowed(&self, method: &str) -> Result<bool, Error> {
        Ok(self.network_mode().await?.allows_method(method))
    }

    /// Whether the rules permit this socket. Links are not followed.
    ///
    /// # Errors
    /// As for [`NetworkProxyState::current_cfg`].
    pub async fn is_unix_socket_allowed(&self, path: &str) -> Result<bool, Error> {
        let config = self.latest().await;
        let sockets = &config.rules.sockets;
        let listed = SocketPath::parse(path).is_ok_and(|path| {
            sockets.allow_all || sockets.allowed.iter().any(|rule| rule.path == path)
        });
        Ok(sockets.supported && listed)
    }

    /// Why the lists refuse this host, as a word (`denied`, `not_allowed_local`, `not_allowed`), or `None` where they
    /// permit it. Nothing is resolved and nobody is asked, so a permitted name may still be refused for its addresses, and
    /// an unlisted one may be approved.
    ///
    /// # Errors
    /// [`ErrorKind::Host`] where `host` is none.
    pub async fn host_blocked(&self, host: &str, port: u16) -> Result<Option<String>, Error> {
        self.latest().await;
        let host = Host::parse(host.trim())
            .map_err(|error| Error::new(ErrorKind::Host, "invalid network host", error))?;
        let target = Target::Host { host, port };
        let snapshot = self.in_force.store().current();
        // As a plain request that every mode permits, so that the lists alone decide.
        let verdict = snapshot.policy.evaluate(&AccessRequest {
            protocol: Protocol::Http,
            target: &target,
            method: Some("GET"),
            upgrade: false,
        });
        Ok(match verdict.outcome {
            Outcome::Allow => None,
            Outcome::Unlisted => Some("not_allowed".to_owned()),
            Outcome::Deny(reason) => Some(reason.as_str().to_owned()),
        })
    }

    /// The certificate authority, where TLS is opened.
    ///
    /// # Errors
    /// As for [`NetworkProxyState::current_cfg`].
    #[expect(
        clippy::unused_async,
        reason = "the public interface, fixed by existing users"
    )]
    pub async fn mitm_state(&self) -> Result<Option<Arc<CertificateAuthority>>, Error> {
        let authority = self.signing.as_ref().map(|signing| &signing.authority);
        Ok(authority.map(Arc::clone))
    }

    /// Records a refusal that was made elsewhere, as if it were the proxy's.
    ///
    /// # Errors
    /// None.
    #[expect(
        clippy::unused_async,
        reason = "the public interface, fixed by existing users"
    )]
    pub async fn record_blocked(&self, entry: BlockedRequest) -> Result<(), Error> {
        self.history.record(entry);
        Ok(())
    }

    /// A copy of the newest refusals, oldest first.
    ///
    /// # Errors
    /// None.
    #[expect(
        clippy::unused_async,
        reason = "the public interface, fixed by existing users"
    )]
    pub async fn blocked_snapshot(&self) -> Result<Vec<BlockedRequest>, Error> {
        Ok(self.history.snapshot())
    }

    /// Takes the newest refusals, oldest first. The total stays.
    ///
    /// # Errors
    /// None.
    #[expect(
        clippy::unused_async,
        reason = "the public interface, fixed by existing users"
    )]
    pub async fn drain_blocked(&self) -> Result<Vec<BlockedRequest>, Error> {
        Ok(self.history.drain())
    }

    /// Allows `host`, a host or a pattern, for every access that begins from now on: it goes into the allowlist and out of
    /// the denylist. A wider denial still wins. Nothing is written to a file, and the next reload takes it back.
    ///
    /// # Errors
    /// [`ErrorKind::Host`] where it is no host; [`ErrorKind::Limit`] where a managed limit forbids it.
    pub async fn add_allowed_domain(&self, host: &str) -> Result<(), Error> {
        self.edit(Edit::Allow(host.to_owned())).await
    }

    /// Denies `host`, a host or a pattern: it goes into the denylist and out of the allowlist, and open tunnels to it end.
    /// For the rest as [`NetworkProxyState::add_allowed_domain`].
    ///
    /// # Errors
    /// As for [`NetworkProxyState::add_allowed_domain`].
    pub async fn add_denied_domain(&self, host: &str) -> Result<(), Error> {
        self.edit(Edit::Deny(host.to_owned())).await
    }

    /// Sets the mode, until the next reload.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] where a managed limit forbids it.
    pub async fn set_network_mode(&self, mode: Mode) -> Result<(), Error> {
        self.edit(Edit::Mode(mode)).await
    }

    /// Reads the configuration again, changed or not, and puts it in force. One that was given as data stays.
    ///
    /// # Errors
    /// [`ErrorKind::Reload`] where it cannot be used. What is in force stays.
    pub async fn force_reload(&self) -> Result<(), Error> {
        match &self.reloading {
            Some(reloading) => reloading.reload(&self.in_force).await,
            None => reload::force(&self.in_force).await,
        }
    }

    /// Puts another configuration in force.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] where it changes what a running proxy cannot change: whether it is enabled, where it listens,
    /// whether it offers SOCKS5 and UDP.
    pub async fn replace_config_state(&self, state: ConfigState) -> Result<(), Error> {
        let (config, _) = state.into_parts();
        if let Some(key) = self.in_force.config().settled_at_start(&config) {
            let message = format!("cannot update network.{} on a running proxy", key.name());
            let why = "it is settled when the proxy starts";
            return Err(Error::new(ErrorKind::Limit, message, why));
        }
        let compiling = Arc::clone(&self.in_force);
        let changed = tokio::task::spawn_blocking(move || compiling.prepare(config)).await;
        let changed = changed.map_err(|error| {
            Error::new(ErrorKind::Task, "a configuration was not replaced", error)
        })?;
        self.in_force
            .put_in_force(*changed, "the embedding program");
        Ok(())
    }

    /// The task that asks the reloader, where there is one.
    pub(crate) fn polling(&self, requests: &Requests) -> Option<Polling> {
        let reloading = self.reloading.clone()?;
        let in_force = Arc::clone(&self.in_force);
        Some(Polling::new(reloading, in_force, requests.clone()))
    }

    async fn edit(&self, edit: Edit) -> Result<(), Error> {
        self.latest().await;
        Arc::clone(&self.in_force).edit(edit).await
    }

    /// The configuration in force, after asking the reloader whether there is another.
    async fn latest(&self) -> Arc<LoadedConfig> {
        if let Some(reloading) = &self.reloading {
            reloading.refresh(&self.in_force).await;
        }
        self.in_force.config()
    }
}
