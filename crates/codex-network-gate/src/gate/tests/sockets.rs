//! SPEC E5: unix sockets, with the platform switched on where a test wants it.
#![cfg(unix)]

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;

/// A directory with `socket`, `link -> socket`, `other`, and `aside -> other`.
struct Place {
    _directory: tempfile::TempDir,
    root: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "the directory may itself be behind a link"
        )]
        let root = directory.path().canonicalize().unwrap();
        for name in ["socket", "other"] {
            std::fs::write(root.join(name), "").unwrap();
        }
        symlink("socket", root.join("link")).unwrap();
        symlink("other", root.join("aside")).unwrap();
        Self {
            _directory: directory,
            root,
        }
    }

    fn path(&self, name: &str) -> String {
        self.root.join(name).to_str().unwrap().to_owned()
    }

    fn rules(&self, listed: &[&str]) -> Rules {
        let listed = listed.iter().map(|name| SocketRule {
            path: SocketPath::parse(&self.path(name)).unwrap(),
            origin: Origin::flag("--test"),
        });
        Rules {
            sockets: SocketRules {
                supported: true,
                allow_all: false,
                allowed: listed.collect(),
            },
            ..rules(&["example.com"], &[])
        }
    }

    fn access(&self, name: &str) -> Access<'static> {
        Access {
            target: Target::Unix(SocketPath::parse(&self.path(name)).unwrap()),
            ..access(Protocol::Http, "example.com", Some("GET"))
        }
    }
}

fn world(rules: Rules) -> World {
    Script {
        rules,
        // Has no say here; it would show up in the answers.
        decision: Some(NetworkDecision::Allow),
        ..Script::default()
    }
    .build()
}

#[tokio::test]
async fn a_socket_is_allowed_by_its_path_or_by_where_that_leads() {
    let place = Place::new();
    let check = async |listed: &[&str], asked: &str, expected: Option<&str>| {
        let left = world(place.rules(listed)).judge(place.access(asked)).await;
        let row = format!("{asked} with {listed:?}: {left:?}");
        match expected {
            Some(dialled) => {
                assert_eq!(
                    left.answer,
                    format!("permit {}", place.path(dialled)),
                    "{row}"
                );
                assert_eq!(left.events, ["non_domain allow proxy_state allow"], "{row}");
                assert_eq!(left.history, [""; 0], "{row}");
            }
            None => {
                assert_eq!(left.answer, "deny proxy_state not_allowed", "{row}");
                assert_eq!(
                    left.events,
                    ["non_domain deny proxy_state not_allowed"],
                    "{row}"
                );
                assert_eq!(
                    left.history,
                    ["http deny proxy_state not_allowed -"],
                    "{row}"
                );
            }
        }
    };
    check(&["socket"], "socket", Some("socket")).await;
    check(&["socket"], "./x/../socket", Some("socket")).await;
    // What is dialled is the real path, whichever way it was asked for or listed.
    check(&["link"], "link", Some("socket")).await;
    check(&["socket"], "link", Some("socket")).await;
    check(&["link"], "socket", Some("socket")).await;
    check(&["absent", "aside", "link"], "socket", Some("socket")).await;
    // A listed path that leads nowhere fails as it would without us.
    check(&["absent"], "absent", Some("absent")).await;
    check(&["socket"], "other", None).await;
    check(&["socket"], "aside", None).await;
    check(&["socket"], "absent", None).await;
    check(&["socket"], "socket/below", None).await;
    check(&["socket"], "SOCKET", None).await;
    check(&[], "socket", None).await;
}

#[tokio::test]
async fn every_path_may_be_allowed() {
    let place = Place::new();
    let mut rules = place.rules(&[]);
    rules.sockets.allow_all = true;
    for (asked, dialled) in [("link", "socket"), ("absent", "absent")] {
        let left = world(rules.clone()).judge(place.access(asked)).await;
        assert_eq!(left.answer, format!("permit {}", place.path(dialled)));
    }
}

