//! What a judgement is recorded with.
//!
//! [`Facts`] are of the access, [`Outcome`] is of the judgement. Neither holds a URL, a header or a body, so that
//! none can be recorded.

use std::borrow::Cow;
use std::net::SocketAddr;

use codex_network_policy::{Decision, Host, Mode, Protocol, Reason, Scope, Source, Target};

use super::text;
use crate::fingerprint::Fingerprint;

/// The host that stands for a socket in evidence and answers; the path itself is not told.
pub(crate) const UNIX_SOCKET_HOST: &str = "unix-socket";

/// How many characters of a method are kept. The longest registered one has 17.
const LONGEST_METHOD: usize = 64;

/// The facts of an access that evidence may mention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) target: &'a Target,
    pub(crate) method: Option<&'a str>,
    pub(crate) client: Option<SocketAddr>,
    /// The server name with which the client begins TLS in a tunnel, where that is what is judged.
    pub(crate) server_name: Option<&'a str>,
}

impl Facts<'_> {
    pub(super) fn port(&self) -> u16 {
        match self.target {
            Target::Host { port, .. } => *port,
            Target::Unix(_) => 0,
        }
    }

    /// The method, cut where no method goes on: a client may send as long a one as a request head can be.
    pub(super) fn method(&self) -> Option<&str> {
        self.method
            .map(|method| match method.char_indices().nth(LONGEST_METHOD) {
                Some((end, _)) => &method[..end],
                None => method,
            })
    }

    pub(super) fn host(&self) -> Cow<'_, str> {
        match self.target {
            Target::Host { host, .. } => text::host(host),
            Target::Unix(_) => Cow::Borrowed(UNIX_SOCKET_HOST),
        }
    }
}

/// One judgement, as it is recorded.
#[derive(Clone, Copy)]
pub(crate) struct Outcome<'a> {
    pub(crate) decision: Decision,
    pub(crate) scope: Scope,
    pub(crate) source: Source,
    /// `None` where the lists allow, which is written as `allow`.
    pub(crate) reason: Option<&'a Reason>,
    /// Whether a decider lifted the baseline's no.
    pub(crate) overridden: bool,
    /// Whether the access leaves through a parent proxy.
    pub(crate) via_parent: bool,
    /// The mode, where the history is to tell it.
    pub(crate) mode: Option<Mode>,
    /// The rule that decided and where it stands, or what would permit the access: for the log line.
    pub(crate) note: Option<&'a dyn std::fmt::Display>,
}

/// What proved the identity of a connection, as it is recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connected<'a> {
    pub(crate) dialled: Option<SocketAddr>,
    pub(crate) server_name: Option<&'a Host>,
    pub(crate) encrypted_hello: bool,
    pub(crate) certificate: Option<&'a Fingerprint>,
    pub(crate) rule: Option<&'a str>,
    pub(crate) approved: bool,
    pub(crate) via_parent: bool,
}

impl Outcome<'_> {
    pub(super) fn reason_word(&self) -> &str {
        self.reason.map_or("allow", Reason::as_str)
    }
}
