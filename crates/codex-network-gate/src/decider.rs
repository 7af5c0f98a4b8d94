//! The embedder's say: what a [`NetworkPolicyDecider`] is asked and what it may answer.
//!
//! A decider is asked about exactly one thing, a host that no list mentions, and can lift exactly that
//! refusal. It deliberately cannot override a denylist, an address check or the mode; the gate sees to it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use codex_network_policy::{Decision, Protocol, Reason};
use serde::{Deserialize, Serialize};

mod questions;

pub(crate) use questions::{Questions, Sharing};

/// The door through which an access came, as deciders see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetworkProtocol {
    /// A plain HTTP request to the forward proxy.
    Http,
    /// An HTTP CONNECT.
    HttpsConnect,
    /// A SOCKS5 CONNECT.
    Socks5Tcp,
    /// The first datagram to a target through a SOCKS5 UDP association.
    Socks5Udp,
}

impl NetworkProtocol {
    /// The word for this protocol in audit events and answers.
    #[must_use]
    pub fn as_policy_protocol(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::HttpsConnect => "https_connect",
            Self::Socks5Tcp => "socks5_tcp",
            Self::Socks5Udp => "socks5_udp",
        }
    }
}

impl From<Protocol> for NetworkProtocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http => Self::Http,
            // Inside of a permitted tunnel nobody is asked; if it were, it would be about that tunnel.
            Protocol::HttpsConnect | Protocol::Https => Self::HttpsConnect,
            Protocol::Socks5Tcp => Self::Socks5Tcp,
            Protocol::Socks5Udp => Self::Socks5Udp,
        }
    }
}

/// What a decider is asked: may this access to an unlisted host go on?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicyRequest {
    /// The door.
    pub protocol: NetworkProtocol,
    /// The normalised host: lower case, A-labels, no trailing dot; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The client's `ip:port`, where it is known. Of requests that share a question it is the first one's.
    pub client_addr: Option<String>,
    /// The HTTP method (`CONNECT` for tunnels); `None` for SOCKS5.
    pub method: Option<String>,
    /// For embedders that know which command asks. The proxy itself always leaves it `None`.
    pub command: Option<String>,
    /// For embedders with an exec policy. The proxy itself always leaves it `None`.
    pub exec_policy_hint: Option<String>,
}

/// The fields of a [`NetworkPolicyRequest`], for [`NetworkPolicyRequest::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicyRequestArgs {
    /// See [`NetworkPolicyRequest::protocol`].
    pub protocol: NetworkProtocol,
    /// See [`NetworkPolicyRequest::host`].
    pub host: String,
    /// See [`NetworkPolicyRequest::port`].
    pub port: u16,
    /// See [`NetworkPolicyRequest::client_addr`].
    pub client_addr: Option<String>,
    /// See [`NetworkPolicyRequest::method`].
    pub method: Option<String>,
    /// See [`NetworkPolicyRequest::command`].
    pub command: Option<String>,
    /// See [`NetworkPolicyRequest::exec_policy_hint`].
    pub exec_policy_hint: Option<String>,
}

impl NetworkPolicyRequest {
    /// Builds a request from its fields, for tests of a decider.
    #[must_use]
    pub fn new(args: NetworkPolicyRequestArgs) -> Self {
        let NetworkPolicyRequestArgs {
            protocol,
            host,
            port,
            client_addr,
            method,
            command,
            exec_policy_hint,
        } = args;
        Self {
            protocol,
            host,
            port,
            client_addr,
            method,
            command,
            exec_policy_hint,
        }
    }

    pub(crate) fn for_access(
        protocol: Protocol,
        host: String,
        port: u16,
        client: Option<SocketAddr>,
        method: Option<&str>,
    ) -> Self {
        Self {
            protocol: protocol.into(),
            host,
            port,
            client_addr: client.map(|client| client.to_string()),
            method: method.map(str::to_owned),
            command: None,
            exec_policy_hint: None,
        }
    }
}