#[tokio::test]
async fn state_mode_and_platform_come_before_the_path() {
    let place = Place::new();
    let check =
        async |change: &dyn Fn(&mut Rules), method: &'static str, answer: &str, mode: &str| {
            for name in ["socket", "other"] {
                let mut rules = place.rules(&["socket"]);
                change(&mut rules);
                let world = world(rules);
                let left = world
                    .judge(Access {
                        method: Some(method),
                        ..place.access(name)
                    })
                    .await;
                let expected = Left {
                    answer: answer.to_owned(),
                    events: vec![format!("non_domain {answer}")],
                    history: vec![format!("http {answer} {mode}")],
                    asked: vec![],
                };
                assert_eq!(left, expected, "{name}");
                assert_eq!(world.decided.load(Ordering::SeqCst), 0);
            }
        };
    let disabled = |rules: &mut Rules| {
        *rules = Rules {
            enabled: false,
            mode: Mode::Limited,
            ..std::mem::take(rules)
        };
    };
    check(&disabled, "POST", "deny proxy_state proxy_disabled", "-").await;
    let limited_elsewhere = |rules: &mut Rules| {
        rules.mode = Mode::Limited;
        rules.sockets.supported = false;
    };
    let guard = "deny mode_guard method_not_allowed";
    check(&limited_elsewhere, "POST", guard, "limited").await;
    let unsupported = "deny proxy_state unix_socket_unsupported";
    check(&limited_elsewhere, "GET", unsupported, "-").await;
}

#[tokio::test]
async fn a_denial_and_its_log_keep_the_path_to_themselves() {
    let place = Place::new();
    let (capture, _guard) = Capture::start();
    let world = world(place.rules(&["socket"]));
    let denial = world.authorize(place.access("other")).await.unwrap_err();
    assert!(denial.is_unix_socket());
    assert_eq!((denial.host(), denial.port()), ("unix-socket", 0));
    let permit = world.authorize(place.access("link")).await.unwrap();
    assert_eq!(permit.to_string(), "unix-socket");
    let told = format!(
        "{:?} {:?} {denial:?}",
        capture.take(),
        world.gate.drain_blocked()
    );
    assert!(!told.contains(&place.path("")), "{told}");
}

#[tokio::test]
async fn an_open_socket_stays_while_it_is_listed() {
    let place = Place::new();
    let check = async |before: &[&str], after: Rules, asked: &str, expected: bool| {
        let world = world(place.rules(before));
        let permit = world.authorize(place.access(asked)).await.unwrap();
        assert!(world.gate.still_permits(&permit, Some("GET"), false));
        world.gate.store().replace(Policy::compile(after.clone()));
        let still = world.gate.still_permits(&permit, Some("GET"), false);
        assert_eq!(still, expected, "{asked} by {before:?}, then {after:?}");
    };
    for (listed, asked) in [("socket", "socket"), ("socket", "link"), ("link", "socket")] {
        check(&[listed], place.rules(&[listed, "other"]), asked, true).await;
        check(&[listed], place.rules(&["other"]), asked, false).await;
        check(&[listed], place.rules(&[]), asked, false).await;
        check(&[listed], Rules::default(), asked, false).await;
        let mut all = place.rules(&[]);
        all.sockets.allow_all = true;
        check(&[listed], all, asked, true).await;
        let mut unsupported = place.rules(&[listed]);
        unsupported.sockets.supported = false;
        check(&[listed], unsupported, asked, false).await;
    }
}

#[tokio::test]
async fn a_socket_of_our_own_is_no_target_by_any_name() {
    let place = Place::new();
    std::fs::hard_link(place.root.join("socket"), place.root.join("twin")).unwrap();
    for allow_all in [false, true] {
        let mut rules = place.rules(&["socket", "link", "twin", "other"]);
        rules.sockets.allow_all = allow_all;
        let world = world(rules);
        world.gate.add_socket_listener(place.root.join("socket"));
        for name in ["socket", "./x/../socket", "link", "twin"] {
            let left = world.judge(place.access(name)).await;
            assert_eq!(left.answer, "deny proxy_state not_allowed", "{name}");
            assert_eq!(left.history, ["http deny proxy_state not_allowed -"]);
        }
        let left = world.judge(place.access("other")).await;
        assert_eq!(left.answer, format!("permit {}", place.path("other")));
    }
}
