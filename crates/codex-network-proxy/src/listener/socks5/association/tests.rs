use std::net::{IpAddr, SocketAddrV6};

use codex_network_policy::Host;

use super::*;

mod bounds;
mod property;

const CLIENT: &str = "127.0.0.1:5000";
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// A permit that names its peers.
#[derive(Debug, PartialEq, Eq)]
struct Peers(Vec<SocketAddr>);

impl PermittedPeers for Peers {
    fn peers(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().copied()
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn target(host: &str) -> Target {
    Target::Host {
        host: Host::parse(host).unwrap(),
        port: 53,
    }
}

/// The datagram of a client for port 53 of this host.
fn datagram(host: &str, payload: &[u8]) -> Vec<u8> {
    let field = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => [&[1], ip.octets().as_slice()].concat(),
        Ok(IpAddr::V6(ip)) => [&[4], ip.octets().as_slice()].concat(),
        Err(_) => [&[3, u8::try_from(host.len()).unwrap()], host.as_bytes()].concat(),
    };
    [&[0, 0, 0], field.as_slice(), &[0, 53], payload].concat()
}

/// An association with the generation and the time that it is told next, and short forms of what it
/// says.
struct Driver {
    association: Association<Peers>,
    generation: u64,
    now: Instant,
}

fn driver() -> Driver {
    driver_of("127.0.0.1:4000", 0)
}

fn driver_of(control_peer: &str, announced_port: u16) -> Driver {
    let now = Instant::now();
    Driver {
        association: Association::new(address(control_peer), announced_port, 1, IDLE_LIMIT, now),
        generation: 1,
        now,
    }
}

impl Driver {
    fn raw(&mut self, from: &str, bytes: &[u8]) -> String {
        let event =
            self.association
                .client_datagram(address(from), bytes, self.generation, self.now);
        match event {
            ClientDatagram::Send { permit, payload } => {
                format!(
                    "send {} to {:?}",
                    String::from_utf8_lossy(payload),
                    permit.0
                )
            }
            ClientDatagram::Judge(target) => format!("judge {target:?}"),
            ClientDatagram::Held => "held".to_owned(),
            ClientDatagram::Dropped(Dropped::Malformed(_)) => "dropped Malformed".to_owned(),
            ClientDatagram::Dropped(why) => format!("dropped {why:?}"),
        }
    }

    fn client(&mut self, host: &str, payload: &str) -> String {
        self.raw(CLIENT, &datagram(host, payload.as_bytes()))
    }

    fn judged(&mut self, host: &str, finding: Finding<Peers>) -> String {
        let target = target(host);
        match self
            .association
            .judged(&target, finding, self.generation, self.now)
        {
            Judged::Send { permit, payloads } => {
                let payloads: Vec<_> = payloads
                    .iter()
                    .map(|payload| String::from_utf8_lossy(payload))
                    .collect();
                format!("send {} to {:?}", payloads.join(" "), permit.0)
            }
            Judged::JudgeAgain(again) => {
                assert_eq!(again, target);
                "judge again".to_owned()
            }
            Judged::Nothing => "nothing".to_owned(),
        }
    }

    fn upstream(&mut self, from: &str) -> Option<ToClient> {
        self.association
            .upstream_datagram(address(from), self.generation, self.now)
    }

