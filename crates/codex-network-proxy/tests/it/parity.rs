//! Door equivalence (THREATS 31): one list of targets through every door; one verdict and one reason for each.
//!
//! The list is `tests/data/targets.txt`, which explains itself.

use std::net::IpAddr;

use crate::harness::tls::Issuer;
use crate::harness::{self, CONNECT, Event, Origin, Setup, World};

const TARGETS: &str = include_str!("../data/targets.txt");

/// One way of naming a target to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Absolute,
    Host,
    Connect,
    Name,
    Address,
    UdpName,
    UdpAddress,
}

const DOORS: [(Door, &str); 7] = [
    (Door::Absolute, "absolute"),
    (Door::Host, "host"),
    (Door::Connect, "connect"),
    (Door::Name, "name"),
    (Door::Address, "address"),
    (Door::UdpName, "udp_name"),
    (Door::UdpAddress, "udp_address"),
];

/// One line of the list.
struct Row {
    number: usize,
    expected: String,
    target: Vec<u8>,
    /// Where a door's own syntax makes something else of the target.
    exceptions: Vec<(String, String)>,
}

fn rows() -> Vec<Row> {
    let lines = TARGETS.lines().enumerate();
    let rows = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    rows.map(|(index, line)| {
        let number = index + 1;
        let mut words = line.split(' ');
        let (Some(expected), Some(target)) = (words.next(), words.next()) else {
            panic!("line {number}: a verdict and a target are needed");
        };
        let exceptions = words.map(|word| {
            let (door, verdict) = word.split_once(':').expect("door:verdict");
            assert!(
                DOORS.iter().any(|(_, name)| *name == door),
                "line {number}: no door {door}"
            );
            (door.to_owned(), verdict.to_owned())
        });
        Row {
            number,
            expected: expected.to_owned(),
            target: unescape(target),
            exceptions: exceptions.collect(),
        }
    })
    .collect()
}

/// Reads `\xHH` and `\u{H}`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        if let Some(hex) = escape.strip_prefix('x') {
            bytes.push(u8::from_str_radix(&hex[..2], 16).expect("\\xHH"));
            rest = &hex[2..];
        } else if let Some(braced) = escape.strip_prefix("u{") {
            let (hex, after) = braced.split_once('}').expect("\\u{H}");
            let number = u32::from_str_radix(hex, 16).expect("\\u{H}");
            let character = char::from_u32(number).expect("a character");
            bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
            rest = after;
        } else {
            bytes.push(b'\\');
            rest = escape;
        }
    }
    bytes.extend(rest.as_bytes());
    bytes
}

