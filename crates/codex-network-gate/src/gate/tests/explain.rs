//! An explanation is the answer of the gate, without a trace of it.

use super::*;
use crate::gate::{Explained, LookUp};

fn word(explained: &Explained) -> String {
    match explained {
        Explained::Permitted(addresses) => format!("permit {addresses:?}"),
        Explained::PermittedViaParent => "permit parent".to_owned(),
        Explained::PermittedSocket(path) => format!("permit {}", path.display()),
        Explained::PermittedByName => "permit by name".to_owned(),
        Explained::Undecided => "undecided".to_owned(),
        Explained::Refused { reason, source, .. } => format!("{} {reason}", source.as_str()),
    }
}

#[tokio::test]
async fn it_says_what_the_gate_says_and_leaves_nothing() {
    let check = async |target: &str, look_up, expected: &str| {
        let world = Script {
            rules: rules(
                &["example.com", "private.test", "absent.test", "127.0.0.1"],
                &["no.test"],
            ),
            names: &[("private.test", &["10.0.0.1"])],
            ..Script::default()
        }
        .build();
        let (capture, _guard) = Capture::start();
        let access = access(Protocol::HttpsConnect, target, Some("CONNECT"));
        let explanation = world.gate.explain(&access, look_up).await;
        assert_eq!(word(&explanation.answer), expected, "{target}");
        assert_eq!(events(&capture), Vec::<String>::new());
        assert_eq!(world.gate.blocked_total(), 0);
        let steps = explanation.trace(&access).steps().len();
        assert!(steps > 1, "{steps}");
    };
    use LookUp::{Never, Permitted};
    let address = format!("permit [{PUBLIC}:443]");
    check("example.com:443", Permitted, &address).await;
    check("example.com:443", Never, "permit by name").await;
    let local = "baseline_policy not_allowed_local";
    check("private.test:443", Permitted, local).await;
    check("private.test:443", Never, "permit by name").await;
    check(
        "absent.test:443",
        Permitted,
        "baseline_policy dns_lookup_failed",
    )
    .await;
    check("127.0.0.1:443", Never, "permit [127.0.0.1:443]").await;
    check("127.0.0.2:443", Never, local).await;
    check("no.test:443", Permitted, "baseline_policy denied").await;
    check("other.test:443", Permitted, "baseline_policy not_allowed").await;
}

#[tokio::test]
async fn a_decider_is_not_asked() {
    let world = Script {
        rules: rules(&[], &["no.test"]),
        decision: Some(NetworkDecision::Allow),
        ..Script::default()
    }
    .build();
    for (target, expected) in [
        ("a.test", "undecided"),
        ("no.test", "baseline_policy denied"),
    ] {
        let access = access(Protocol::HttpsConnect, target, Some("CONNECT"));
        let explanation = world.gate.explain(&access, LookUp::Permitted).await;
        assert_eq!(word(&explanation.answer), expected);
    }
    assert_eq!(world.decided.load(Ordering::SeqCst), 0);
}
