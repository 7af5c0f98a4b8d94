//! Managed limits can only narrow: whatever users, projects, flags, reloads and live edits say, the policy permits nothing
//! that the requirements alone would refuse, and nothing beyond what the system's layer sets.

use codex_network_policy::{
    AccessRequest, Host, HostPattern, Origin, Outcome, Policy, Protocol, SocketPath, Target,
};
use proptest::collection::vec;
use proptest::option;
use proptest::sample::select;

use super::*;

const PATTERNS: [&str; 12] = [
    "a.com",
    "A.com.",
    "b.com",
    "x.a.com",
    "*.a.com",
    "**.a.com",
    "**.b.com",
    "r*.a.com",
    "localhost",
    "127.0.0.1",
    "10.0.0.1",
    "8.8.8.8",
];
const HOSTS: [&str; 11] = [
    "a.com",
    "b.com",
    "x.a.com",
    "y.x.a.com",
    "r1.a.com",
    "c.com",
    "x.b.com",
    "localhost",
    "127.0.0.1",
    "10.0.0.1",
    "8.8.8.8",
];
const PATHS: [&str; 4] = ["/run/a", "/run/./a", "/run/b", "/run/c"];
const DOORS: [(Protocol, Option<&str>); 4] = [
    (Protocol::Http, Some("GET")),
    (Protocol::Http, Some("POST")),
    (Protocol::HttpsConnect, Some("CONNECT")),
    (Protocol::Socks5Tcp, None),
];

fn array(words: &[&str]) -> String {
    format!("{words:?}")
}

fn table(words: &[(&str, bool)]) -> String {
    let mut entries = std::collections::BTreeMap::new();
    for (word, allow) in words {
        entries.insert(*word, if *allow { "allow" } else { "deny" });
    }
    let entries: Vec<String> = entries
        .iter()
        .map(|(word, permission)| format!("{word:?} = {permission:?}"))
        .collect();
    format!("{{ {} }}", entries.join(", "))
}

fn switch(key: &'static str) -> impl Strategy<Value = String> {
    option::weighted(0.4, any::<bool>()).prop_map(move |value| match value {
        Some(value) => format!("{key} = {value}\n"),
        None => String::new(),
    })
}

