//! How many files this process may open, and the limits of the proxy that follow.
//!
//! Comes in: the limit of the system. Goes out: [`limits`], so that clients cannot take every descriptor.

use codex_network_proxy::Limits;

/// The default limits, cut to what the open files suffice for.
pub(super) fn limits() -> Limits {
    within_open_files(open_files())
}

/// Descriptors for everything that is no connection: the runtime, the listeners, the resolver, trust roots.
const RESERVED_FILES: usize = 16;

/// The default limits, cut to what the open files suffice for. Clients that took every descriptor would leave none
/// to dial with, and nobody would be served.
fn within_open_files(files: usize) -> Limits {
    let defaults = Limits::default();
    let pooled = defaults.pooled_connections.min(files / 8);
    // Each connection needs a second descriptor for its upstream, an association three more.
    let connections = files.saturating_sub(pooled + RESERVED_FILES) / 2;
    let connections = defaults.connections.min(connections).max(1);
    let quarter = |number: usize| (number / 4).max(1);
    let associations = defaults.associations.min(quarter(connections));
    Limits {
        pooled_connections: pooled,
        connections,
        connections_per_client: defaults.connections_per_client.min(quarter(connections)),
        associations,
        associations_per_client: defaults.associations_per_client.min(quarter(associations)),
        ..defaults
    }
}

/// How many files may be open, after asking for as many as there may be: a tunnel takes two descriptors, and the
/// usual soft limit of 1,024 is meant for programs that use `select`.
#[cfg(unix)]
fn open_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let mut files = current;
    if current != maximum {
        let raised = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        );
        match raised {
            Ok(()) => files = maximum,
            Err(error) => tracing::debug!(%error, "the limit of open files stays as it is"),
        }
    }
    files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    })
}

#[cfg(not(unix))]
fn open_files() -> usize {
    usize::MAX
}
