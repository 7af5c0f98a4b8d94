//! The one table of keys: name, type, default and meaning of every key that the proxy reads.
//!
//! Main types: [`NetworkKey`], a key of `[permissions.<profile>.network]`, and [`RequirementKey`], a key of
//! `[experimental_network]`. The reader matches on them, the JSON Schema and `docs/config.md` are written from them, so
//! that a key cannot be known to one and unknown to another. What a key does is not done here.

/// A key as people and editors have to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// The value that holds where nothing is said, as TOML; empty where nothing holds.
    pub default: &'static str,
    /// What it means, in one paragraph of Markdown.
    pub meaning: &'static str,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A listener's address.
    Address,
    /// `"full"` or `"limited"`.
    Mode,
    /// `"allow"` or `"deny"`.
    AllowDeny,
    /// A port from 1 to 65535.
    Port,
    /// An array of host patterns.
    Patterns,
    /// An array of absolute paths.
    Paths,
    /// A table, pattern = `"allow"` or `"deny"`.
    PatternTable,
    /// A table, path = `"allow"` or `"deny"`.
    PathTable,
}

impl Key {
    const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            default,
            meaning,
        }
    }
}

impl Kind {
    /// The type in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "bool",
            Self::Address => "string",
            Self::Mode => "`\"full\"` or `\"limited\"`",
            Self::AllowDeny => "`\"allow\"` or `\"deny\"`",
            Self::Port => "port",
            Self::Patterns => "array of patterns",
            Self::Paths => "array of absolute paths",
            Self::PatternTable => "table, pattern = `\"allow\"` or `\"deny\"`",
            Self::PathTable => "table, path = `\"allow\"` or `\"deny\"`",
        }
    }
}

/// A key of `[permissions.<profile>.network]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`key` holds the meaning of each")]
pub enum NetworkKey {
    Enabled,
    ProxyUrl,
    EnableSocks5,
    SocksUrl,
    EnableSocks5Udp,
    AllowUpstreamProxy,
    DangerouslyAllowNonLoopbackProxy,
    DangerouslyAllowAllUnixSockets,
    Mode,
    AllowedDomains,
    DeniedDomains,
    Domains,
    AllowUnixSockets,
    UnixSockets,
    AllowLocalBinding,
    EncryptedClientHello,
    VerifyOrigin,
    RequireAuditLog,
    HideRefusalDetails,
    Mitm,
}

impl NetworkKey {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 20] = [
        Self::Enabled,
        Self::ProxyUrl,
        Self::EnableSocks5,
        Self::SocksUrl,
        Self::EnableSocks5Udp,
        Self::AllowUpstreamProxy,
        Self::DangerouslyAllowNonLoopbackProxy,
        Self::DangerouslyAllowAllUnixSockets,
        Self::Mode,
        Self::AllowedDomains,
        Self::DeniedDomains,
        Self::Domains,
        Self::AllowUnixSockets,
        Self::UnixSockets,
        Self::AllowLocalBinding,
        Self::EncryptedClientHello,
        Self::VerifyOrigin,
        Self::RequireAuditLog,
        Self::HideRefusalDetails,
        Self::Mitm,
    ];

    /// The key of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.key().name
    }

    /// The key's row of the table.
    #[must_use]
    pub fn key(self) -> Key {
        NETWORK_KEYS[self as usize]
    }
}

/// A key of `[experimental_network]` in `requirements.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`key` holds the meaning of each")]
pub enum RequirementKey {
    Enabled,
    HttpPort,
    SocksPort,
    AllowUpstreamProxy,
    DangerouslyAllowNonLoopbackProxy,
    DangerouslyAllowAllUnixSockets,
    AllowLocalBinding,
    AllowedDomains,
    ManagedAllowedDomainsOnly,
    DeniedDomains,
    Domains,
    AllowUnixSockets,
    UnixSockets,
}