fn list(key: &'static str, words: &'static [&'static str]) -> impl Strategy<Value = String> {
    option::weighted(0.5, vec(select(words), 0..4)).prop_map(move |words| match words {
        Some(words) => format!("{key} = {}\n", array(&words)),
        None => String::new(),
    })
}

fn permissions(key: &'static str, words: &'static [&'static str]) -> impl Strategy<Value = String> {
    option::weighted(0.4, vec((select(words), any::<bool>()), 0..4)).prop_map(move |words| {
        match words {
            Some(words) => format!("{key} = {}\n", table(&words)),
            None => String::new(),
        }
    })
}

fn mode() -> impl Strategy<Value = String> {
    select(&["", "mode = \"full\"\n", "mode = \"limited\"\n"]).prop_map(str::to_owned)
}

/// A config layer: it may select a profile, and may say things in two of them.
fn layer() -> impl Strategy<Value = String> {
    let network = || {
        (
            switch("enabled"),
            mode(),
            switch("allow_local_binding"),
            switch("dangerously_allow_all_unix_sockets"),
            list("allowed_domains", &PATTERNS),
            list("denied_domains", &PATTERNS),
            permissions("domains", &PATTERNS),
            list("allow_unix_sockets", &PATHS),
            permissions("unix_sockets", &PATHS),
        )
            .prop_map(|(a, b, c, d, e, f, g, h, i)| [a, b, c, d, e, f, g, h, i].concat())
    };
    let selected = select(&[
        "",
        "default_permissions = \"p\"\n",
        "default_permissions = \"q\"\n",
    ]);
    (
        selected,
        option::of(network()),
        option::of(network()),
        any::<bool>(),
    )
        .prop_map(|(selected, p, q, extends)| {
            let p = p.map_or_else(String::new, |p| format!("[permissions.p.network]\n{p}"));
            let parent = if extends { "extends = \"p\"\n" } else { "" };
            let q = q.map_or_else(String::new, |q| {
                format!("[permissions.q]\n{parent}[permissions.q.network]\n{q}")
            });
            format!("{selected}{p}{q}")
        })
}

fn required() -> impl Strategy<Value = String> {
    let lists = prop_oneof![
        (
            list("allowed_domains", &PATTERNS),
            list("denied_domains", &PATTERNS)
        )
            .prop_map(|(allowed, denied)| allowed + &denied),
        permissions("domains", &PATTERNS),
    ];
    let sockets = prop_oneof![
        list("allow_unix_sockets", &PATHS),
        permissions("unix_sockets", &PATHS)
    ];
    (
        switch("enabled"),
        switch("allow_local_binding"),
        switch("dangerously_allow_all_unix_sockets"),
        switch("managed_allowed_domains_only"),
        lists,
        sockets,
    )
        .prop_map(|(a, b, c, d, e, f)| {
            format!("[experimental_network]\n{}", [a, b, c, d, e, f].concat())
        })
}

/// What somebody does to a running proxy.
#[derive(Clone, Debug)]
enum Edit {
    Allow(&'static str),
    Deny(&'static str),
    Mode(NetworkMode),
    Local,
    AllSockets,
    Socket(&'static str),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => select(&PATTERNS).prop_map(Edit::Allow),
        2 => select(&PATTERNS).prop_map(Edit::Deny),
        1 => select(&[NetworkMode::Full, NetworkMode::Limited]).prop_map(Edit::Mode),
        1 => Just(Edit::Local),
        1 => Just(Edit::AllSockets),
        1 => select(&PATHS).prop_map(Edit::Socket),
    ]
}

/// As an embedder's edit does, and as one would that widens what no public edit can: it counts only where it stays inside
/// the limits.
fn live(config: &mut LoadedConfig, edit: &Edit) {
    let public = match edit {
        Edit::Allow(host) => super::super::Edit::Allow((*host).to_owned()),
        Edit::Deny(host) => super::super::Edit::Deny((*host).to_owned()),
        Edit::Mode(mode) => super::super::Edit::Mode(*mode),
        Edit::Local | Edit::AllSockets | Edit::Socket(_) => return widen(config, edit),
    };
    if let Ok(Some(edited)) = config.edited(&public) {
        *config = edited.config;
    }
}

fn widen(config: &mut LoadedConfig, edit: &Edit) {
    let (mut settings, mut rules) = (config.settings.clone(), config.rules.clone());
    let origin = Origin::flag("live");
    match edit {
        Edit::Allow(_) | Edit::Deny(_) | Edit::Mode(_) => {}
        Edit::Local => rules.allow_local_binding = true,
        Edit::AllSockets => {
            rules.sockets.allow_all = true;
            settings.dangerously_allow_all_unix_sockets = true;
        }
        Edit::Socket(path) => rules
            .sockets
            .allowed
            .push(codex_network_policy::SocketRule {
                path: SocketPath::parse(path).unwrap(),
                origin,
            }),
    }
    if config.check_limits(&settings, &rules).is_ok() {
        (config.settings, config.rules) = (settings, rules);
    }
}

fn permits(policy: &Policy, protocol: Protocol, method: Option<&str>, target: &Target) -> bool {
    let request = AccessRequest {
        protocol,
        target,
        method,
        upgrade: false,
    };
    // A decider that says yes to everything is the worst case.
    let approved = matches!(target, Target::Host { .. })
        && policy.evaluate(&request).outcome == Outcome::Unlisted
        && policy.evaluate_approved(&request).outcome == Outcome::Allow;
    approved || policy.evaluate(&request).outcome == Outcome::Allow
}

/// What the text of the requirements refuses, read by this test alone.
struct Refusals {
    disabled: bool,
    no_local: bool,
    only: Option<Vec<HostPattern>>,
    denied: Vec<HostPattern>,
    sockets: Option<Vec<SocketPath>>,
    no_all: bool,
}

impl Refusals {
    fn read(text: &str, access: SandboxAccess) -> Self {
        let root: toml::Table = text.parse().unwrap();
        let table = root["experimental_network"].as_table().unwrap();
        let off = |key: &str| {
            table
                .get(key)
                .is_some_and(|value| value.as_bool() == Some(false))
        };
        let words = |key: &str| {
            table.get(key).map(|value| {
                let words = value.as_array().unwrap().iter();
                words
                    .map(|word| word.as_str().unwrap().to_owned())
                    .collect::<Vec<_>>()
            })
        };
        let of_table = |key: &str, permission: &str| {
            table.get(key).map(|value| {
                let words = value.as_table().unwrap().iter();
                words
                    .filter(|(_, value)| value.as_str() == Some(permission))
                    .map(|(word, _)| word.clone())
                    .collect::<Vec<_>>()
            })
        };
        let parse = |words: Vec<String>| {
            words
                .iter()
                .map(|word| HostPattern::parse(word).unwrap())
                .collect::<Vec<_>>()
        };
        let allowed = words("allowed_domains")
            .or_else(|| of_table("domains", "allow").filter(|words| !words.is_empty()));
        let denied = words("denied_domains").or_else(|| of_table("domains", "deny"));
        let sockets = words("allow_unix_sockets").or_else(|| of_table("unix_sockets", "allow"));
        let pinned = table
            .get("managed_allowed_domains_only")
            .is_some_and(|value| value.as_bool() == Some(true));
        let all = table
            .get("dangerously_allow_all_unix_sockets")
            .is_some_and(|value| value.as_bool() == Some(true));
        let only = if pinned {
            Some(allowed.unwrap_or_default())
        } else if access == SandboxAccess::Full {
            allowed
        } else {
            None
        };
        Self {
            disabled: off("enabled"),
            no_local: off("allow_local_binding"),
            only: only.map(parse),
            denied: parse(denied.unwrap_or_default()),
            // Whoever permits all of them by name has said more than a list can.
            no_all: off("dangerously_allow_all_unix_sockets") || (sockets.is_some() && !all),
            sockets: sockets.filter(|_| !all).map(|paths| {
                paths
                    .iter()
                    .map(|path| SocketPath::parse(path).unwrap())
                    .collect()
            }),
        }
    }

    fn host(&self, host: &Host) -> bool {
        self.disabled
            || self.denied.iter().any(|pattern| pattern.matches(host))
            || self
                .only
                .as_ref()
                .is_some_and(|only| !only.iter().any(|pattern| pattern.matches(host)))
    }

    fn socket(&self, path: &SocketPath) -> bool {
        let unlisted = self
            .sockets
            .as_ref()
            .is_some_and(|paths| !paths.contains(path));
        self.disabled || unlisted
    }
}

fn targets() -> Vec<Target> {
    let hosts = HOSTS.iter().map(|text| Target::Host {
        host: Host::parse(text).unwrap(),
        port: 443,
    });
    let sockets = PATHS
        .iter()
        .map(|path| Target::Unix(SocketPath::parse(path).unwrap()));
    hosts.chain(sockets).collect()
}

fn case(files: &[(&str, &String)]) -> Case {
    Case {
        files: files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).clone()))
            .collect(),
        ..Case::default()
    }
}

fn overrides() -> impl Strategy<Value = Overrides> {
    (
        vec(select(&PATTERNS), 0..3),
        vec(select(&PATTERNS), 0..2),
        option::of(select(&["p", "q"])),
        option::of(select(&[NetworkMode::Full, NetworkMode::Limited])),
        select(&[SandboxAccess::Restricted, SandboxAccess::Full]),
        vec(
            select(&[
                "permissions.p.network.enabled=true",
                "permissions.q.network.allow_local_binding=true",
                "permissions.p.network.allowed_domains=[\"**.b.com\"]",
                "default_permissions=q",
                "experimental_network.enabled=true",
            ]),
            0..3,
        ),
    )
        .prop_map(|(allow, deny, profile, mode, access, settings)| {
            let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
            Overrides {
                allow: owned(allow),
                deny: owned(deny),
                profile: profile.map(str::to_owned),
                mode,
                access,
                settings: owned(settings),
                ..Overrides::default()
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn nothing_gets_past_the_requirements(
        // Each one more reload with other layers below the same requirements.
        layers in vec((layer(), layer(), layer(), overrides()), 1..3),
        required in required(),
        edits in vec(edit(), 0..8),
    ) {
        for (system, user, project, overrides) in &layers {
            let files = [("system", system), ("config", user), ("project", project), ("requirements", &required)];
            let Ok(mut config) = load(&case(&files), overrides, UnixSockets::Supported) else {
                continue;
            };
            let refusals = Refusals::read(&required, overrides.access);
            for step in 0..=edits.len() {
                if let Some(edit) = step.checked_sub(1).and_then(|before| edits.get(before)) {
                    live(&mut config, edit);
                }
                prop_assert!(!(refusals.no_local && config.rules.allow_local_binding));
                prop_assert!(!(refusals.no_all && config.rules.sockets.allow_all));
                let policy = Policy::compile(config.rules.clone());
                for target in targets() {
                    let refused = match &target {
                        Target::Host { host, .. } => refusals.host(host),
                        Target::Unix(path) => refusals.socket(path),
                    };
                    for (protocol, method) in DOORS {
                        let permitted = permits(&policy, protocol, method, &target);
                        prop_assert!(!(permitted && refused), "{:?} after {} edits", target, step);
                    }
                }
            }
        }
    }

    /// The same of the limits that the system's layer sets for itself: with nobody else there, it permits no less.
    #[test]
    fn nothing_gets_past_the_system_layer(
        system in layer(), user in layer(), project in layer(), overrides in overrides(), edits in vec(edit(), 0..6),
    ) {
        let alone = Overrides { allow: vec![], deny: vec![], mode: None, settings: vec![], profile: None, ..overrides.clone() };
        let system = format!("default_permissions = \"p\"\n{}", system.replace("default_permissions = \"p\"\n", "").replace("default_permissions = \"q\"\n", ""));
        let files = [("system", &system), ("config", &user), ("project", &project)];
        let limiting = load(&case(&files[..1]), &alone, UnixSockets::Supported);
        let Ok(limiting) = limiting else { return Ok(()) };
        let Ok(mut config) = load(&case(&files), &overrides, UnixSockets::Supported) else { return Ok(()) };
        let sets = |key| limiting.origins.contains_key(&key);
        for edit in &edits {
            live(&mut config, edit);
        }
        let policy = Policy::compile(config.rules.clone());
        for target in targets() {
            let Target::Host { host, .. } = &target else { continue };
            let beyond = (sets(NetworkKey::Enabled) && !limiting.rules.enabled)
                || (sets(NetworkKey::DeniedDomains)
                    && limiting.rules.denied.iter().any(|rule| rule.pattern.matches(host)))
                || (sets(NetworkKey::AllowedDomains)
                    && !limiting.rules.allowed.iter().any(|rule| rule.pattern.matches(host)));
            let request = AccessRequest { protocol: Protocol::Http, target: &target, method: Some("GET"), upgrade: false };
            prop_assert!(!(beyond && policy.evaluate(&request).outcome == Outcome::Allow), "{}", host);
        }
        prop_assert!(!(sets(NetworkKey::Mode) && limiting.rules.mode == NetworkMode::Limited && config.rules.mode == NetworkMode::Full));
    }
}
