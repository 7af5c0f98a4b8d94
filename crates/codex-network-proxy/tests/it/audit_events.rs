//! `docs/audit-events.md`: one audit event of each kind, as the proxy emits it.
//!
//! Each case brings its event about over real sockets. `UPDATE_EXPECTED=1` in the environment writes the document anew; what
//! differs from run to run (times, ports that the system chooses, certificates) is replaced.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use codex_network_gate::{Access, Gate, record_audit_loss};
use codex_network_policy::{Policy, Protocol, Rules, SocketPath, Target};
use codex_network_proxy::config::UnixSockets;
use codex_network_proxy::{NetworkDecision, NetworkPolicyRequest};
use tokio::sync::Notify;

use crate::harness::tls::{Client, Issuer, client_hello, client_hello_with};
use crate::harness::{
    Answer, Audit, CONNECT, Event, Origin, Setup, Wire, World, address, name, within,
};

const INTRODUCTION: &str = "\
# Audit events, one of each kind

Written by a test from what the proxy emits; `UPDATE_EXPECTED=1` writes it anew. Times, clients' ports and fingerprints are made
up. The target is `codex_otel.network_proxy`, the level INFO; [docs/config.md](config.md#audit-trail) describes the fields. With
audit metadata of an embedder, its fields stand behind `event.timestamp`.
";

/// What has been gathered of the document.
struct Document(String);

impl Document {
    fn part(&mut self, title: &str) {
        let _ = write!(self.0, "\n## {title}\n");
    }

    /// One event. `port` is that of an origin, which the system chose.
    fn event(&mut self, title: &str, event: &Event, port: u16) {
        let _ = write!(self.0, "\n{title}:\n\n```text\n");
        for (name, value) in &event.0 {
            let value = match *name {
                "event.timestamp" => "2026-02-25T11:46:37.123Z".to_owned(),
                "client.address" => "127.0.0.1:50000".to_owned(),
                "tls.server.hash.sha256" => {
                    assert_eq!(value.len(), 64, "{value}");
                    "9f86d081884c7d65…".to_owned()
                }
                "server.port" | "network.peer.port" if *value == port.to_string() => {
                    "443".to_owned()
                }
                _ => value.clone(),
            };
            let _ = writeln!(self.0, "{name}={value}");
        }
        self.0.push_str("```\n");
    }

    /// The only event that this has left.
    async fn only(&mut self, title: &str, world: &World) {
        let events = world.audit.next().await;
        let [event] = events.as_slice() else {
            panic!("one event, not {events:?}");
        };
        self.event(title, event, 0);
    }

    /// What a request by HTTP comes to.
    async fn request(&mut self, title: &str, setup: Setup, request: &str) {
        let world = setup.start().await;
        let mut client = world.http().await;
        client.send(format!("{request} HTTP/1.1\r\n\r\n")).await;
        self.only(title, &world).await;
    }
}

#[tokio::test]
async fn the_document_shows_one_event_of_each_kind() {
    let mut document = Document(INTRODUCTION.to_owned());
    by_the_lists(&mut document).await;
    by_a_decider(&mut document).await;
    by_the_mode(&mut document).await;
    other_doors(&mut document).await;
    by_the_state_of_the_proxy(&mut document).await;
    inside_of_tunnels(&mut document).await;
    identities(&mut document).await;
    no_decisions(&mut document).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/audit-events.md");
    if option_env!("UPDATE_EXPECTED").is_some() {
        std::fs::write(path, document.0).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap();
    assert!(
        document.0 == expected,
        "the events have changed; UPDATE_EXPECTED=1 writes the document anew:\n{}",
        document.0
    );
}

fn allowing() -> Setup {
    Setup::new()
        .allow(&["example.com"])
        .name("example.com", &["127.0.0.1"])
        .key("allow_local_binding", true)
}

async fn by_the_lists(document: &mut Document) {
    document.part("Decisions about a host");
    let get = "GET http://example.com/";
    document.request("Allowed", allowing(), get).await;
    let parent = Origin::start().await;
    let url = format!("http://127.0.0.1:{}", parent.port);
    let setup = Setup::new()
        .allow(&["example.com"])
        .name("example.com", &["93.184.216.34"])
        .key("allow_upstream_proxy", true)
        .parents(&[("HTTP_PROXY", &url)]);
    let title = "Allowed, by way of a parent proxy";
    document.request(title, setup, get).await;
    let title = "On no list";
    document.request(title, Setup::new(), get).await;
    let setup = Setup::new().deny(&["blocked.com"]);
    document
        .request(
            "On the list of denied ones",
            setup,
            "GET http://blocked.com/",
        )
        .await;
    let setup = allowing().key("allow_local_binding", false);
    let title = "A name that leads to a local or private address";
    document.request(title, setup, get).await;
    let failing = Answer::Error(std::io::ErrorKind::NotFound);
    let setup = allowing().answer("example.com", failing);
    let title = "A name that is allowed and not found";
    document.request(title, setup, get).await;
}

async fn by_a_decider(document: &mut Document) {
    document.part("Decisions of a decider");
    let get = "GET http://example.com/";
    let deciding = |decision: NetworkDecision| {
        allowing()
            .allow(&[])
            .decider(move |_: NetworkPolicyRequest| {
                let decision = decision.clone();
                async move { decision }
            })
    };
    let setup = deciding(NetworkDecision::Allow);
    document.request("Allowed by it", setup, get).await;
    let setup = deciding(NetworkDecision::deny("quota_used_up"));
    let title = "Refused by it, with a reason of its own";
    document.request(title, setup, get).await;
    let setup = deciding(NetworkDecision::ask("not_allowed"));
    document
        .request("Somebody is to be asked", setup, get)
        .await;

    let asked = Arc::new(Notify::new());
    let at_decider = Arc::clone(&asked);
    let setup = Setup::new().decider(move |_: NetworkPolicyRequest| {
        at_decider.notify_one();
        std::future::pending()
    });
    let world = setup.start().await;
    let mut client = world.http().await;
    client.send(format!("{get} HTTP/1.1\r\n\r\n")).await;
    within("the decider", asked.notified()).await;
    drop(client);
    document
        .only("The client hung up while it was waited for", &world)
        .await;
}

async fn by_the_mode(document: &mut Document) {
    document.part("Refusals of the limited mode");
    // The lists' yes comes first, and is an event too.
    for (title, request) in [
        ("A method that changes things", "POST http://example.com/"),
        ("A tunnel that is not opened", "CONNECT example.com:443"),
    ] {
        let world = allowing().limited().start().await;
        let mut client = world.http().await;
        client.send(format!("{request} HTTP/1.1\r\n\r\n")).await;
        client.message().await;
        let events = world.audit.take();
        document.event(title, events.last().unwrap(), 0);
    }
}

async fn other_doors(document: &mut Document) {
    document.part("Other doors");
    let world = Setup::new().start().await;
    let mut client = world.http().await;
    client
        .send("CONNECT example.com:443 HTTP/1.1\r\n\r\n")
        .await;
    document.only("CONNECT", &world).await;
    let (_client, _) = world
        .socks_request(CONNECT, &name(b"example.com", 443))
        .await;
    document.only("SOCKS5 TCP", &world).await;
    let datagrams = world.associate().await;
    datagrams.send(&name(b"example.com", 53), b"?").await;
    document.only("SOCKS5 UDP", &world).await;
    let (_client, _) = world.socks_request(CONNECT, &address("10.0.0.1", 22)).await;
    document.only("SOCKS5 TCP, to an address", &world).await;

    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("listed.sock");
    let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let socket = socket.to_str().unwrap();
    let request = |socket: &str| format!("GET / HTTP/1.1\r\nx-unix-socket: {socket}\r\n\r\n");
    let world = Setup::new()
        .key("allow_unix_sockets", vec![socket])
        .unix_sockets(UnixSockets::Supported)
        .start()
        .await;
    let mut client = world.http().await;
    client.send(request(socket)).await;
    document.only("A unix socket that is listed", &world).await;
    let mut client = world.http().await;
    client.send(request("/run/other.sock")).await;
    document.only("A unix socket that is not", &world).await;
    let world = Setup::new().start().await;
    let mut client = world.http().await;
    client.send(request(socket)).await;
    let title = "A unix socket, where the system has none of them";
    document.only(title, &world).await;
}

async fn by_the_state_of_the_proxy(document: &mut Document) {
    document.part("Refusals for what the proxy is");
    let setup = allowing().key("require_audit_log", true);
    let title = "The audit log that is required cannot be written";
    document
        .request(title, setup, "GET http://example.com/")
        .await;
    // A disabled proxy of the binary does not listen; its gate refuses all the same.
    let audit = Audit::start();
    let gate = Gate::builder(Policy::compile(Rules::default())).build();
    let socket = SocketPath::parse("/run/some.sock").unwrap();
    for (title, target) in [
        (
            "The proxy is disabled",
            Target::Host {
                host: codex_network_policy::Host::parse("example.com").unwrap(),
                port: 80,
            },
        ),
        (
            "The proxy is disabled, and asked for a unix socket",
            Target::Unix(socket),
        ),
    ] {
        let access = Access {
            protocol: Protocol::Http,
            target,
            method: Some("GET"),
            upgrade: false,
            tls: false,
            client: Some("127.0.0.1:50000".parse().unwrap()),
        };
        gate.authorize(access).await.unwrap_err();
        let events = audit.take();
        assert_eq!(events.len(), 1);
        document.event(title, &events[0], 0);
    }
}

async fn inside_of_tunnels(document: &mut Document) {
    document.part("Inside of opened tunnels");
    let issuer = Issuer::new();
    let certified = issuer.certify("origin.test", &["http/1.1"]);
    let world = Setup::intercepting(&issuer).start().await;
    let origin = Origin::start().await;
    let tunnel = world.connected("origin.test", origin.port).await;
    let client = Client::default();
    let (client, mut upstream) =
        tokio::join!(client.handshake(&world, tunnel), certified.next(&origin));
    let mut client = Wire::new(client.unwrap());
    world.audit.take();
    let connection = world.audit.next_connection().await;
    client
        .send(format!(
            "GET / HTTP/1.1\r\nHost: origin.test:{}\r\n\r\n",
            origin.port
        ))
        .await;
    upstream.message().await;
    let events = world.audit.next().await;
    document.event("A request inside is allowed", &events[0], origin.port);
    upstream
        .send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    client.message().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: origin.test:{}\r\n\r\n",
            origin.port
        ))
        .await;
    client.message().await;
    let events = world.audit.next().await;
    let title = "A request inside is refused for its method";
    document.event(title, events.last().unwrap(), origin.port);

    // Proxies of their own, for the connections of this one are kept and used again.
    let world = Setup::intercepting(&issuer).start().await;
    let tunnel = world.connected("origin.test", origin.port).await;
    let client = Client::default();
    let (client, _upstream) =
        tokio::join!(client.handshake(&world, tunnel), certified.next(&origin));
    let mut client = Wire::new(client.unwrap());
    world.audit.take();
    client
        .send("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n")
        .await;
    let events = world.audit.next().await;
    let title = "A request inside names another host than the tunnel";
    document.event(title, events.last().unwrap(), origin.port);
    document.part("What proved the identity of a connection");
    document.event("In an opened tunnel", &connection, origin.port);

    let stranger = Client {
        trusts_proxy: false,
        ..Client::default()
    };
    let world = Setup::intercepting(&issuer).start().await;
    let tunnel = world.connected("origin.test", origin.port).await;
    world.audit.take();
    let (refused, _) = tokio::join!(stranger.handshake(&world, tunnel), certified.next(&origin));
    assert!(refused.is_err());
    let events = world.audit.next().await;
    let title = "A client does not accept the certificate of the proxy";
    document.event(title, &events[0], origin.port);
}