impl RequirementKey {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 13] = [
        Self::Enabled,
        Self::HttpPort,
        Self::SocksPort,
        Self::AllowUpstreamProxy,
        Self::DangerouslyAllowNonLoopbackProxy,
        Self::DangerouslyAllowAllUnixSockets,
        Self::AllowLocalBinding,
        Self::AllowedDomains,
        Self::ManagedAllowedDomainsOnly,
        Self::DeniedDomains,
        Self::Domains,
        Self::AllowUnixSockets,
        Self::UnixSockets,
    ];

    /// The key of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.key().name
    }

    /// The key's row of the table.
    #[must_use]
    pub fn key(self) -> Key {
        REQUIREMENT_KEYS[self as usize]
    }
}

/// In the order of the variants.
const NETWORK_KEYS: [Key; NetworkKey::ALL.len()] = [
    Key::new(
        "enabled",
        Kind::Boolean,
        "false",
        "whether the proxy listens. `false` after a reload: every request is refused",
    ),
    Key::new(
        "proxy_url",
        Kind::Address,
        "\"http://127.0.0.1:3128\"",
        "where HTTP is listened for. Read at start",
    ),
    Key::new(
        "enable_socks5",
        Kind::Boolean,
        "true",
        "whether SOCKS5 is listened for. Read at start",
    ),
    Key::new(
        "socks_url",
        Kind::Address,
        "\"http://127.0.0.1:8081\"",
        "where SOCKS5 is listened for. Read at start",
    ),
    Key::new(
        "enable_socks5_udp",
        Kind::Boolean,
        "true",
        "whether UDP ASSOCIATE is offered. Read at start",
    ),
    Key::new(
        "allow_upstream_proxy",
        Kind::Boolean,
        "true",
        "whether `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` in the proxy's own environment name a parent proxy for HTTP and CONNECT. SOCKS5 always goes out directly",
    ),
    Key::new(
        "dangerously_allow_non_loopback_proxy",
        Kind::Boolean,
        "false",
        "whether a listener may be on an address that other machines reach; else it is moved to 127.0.0.1. Read at start",
    ),
    Key::new(
        "dangerously_allow_all_unix_sockets",
        Kind::Boolean,
        "false",
        "any absolute socket path, on macOS",
    ),
    Key::new(
        "mode",
        Kind::Mode,
        "\"full\"",
        "`limited` permits only `GET`, `HEAD` and `OPTIONS`, over HTTP and, with `mitm = true`, inside TLS; without it CONNECT is refused. SOCKS5 and upgrades are refused",
    ),
    Key::new(
        "allowed_domains",
        Kind::Patterns,
        "[]",
        "what may be reached; empty means nothing",
    ),
    Key::new(
        "denied_domains",
        Kind::Patterns,
        "[]",
        "what may never be reached",
    ),
    Key::new(
        "domains",
        Kind::PatternTable,
        "{}",
        "the two lists in one; both spellings may be used, and deny wins for equal patterns",
    ),
    Key::new(
        "allow_unix_sockets",
        Kind::Paths,
        "[]",
        "sockets that `x-unix-socket` may name, on macOS",
    ),
    Key::new(
        "unix_sockets",
        Kind::PathTable,
        "{}",
        "the same as a table; `deny` allows nothing and can only cancel",
    ),
    Key::new(
        "allow_local_binding",
        Kind::Boolean,
        "false",
        "whether local and private addresses may be reached without an entry of their own; the allowlist still applies",
    ),
    Key::new(
        "encrypted_client_hello",
        Kind::AllowDeny,
        "\"allow\"",
        "what a TLS ClientHello with an encrypted part (ECH) means in a tunnel. The name that can be read must be the permitted one either way; the encrypted part may hold another, see [docs/tls.md](tls.md#encrypted-clienthello)",
    ),
    Key::new(
        "verify_origin",
        Kind::Boolean,
        "false",
        "whether a tunnel's TLS waits until the proxy itself has seen a valid certificate for its name at the address that it goes to, see [docs/tls.md](tls.md)",
    ),
    Key::new(
        "require_audit_log",
        Kind::Boolean,
        "false",
        "whether every request is refused (`audit_unavailable`) while the file of `--audit-log` cannot be written, and where there is none. Else the proxy goes on, says so once, and counts what it could not write; see [docs/audit-log.md](audit-log.md)",
    ),
    Key::new(
        "hide_refusal_details",
        Kind::Boolean,
        "false",
        "whether a refused client is told no more than the reason. Else it reads, in `Proxy-Status` and where it asks for `application/problem+json`, the rule that decided or what would permit the access, see [docs/refusals.md](refusals.md)",
    ),
    Key::new(
        "mitm",
        Kind::Boolean,
        "false",
        "in limited mode every tunnel by CONNECT is opened, so that the requests inside are judged, see [docs/tls.md](tls.md). Clients must trust the proxy's certificate authority (`codex-network-proxy ca trust`). No effect in full mode, and a warning says so. Read at start",
    ),
];

