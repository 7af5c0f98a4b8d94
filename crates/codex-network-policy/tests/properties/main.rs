//! What holds for every policy, and a naive model that every verdict is compared with.
#![expect(clippy::expect_used, reason = "the generators make only what parses")]

use codex_network_policy::{
    AccessRequest, Host, HostPattern, Interception, Mode, Origin, Outcome, PatternSet, Policy,
    Protocol, Rule, RuleId, RuleList, Rules, Target, TlsRules, Verdict,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

mod model;

#[derive(Clone, Debug)]
struct Config {
    enabled: bool,
    limited: bool,
    local: bool,
    opens_tls: bool,
    allowed: Vec<String>,
    denied: Vec<String>,
}

#[derive(Clone, Debug)]
struct Question {
    door: &'static str,
    host: String,
    method: Option<&'static str>,
    upgrade: bool,
    approved: bool,
}

const LABELS: [&str; 7] = ["a", "b", "ab", "ba", "x1", "goog", "com"];
const STARRED: [&str; 6] = ["*", "a*", "*a", "a*b", "*x*", "b*"];
const LOCAL: [&str; 15] = [
    "localhost",
    "metadata.goog",
    "127.0.0.1",
    "10.0.0.1",
    "8.8.8.8",
    "::1",
    "fe80::1",
    "fe80::1%lo0",
    "fe80::1%lo1",
    "::ffff:8.8.8.8",
    "::ffff:10.0.0.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b::10.0.0.1",
    "::127.0.0.1",
    "2606:4700::1",
];

fn name() -> impl Strategy<Value = String> {
    vec(select(&LABELS), 1..5).prop_map(|labels| labels.join("."))
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![3 => name(), 2 => select(&LOCAL).prop_map(String::from)]
}

fn pattern() -> impl Strategy<Value = String> {
    let glob = (
        select(&["", "*.", "**."]),
        vec(prop_oneof![select(&LABELS), select(&STARRED)], 1..4),
        select(&LABELS),
    );
    prop_oneof![
        2 => host(),
        2 => name().prop_map(|name| format!("*.{name}")),
        2 => name().prop_map(|name| format!("**.{name}")),
        2 => glob.prop_map(|(lead, labels, last)| format!("{lead}{}.{last}", labels.join("."))),
        // No plain suffix at all.
        1 => (select(&LABELS), select(&STARRED)).prop_map(|(first, last)| format!("{first}.{last}")),
    ]
}

fn config() -> impl Strategy<Value = Config> {
    let switches = (
        prop::bool::weighted(0.95),
        prop::bool::weighted(0.3),
        any::<bool>(),
        any::<bool>(),
    );
    (switches, vec(pattern(), 0..6), vec(pattern(), 0..3)).prop_map(
        |((enabled, limited, local, opens_tls), allowed, denied)| Config {
            enabled,
            limited,
            local,
            opens_tls,
            allowed,
            denied,
        },
    )
}

fn question() -> impl Strategy<Value = Question> {
    let doors = select(&["http", "https_connect", "https", "socks5_tcp", "socks5_udp"]);
    let methods = select(&[
        None,
        Some("GET"),
        Some("get"),
        Some("POST"),
        Some("OPTIONS"),
    ]);
    (doors, host(), methods, any::<bool>(), any::<bool>()).prop_map(
        |(door, host, method, upgrade, approved)| Question {
            door,
            host,
            method,
            upgrade,
            approved,
        },
    )
}

fn parse(text: &str) -> HostPattern {
    HostPattern::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn compile(config: &Config) -> Policy {
    let list = |entries: &[String]| {
        let rule = |entry: &String| Rule {
            pattern: parse(entry),
            origin: Origin::flag(entry),
        };
        entries.iter().map(rule).collect()
    };
    Policy::compile(Rules {
        enabled: config.enabled,
        mode: if config.limited {
            Mode::Limited
        } else {
            Mode::Full
        },
        allow_local_binding: config.local,
        allowed: list(&config.allowed),
        denied: list(&config.denied),
        tls: TlsRules {
            interception: if config.opens_tls {
                Interception::WhenLimited
            } else {
                Interception::Unavailable
            },
            ..TlsRules::default()
        },
        ..Rules::default()
    })
}

fn ask(policy: &Policy, question: &Question) -> Verdict {
    let protocols = [
        Protocol::Http,
        Protocol::HttpsConnect,
        Protocol::Https,
        Protocol::Socks5Tcp,
        Protocol::Socks5Udp,
    ];
    let protocol = protocols
        .into_iter()
        .find(|protocol| protocol.as_str() == question.door)
        .expect("a door");
    let target = Target::Host {
        host: Host::parse(&question.host).expect("a host"),
        port: 443,
    };
    let request = AccessRequest {
        protocol,
        target: &target,
        method: question.method,
        upgrade: question.upgrade,
    };
    if question.approved {
        policy.evaluate_approved(&request)
    } else {
        policy.evaluate(&request)
    }
}

fn word(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Allow => "allow",
        Outcome::Deny(reason) => reason.as_str(),
        Outcome::Unlisted => "unlisted",
    }
}

/// Whether the rules let it through, and whether they do once a decider has approved.
fn openness(policy: &Policy, question: &Question) -> [bool; 2] {
    [false, true].map(|approved| {
        let question = Question {
            approved,
            ..question.clone()
        };
        ask(policy, &question).outcome == Outcome::Allow
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// SPEC C4. Limits rest on it, so a yes has to be true of every host.
    #[test]
    fn a_pattern_that_is_covered_matches_no_host_beyond(
        managed in vec(pattern(), 0..5), entry in pattern(), hosts in vec(host(), 1..12)
    ) {
        let patterns: Vec<HostPattern> = managed.iter().map(|text| parse(text)).collect();
        let entry = parse(&entry);
        let set = PatternSet::compile(&patterns);
        let cover = set.find_cover(&entry);
        // The list finds one exactly where one of its entries is one.
        let alone = patterns.iter().any(|pattern| pattern.covers(&entry));
        prop_assert_eq!(cover.is_some(), alone, "{:?} {:?}", managed, entry);
        if let Some(cover) = cover {
            prop_assert!(patterns[cover.index()].covers(&entry));
        }
        for host in &hosts {
            let host = Host::parse(host).expect("a host");
            if cover.is_some() && entry.matches(&host) {
                prop_assert!(set.find(&host).is_some(), "{:?} {} {}", managed, entry, host);
            }
        }
    }

    #[test]
    fn the_policy_agrees_with_the_model(config in config(), question in question()) {
        let policy = compile(&config);
        let verdict = ask(&policy, &question);
        prop_assert_eq!(word(&verdict.outcome), model::judge(&config, &question));
        if let Some(rule) = verdict.rule {
            let rule = policy.rule(rule);
            let entry = rule.origin.expect("an origin").source;
            let pattern = parse(&entry);
            prop_assert_eq!(rule.pattern.expect("a pattern").to_string(), pattern.to_string());
            let denied = word(&verdict.outcome) == "denied";
            prop_assert_eq!(rule.list, if denied { RuleList::Denied } else { RuleList::Allowed });
            prop_assert!(denied || pattern.matches(&Host::parse(&question.host).expect("a host")));
        }
    }

    #[test]
    fn deny_wins(mut config in config(), question in question()) {
        config.denied.push(question.host.clone());
        prop_assert_eq!(openness(&compile(&config), &question), [false, false]);
    }

    #[test]
    fn another_deny_never_allows_more(mut config in config(), more in pattern(), question in question()) {
        let before = openness(&compile(&config), &question);
        config.denied.push(more);
        let after = openness(&compile(&config), &question);
        prop_assert!((0..2).all(|kind| after[kind] <= before[kind]), "{before:?} became {after:?}");
    }

    #[test]
    fn an_allow_less_never_allows_more(
        mut config in config(),
        gone in any::<Index>(),
        question in question(),
        addresses in vec(any::<std::net::IpAddr>(), 0..3),
    ) {
        prop_assume!(!config.allowed.is_empty());
        let host = Host::parse(&question.host).expect("a host");
        let addresses: Vec<_> = addresses.into_iter().chain(host.address()).collect();
        let policy = compile(&config);
        let (before, admitted) = (openness(&policy, &question), policy.admit(&host, &addresses).is_ok());
        config.allowed.remove(gone.index(config.allowed.len()));
        let policy = compile(&config);
        let after = openness(&policy, &question);
        prop_assert!((0..2).all(|kind| after[kind] <= before[kind]), "{before:?} became {after:?}");
        prop_assert!(admitted || policy.admit(&host, &addresses).is_err());
    }

    #[test]
    fn a_decider_lifts_nothing_but_a_miss(config in config(), mut question in question()) {
        let policy = compile(&config);
        question.approved = false;
        let rules = ask(&policy, &question).outcome;
        question.approved = true;
        let approved = ask(&policy, &question).outcome;
        prop_assert_ne!(&approved, &Outcome::Unlisted);
        prop_assert!(rules == Outcome::Unlisted || rules == approved);
    }

    #[test]
    fn a_name_in_a_tunnel_is_the_permitted_one(config in config(), target in host(), name in host()) {
        let policy = compile(&config);
        let (target, name) = (Host::parse(&target).expect("a host"), Host::parse(&name).expect("a host"));
        let admitted = policy.admit_server_name(&target, &name).is_ok();
        prop_assert_eq!(admitted, target == name || (target.address().is_some() && !model::is_denied(&config, &name.to_string())));
    }

    #[test]
    fn the_order_of_entries_never_matters(config in config(), question in question()) {
        let mut reversed = config.clone();
        reversed.allowed.reverse();
        reversed.denied.reverse();
        let (one, other) = (ask(&compile(&config), &question), ask(&compile(&reversed), &question));
        prop_assert_eq!(one.outcome, other.outcome);
    }

    #[test]
    fn a_set_matches_what_one_of_its_patterns_matches(texts in vec(pattern(), 0..12), host in host()) {
        let patterns: Vec<HostPattern> = texts.iter().map(|text| parse(text)).collect();
        let set = PatternSet::compile(&patterns);
        let host = Host::parse(&host).expect("a host");
        prop_assert_eq!(set.len(), patterns.len());
        let at = |rule: RuleId| &patterns[rule.index()];
        match set.find(&host) {
            Some(rule) => prop_assert!(at(rule).matches(&host), "{} does not match {}", at(rule), host),
            None => prop_assert!(!patterns.iter().any(|pattern| pattern.matches(&host))),
        }
        let exact = |pattern: &HostPattern| pattern.is_exact() && pattern.matches(&host);
        prop_assert_eq!(set.find_exact(&host).map(RuleId::index), patterns.iter().position(exact));
    }

    #[test]
    fn a_pattern_is_read_as_it_is_shown(text in pattern()) {
        let pattern = parse(&text);
        prop_assert_eq!(HostPattern::parse(&pattern.to_string()), Ok(pattern));
    }

    #[test]
    fn no_pattern_opens_everything(text in "[a-z*.?\\[\\]{}:/%0-9-]{0,16}") {
        if let Ok(pattern) = HostPattern::parse(&text) {
            let names = ["unrelated-name", "unrelated-name.unrelated-zone", "x.unrelated-name.unrelated-zone.unrelated-top"];
            let opens = |name: &&str| pattern.matches(&Host::parse(name).expect("a name"));
            prop_assert!(!names.iter().all(opens), "{} opens everything", text);
        }
    }
}
