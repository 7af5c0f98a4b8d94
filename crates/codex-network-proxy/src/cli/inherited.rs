//! Sockets that the parent process has bound for us, by systemd's protocol (`LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`).
//!
//! Main function: [`hand_over`]. Goes out: a builder that listens on them. By name `http` and `socks` say which is which;
//! without such names the first is for HTTP and the second for SOCKS5. It binds nothing.

use std::net::TcpListener;

use anyhow::Context as _;
use codex_network_proxy::NetworkProxyBuilder;
use listenfd::ListenFd;

use super::failure::Failure;

/// Gives the builder what this process was started with, if anything.
pub(super) fn hand_over(builder: NetworkProxyBuilder) -> Result<NetworkProxyBuilder, Failure> {
    let mut given = ListenFd::from_env();
    if given.len() == 0 {
        return Ok(builder);
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the names of the sockets, from whoever passed them"
    )]
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let roles = roles(&names, given.len()).map_err(Failure::Usage)?;
    let mut builder = builder;
    for (index, role) in roles.into_iter().enumerate() {
        let socket: Option<TcpListener> = given.take_tcp_listener(index).with_context(|| {
            format!("socket {index} that was handed over does not listen for TCP")
        })?;
        let Some(socket) = socket else { continue };
        builder = match role {
            Role::Http => builder.http_listener(socket),
            Role::Socks => builder.socks_listener(socket),
        };
    }
    Ok(builder)
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Http,
    Socks,
}

/// The role of each of `count` sockets.
fn roles(names: &str, count: usize) -> Result<Vec<Role>, String> {
    let by_name = |name: &str| match name {
        "http" => Some(Role::Http),
        "socks" => Some(Role::Socks),
        _ => None,
    };
    let named: Vec<Option<Role>> = names.split(':').map(by_name).collect();
    let roles: Option<Vec<Role>> = if named.iter().any(Option::is_some) {
        named.into_iter().collect()
    } else {
        Some(
            [Role::Http, Role::Socks]
                .into_iter()
                .cycle()
                .take(count)
                .collect(),
        )
    };
    match roles.as_deref() {
        Some(
            [Role::Http] | [Role::Socks] | [Role::Http, Role::Socks] | [Role::Socks, Role::Http],
        ) if roles.as_ref().is_some_and(|roles| roles.len() == count) => {
            Ok(roles.unwrap_or_default())
        }
        Some(_) | None => Err(format!(
            "{count} sockets were handed over as `{names}`; expected one for `http` and at most one for `socks`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::Role::{Http, Socks};
    use super::*;

    #[test]
    fn a_socket_is_known_by_its_name_or_its_place() {
        for (names, count, expected) in [
            ("", 1, Some(vec![Http])),
            ("", 2, Some(vec![Http, Socks])),
            ("proxy.socket:proxy.socket", 2, Some(vec![Http, Socks])),
            ("socks:http", 2, Some(vec![Socks, Http])),
            ("socks", 1, Some(vec![Socks])),
            ("http:http", 2, None),
            ("http:other", 2, None),
            ("http", 2, None),
            ("", 3, None),
        ] {
            assert_eq!(roles(names, count).ok(), expected, "{names} {count}");
        }
    }
}