/// In the order of the variants.
const REQUIREMENT_KEYS: [Key; RequirementKey::ALL.len()] = [
    Key::new(
        "enabled",
        Kind::Boolean,
        "",
        "replaces the user's; `false` cannot be undone. Without it the proxy is enabled unless a layer says `enabled = false`",
    ),
    Key::new(
        "http_port",
        Kind::Port,
        "",
        "`proxy_url` becomes `http://127.0.0.1:<port>`",
    ),
    Key::new(
        "socks_port",
        Kind::Port,
        "",
        "`socks_url` becomes `http://127.0.0.1:<port>`",
    ),
    Key::new(
        "allow_upstream_proxy",
        Kind::Boolean,
        "",
        "replaces the user's; `false` cannot be undone",
    ),
    Key::new(
        "dangerously_allow_non_loopback_proxy",
        Kind::Boolean,
        "",
        "replaces the user's; `false` cannot be undone",
    ),
    Key::new(
        "dangerously_allow_all_unix_sockets",
        Kind::Boolean,
        "",
        "replaces the user's; `false` cannot be undone",
    ),
    Key::new(
        "allow_local_binding",
        Kind::Boolean,
        "",
        "replaces the user's; `false` cannot be undone",
    ),
    Key::new(
        "allowed_domains",
        Kind::Patterns,
        "",
        "stands before the user's entries, which may add to it",
    ),
    Key::new(
        "managed_allowed_domains_only",
        Kind::Boolean,
        "",
        "`true`: the managed allowlist is the only one. The user's entries are ignored, a missing list allows nothing, and no decider is asked",
    ),
    Key::new(
        "denied_domains",
        Kind::Patterns,
        "",
        "stands before the user's entries, which may add to it",
    ),
    Key::new(
        "domains",
        Kind::PatternTable,
        "",
        "the two lists in one; not beside `allowed_domains` or `denied_domains`",
    ),
    Key::new(
        "allow_unix_sockets",
        Kind::Paths,
        "",
        "replaces the user's list, and nothing else may be listed",
    ),
    Key::new(
        "unix_sockets",
        Kind::PathTable,
        "",
        "the same as a table: only the paths with `\"allow\"` may be reached; not beside `allow_unix_sockets`",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_variants() {
        // `AllowedDomains` is `allowed_domains`, but for the words that end in a number.
        let snake = |variant: String| {
            let mut name = String::new();
            for letter in variant.chars() {
                if letter.is_ascii_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(letter.to_ascii_lowercase());
            }
            name
        };
        for key in NetworkKey::ALL {
            assert_eq!(key.name(), snake(format!("{key:?}")));
            assert_eq!(NetworkKey::named(key.name()), Some(key));
        }
        for key in RequirementKey::ALL {
            assert_eq!(key.name(), snake(format!("{key:?}")));
            assert_eq!(RequirementKey::named(key.name()), Some(key));
        }
    }
}
