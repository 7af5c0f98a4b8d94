//! The names of the suite: what the DNS server says about each, and what must come of asking for it.
//!
//! Main item: [`ROWS`]; a new row is a case at every door. The columns: a name below `allowed.example`, which the policy
//! allows (or a name that ends in a dot, which stands for itself); the answer, which is a list of addresses (`empty` for
//! none), `-> name`, `servfail`, `silent`, or `unknown`; and the expectation.

use std::collections::HashMap;
use std::net::IpAddr;

use anyhow::{Context as _, Result};

use super::Expect::{self, Denied, DnsFailed, NotAllowed, NotAllowedLocal, Served, Unreachable};
use crate::dns::Answer;

pub(super) type Row = (&'static str, &'static str, Expect);

pub(super) const ROWS: &[Row] = &[
    ("web", "151.101.1.1", Served("151.101.1.1")),
    ("six", "2606:2800:220:1::1", Served("2606:2800:220:1::1")),
    ("alias", "-> web", Served("151.101.1.1")),
    ("two-steps", "-> alias", Served("151.101.1.1")),
    ("one-dead", "5.5.5.5 151.101.1.1", Served("151.101.1.1")),
    ("all-dead", "5.5.5.5", Unreachable),
    // A name whose last label could be taken for something else.
    ("allowed.example.", "151.101.1.1", Served("151.101.1.1")),
    // NAT64 is judged, and dialled, by what is inside.
    ("nat64", "64:ff9b::9765:101", Served("64:ff9b::9765:101")),
    ("mapped", "::ffff:151.101.1.1", Served("151.101.1.1")),
    // Refused by name: nobody may be asked.
    ("unlisted.example.", "151.101.1.1", NotAllowed),
    ("notallowed.example.", "151.101.1.1", NotAllowed),
    ("allowed.example.evil.example.", "151.101.1.1", NotAllowed),
    ("unlisted-private.example.", "10.1.2.3", NotAllowed),
    ("unlisted-unknown.example.", "unknown", NotAllowed),
    ("denied", "151.101.1.1", Denied),
    ("below.denied", "151.101.1.1", Denied),
    ("denied-unknown.denied", "unknown", Denied),
    // Refused by address, one for each kind.
    ("private-10", "10.1.2.3", NotAllowedLocal),
    ("private-172", "172.31.255.1", NotAllowedLocal),
    ("private-192", "192.168.7.7", NotAllowedLocal),
    ("loopback", "127.0.0.1", NotAllowedLocal),
    ("loopback-other", "127.8.9.10", NotAllowedLocal),
    ("name-server", "127.0.0.53", NotAllowedLocal),
    ("unspecified", "0.0.0.0", NotAllowedLocal),
    ("link-local", "169.254.7.7", NotAllowedLocal),
    ("metadata", "169.254.169.254", NotAllowedLocal),
    ("metadata-azure", "168.63.129.16", NotAllowedLocal),
    ("metadata-six", "fd00:ec2::254", NotAllowedLocal),
    ("shared", "100.64.0.1", NotAllowedLocal),
    ("benchmarking", "198.18.0.1", NotAllowedLocal),
    ("documentation", "203.0.113.7", NotAllowedLocal),
    ("multicast", "224.0.0.251", NotAllowedLocal),
    ("reserved", "240.0.0.1", NotAllowedLocal),
    ("broadcast", "255.255.255.255", NotAllowedLocal),
    ("loopback-six", "::1", NotAllowedLocal),
    ("unspecified-six", "::", NotAllowedLocal),
    ("link-local-six", "fe80::1", NotAllowedLocal),
    ("unique-local", "fd00::1", NotAllowedLocal),
    ("site-local", "fec0::1", NotAllowedLocal),
    ("multicast-six", "ff02::1", NotAllowedLocal),
    ("documentation-six", "2001:db8::1", NotAllowedLocal),
    ("mapped-private", "::ffff:10.1.2.3", NotAllowedLocal),
    ("mapped-loopback", "::ffff:127.0.0.1", NotAllowedLocal),
    ("compatible-private", "::10.1.2.3", NotAllowedLocal),
    ("nat64-private", "64:ff9b::10.1.2.3", NotAllowedLocal),
    (
        "nat64-metadata",
        "64:ff9b::169.254.169.254",
        NotAllowedLocal,
    ),
    ("nat64-local", "64:ff9b:1::9765:101", NotAllowedLocal),
    ("six-to-four-private", "2002:a01:203::1", NotAllowedLocal),
    ("six-to-four-public", "2002:9765:101::1", NotAllowedLocal),
    ("teredo", "2001:0:9765:101::1", NotAllowedLocal),
    (
        "isatap-private",
        "2606:2800:220:1:0:5efe:a01:203",
        NotAllowedLocal,
    ),
    // One bad address among many suffices, wherever it stands.
    ("mixed", "151.101.1.1 10.1.2.3", NotAllowedLocal),
    ("mixed-first", "127.0.0.1 151.101.1.1", NotAllowedLocal),
    ("mixed-families", "151.101.1.1 fd00::1", NotAllowedLocal),
    (
        "mixed-families-other",
        "10.1.2.3 2606:2800:220:1::1",
        NotAllowedLocal,
    ),
    ("alias-private", "-> private-10", NotAllowedLocal),
    (
        "alias-outward",
        "-> internal.other.example.",
        NotAllowedLocal,
    ),
    ("internal.other.example.", "192.168.1.1", NotAllowed),
    ("alias-loopback", "-> two-steps-inward", NotAllowedLocal),
    ("two-steps-inward", "-> loopback", NotAllowedLocal),
    // The resolver fails.
    ("unknown", "unknown", DnsFailed(502)),
    ("servfail", "servfail", DnsFailed(502)),
    ("empty", "empty", DnsFailed(502)),
    ("alias-dangling", "-> gone", DnsFailed(502)),
    ("silent", "silent", DnsFailed(504)),
];

