//! The refusal matrix: every door and every reason, as the event, the history entry and the bytes that a client gets.
//!
//! `tests/data/refusals.txt` is the snapshot (`UPDATE_SNAPSHOTS=1` writes it anew). `tests/data/refusals-impossible.txt`
//! lists the cells that cannot occur, each with why. A cell that is in neither fails.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use codex_network_policy::{LookupFailure, Reason};
use codex_network_proxy::config::UnixSockets;
use codex_network_proxy::{NetworkDecision, NetworkPolicyRequest};

use tokio::sync::Notify;

use crate::harness::tls::{Client, Issuer, client_hello, client_hello_with};
use crate::harness::{
    Answer, CONNECT, Datagrams, Origin, Setup, UDP_ASSOCIATE, Wire, World, address, request, within,
};

const SNAPSHOT: &str = "tests/data/refusals.txt";
const IMPOSSIBLE: &str = "tests/data/refusals-impossible.txt";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Forward,
    Connect,
    UnixSocket,
    SocksTcp,
    /// ASSOCIATE, and then a datagram.
    SocksUdp,
    /// A SOCKS5 command that is not served.
    SocksBind,
    /// TLS that begins in a tunnel by CONNECT.
    InTunnel,
    /// TLS that begins in a tunnel by SOCKS5.
    InSocksTunnel,
    /// What begins in a tunnel that has to be opened.
    InOpenedTunnel,
    /// A request inside of an opened tunnel.
    Inside,
}

const DOORS: [(Door, &str); 10] = [
    (Door::Forward, "forward"),
    (Door::Connect, "connect"),
    (Door::UnixSocket, "unix-socket"),
    (Door::SocksTcp, "socks-tcp"),
    (Door::SocksUdp, "socks-udp"),
    (Door::SocksBind, "socks-bind"),
    (Door::InTunnel, "in-tunnel"),
    (Door::InSocksTunnel, "in-socks-tunnel"),
    (Door::InOpenedTunnel, "in-opened-tunnel"),
    (Door::Inside, "inside"),
];

/// Every reason, with the label of its row. A new one does not compile until it is listed.
fn reasons() -> Vec<(Reason, &'static str)> {
    let all = [
        Reason::NotAllowed,
        Reason::NotAllowedLocal,
        Reason::Denied,
        Reason::MethodNotAllowed,
        Reason::MitmRequired,
        Reason::ProxyDisabled,
        Reason::UnixSocketUnsupported,
        Reason::DnsLookupFailed(LookupFailure::Failed),
        Reason::DnsLookupFailed(LookupFailure::TimedOut),
        Reason::DnsLookupFailed(LookupFailure::Empty),
        Reason::ServerNameMismatch,
        Reason::EncryptedHello,
        Reason::OriginNotVerified,
        Reason::AuditUnavailable,
        Reason::Cancelled,
        Reason::PolicyDenied,
        Reason::from_decider("quota_used_up"),
    ];
    let label = |reason: &Reason| match reason {
        Reason::NotAllowed => "not_allowed",
        Reason::NotAllowedLocal => "not_allowed_local",
        Reason::Denied => "denied",
        Reason::MethodNotAllowed => "method_not_allowed",
        Reason::MitmRequired => "mitm_required",
        Reason::ProxyDisabled => "proxy_disabled",
        Reason::UnixSocketUnsupported => "unix_socket_unsupported",
        Reason::DnsLookupFailed(LookupFailure::Failed) => "dns_lookup_failed/failed",
        Reason::DnsLookupFailed(LookupFailure::TimedOut) => "dns_lookup_failed/timed_out",
        Reason::DnsLookupFailed(LookupFailure::Empty) => "dns_lookup_failed/empty",
        Reason::ServerNameMismatch => "server_name_mismatch",
        Reason::EncryptedHello => "encrypted_client_hello",
        Reason::OriginNotVerified => "origin_not_verified",
        Reason::AuditUnavailable => "audit_unavailable",
        Reason::Cancelled => "cancelled",
        Reason::PolicyDenied => "policy_denied",
        Reason::Invented(_) => "invented",
    };
    all.into_iter()
        .map(|reason| {
            let label = label(&reason);
            (reason, label)
        })
        .collect()
}

