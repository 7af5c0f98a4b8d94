//! Every name of ours in docs/migration.md exists: this file is compiled with exactly the names that the table has.

#![expect(
    clippy::unwrap_used,
    unused_imports,
    reason = "a test fails by panicking, and these imports are there to be compiled"
)]

use std::collections::BTreeSet;
use std::path::Path;

use codex_network_proxy::*;

/// Compiles names in the ways in which they can be named, and lists them as the table writes them.
macro_rules! names {
    (
        items { $($item:ident),* $(,)? }
        paths { $($owner:ident :: $name:ident),* $(,)? }
        shapes { $($shape:path { $($field:ident),* $(,)? }),* $(,)? }
        called { $($called:ident :: $method:ident ( $($argument:expr),* )),* $(,)? }
        implemented { $($trait:ident :: $required:ident),* $(,)? }
    ) => {
        mod items { $(use codex_network_proxy::$item as _;)* }
        #[allow(irrefutable_let_patterns, unreachable_code, unused_variables, clippy::diverging_sub_expression, reason = "compiled and never run")]
        fn compiled() {
            $(let _ = $owner::$name;)*
            $(if let $shape { $($field,)* .. } = todo() {})*
            $(let _ = $called::$method($($argument),*);)*
        }
        fn names() -> BTreeSet<String> {
            let mut names = BTreeSet::new();
            $(names.insert(stringify!($item).to_owned());)*
            $(names.insert(concat!(stringify!($owner), "::", stringify!($name)).to_owned());)*
            $(names.insert(concat!(stringify!($called), "::", stringify!($method)).to_owned());)*
            $(names.insert(concat!(stringify!($trait), "::", stringify!($required)).to_owned());)*
            $({
                let fields = [$(stringify!($field)),*];
                let shape = stringify!($shape).replace(' ', "");
                names.insert(format!("{shape} {{ {} }}", fields.join(", ")));
            })*
            names
        }
    };
}

/// A value of any type, for code that is compiled and never run.
fn todo<T>() -> T {
    todo!()
}

/// Methods of a trait are named by whoever implements it.
struct Implementor;

#[async_trait::async_trait]
impl NetworkPolicyDecider for Implementor {
    async fn decide(&self, _: NetworkPolicyRequest) -> NetworkDecision {
        NetworkDecision::Allow
    }
}

#[async_trait::async_trait]
impl BlockedRequestObserver for Implementor {
    async fn on_blocked_request(&self, _: BlockedRequest) {}
}

#[async_trait::async_trait]
impl ConfigReloader for Implementor {
    fn source_label(&self) -> String {
        String::new()
    }

    async fn maybe_reload(&self) -> anyhow::Result<Option<ConfigState>> {
        Ok(None)
    }

    async fn reload_now(&self) -> anyhow::Result<ConfigState> {
        anyhow::bail!("none")
    }
}

