//! What is refused while the audit log that the policy requires cannot be written.

use super::*;
use crate::InnerRequest;

fn required() -> World {
    Script {
        rules: Rules {
            requires_audit_log: true,
            ..rules(&["example.com"], &[])
        },
        ..Script::default()
    }
    .build()
}

#[tokio::test]
async fn nothing_is_let_through_without_the_log() {
    let world = required();
    for protocol in [
        Protocol::Http,
        Protocol::HttpsConnect,
        Protocol::Socks5Tcp,
        Protocol::Socks5Udp,
    ] {
        for target in ["example.com", "unlisted.test"] {
            let left = world.judge(access(protocol, target, None)).await;
            assert_eq!(left.answer, "deny proxy_state audit_unavailable");
            assert_eq!(
                left.events,
                ["non_domain deny proxy_state audit_unavailable"]
            );
            assert_eq!(left.history.len(), 1);
            assert_eq!(left.asked, [""; 0], "nothing is resolved");
        }
    }
    let association = access(Protocol::Socks5Udp, "0.0.0.0", None);
    let denial = world.gate.authorize_association(&association).unwrap_err();
    assert_eq!(denial.reason(), &Reason::AuditUnavailable);
}

#[tokio::test]
async fn it_is_heeded_from_one_access_to_the_next() {
    let world = required();
    let tunnel = || access(Protocol::HttpsConnect, "example.com", Some("CONNECT"));
    world.health.set_kept(true);
    let permit = world.authorize(tunnel()).await.unwrap();
    let inner = InnerRequest {
        method: "GET",
        upgrade: false,
    };
    world.gate.authorize_within(&permit, inner).unwrap();
    world.health.set_kept(false);
    let denial = world.gate.authorize_within(&permit, inner).unwrap_err();
    assert_eq!(denial.reason(), &Reason::AuditUnavailable);
    world.authorize(tunnel()).await.unwrap_err();
    world.health.set_kept(true);
    world.authorize(tunnel()).await.unwrap();
}

#[tokio::test]
async fn a_disabled_proxy_says_that_and_a_policy_that_wants_none_goes_on() {
    let disabled = Script {
        rules: Rules {
            requires_audit_log: true,
            ..Rules::default()
        },
        ..Script::default()
    }
    .build();
    let left = disabled
        .judge(access(Protocol::Http, "example.com", None))
        .await;
    assert_eq!(left.answer, "deny proxy_state proxy_disabled");
    let world = Script {
        rules: rules(&["example.com"], &[]),
        ..Script::default()
    }
    .build();
    let left = world
        .judge(access(Protocol::Http, "example.com", None))
        .await;
    assert_eq!(left.events, ["domain allow baseline_policy allow"]);
}