/// A decider's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkDecision {
    /// Lift the refusal for this access. Its addresses are still judged.
    Allow,
    /// Refuse. An empty reason becomes `policy_denied`.
    Deny {
        /// A word of lower-case letters, digits and `_`, at most 64; anything else becomes `policy_denied`.
        reason: String,
    },
    /// Refuse now, and tell the embedding program that a person may approve.
    Ask {
        /// As for [`NetworkDecision::Deny`].
        reason: String,
    },
}

impl NetworkDecision {
    /// [`NetworkDecision::Deny`] with this reason.
    pub fn deny(reason: impl Into<String>) -> Self {
        Self::Deny {
            reason: reason.into(),
        }
    }

    /// [`NetworkDecision::Ask`] with this reason.
    pub fn ask(reason: impl Into<String>) -> Self {
        Self::Ask {
            reason: reason.into(),
        }
    }

    /// As [`NetworkDecision::deny`]; the source of a decider's answer is always the decider, whatever it claims.
    pub fn deny_with_source(reason: impl Into<String>, _source: NetworkDecisionSource) -> Self {
        Self::deny(reason)
    }

    /// As [`NetworkDecision::ask`]; the source of a decider's answer is always the decider, whatever it claims.
    pub fn ask_with_source(reason: impl Into<String>, _source: NetworkDecisionSource) -> Self {
        Self::ask(reason)
    }
}

/// The two ways of saying no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkPolicyDecision {
    /// Refused.
    Deny,
    /// Refused for now; a person may approve.
    Ask,
}

impl NetworkPolicyDecision {
    /// `deny` or `ask`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => Decision::Deny.as_str(),
            Self::Ask => Decision::Ask.as_str(),
        }
    }
}

/// Who decided.
pub use codex_network_policy::Source as NetworkDecisionSource;

/// Decides about accesses to hosts that no list mentions.
///
/// Implemented for closures `Fn(NetworkPolicyRequest) -> impl Future<Output = NetworkDecision>` and for `Arc`s.
/// A decider that panics, or does not answer within its limit, has said no.
///
/// Requests for the same host, port and protocol with the same method that wait at the same time are one question, and
/// share its answer. When the last of them has gone, the future is dropped. An answer counts for those who wait for it
/// and is not remembered: the next request asks anew.
///
/// A decider may wait, for a person too, but must not block its thread.
#[async_trait]
pub trait NetworkPolicyDecider: Send + Sync + 'static {
    /// Answers one request.
    async fn decide(&self, request: NetworkPolicyRequest) -> NetworkDecision;
}

#[async_trait]
impl<D: NetworkPolicyDecider + ?Sized> NetworkPolicyDecider for Arc<D> {
    async fn decide(&self, request: NetworkPolicyRequest) -> NetworkDecision {
        (**self).decide(request).await
    }
}

#[async_trait]
impl<F, Fut> NetworkPolicyDecider for F
where
    F: Fn(NetworkPolicyRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = NetworkDecision> + Send,
{
    async fn decide(&self, request: NetworkPolicyRequest) -> NetworkDecision {
        self(request).await
    }
}

/// What the gate makes of an answer, or of none.
#[derive(Debug)]
pub(crate) enum Answer {
    Allow,
    Refuse { decision: Decision, reason: Reason },
}

impl From<Option<NetworkDecision>> for Answer {
    fn from(decision: Option<NetworkDecision>) -> Self {
        let refuse = |decision, reason: &str| Self::Refuse {
            decision,
            reason: Reason::from_decider(reason),
        };
        match decision {
            Some(NetworkDecision::Allow) => Self::Allow,
            Some(NetworkDecision::Deny { reason }) => refuse(Decision::Deny, &reason),
            Some(NetworkDecision::Ask { reason }) => refuse(Decision::Ask, &reason),
            // Whoever does not answer has said no.
            None => refuse(Decision::Deny, ""),
        }
    }
}