/// A proxy that has this reason to refuse `target.test`. `asked` is told when a decider thinks for ever.
async fn world(reason: &Reason, asked: Arc<Notify>) -> World {
    let setup = Setup::new().allow(&["target.test"]).limits(|limits| {
        limits.lookup = Duration::from_millis(10);
    });
    let word = reason.as_str().to_owned();
    let setup = match reason {
        Reason::NotAllowed => setup.allow(&[]),
        Reason::NotAllowedLocal => setup.name("target.test", &["10.0.0.1"]),
        Reason::Denied => setup.deny(&["target.test"]),
        Reason::MethodNotAllowed | Reason::MitmRequired => setup.limited(),
        // A disabled proxy does not listen, and nothing changes the policy of a running one in this build.
        Reason::ProxyDisabled | Reason::UnixSocketUnsupported => setup,
        Reason::ServerNameMismatch | Reason::EncryptedHello | Reason::OriginNotVerified => setup,
        // Nobody keeps a log here.
        Reason::AuditUnavailable => setup
            .key("require_audit_log", true)
            .unix_sockets(UnixSockets::Supported),
        Reason::DnsLookupFailed(LookupFailure::Failed) => {
            setup.answer("target.test", Answer::Error(std::io::ErrorKind::NotFound))
        }
        Reason::DnsLookupFailed(LookupFailure::TimedOut) => {
            setup.answer("target.test", Answer::Silence)
        }
        Reason::DnsLookupFailed(LookupFailure::Empty) => setup.name("target.test", &[]),
        Reason::Cancelled => setup.allow(&[]).decider(move |_: NetworkPolicyRequest| {
            asked.notify_one();
            std::future::pending()
        }),
        Reason::PolicyDenied | Reason::Invented(_) => {
            setup.allow(&[]).decider(move |_: NetworkPolicyRequest| {
                let word = word.clone();
                async move { NetworkDecision::deny(word) }
            })
        }
    };
    setup.start().await
}

/// Begins something in a permitted tunnel that is refused for this reason, and describes what comes of it.
async fn tunnel_cell(door: Door, reason: &Reason) -> String {
    let issuer = Issuer::new();
    let certified = issuer.certify("target.test", &["http/1.1"]);
    let opened = matches!(door, Door::InOpenedTunnel | Door::Inside);
    let mut setup = Setup::new()
        .allow(&["target.test", "127.0.0.1"])
        .deny(&["denied.test"])
        .name("target.test", &["127.0.0.1"])
        .key("allow_local_binding", true)
        .trust(&issuer.1);
    if opened {
        setup = setup.limited().key("mitm", true);
    }
    setup = match reason {
        Reason::EncryptedHello => setup.key("encrypted_client_hello", "deny"),
        Reason::OriginNotVerified => setup.key("verify_origin", true),
        _ => setup,
    };
    let world = setup.start().await;
    let origin = Origin::start().await;
    let host = if *reason == Reason::Denied {
        "127.0.0.1"
    } else {
        "target.test"
    };
    let mut client = if door == Door::InSocksTunnel {
        let target = address(host, origin.port);
        world.socks_request(CONNECT, &target).await.0
    } else {
        world.connected(host, origin.port).await
    };
    let upstream = origin.accept().await;
    world.events();
    let bytes = if door == Door::Inside {
        let method = if *reason == Reason::MethodNotAllowed {
            "POST"
        } else {
            "GET"
        };
        let named = if *reason == Reason::PolicyDenied {
            "other.test"
        } else {
            host
        };
        let tls = Client {
            name: "target.test",
            ..Client::default()
        };
        let (client, upstream) =
            tokio::join!(tls.handshake(&world, client), certified.accept(upstream));
        let (mut client, _upstream) = (Wire::new(client.unwrap()), upstream.unwrap());
        client
            .send(format!("{method} / HTTP/1.1\r\nHost: {named}\r\n\r\n"))
            .await;
        client
            .message_with_status()
            .await
            .escape_debug()
            .to_string()
    } else {
        client
            .send(match reason {
                Reason::Denied => client_hello("denied.test"),
                Reason::EncryptedHello => client_hello_with("target.test", 0xfe0d, &[0; 32]),
                Reason::OriginNotVerified => client_hello("target.test"),
                Reason::MitmRequired => b"SSH-2.0-client\r\n".to_vec(),
                _ => client_hello("other.test"),
            })
            .await;
        if *reason == Reason::OriginNotVerified {
            // The proxy's own look at the origin finds no TLS.
            drop(origin.accept().await);
        }
        format!("{:02x?}", client.rest_or_reset().await)
    };
    described(&world, reason, bytes, Some(origin.port)).await
}

/// The bytes that a client got, and the evidence that was left, with `PORT` for the origin's.
async fn described(world: &World, reason: &Reason, bytes: String, port: Option<u16>) -> String {
    let mut events = world.audit.next().await;
    while events
        .last()
        .is_some_and(|event| event.field("network.policy.decision") == Some("allow"))
    {
        events.extend(world.audit.next().await);
    }
    let history = world.history();
    let mut lines = vec![format!("  bytes   {bytes}")];
    lines.extend(
        events
            .iter()
            .map(|event| format!("  event   {}", event.line())),
    );
    lines.extend(history.iter().map(|line| format!("  history {line}")));
    let last = events.last().expect("an event");
    assert_eq!(last.field("network.policy.reason"), Some(reason.as_str()));
    let text = lines.join("\n");
    match port {
        Some(port) => text.replace(&format!(":{port}"), ":PORT"),
        None => text,
    }
}