/// Names for single cases: not fetched from by the table.
const OTHERS: &[(&str, &str)] = &[
    ("dual", "151.101.1.1 2606:2800:220:1::1"),
    ("secure", "151.101.1.1"),
    ("wrong-name", "151.101.1.1"),
    ("unknown-issuer", crate::origin::UNKNOWN_ISSUER_ADDRESS),
    ("expired", crate::origin::EXPIRED_ADDRESS),
    ("secure-private", "10.1.2.3"),
    ("echo", "151.101.1.1"),
    ("echo-private", "10.1.2.3"),
    ("itself", "151.101.1.1"),
    ("itself-loopback", "127.0.0.1"),
    ("limited", "151.101.1.1"),
    ("limited-private", "10.1.2.3"),
    ("git", "151.101.1.1"),
    ("shop", "151.101.1.1"),
    ("hang-up", "silent"),
    ("slow-exit", "silent"),
    ("counted", "151.101.1.1"),
    ("http1", crate::origin::HTTP1_ADDRESS),
    ("http2", crate::origin::HTTP2_ADDRESS),
    ("both", crate::origin::BOTH_ADDRESS),
    ("verified", "151.101.1.1"),
    ("verified-http2", crate::origin::HTTP2_ADDRESS),
    ("verified-expired", crate::origin::EXPIRED_ADDRESS),
    ("verified-wrong-name", "151.101.1.1"),
    (
        "verified-unknown-issuer",
        crate::origin::UNKNOWN_ISSUER_ADDRESS,
    ),
    ("distrust-curl", crate::origin::BOTH_ADDRESS),
    ("distrust-python-urllib", crate::origin::BOTH_ADDRESS),
    ("distrust-python-requests", crate::origin::BOTH_ADDRESS),
    ("distrust-go-http2", crate::origin::BOTH_ADDRESS),
    ("distrust-node-https", crate::origin::BOTH_ADDRESS),
    ("distrust-node-http2", crate::origin::BOTH_ADDRESS),
    ("distrust-java-http2", crate::origin::BOTH_ADDRESS),
    ("distrust-chromium", crate::origin::BOTH_ADDRESS),
    ("handmade", crate::origin::HANDMADE_ADDRESS),
];

/// Names that change their answer.
const TURNS: &[(&str, &[&str])] = &[
    ("rebound", &["151.101.1.1", "10.1.2.3"]),
    ("rebound-six", &["151.101.1.1", "::1"]),
    ("rebound-back", &["10.1.2.3", "151.101.1.1"]),
    ("rebound-pool", &["151.101.1.1", "10.1.2.3"]),
    ("rebound-connect", &["151.101.1.1", "127.0.0.1"]),
    ("rebound-socks", &["151.101.1.1", "169.254.169.254"]),
];

/// The full name of a row.
pub(super) fn full(name: &str) -> String {
    match name.strip_suffix('.') {
        Some(name) => name.to_owned(),
        None => format!("{name}.allowed.example"),
    }
}

pub(crate) fn zone() -> Result<HashMap<String, Answer>> {
    let rows = ROWS.iter().map(|(name, answer, _)| (*name, *answer));
    let mut zone = HashMap::new();
    for (name, answer) in rows.chain(OTHERS.iter().copied()) {
        let answer = match answer {
            "unknown" => continue,
            "silent" => Answer::Silent,
            "servfail" => Answer::ServFail,
            "empty" => Answer::Addresses(Vec::new()),
            _ => match answer.strip_prefix("-> ") {
                Some(target) => Answer::Alias(full(target)),
                None => Answer::Addresses(addresses(answer)?),
            },
        };
        zone.insert(full(name), answer);
    }
    for (name, turns) in TURNS {
        let turns: Result<Vec<_>> = turns.iter().map(|turn| addresses(turn)).collect();
        zone.insert(full(name), Answer::Turns(turns?));
    }
    Ok(zone)
}

fn addresses(text: &str) -> Result<Vec<IpAddr>> {
    let addresses = text.split(' ').map(|address| {
        address
            .parse()
            .with_context(|| format!("no address: `{address}`"))
    });
    addresses.collect()
}

/// What the HTTPS origin has a certificate for: everything that is served but the wrong names.
pub(crate) fn certified_names() -> Vec<String> {
    let served = ROWS
        .iter()
        .map(|row| row.0)
        .chain(OTHERS.iter().map(|other| other.0));
    let mut names: Vec<String> = served
        .filter(|name| !name.ends_with("wrong-name"))
        .map(full)
        .collect();
    names.push("1.2.3.4".to_owned());
    names
}