/// Names that are permitted, and lead where nobody may go.
const INWARD: [(&str, &[&str]); 15] = [
    ("local.wild.test", &["127.0.0.1"]),
    ("local.deep.test", &["127.0.0.1"]),
    ("meta.wild.test", &["169.254.169.254"]),
    ("mixed.wild.test", &["93.184.216.34", "10.0.0.1"]),
    ("private.wild.test", &["192.168.7.7"]),
    ("mapped.wild.test", &["::ffff:127.0.0.1"]),
    ("nat64.wild.test", &["64:ff9b::a00:1"]),
    ("sixtofour.wild.test", &["2002:7f00:1::"]),
    (
        "teredo.wild.test",
        &["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    ),
    ("unspecified.wild.test", &["0.0.0.0"]),
    ("v6local.wild.test", &["::1"]),
    ("multicast.wild.test", &["224.0.0.1"]),
    ("documentation.wild.test", &["192.0.2.1"]),
    ("cgnat.wild.test", &["100.64.0.1"]),
    ("ula.wild.test", &["fd00::1"]),
];

fn setup() -> Setup {
    Setup::new()
        .allow(&[
            "example.com",
            "*.wild.test",
            "**.deep.test",
            "region*.v2.test",
            "b\u{fc}cher.test",
            "127.0.0.1",
            "::1",
            "denied.test",
            "8.8.4.4",
        ])
        .deny(&[
            "denied.test",
            "*.denied.wild.test",
            "**.bad.deep.test",
            "8.8.4.4",
            "2001:4860:4860::8844",
            "10.9.9.9",
        ])
}

/// What the door says about the target: a reason, `allow`, or `malformed`. None where it cannot be asked.
async fn verdict(world: &World, door: Door, target: &[u8], port: u16) -> Option<String> {
    let in_uri = [in_uri(target).as_slice(), format!(":{port}").as_bytes()].concat();
    match door {
        Door::Absolute => {
            let request = [b"GET http://", in_uri.as_slice(), b"/ HTTP/1.1\r\n\r\n"].concat();
            Some(http(world, &request).await)
        }
        Door::Host => {
            let request = [b"GET / HTTP/1.1\r\nHost: ", in_uri.as_slice(), b"\r\n\r\n"].concat();
            Some(http(world, &request).await)
        }
        Door::Connect => {
            let request = [b"CONNECT ", in_uri.as_slice(), b" HTTP/1.1\r\n\r\n"].concat();
            Some(http(world, &request).await)
        }
        Door::Name => Some(socks(world, &name(target, port)?).await),
        Door::Address => Some(socks(world, &address(target, port)?).await),
        Door::UdpName => Some(udp(world, &name(target, port)?).await),
        Door::UdpAddress => Some(udp(world, &address(target, port)?).await),
    }
}

/// IPv6 wants brackets in a URI; otherwise the text goes as it is.
fn in_uri(target: &[u8]) -> Vec<u8> {
    let colons = target.iter().filter(|byte| **byte == b':').count();
    if colons < 2 || target.contains(&b'[') || target.contains(&b'/') || target.contains(&b'@') {
        return target.to_owned();
    }
    [b"[", target, b"]"].concat()
}

fn name(target: &[u8], port: u16) -> Option<Vec<u8>> {
    (target.len() <= 255).then(|| harness::name(target, port))
}

fn address(target: &[u8], port: u16) -> Option<Vec<u8>> {
    let text = str::from_utf8(target).ok()?;
    let inside = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let ip: IpAddr = inside.unwrap_or(text).parse().ok()?;
    Some(harness::address(&ip.to_string(), port))
}

async fn http(world: &World, request: &[u8]) -> String {
    let mut client = world.http().await;
    client.send(request).await;
    // A permitted request may be under way to its origin still; its event is enough.
    tokio::select! {
        biased;
        events = world.audit.next() => reason(&events),
        head = client.head() => {
            assert!(head.starts_with("HTTP/1.1 400 "), "no event, but {head}");
            "malformed".to_owned()
        }
    }
}

async fn socks(world: &World, address: &[u8]) -> String {
    let (_client, code) = world.socks_request(CONNECT, address).await;
    let events = world.audit.take();
    if events.is_empty() {
        assert_eq!(code, 1, "no event");
        return "malformed".to_owned();
    }
    reason(&events)
}

async fn udp(world: &World, address: &[u8]) -> String {
    let association = world.associate().await;
    association.send(address, b"x").await;
    // Datagrams are read in order, so when the second is judged the first has been, if it ever will be.
    association
        .send(&harness::name(b"marker.wild.test", 9), b"x")
        .await;
    let mut events = Vec::new();
    let is_marker = |event: &Event| event.field("server.address") == Some("marker.wild.test");
    while !events.iter().any(is_marker) {
        events.extend(world.audit.next().await);
    }
    events.retain(|event| !is_marker(event));
    if events.is_empty() {
        return "malformed".to_owned();
    }
    reason(&events)
}

fn reason(events: &[Event]) -> String {
    assert_eq!(events.len(), 1, "one judgement leaves one event");
    events[0]
        .field("network.policy.reason")
        .expect("a reason")
        .to_owned()
}

/// Asks these doors about every target; returns the lines of what differs from the list, or from each other.
async fn differences(
    world: &World,
    doors: &[(Door, &str)],
    port: u16,
    as_listed: bool,
) -> Vec<String> {
    let mut differences = Vec::new();
    for row in rows() {
        let mut verdicts = Vec::new();
        for &(door, label) in doors {
            let exception = row.exceptions.iter().find(|(name, _)| name == label);
            if matches!(exception, Some((_, verdict)) if verdict == "-") {
                continue;
            }
            if let Some(verdict) = verdict(world, door, &row.target, port).await {
                verdicts.push((
                    label,
                    verdict,
                    exception.map(|(_, verdict)| verdict.as_str()),
                ));
            }
        }
        let first = verdicts
            .iter()
            .find(|(_, _, exception)| exception.is_none());
        let agreed = match (as_listed, row.expected.as_str(), first) {
            (false, _, Some((_, verdict, _))) | (true, "?", Some((_, verdict, _))) => {
                verdict.clone()
            }
            (_, expected, _) => expected.to_owned(),
        };
        let wrong: Vec<String> = verdicts
            .iter()
            .filter(|(_, verdict, exception)| match exception {
                Some(exception) => as_listed && verdict != exception,
                None => *verdict != agreed,
            })
            .map(|(door, verdict, _)| format!("{door}:{verdict}"))
            .collect();
        if !wrong.is_empty() {
            let target = row.target.escape_ascii();
            differences.push(format!(
                "line {}: {agreed} {target} {}",
                row.number,
                wrong.join(" ")
            ));
        }
    }
    differences
}

#[tokio::test]
async fn every_door_gives_the_listed_verdict() {
    let setup = INWARD.iter().fold(setup(), |setup, (name, addresses)| {
        setup.name(name, addresses)
    });
    let world = setup.start().await;
    let origin = Origin::start().await;
    let differences = differences(&world, &DOORS, origin.port, true).await;
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[tokio::test]
async fn the_doors_agree_where_local_addresses_are_permitted() {
    // Such addresses may be dialled here, so the names lead to this machine and to no other.
    let setup = INWARD
        .iter()
        .fold(setup(), |setup, (name, _)| setup.name(name, &["127.0.0.1"]));
    let world = setup.key("allow_local_binding", true).start().await;
    let origin = Origin::start().await;
    let differences = differences(&world, &DOORS, origin.port, false).await;
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[tokio::test]
async fn the_http_doors_give_the_listed_verdict_where_tunnels_are_opened() {
    let issuer = Issuer::new();
    let setup = INWARD.iter().fold(setup(), |setup, (name, addresses)| {
        setup.name(name, addresses)
    });
    let setup = setup.limited().key("mitm", true).trust(&issuer.1);
    let world = setup.start().await;
    let origin = Origin::start().await;
    // SOCKS5 is refused in limited mode, whatever it is about.
    let differences = differences(&world, &DOORS[..3], origin.port, true).await;
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}
