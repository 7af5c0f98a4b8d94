//! The environment variables by which a child process finds the proxy.
//!
//! Main functions: [`apply_to_env`], which sets everything that a child needs, and [`exports`], the few that a person
//! copies into a shell. Comes in: the addresses of the listeners and, where TLS is opened, the bundle of trusted
//! certificates. It touches no environment but the map it is given, and it contains nobody: a program that ignores these variables is not stopped by them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;

/// The variables that may hold a proxy URL, as clients spell them in capitals.
pub const PROXY_URL_ENV_KEYS: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "WS_PROXY",
    "WSS_PROXY",
    "ALL_PROXY",
    "FTP_PROXY",
    "YARN_HTTP_PROXY",
    "YARN_HTTPS_PROXY",
    "NPM_CONFIG_HTTP_PROXY",
    "NPM_CONFIG_HTTPS_PROXY",
    "NPM_CONFIG_PROXY",
    "BUNDLE_HTTP_PROXY",
    "BUNDLE_HTTPS_PROXY",
    "PIP_PROXY",
    "DOCKER_HTTP_PROXY",
    "DOCKER_HTTPS_PROXY",
];

/// The variables for every protocol that has none of its own.
pub const ALL_PROXY_ENV_KEYS: &[&str] = &["ALL_PROXY", "all_proxy"];

/// The variables that name what is reached without a proxy.
pub const NO_PROXY_ENV_KEYS: &[&str] = &[
    "NO_PROXY",
    "no_proxy",
    "npm_config_noproxy",
    "NPM_CONFIG_NOPROXY",
    "YARN_NO_PROXY",
    "BUNDLE_NO_PROXY",
];

/// Local and private targets, which go around the proxy where the policy lets them.
pub const DEFAULT_NO_PROXY_VALUE: &str =
    "localhost,127.0.0.1,::1,*.local,.local,169.254.0.0/16,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16";

/// Tells a child, with `1` or `0`, whether local addresses are reachable.
pub const ALLOW_LOCAL_BINDING_ENV_KEY: &str = "CODEX_NETWORK_ALLOW_LOCAL_BINDING";

/// The variables by which clients find the certificates that they trust. Each takes the bundle, which holds the roots of
/// this machine too: most of these replace what the client trusts otherwise.
pub const TRUST_ENV_KEYS: &[&str] = &[
    "CODEX_CA_CERTIFICATE",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "PIP_CERT",
    "BUNDLE_SSL_CA_CERT",
    "npm_config_cafile",
    "NPM_CONFIG_CAFILE",
];

/// Those of them that a person is told to export.
const EXPORTED_TRUST_KEYS: &[&str] = &[
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    // An npm whose own configuration names a `cafile` trusts nobody else, Node's variable or not.
    "npm_config_cafile",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "PIP_CERT",
];

/// What always goes to the HTTP listener.
const HTTP_KEYS: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
    "YARN_HTTP_PROXY",
    "YARN_HTTPS_PROXY",
    "npm_config_http_proxy",
    "npm_config_https_proxy",
    "npm_config_proxy",
    "NPM_CONFIG_HTTP_PROXY",
    "NPM_CONFIG_HTTPS_PROXY",
    "NPM_CONFIG_PROXY",
    "BUNDLE_HTTP_PROXY",
    "BUNDLE_HTTPS_PROXY",
    "PIP_PROXY",
    "DOCKER_HTTP_PROXY",
    "DOCKER_HTTPS_PROXY",
    "WS_PROXY",
    "WSS_PROXY",
    "ws_proxy",
    "wss_proxy",
];

const FTP_KEYS: &[&str] = &["FTP_PROXY", "ftp_proxy"];

/// The value of a proxy variable: of the key itself, or of its lower-case spelling. It may be empty.
pub fn proxy_url_env_value<'a>(env: &'a HashMap<String, String>, key: &str) -> Option<&'a str> {
    env.get(key)
        .or_else(|| env.get(&key.to_ascii_lowercase()))
        .map(String::as_str)
}

/// Whether any proxy variable is set to something other than white space.
pub fn has_proxy_url_env_vars(env: &HashMap<String, String>) -> bool {
    PROXY_URL_ENV_KEYS
        .iter()
        .any(|key| proxy_url_env_value(env, key).is_some_and(|value| !value.trim().is_empty()))
}