    /// The state in which most tests begin: this host has been judged, and its datagrams are sent
    /// to this peer.
    fn permit(&mut self, host: &str, peer: &str) {
        assert_eq!(self.client(host, "first"), judge(host));
        assert_eq!(self.judged(host, permitted(peer)), sent("first", peer));
    }
}

fn permitted(peer: &str) -> Finding<Peers> {
    Finding::Permitted(Peers(vec![address(peer)]))
}

fn judge(host: &str) -> String {
    format!("judge {:?}", target(host))
}

fn sent(payloads: &str, peer: &str) -> String {
    format!("send {payloads} to [{peer}]")
}

#[test]
fn the_first_datagram_pins_the_client() {
    let mut driver = driver();
    let query = datagram("dns.example", b"query");
    assert_eq!(driver.raw("127.0.0.2:5000", &query), "dropped NotTheClient");
    assert_eq!(driver.raw("[::1]:5000", &query), "dropped NotTheClient");
    assert_eq!(driver.raw(CLIENT, &query), judge("dns.example"));
    assert_eq!(driver.raw("127.0.0.1:5001", &query), "dropped NotTheClient");
    assert_eq!(driver.raw("127.0.0.2:5000", &query), "dropped NotTheClient");
    assert_eq!(driver.raw(CLIENT, &query), "held");
}

#[test]
fn an_announced_port_counts_from_the_start() {
    let mut driver = driver_of("127.0.0.1:4000", 5000);
    let query = datagram("dns.example", b"query");
    assert_eq!(driver.raw("127.0.0.1:5001", &query), "dropped NotTheClient");
    assert_eq!(driver.raw("127.0.0.2:5000", &query), "dropped NotTheClient");
    assert_eq!(driver.raw(CLIENT, &query), judge("dns.example"));
}

#[test]
fn a_mapped_address_is_the_same_client() {
    let mut driver = driver_of("[::ffff:127.0.0.1]:4000", 0);
    let query = datagram("dns.example", b"query");
    assert_eq!(
        driver.raw("[::ffff:127.0.0.1]:5000", &query),
        judge("dns.example")
    );
    assert_eq!(driver.raw(CLIENT, &query), "held");
    assert_eq!(
        driver.judged("dns.example", permitted("192.0.2.1:53")),
        "send query query to [192.0.2.1:53]"
    );
    // Replies go to the address as the relay socket showed it, for only that one can be sent to.
    let reply = driver.upstream("192.0.2.1:53").unwrap();
    assert_eq!(reply.client, address("[::ffff:127.0.0.1]:5000"));
}

#[test]
fn what_cannot_be_read_pins_nobody() {
    let mut driver = driver();
    let mut fragment = datagram("dns.example", b"part");
    fragment[2] = 1;
    assert_eq!(driver.raw("127.0.0.1:1", &fragment), "dropped Fragment");
    assert_eq!(
        driver.raw("127.0.0.1:1", b"\0\0\0\x01"),
        "dropped Malformed"
    );
    assert_eq!(
        driver.raw("127.0.0.1:1", &datagram("evil\0.example", b"")),
        "dropped Malformed"
    );
    assert_eq!(driver.client("dns.example", "query"), judge("dns.example"));
    assert_eq!(driver.raw(CLIENT, &fragment), "dropped Fragment");
}

#[test]
fn a_target_is_judged_once() {
    let mut driver = driver();
    assert_eq!(driver.client("dns.example", "one"), judge("dns.example"));
    assert_eq!(driver.client("dns.example", "two"), "held");
    assert_eq!(driver.client("DNS.example", "three"), "held");
    assert_eq!(
        driver.judged("dns.example", permitted("192.0.2.1:53")),
        sent("one two three", "192.0.2.1:53")
    );
    assert_eq!(
        driver.client("dns.example", "four"),
        sent("four", "192.0.2.1:53")
    );
    // Another spelling of the same peer is another target.
    assert_eq!(driver.client("192.0.2.1", "five"), judge("192.0.2.1"));
    // A second report, or one that nobody asked for, changes nothing.
    assert_eq!(driver.judged("dns.example", Finding::Refused), "nothing");
    assert_eq!(
        driver.judged("other.example", permitted("192.0.2.9:53")),
        "nothing"
    );
    assert_eq!(
        driver.client("dns.example", "six"),
        sent("six", "192.0.2.1:53")
    );
    assert_eq!(
        driver.client("other.example", "seven"),
        judge("other.example")
    );
}

#[test]
fn empty_datagrams_are_datagrams() {
    let mut driver = driver();
    assert_eq!(driver.client("dns.example", ""), judge("dns.example"));
    assert_eq!(
        driver.judged("dns.example", permitted("192.0.2.1:53")),
        sent("", "192.0.2.1:53")
    );
    assert_eq!(driver.client("dns.example", ""), sent("", "192.0.2.1:53"));
}

#[test]
fn a_refused_target_does_not_end_the_association() {
    let mut driver = driver();
    assert_eq!(
        driver.client("denied.example", "one"),
        judge("denied.example")
    );
    assert_eq!(driver.client("denied.example", "two"), "held");
    assert_eq!(driver.judged("denied.example", Finding::Refused), "nothing");
    driver.now += Duration::from_secs(3600);
    assert_eq!(driver.client("denied.example", "three"), "dropped Refused");
    driver.permit("dns.example", "192.0.2.1:53");
}

#[test]
fn an_unresolved_name_is_tried_again_after_a_pause() {
    let mut driver = driver();
    assert_eq!(driver.client("dns.example", "one"), judge("dns.example"));
    assert_eq!(driver.judged("dns.example", Finding::Unresolved), "nothing");
    assert_eq!(driver.client("dns.example", "two"), "dropped Refused");
    driver.now += RETRY_PAUSE;
    driver.permit("dns.example", "192.0.2.1:53");
}

#[test]
fn replies_pass_from_permitted_peers_only() {
    let mut driver = driver();
    assert_eq!(driver.upstream("192.0.2.1:53"), None);
    assert_eq!(driver.client("dns.example", "query"), judge("dns.example"));
    assert_eq!(driver.upstream("192.0.2.1:53"), None);
    driver.judged("dns.example", permitted("192.0.2.1:53"));
    driver.permit("v6.example", "[2001:db8::1]:53");
    assert_eq!(
        driver.client("denied.example", "query"),
        judge("denied.example")
    );
    driver.judged("denied.example", Finding::Refused);

    let v4 = ToClient {
        client: address(CLIENT),
        header: codec::datagram_header(address("192.0.2.1:53")),
    };
    assert_eq!(v4.header.as_bytes(), [0, 0, 0, 1, 192, 0, 2, 1, 0, 53]);
    assert_eq!(driver.upstream("192.0.2.1:53"), Some(v4));
    assert_eq!(driver.upstream("[::ffff:192.0.2.1]:53"), Some(v4));
    let v6 = driver.upstream("[2001:db8::1]:53").unwrap();
    assert_eq!(
        v6.header,
        codec::datagram_header(address("[2001:db8::1]:53"))
    );
    let labelled = SocketAddrV6::new("2001:db8::1".parse().unwrap(), 53, 0xbeef, 0);
    let (generation, now) = (driver.generation, driver.now);
    let reply = driver
        .association
        .upstream_datagram(labelled.into(), generation, now);
    assert_eq!(reply, Some(v6), "a flow label is no part of the peer");
    for stranger in [
        "192.0.2.1:54",
        "192.0.2.2:53",
        "[2001:db8::2]:53",
        "[2001:db8::1%7]:53",
        CLIENT,
    ] {
        assert_eq!(driver.upstream(stranger), None, "{stranger}");
    }
}

#[test]
fn a_new_policy_judges_every_target_again() {
    let mut driver = driver();
    driver.permit("dns.example", "192.0.2.1:53");
    assert_eq!(
        driver.client("denied.example", "one"),
        judge("denied.example")
    );
    driver.judged("denied.example", Finding::Refused);
    driver.generation = 2;
    assert_eq!(driver.client("dns.example", "two"), judge("dns.example"));
    assert_eq!(
        driver.client("denied.example", "two"),
        judge("denied.example")
    );
    assert_eq!(
        driver.judged("denied.example", permitted("192.0.2.2:53")),
        sent("two", "192.0.2.2:53")
    );
    assert_eq!(driver.judged("dns.example", Finding::Refused), "nothing");
    assert_eq!(driver.client("dns.example", "three"), "dropped Refused");
    assert_eq!(driver.upstream("192.0.2.1:53"), None);
}

#[test]
fn a_finding_of_an_older_policy_is_void() {
    let mut driver = driver();
    assert_eq!(driver.client("dns.example", "one"), judge("dns.example"));
    driver.generation = 2;
    assert_eq!(driver.client("dns.example", "two"), "held");
    assert_eq!(
        driver.judged("dns.example", permitted("192.0.2.1:53")),
        "judge again"
    );
    assert_eq!(driver.upstream("192.0.2.1:53"), None);
    assert_eq!(driver.client("dns.example", "three"), "held");
    assert_eq!(
        driver.judged("dns.example", permitted("192.0.2.2:53")),
        sent("one two three", "192.0.2.2:53")
    );
}

#[test]
fn replies_survive_a_change_only_where_the_permit_stands() {
    let mut driver = driver();
    driver.permit("kept.example", "192.0.2.1:53");
    driver.permit("busy.example", "192.0.2.2:53");
    driver.permit("gone.example", "192.0.2.3:53");
    let stands = |known: &Target, _: &Peers| *known != target("gone.example");

    driver.generation = 2;
    driver.association.policy_changed(2, stands);
    assert_eq!(driver.client("busy.example", "two"), judge("busy.example"));
    assert!(driver.upstream("192.0.2.1:53").is_some());
    assert!(
        driver.upstream("192.0.2.2:53").is_some(),
        "while it is judged again"
    );
    assert_eq!(driver.upstream("192.0.2.3:53"), None);
    // Nothing is sent under the permit that stands: it only lets replies pass.
    assert_eq!(driver.client("kept.example", "two"), judge("kept.example"));

    driver.generation = 3;
    driver.association.policy_changed(3, stands);
    assert!(driver.upstream("192.0.2.2:53").is_some());

    // Nobody vouched for the next one.
    driver.generation = 4;
    assert_eq!(driver.upstream("192.0.2.1:53"), None);
    assert_eq!(driver.upstream("192.0.2.2:53"), None);
    assert_eq!(
        driver.judged("busy.example", permitted("192.0.2.2:53")),
        "judge again"
    );
    assert_eq!(
        driver.judged("busy.example", permitted("192.0.2.2:53")),
        sent("two", "192.0.2.2:53")
    );
}

#[test]
fn the_idle_limit_runs_from_the_last_datagram_that_counts() {
    let mut driver = driver();
    let start = driver.now;
    let idle_at = |driver: &Driver| driver.association.idle_at().map(|at| at - start);
    let second = Duration::from_secs(1);
    assert_eq!(idle_at(&driver), Some(IDLE_LIMIT));

    driver.now += second;
    driver.raw("127.0.0.2:5000", &datagram("dns.example", b"x"));
    driver.raw(CLIENT, b"malformed");
    driver.upstream("192.0.2.1:53");
    assert_eq!(
        idle_at(&driver),
        Some(IDLE_LIMIT),
        "strangers and noise keep nothing alive"
    );

    driver.client("dns.example", "x");
    assert_eq!(idle_at(&driver), None, "a judgement has a limit of its own");
    driver.now += second;
    driver.judged("dns.example", permitted("192.0.2.1:53"));
    assert_eq!(idle_at(&driver), Some(2 * second + IDLE_LIMIT));
    driver.now += second;
    driver.client("dns.example", "x");
    assert_eq!(idle_at(&driver), Some(3 * second + IDLE_LIMIT));
    driver.now += second;
    driver.upstream("192.0.2.9:53");
    assert_eq!(idle_at(&driver), Some(3 * second + IDLE_LIMIT));
    driver.upstream("192.0.2.1:53");
    assert_eq!(idle_at(&driver), Some(4 * second + IDLE_LIMIT));
}
