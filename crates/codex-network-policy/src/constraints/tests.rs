//! Each limit, its order and its words.

use super::*;
use alloc::vec;
use std::sync::LazyLock;

fn pattern(text: &str) -> HostPattern {
    HostPattern::parse(text).unwrap()
}

fn rules(texts: &[&str]) -> HostList {
    let rule = |text: &&str| Rule {
        pattern: pattern(text),
        origin: Origin::flag("test"),
    };
    texts.iter().map(rule).collect()
}

fn limit(texts: &[&str], expansion: Expansion) -> Option<HostLimit> {
    Some(HostLimit {
        patterns: texts.iter().map(|text| pattern(text)).collect(),
        expansion,
    })
}

static NO_HOSTS: LazyLock<HostList> = LazyLock::new(HostList::default);

static NOTHING: LazyLock<Candidate<'_>> = LazyLock::new(|| Candidate {
    enabled: false,
    mode: Mode::Limited,
    allow_upstream_proxy: false,
    dangerously_allow_non_loopback_proxy: false,
    dangerously_allow_all_unix_sockets: false,
    allow_local_binding: false,
    allowed: &NO_HOSTS,
    denied: &NO_HOSTS,
    sockets: &[],
});

static EVERYTHING: LazyLock<Candidate<'_>> = LazyLock::new(|| Candidate {
    enabled: true,
    mode: Mode::Full,
    allow_upstream_proxy: true,
    dangerously_allow_non_loopback_proxy: true,
    dangerously_allow_all_unix_sockets: true,
    allow_local_binding: true,
    ..*NOTHING
});

#[track_caller]
fn check(constraints: &Constraints, candidate: &Candidate<'_>, expected: &str) {
    let found = match constraints.check(candidate) {
        Ok(()) => "fits".to_string(),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected);
}

#[test]
fn nothing_limits_nothing() {
    let none = Constraints::default();
    assert!(none.is_empty());
    check(&none, &EVERYTHING, "fits");
    let open = Constraints {
        enabled: Some(true),
        mode: Some(Mode::Full),
        allow_local_binding: Some(true),
        dangerously_allow_all_unix_sockets: Some(true),
        sockets: Some(vec![]),
        ..none
    };
    assert!(!open.is_empty());
    check(&open, &EVERYTHING, "fits");
}

#[test]
fn switches_are_checked_in_their_order() {
    let mut limits = Constraints {
        enabled: Some(false),
        mode: Some(Mode::Limited),
        allow_upstream_proxy: Some(false),
        dangerously_allow_non_loopback_proxy: Some(false),
        dangerously_allow_all_unix_sockets: Some(false),
        allow_local_binding: Some(false),
        ..Constraints::default()
    };
    check(&limits, &NOTHING, "fits");
    let disabled = |key: &str| {
        format!(
            "invalid value for network.{key}: true (allowed false (disabled by managed config))"
        )
    };
    check(&limits, &EVERYTHING, &disabled("enabled"));
    limits.enabled = None;
    check(
        &limits,
        &EVERYTHING,
        "invalid value for network.mode: Full (allowed Limited or more restrictive)",
    );
    limits.mode = None;
    check(&limits, &EVERYTHING, &disabled("allow_upstream_proxy"));
    limits.allow_upstream_proxy = None;
    let key = "dangerously_allow_non_loopback_proxy";
    check(&limits, &EVERYTHING, &disabled(key));
    limits.dangerously_allow_non_loopback_proxy = None;
    let key = "dangerously_allow_all_unix_sockets";
    check(&limits, &EVERYTHING, &disabled(key));
    // A list of sockets limits the switch as well.
    limits.dangerously_allow_all_unix_sockets = None;
    limits.sockets = Some(vec![]);
    check(&limits, &EVERYTHING, &disabled(key));
    limits.sockets = None;
    check(&limits, &EVERYTHING, &disabled("allow_local_binding"));
}