/// Knocks, and describes what comes of it.
async fn cell(door: Door, reason: &Reason) -> String {
    if matches!(
        door,
        Door::InTunnel | Door::InSocksTunnel | Door::InOpenedTunnel | Door::Inside
    ) {
        return tunnel_cell(door, reason).await;
    }
    let asked = Arc::new(Notify::new());
    let mut world = match (door, reason) {
        (Door::UnixSocket, Reason::NotAllowed) => {
            let setup = Setup::new().unix_sockets(UnixSockets::Supported);
            setup.start().await
        }
        _ => world(reason, Arc::clone(&asked)).await,
    };
    let target = address("target.test", 443);
    let gone = *reason == Reason::Cancelled;
    // An association that ended now would take its datagram with it.
    let mut kept = None;
    let bytes = match door {
        Door::Forward | Door::Connect | Door::UnixSocket => {
            let mut client = world.http().await;
            client
                .send(match door {
                    Door::Forward => "POST http://target.test:443/ HTTP/1.1\r\n\r\n",
                    Door::Connect => "CONNECT target.test:443 HTTP/1.1\r\n\r\n",
                    _ if matches!(reason, Reason::MethodNotAllowed) => {
                        "POST / HTTP/1.1\r\nx-unix-socket: /run/x.sock\r\n\r\n"
                    }
                    _ => "GET / HTTP/1.1\r\nx-unix-socket: /run/x.sock\r\n\r\n",
                })
                .await;
            if gone {
                leave(client, &asked).await
            } else {
                client
                    .message_with_status()
                    .await
                    .escape_debug()
                    .to_string()
            }
        }
        Door::SocksTcp | Door::SocksBind => {
            let command = if door == Door::SocksTcp { CONNECT } else { 2 };
            let mut client = world.greeted().await;
            client.send(request(command, &target)).await;
            if gone {
                // A SOCKS5 client that leaves cannot be told from one that has said all: the judgement goes on, and
                // ends early only with the proxy.
                within("the decider to be asked", asked.notified()).await;
                world.handle = None;
                "none, the proxy has gone".to_owned()
            } else {
                format!("{:02x?}", client.rest().await)
            }
        }
        Door::SocksUdp => {
            let (bytes, association) = datagram(&world, reason, &target, &asked).await;
            kept = association;
            bytes
        }
        Door::InTunnel | Door::InSocksTunnel | Door::InOpenedTunnel | Door::Inside => {
            unreachable!("inside of a tunnel there is no door to knock at")
        }
    };
    let cell = described(&world, reason, bytes, None).await;
    drop(kept);
    cell
}

/// The client goes away while the decider thinks.
async fn leave(client: Wire, asked: &Notify) -> String {
    within("the decider to be asked", asked.notified()).await;
    drop(client);
    "none, the client has gone".to_owned()
}

/// What a client of UDP gets, and its association where it lives on.
async fn datagram(
    world: &World,
    reason: &Reason,
    target: &[u8],
    asked: &Notify,
) -> (String, Option<Datagrams>) {
    if matches!(reason, Reason::MethodNotAllowed | Reason::AuditUnavailable) {
        let mut client = world.greeted().await;
        client
            .send(request(UDP_ASSOCIATE, &address("0.0.0.0", 0)))
            .await;
        return (format!("{:02x?}", client.rest().await), None);
    }
    let association = world.associate().await;
    association.send(target, b"x").await;
    if *reason == Reason::Cancelled {
        return (leave(association.control, asked).await, None);
    }
    (
        "none, the datagram is dropped".to_owned(),
        Some(association),
    )
}

/// `door reason` and why it cannot occur.
fn impossible() -> BTreeMap<String, String> {
    let lines = read(IMPOSSIBLE);
    let lines = lines
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (cell, why) = line.split_once(": ").expect("door reason: why");
            assert!(!why.trim().is_empty(), "{cell}: say why");
            (cell.to_owned(), why.to_owned())
        })
        .collect()
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn every_door_refuses_for_every_reason_in_its_way() {
    let mut impossible = impossible();
    let mut snapshot = String::new();
    for (door, door_label) in DOORS {
        for (reason, label) in reasons() {
            let name = format!("{door_label} {label}");
            if impossible.remove(&name).is_some() {
                continue;
            }
            snapshot.push_str(&format!("{name}\n{}\n\n", cell(door, &reason).await));
        }
    }
    assert!(
        impossible.is_empty(),
        "no such cells: {:?}",
        impossible.keys()
    );
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(SNAPSHOT);
        std::fs::write(path, &snapshot).unwrap();
    }
    similar(&snapshot, &read(SNAPSHOT));
}

/// Fails with the first line that differs.
fn similar(actual: &str, expected: &str) {
    for (number, (actual, expected)) in actual.lines().zip(expected.lines()).enumerate() {
        assert_eq!(actual, expected, "{SNAPSHOT}:{}", number + 1);
    }
    assert_eq!(
        actual.lines().count(),
        expected.lines().count(),
        "{SNAPSHOT}"
    );
}