/// Points a child at the proxy. What the variables held before is overwritten, for a child that kept another proxy would
/// go around this one.
///
/// `trust_bundle` is the file that [`write_bundle`] wrote, given where the proxy opens TLS. A path that is no Unicode
/// cannot stand in this map and is left out: the child then refuses our certificates, which it says, rather than look for
/// a file that is not there.
///
/// [`write_bundle`]: crate::CertificateAuthority::write_bundle
pub fn apply_to_env(
    env: &mut HashMap<String, String>,
    http_addr: SocketAddr,
    socks_addr: Option<SocketAddr>,
    allow_local_binding: bool,
    trust_bundle: Option<&Path>,
) {
    let mut set_all = |keys: &[&str], value: &str| {
        for key in keys {
            env.insert((*key).to_owned(), value.to_owned());
        }
    };
    let other_protocols = other_protocols_url(http_addr, socks_addr);
    set_all(HTTP_KEYS, &http_url(http_addr));
    set_all(ALL_PROXY_ENV_KEYS, &other_protocols);
    set_all(FTP_KEYS, &other_protocols);
    set_all(NO_PROXY_ENV_KEYS, no_proxy(allow_local_binding));
    set_all(
        &[ALLOW_LOCAL_BINDING_ENV_KEY],
        if allow_local_binding { "1" } else { "0" },
    );
    set_all(&["ELECTRON_GET_USE_PROXY"], "true");
    set_all(&["CODEX_NETWORK_PROXY_ACTIVE", "NODE_USE_ENV_PROXY"], "1");
    if let Some(bundle) = trust_bundle.and_then(Path::to_str) {
        set_all(TRUST_ENV_KEYS, bundle);
    }
    if let Some(command) = socks_addr
        .filter(|_| cfg!(target_os = "macos"))
        .map(git_ssh_command)
    {
        // A user's own command stays: it may hold the key that the server wants.
        env.entry("GIT_SSH_COMMAND".to_owned()).or_insert(command);
    }
}

/// The short list for a person: name and value, in the order in which they are printed. What is to be trusted comes
/// first, so that a shell which reads line by line never has a proxy that it cannot use.
pub fn exports(
    http_addr: SocketAddr,
    socks_addr: Option<SocketAddr>,
    allow_local_binding: bool,
    trust_bundle: Option<&Path>,
) -> Vec<(&'static str, String)> {
    let other_protocols = other_protocols_url(http_addr, socks_addr);
    let no_proxy = no_proxy(allow_local_binding);
    let trust = trust_bundle.and_then(Path::to_str).into_iter();
    let trust = trust.flat_map(|bundle| {
        EXPORTED_TRUST_KEYS
            .iter()
            .map(|key| (*key, bundle.to_owned()))
    });
    let proxies = [
        ("HTTP_PROXY", "http_proxy", http_url(http_addr)),
        ("HTTPS_PROXY", "https_proxy", http_url(http_addr)),
        ("ALL_PROXY", "all_proxy", other_protocols),
        ("NO_PROXY", "no_proxy", no_proxy.to_owned()),
    ]
    .into_iter()
    .flat_map(|(upper, lower, value)| [(upper, value.clone()), (lower, value)]);
    trust.chain(proxies).collect()
}

fn http_url(http_addr: SocketAddr) -> String {
    format!("http://{http_addr}")
}

/// SOCKS5 with names resolved by the proxy (`socks5h`): a client that resolves itself would hide the name from the policy.
fn other_protocols_url(http_addr: SocketAddr, socks_addr: Option<SocketAddr>) -> String {
    socks_addr.map_or_else(
        || http_url(http_addr),
        |socks_addr| format!("socks5h://{socks_addr}"),
    )
}

/// Empty unless local targets are allowed: whatever stands here goes around the policy.
fn no_proxy(allow_local_binding: bool) -> &'static str {
    if allow_local_binding {
        DEFAULT_NO_PROXY_VALUE
    } else {
        ""
    }
}

/// `nc -X 5` is what macOS has; elsewhere `nc` may be another program without SOCKS5.
fn git_ssh_command(socks_addr: SocketAddr) -> String {
    format!("ssh -o ProxyCommand='nc -X 5 -x {socks_addr} %h %p'")
}

#[cfg(test)]
mod tests;