#[test]
fn an_allowlist_may_grow_only_where_the_limit_lets_it() {
    let fits = |managed: &[&str], expansion, allowed: &[&str], denied: &[&str], expected: &str| {
        let limits = Constraints {
            allowed: limit(managed, expansion),
            ..Constraints::default()
        };
        let (allowed, denied) = (rules(allowed), rules(denied));
        let candidate = Candidate {
            allowed: &allowed,
            denied: &denied,
            ..*EVERYTHING
        };
        check(&limits, &candidate, expected);
    };
    use Expansion::{Closed, Open, Unset};
    fits(&["a.com"], Open, &["A.com", "b.com"], &[], "fits");
    fits(&["a.com"], Open, &["b.com"], &["a.com"], "fits");
    fits(
        &["a.com", "c.com"],
        Open,
        &["b.com", "c.com"],
        &[],
        "invalid value for network.allowed_domains: missing managed allowed_domains entries (allowed [\"a.com\"])",
    );
    fits(
        &["a.com", "b.com"],
        Closed,
        &["b.com", "A.com", "a.com"],
        &[],
        "fits",
    );
    fits(&[], Closed, &[], &[], "fits");
    let closed = "invalid value for network.allowed_domains: [\"a.com\", \"b.com\"] (allowed must match managed allowed_domains)";
    fits(&["a.com"], Closed, &["a.com", "b.com"], &[], closed);
    fits(
        &["a.com"],
        Closed,
        &[],
        &[],
        "invalid value for network.allowed_domains: [] (allowed must match managed allowed_domains)",
    );
    fits(
        &["**.a.com", "*.b.com"],
        Unset,
        &["x.a.com", "a.com", "x.b.com"],
        &[],
        "fits",
    );
    fits(&["a.com"], Unset, &[], &[], "fits");
    fits(
        &["*.b.com"],
        Unset,
        &["x.b.com", "b.com", "c.com"],
        &[],
        "invalid value for network.allowed_domains: [\"b.com\", \"c.com\"] (allowed subset of managed allowed_domains)",
    );
    fits(
        &[],
        Unset,
        &["a.com"],
        &[],
        "invalid value for network.allowed_domains: [\"a.com\"] (allowed subset of managed allowed_domains)",
    );
}

#[test]
fn a_denylist_may_not_shrink() {
    let fits = |expansion, denied: &[&str], expected: &str| {
        let limits = Constraints {
            denied: limit(&["a.com"], expansion),
            ..Constraints::default()
        };
        let denied = rules(denied);
        let candidate = Candidate {
            denied: &denied,
            ..*EVERYTHING
        };
        check(&limits, &candidate, expected);
    };
    let missing = "invalid value for network.denied_domains: missing managed denied_domains entries (allowed [\"a.com\"])";
    for expansion in [Expansion::Open, Expansion::Unset] {
        fits(expansion, &["b.com", "a.com"], "fits");
        fits(expansion, &["*.com"], missing);
    }
    fits(Expansion::Closed, &["a.com"], "fits");
    fits(
        Expansion::Closed,
        &["a.com", "b.com"],
        "invalid value for network.denied_domains: [\"a.com\", \"b.com\"] (allowed must match managed denied_domains)",
    );
}

#[test]
fn sockets_are_compared_as_paths() {
    let path = |text: &str| SocketPath::parse(text).unwrap();
    let limits = Constraints {
        sockets: Some(vec![path("/run/a")]),
        ..Constraints::default()
    };
    let fits = |paths: &[&str], expected: &str| {
        let sockets: Vec<SocketRule> = paths
            .iter()
            .map(|text| SocketRule {
                path: path(text),
                origin: Origin::flag("test"),
            })
            .collect();
        let candidate = Candidate {
            sockets: &sockets,
            ..*NOTHING
        };
        check(&limits, &candidate, expected);
    };
    fits(&[], "fits");
    fits(&["/run//x/../a"], "fits");
    // Paths differ by case.
    fits(
        &["/run/a", "/run/A"],
        "invalid value for network.allow_unix_sockets: [\"/run/A\"] (allowed subset of managed allow_unix_sockets)",
    );
}

#[test]
fn an_entry_at_fault_is_named_with_its_place() {
    let limits = Constraints {
        allowed: limit(&["a.com"], Expansion::Unset),
        ..Constraints::default()
    };
    let many: Vec<String> = (0..30).map(|number| format!("h{number}.example")).collect();
    let allowed = rules(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let candidate = Candidate {
        allowed: &allowed,
        ..*EVERYTHING
    };
    let error = limits.check(&candidate).unwrap_err();
    assert_eq!(error.entry.as_deref(), Some("h0.example"));
    assert_eq!(error.origin, Some(Origin::flag("test")));
    assert!(
        error.candidate.ends_with(", and 10 more]"),
        "{}",
        error.candidate
    );
}