names! {
    items {
        ALLOW_LOCAL_BINDING_ENV_KEY, ALL_PROXY_ENV_KEYS, BlockedRequestObserver, CertificateAuthority, ConfigReloader,
        ConfigState, DEFAULT_NO_PROXY_VALUE, NO_PROXY_ENV_KEYS, NetworkPolicyDecider, NetworkProxy, NetworkProxyBuilder,
        NetworkProxyHandle, NetworkProxySettings, NetworkProxyState, PROXY_URL_ENV_KEYS, PartialNetworkConfig,
        build_config_state, has_proxy_url_env_vars, host_and_port_from_network_addr, normalize_host, proxy_url_env_value,
        validate_policy_against_constraints,
    }
    paths {
        BlockedRequest::new,
        NetworkDecision::Allow,
        NetworkDecisionSource::BaselinePolicy, NetworkDecisionSource::ModeGuard, NetworkDecisionSource::ProxyState,
        NetworkDecisionSource::Decider, NetworkDecisionSource::as_str,
        NetworkMode::Limited, NetworkMode::Full, NetworkMode::allows_method,
        NetworkPolicyDecision::Deny, NetworkPolicyDecision::Ask, NetworkPolicyDecision::as_str,
        NetworkPolicyRequest::new,
        NetworkProtocol::Http, NetworkProtocol::HttpsConnect, NetworkProtocol::Socks5Tcp, NetworkProtocol::Socks5Udp,
        NetworkProtocol::as_policy_protocol,
        NetworkProxy::builder, NetworkProxy::http_addr, NetworkProxy::socks_addr, NetworkProxy::add_allowed_domain,
        NetworkProxy::add_denied_domain, NetworkProxy::allow_local_binding, NetworkProxy::allow_unix_sockets,
        NetworkProxy::dangerously_allow_all_unix_sockets, NetworkProxy::apply_to_env, NetworkProxy::run,
        NetworkProxy::state, NetworkProxy::policy_status, NetworkProxy::trust_bundle, NetworkProxy::blocked_snapshot,
        NetworkProxy::drain_blocked, NetworkProxy::blocked_total,
        NetworkProxyBuilder::state, NetworkProxyBuilder::config, NetworkProxyBuilder::loaded_config,
        NetworkProxyBuilder::http_addr, NetworkProxyBuilder::socks_addr, NetworkProxyBuilder::managed_by_codex,
        NetworkProxyBuilder::policy_decider_arc, NetworkProxyBuilder::ask_about_each_request,
        NetworkProxyBuilder::decider_timeout, NetworkProxyBuilder::blocked_request_observer_arc,
        NetworkProxyBuilder::audit_metadata, NetworkProxyBuilder::build,
        NetworkProxyConstraintError::into_anyhow,
        NetworkProxyHandle::wait, NetworkProxyHandle::shutdown, NetworkProxyHandle::addresses, NetworkProxyHandle::reload,
        NetworkProxyState::with_reloader, NetworkProxyState::with_reloader_and_blocked_observer,
        NetworkProxyState::with_reloader_and_audit_metadata,
        NetworkProxyState::with_reloader_and_audit_metadata_and_blocked_observer,
        NetworkProxyState::set_blocked_request_observer, NetworkProxyState::audit_metadata,
        NetworkProxyState::current_cfg, NetworkProxyState::current_patterns, NetworkProxyState::enabled,
        NetworkProxyState::force_reload, NetworkProxyState::host_blocked, NetworkProxyState::record_blocked,
        NetworkProxyState::blocked_snapshot, NetworkProxyState::drain_blocked, NetworkProxyState::is_unix_socket_allowed,
        NetworkProxyState::method_allowed, NetworkProxyState::allow_upstream_proxy, NetworkProxyState::network_mode,
        NetworkProxyState::set_network_mode, NetworkProxyState::mitm_state, NetworkProxyState::add_allowed_domain,
        NetworkProxyState::add_denied_domain, NetworkProxyState::replace_config_state,
    }
    shapes {
        BlockedRequest { host, reason, client, method, mode, protocol, decision, source, port, timestamp },
        BlockedRequestArgs { host, reason, client, method, mode, protocol, decision, source, port },
        NetworkDecision::Deny { reason },
        NetworkDecision::Ask { reason },
        NetworkPolicyRequest { protocol, host, port, client_addr, method, command, exec_policy_hint },
        NetworkPolicyRequestArgs { protocol, host, port, client_addr, method, command, exec_policy_hint },
        NetworkProxyAuditMetadata {
            conversation_id, app_version, user_account_id, auth_mode, originator, user_email, terminal_type, model, slug
        },
        NetworkProxyConfig { network },
        NetworkProxyConstraintError::InvalidValue { field_name, candidate, allowed },
        NetworkProxyConstraints {
            enabled, mode, allow_upstream_proxy, dangerously_allow_non_loopback_proxy, dangerously_allow_all_unix_sockets,
            allowed_domains, allowlist_expansion_enabled, denied_domains, denylist_expansion_enabled, allow_unix_sockets,
            allow_local_binding
        },
        PartialNetworkProxyConfig { network },
    }
    called {
        NetworkDecision::deny("not_allowed"),
        NetworkDecision::ask("not_allowed"),
        NetworkDecision::deny_with_source("not_allowed", NetworkDecisionSource::Decider),
        NetworkDecision::ask_with_source("not_allowed", NetworkDecisionSource::Decider),
        NetworkProxyBuilder::policy_decider(todo(), Implementor),
        NetworkProxyBuilder::blocked_request_observer(todo(), Implementor),
    }
    implemented {
        BlockedRequestObserver::on_blocked_request, ConfigReloader::source_label, ConfigReloader::maybe_reload,
        ConfigReloader::reload_now, NetworkPolicyDecider::decide,
    }
}

/// The names in the second column of every table.
fn written() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/migration.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let rows = rows.filter(|row| !row.starts_with("| Codex |"));
    let cells = rows.map(|row| row.split('|').nth(2).unwrap());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

#[test]
fn every_name_of_ours_exists_and_no_other_is_in_the_table() {
    let mut names = names();
    // The binary's features are what it stands behind.
    names.insert("Args".to_owned());
    #[cfg(feature = "cli")]
    let _: Option<Args> = None;
    let written = written();
    let missing: Vec<_> = names.difference(&written).collect();
    let unproven: Vec<_> = written.difference(&names).collect();
    assert!(
        missing.is_empty() && unproven.is_empty(),
        "not in docs/migration.md: {missing:?}; not compiled here: {unproven:?}"
    );
    let _ = compiled;
}

/// What is handed from thread to thread and kept in an embedder's own types.
#[test]
fn what_an_embedder_keeps_can_be_sent_and_shared() {
    fn check<T: Send + Sync + 'static>() {}
    check::<NetworkProxy>();
    check::<NetworkProxyBuilder>();
    check::<NetworkProxyHandle>();
    check::<NetworkProxyState>();
    check::<ConfigState>();
    check::<PolicyStatus>();
    check::<Error>();
    check::<NetworkPolicyRequest>();
    check::<BlockedRequest>();
    fn sendable<F: Future + Send>(_: impl Fn(NetworkProxy, NetworkProxyBuilder) -> F) {}
    sendable(|proxy, builder| async move {
        proxy.add_allowed_domain("a.test").await?;
        let handle = builder.build().await?.run().await?;
        handle.shutdown().await
    });
}