async fn identities(document: &mut Document) {
    document.part("Tunnels that are refused behind their handshake");
    for (title, key, hello) in [
        (
            "The server name is another one",
            None,
            client_hello("other.test"),
        ),
        (
            "A part of the hello is encrypted, and that is denied",
            Some(("encrypted_client_hello", serde_json::json!("deny"))),
            client_hello_with("example.com", 0xfe0d, &[0; 32]),
        ),
        (
            "The origin shows no valid certificate",
            Some(("verify_origin", serde_json::json!(true))),
            client_hello("example.com"),
        ),
    ] {
        let mut setup = allowing();
        let looks = key.as_ref().is_some_and(|(key, _)| *key == "verify_origin");
        if let Some((key, value)) = key {
            setup = setup.key(key, value);
        }
        let world = setup.start().await;
        let origin = Origin::start().await;
        let mut client = world.connected("example.com", origin.port).await;
        let _upstream = origin.accept().await;
        world.audit.take();
        client.send(hello).await;
        if looks {
            drop(origin.accept().await);
        }
        let events = world.audit.next().await;
        document.event(title, events.last().unwrap(), origin.port);
    }
}

async fn no_decisions(document: &mut Document) {
    document.part("What an exporter has lost");
    let audit = Audit::start();
    record_audit_loss("otlp_logs", 14);
    document.event("Behind a collector that was down", &audit.take()[0], 0);
}
