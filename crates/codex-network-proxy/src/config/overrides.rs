//! What stands above the files: flags, an embedder's wishes, and facts about the session and the platform.
//!
//! Main type: [`Overrides`]. Values only; `assembly` works them in.

use std::net::SocketAddr;
use std::path::PathBuf;

use codex_network_policy::Mode as NetworkMode;

/// What the command line or an embedder says on top of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// This file instead of the user's own; it must exist. The files of the machine and of a trusted project count as
    /// before.
    pub config_file: Option<PathBuf>,
    /// Settings as `key=value`, a layer above the files: a dotted key, and a value that is TOML or else a string.
    pub settings: Vec<String>,
    /// This profile instead of `default_permissions`.
    pub profile: Option<String>,
    /// Patterns added to the allowlist.
    pub allow: Vec<String>,
    /// Patterns added to the denylist.
    pub deny: Vec<String>,
    /// This mode instead of the file's.
    pub mode: Option<NetworkMode>,
    /// The HTTP listener here; still kept on this machine unless the settings say otherwise.
    pub http_addr: Option<SocketAddr>,
    /// The SOCKS5 listener here; it does not bring one back that the settings leave out.
    pub socks_addr: Option<SocketAddr>,
    /// What the session's sandbox grants, which decides how managed lists and the user's meet.
    pub access: SandboxAccess,
}

/// What the sandbox of a session grants besides the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SandboxAccess {
    /// Read-only or workspace-write: the user's lists add to managed ones.
    #[default]
    Restricted,
    /// Full access, or somebody else's sandbox: where a managed list exists, it is the only one.
    Full,
}

/// Whether the platform lets the proxy lead to unix sockets. The caller says so, which lets every platform test both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnixSockets {
    /// macOS.
    Supported,
    /// Everywhere else: such requests are refused.
    Unsupported,
}

impl UnixSockets {
    /// What this platform lets the proxy do.
    #[must_use]
    pub fn of_platform() -> Self {
        if cfg!(target_os = "macos") {
            Self::Supported
        } else {
            Self::Unsupported
        }
    }
}
