//! Managed limits: whatever the layers below say, nothing that the requirements refuse is permitted.

use arbitrary::{Result, Unstructured};
use codex_network_policy::{AccessRequest, Host, HostPattern, Outcome, Policy, Protocol, Target};
use codex_network_proxy::config::{LayerKind, NetworkMode, Overrides, SandboxAccess};
use codex_network_proxy::fuzzing::load_config;

use crate::config::sound;

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

/// What the requirements say, and so what they refuse.
#[derive(Debug, Default)]
struct Required {
    enabled: Option<bool>,
    local: Option<bool>,
    pinned: bool,
    allowed: Option<Vec<&'static str>>,
    denied: Vec<&'static str>,
}

/// The bytes choose requirements, three layers and flags.
pub fn check(data: &[u8]) {
    let _ = run(&mut Unstructured::new(data));
}

fn run(bytes: &mut Unstructured<'_>) -> Result<()> {
    let required = Required {
        enabled: bytes.arbitrary()?,
        local: bytes.arbitrary()?,
        pinned: bytes.arbitrary()?,
        allowed: if bytes.arbitrary()? {
            Some(words(bytes)?)
        } else {
            None
        },
        denied: words(bytes)?,
    };
    let (system, user, project) = (layer(bytes)?, layer(bytes)?, layer(bytes)?);
    let overrides = Overrides {
        allow: words(bytes)?.into_iter().map(str::to_owned).collect(),
        deny: words(bytes)?.into_iter().map(str::to_owned).collect(),
        mode: if bytes.arbitrary()? {
            Some(NetworkMode::Full)
        } else {
            None
        },
        access: if bytes.arbitrary()? {
            SandboxAccess::Full
        } else {
            SandboxAccess::Restricted
        },
        settings: if bytes.arbitrary()? {
            vec!["permissions.p.network.allow_local_binding=true".to_owned()]
        } else {
            Vec::new()
        },
        ..Overrides::default()
    };
    let layers = [
        (LayerKind::System, system.as_str()),
        (LayerKind::User, user.as_str()),
        (LayerKind::Project, project.as_str()),
    ];
    let text = required.text();
    let Ok(config) = load_config(&layers, Some(&text), &overrides) else {
        return Ok(());
    };
    sound(&config);
    assert!(!(required.local == Some(false) && config.rules.allow_local_binding));
    let policy = Policy::compile(config.rules);
    for host in HOSTS {
        let Ok(host) = Host::parse(host) else {
            continue;
        };
        let refused = required.refuses(&host, overrides.access);
        let target = Target::Host { host, port: 443 };
        let request = AccessRequest {
            protocol: Protocol::HttpsConnect,
            target: &target,
            method: Some("CONNECT"),
            upgrade: false,
        };
        // A decider that says yes to everything is the worst case.
        let outcome = match policy.evaluate(&request).outcome {
            Outcome::Unlisted => policy.evaluate_approved(&request).outcome,
            other => other,
        };
        assert!(
            !(refused && outcome == Outcome::Allow),
            "{target:?} in spite of {text}"
        );
    }
    Ok(())
}

impl Required {
    fn text(&self) -> String {
        let mut text = String::from("[experimental_network]\n");
        let mut line = |key: &str, value: String| text.push_str(&format!("{key} = {value}\n"));
        if let Some(enabled) = self.enabled {
            line("enabled", enabled.to_string());
        }
        if let Some(local) = self.local {
            line("allow_local_binding", local.to_string());
        }
        line("managed_allowed_domains_only", self.pinned.to_string());
        if let Some(allowed) = &self.allowed {
            line("allowed_domains", format!("{allowed:?}"));
        }
        line("denied_domains", format!("{:?}", self.denied));
        text
    }

    fn refuses(&self, host: &Host, access: SandboxAccess) -> bool {
        let listed = |list: &[&str]| {
            list.iter()
                .filter_map(|text| HostPattern::parse(text).ok())
                .any(|pattern| pattern.matches(host))
        };
        let only = match (&self.allowed, self.pinned, access) {
            (allowed, true, _) => Some(allowed.clone().unwrap_or_default()),
            (Some(allowed), false, SandboxAccess::Full) => Some(allowed.clone()),
            (_, false, _) => None,
        };
        self.enabled == Some(false)
            || listed(&self.denied)
            || only.is_some_and(|only| !listed(&only))
    }
}

fn words(bytes: &mut Unstructured<'_>) -> Result<Vec<&'static str>> {
    let count = bytes.int_in_range(0..=3)?;
    (0..count)
        .map(|_| bytes.choose(&PATTERNS).copied())
        .collect()
}

fn layer(bytes: &mut Unstructured<'_>) -> Result<String> {
    let mut text = String::new();
    if bytes.arbitrary()? {
        text.push_str("default_permissions = \"p\"\n");
    }
    text.push_str("[permissions.p.network]\n");
    for key in ["enabled", "allow_local_binding"] {
        if let Some(value) = bytes.arbitrary::<Option<bool>>()? {
            text.push_str(&format!("{key} = {value}\n"));
        }
    }
    if bytes.arbitrary()? {
        text.push_str("mode = \"limited\"\n");
    }
    for key in ["allowed_domains", "denied_domains"] {
        if bytes.arbitrary()? {
            text.push_str(&format!("{key} = {:?}\n", words(bytes)?));
        }
    }
    if bytes.arbitrary()? {
        let mut entries = std::collections::BTreeMap::new();
        for word in words(bytes)? {
            entries.insert(word, if bytes.arbitrary()? { "allow" } else { "deny" });
        }
        let entries: Vec<String> = entries
            .iter()
            .map(|(word, verdict)| format!("{word:?} = {verdict:?}"))
            .collect();
        text.push_str(&format!("domains = {{ {} }}\n", entries.join(", ")));
    }
    Ok(text)
}
