//! The way to a target that the rules permit: the addresses of a host, or a socket, and whether they may be dialled.
//!
//! [`Gate::way_to`] resolves a name once and admits what it resolves to; [`Gate::way_to_socket`] and
//! [`Gate::way_to_unlisted_socket`] follow a path to its socket. Nothing here judges a name, and nothing is opened or recorded.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use codex_network_policy::{Host, LookupFailure, Policy, Protocol, Reason, SocketPath, Source};

use super::refused::Refused;
use super::{Access, Gate, Judged};
use crate::resolve::{self, LookupAnswer};
use crate::route::Route;

impl Gate {
    /// Resolves a permitted host and admits its addresses.
    pub(super) async fn way_to(
        &self,
        policy: &Policy,
        access: &Access<'_>,
        host: &Host,
        port: u16,
    ) -> Judged {
        let secure = access.tls || access.protocol == Protocol::HttpsConnect;
        let parent = match access.protocol {
            _ if policy.is_direct_only() => None,
            Protocol::Http | Protocol::HttpsConnect | Protocol::Https => {
                self.parents.route(host, port, secure)
            }
            Protocol::Socks5Tcp | Protocol::Socks5Udp => None,
        };
        let route = match (self.direct_route(host, port).await, parent) {
            (Ok(route), _) => route,
            // Behind a corporate proxy names often resolve only there; the operator has configured that
            // parent, and the name itself is permitted.
            (Err(_), Some(parent)) => return Ok(Route::Parent(Arc::clone(parent))),
            (Err(failure), None) => {
                let reason = Reason::DnsLookupFailed(failure);
                return Err(Refused::by_policy(reason, Source::BaselinePolicy));
            }
        };
        self.admit(policy, host, &route)?;
        Ok(match parent {
            Some(parent) => Route::Parent(Arc::clone(parent)),
            None => route,
        })
    }

    /// Judges the addresses of a permitted host: one that may not be dialled suffices to refuse them all.
    pub(super) fn admit(&self, policy: &Policy, host: &Host, route: &Route) -> Result<(), Refused> {
        let one;
        let addresses: &[IpAddr] = match route {
            Route::Address(address) => {
                one = [address.ip()];
                &one
            }
            Route::Addresses { addresses, .. } => addresses,
            Route::Parent(_) | Route::Socket { .. } => &[],
        };
        let own_listener = route
            .addresses()
            .any(|address| self.listeners.contain(address));
        if own_listener || policy.admit(host, addresses).is_err() {
            return Err(Refused {
                own_listener,
                ..Refused::by_policy(Reason::NotAllowedLocal, Source::BaselinePolicy)
            });
        }
        Ok(())
    }

    /// The addresses of a host, none of them judged yet.
    async fn direct_route(&self, host: &Host, port: u16) -> Result<Route, LookupFailure> {
        match host {
            Host::Address(literal) if literal.zone().is_some() => {
                let address =
                    resolve::scoped_address(&host.to_string(), port, self.limits.lookup).await;
                address.map(Route::Address).ok_or(LookupFailure::Failed)
            }
            Host::Address(literal) => Ok(Route::Address(SocketAddr::new(literal.address(), port))),
            // Loopback by definition (RFC 6761 section 6.3); no resolver has a say in it.
            Host::Name(_) if host.is_localhost() => {
                let addresses: LookupAnswer = Ok(Arc::new([
                    IpAddr::V4(Ipv4Addr::LOCALHOST),
                    IpAddr::V6(Ipv6Addr::LOCALHOST),
                ]));
                addresses.map(|addresses| Route::Addresses { addresses, port })
            }
            Host::Name(name) => {
                let addresses = self.lookups.addresses(name.as_str()).await?;
                Ok(Route::Addresses { addresses, port })
            }
        }
    }

    /// A listed socket, by the path behind all links. A path that leads nowhere is dialled as it was asked for,
    /// so that the client learns of the failure as it would without us.
    pub(super) async fn way_to_socket(&self, path: &SocketPath) -> Judged {
        let real = resolve::real_path(path, self.limits.lookup).await;
        self.not_ours(Route::Socket {
            path: real.unwrap_or_else(|| Path::new(path.as_str()).to_owned()),
            listed_as: None,
        })
        .await
    }

    /// An unlisted path is allowed where it leads to the same socket as a listed one.
    pub(super) async fn way_to_unlisted_socket(
        &self,
        policy: &Policy,
        path: &SocketPath,
    ) -> Judged {
        let refused = || Refused::by_policy(Reason::NotAllowed, Source::ProxyState);
        let limit = self.limits.lookup;
        let real = resolve::real_path(path, limit).await.ok_or_else(refused)?;
        for rule in &policy.socket_rules().allowed {
            if resolve::real_path(&rule.path, limit).await.as_ref() == Some(&real) {
                let route = Route::Socket {
                    path: real,
                    listed_as: Some(rule.path.clone()),
                };
                return self.not_ours(route).await;
            }
        }
        Err(refused())
    }

    /// A socket that this proxy itself listens on is never a target.
    async fn not_ours(&self, route: Route) -> Judged {
        let Route::Socket { path, .. } = &route else {
            return Ok(route);
        };
        let own = self.listeners.sockets();
        if resolve::is_one_of(path.clone(), own, self.limits.lookup).await {
            return Err(Refused {
                own_listener: true,
                ..Refused::by_policy(Reason::NotAllowed, Source::ProxyState)
            });
        }
        Ok(route)
    }
}
