use super::*;
use crate::tidy::tree::Tree;

const GATE: &str = "crates/codex-network-gate/src/gate.rs";
const UPSTREAM: &str = "crates/codex-network-gate/src/upstream.rs";
const RACE: &str = "crates/codex-network-gate/src/upstream/race.rs";
const REASON: &str = "crates/codex-network-policy/src/reason.rs";
const CONNECT: &str = "crates/codex-network-proxy/src/listener/http/connect.rs";
const SOCKS: &str = "crates/codex-network-proxy/src/listener/socks5.rs";
const UDP: &str = "crates/codex-network-proxy/src/listener/socks5/udp.rs";
const MAIN: &str = "crates/codex-network-proxy/src/main.rs";

fn messages(files: &[(&str, &str)]) -> Vec<String> {
    let (product, broken) = Product::parse(&Tree::of(files));
    assert_eq!(broken, []);
    check(&product)
        .into_iter()
        .map(|finding| finding.message)
        .collect()
}

#[track_caller]
fn clean(files: &[(&str, &str)]) {
    assert_eq!(messages(files), Vec::<String>::new());
}

#[track_caller]
fn refused(files: &[(&str, &str)], expected: &str) {
    let messages = messages(files);
    assert_eq!(messages.len(), 1, "{messages:#?}");
    assert!(messages[0].contains(expected), "{messages:#?}");
}

#[test]
fn a_permit_is_built_once() {
    let built = (
        GATE,
        "struct Permit { a: u8 } impl Permit { fn new() -> Self { Self { a: 1 } } }",
    );
    let read = "fn f(p: Permit) { let Permit { a } = p; match p { Permit { a: 1 } => {}, Permit { .. } => {} } }";
    clean(&[built, (UPSTREAM, read)]);
    refused(
        &[
            built,
            (UPSTREAM, "fn f() -> Permit { gate::Permit { a: 2 } }"),
        ],
        "2 `Permit` literals",
    );
    refused(
        &[
            built,
            (UPSTREAM, "fn f() -> Vec<Permit> { vec![Permit { a: 2 }] }"),
        ],
        "2 `Permit` literals",
    );
    clean(&[
        built,
        (
            UPSTREAM,
            "fn f(p: &Permit) -> bool { matches!(p, Permit { .. }) }",
        ),
    ]);
    clean(&[
        built,
        (
            UPSTREAM,
            "#[cfg(test)] mod tests { fn f() -> Permit { Permit { a: 2 } } }",
        ),
    ]);
}

#[test]
fn a_permit_is_asked_for_once() {
    let once = "impl Permit { fn from_grant(grant: Grant) -> Self { todo() } } fn f() { Permit::from_grant(g()) }";
    clean(&[(GATE, once)]);
    refused(
        &[
            (GATE, once),
            (
                UPSTREAM,
                "fn f() { crate::permit::Permit::from_grant(g()) }",
            ),
        ],
        "2 `from_grant` calls",
    );
}

#[test]
fn a_blocked_request_is_built_once() {
    let built = "fn f() { BlockedRequest { a: 1 }; }";
    clean(&[(GATE, built)]);
    refused(
        &[(GATE, built), (SOCKS, built)],
        "2 `BlockedRequest` literals",
    );
}

#[test]
fn the_audit_event_is_emitted_in_one_file() {
    let emit = "fn f() { tracing::event!(target: \"codex_otel.network_proxy\", a = 1); }";
    clean(&[
        (GATE, emit),
        (UPSTREAM, "/// Sees `codex_otel.network_proxy`.\nfn g() {}"),
    ]);
    refused(
        &[(GATE, emit), (UPSTREAM, emit)],
        "2 files that emit the audit event",
    );
}

#[test]
fn an_http_refusal_is_built_in_one_file() {
    let build = "const NAME: &str = \"x-proxy-error\";";
    clean(&[(REASON, build), (CONNECT, build)]);
    refused(
        &[
            (SOCKS, "fn f() { head(\"X-Proxy-Error\") }"),
            (CONNECT, build),
        ],
        "2 files that build an HTTP refusal",
    );
}

#[test]
fn a_denial_becomes_a_socks_reply_in_one_file() {
    let map =
        "fn reply(denial: &Denial) -> Reply { match denial.reason { _ => Reply::NotAllowed } }";
    clean(&[
        (SOCKS, map),
        (
            CONNECT,
            "fn f(d: Denial) {} fn g() -> Reply { Reply::Fine }",
        ),
    ]);
    refused(
        &[
            (SOCKS, map),
            (CONNECT, "impl Denial { fn f(&self) -> Reply { x() } }"),
        ],
        "2 files that turn a denial",
    );
}

#[test]
fn one_place_names_a_collector() {
    let named = "fn f() { Collector::of_operator(host, port, None); }";
    clean(&[(SOCKS, named)]);
    refused(&[(SOCKS, named), (CONNECT, named)], "2 `of_operator` calls");
}

#[test]
fn a_door_asks_the_gate_once() {
    let once = "async fn f(gate: &Gate) { gate.authorize(1).await; }";
    clean(&[
        (SOCKS, once),
        (CONNECT, once),
        (
            GATE,
            "impl Gate { fn authorize(&self) { self.authorize(1) } }",
        ),
    ]);
    let twice = "async fn f(gate: &Gate) { gate.authorize(1).await; select! { _ = Gate::authorize(gate, 2) => {} } }";
    refused(&[(SOCKS, twice)], "2 `authorize` calls in one file");
}

#[test]
fn only_the_owners_use_what_is_banned() {
    let exempt = "#[expect(clippy::disallowed_methods, reason = \"dials\")]\nfn f() {}";
    clean(&[
        (UPSTREAM, exempt),
        (RACE, exempt),
        (MAIN, exempt),
        (UDP, exempt),
    ]);
    let neighbour = "crates/codex-network-gate/src/upstreams.rs";
    refused(&[(neighbour, exempt)], "may use what clippy.toml bans");
    refused(&[(SOCKS, exempt)], "may use what clippy.toml bans");
    refused(
        &[(GATE, "#![allow(clippy::disallowed_methods)]\nfn f() {}")],
        "may use what clippy.toml bans",
    );
}

#[test]
fn the_policy_crate_has_no_std() {
    let path = "crates/codex-network-policy/src/lib.rs";
    clean(&[(path, "//! Decides.\n#![no_std]\nmod host;")]);
    refused(&[(path, "//! Decides.\nmod host;")], "#![no_std]");
}
