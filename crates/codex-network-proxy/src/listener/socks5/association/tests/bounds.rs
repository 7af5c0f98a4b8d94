//! What a client can make grow, and how far.

use super::judgement::{HELD_BYTE_LIMIT, HELD_DATAGRAM_LIMIT};
use super::*;

#[test]
fn few_datagrams_wait_for_a_judgement() {
    let mut driver = driver();
    assert_eq!(driver.client("dns.example", "x"), judge("dns.example"));
    for _ in 1..HELD_DATAGRAM_LIMIT {
        assert_eq!(driver.client("dns.example", "x"), "held");
    }
    assert_eq!(driver.client("dns.example", "x"), "dropped Overload");
    let all = ["x"; HELD_DATAGRAM_LIMIT].join(" ");
    assert_eq!(
        driver.judged("dns.example", permitted("192.0.2.1:53")),
        sent(&all, "192.0.2.1:53")
    );
}

#[test]
fn few_bytes_wait_for_judgements() {
    let mut driver = driver();
    let large = "x".repeat(60_000);
    assert_eq!(driver.client("one.example", &large), judge("one.example"));
    assert_eq!(driver.client("one.example", &large), "dropped Overload");
    // The judgement is worth having even where its datagram is lost.
    assert_eq!(driver.client("two.example", &large), judge("two.example"));
    assert_eq!(
        driver.judged("two.example", permitted("192.0.2.2:53")),
        sent("", "192.0.2.2:53")
    );
    assert_eq!(driver.judged("one.example", Finding::Refused), "nothing");
    // Their bytes are free again.
    assert_eq!(
        driver.client("three.example", &large),
        judge("three.example")
    );
    assert_eq!(
        driver.judged("three.example", permitted("192.0.2.3:53")),
        sent(&large, "192.0.2.3:53")
    );
    assert_eq!(driver.association.waiting.bytes, 0);
    // The last byte may be used.
    assert_eq!(driver.client("four.example", &large), judge("four.example"));
    let rest = "x".repeat(HELD_BYTE_LIMIT - large.len());
    assert_eq!(driver.client("four.example", &rest), "held");
    assert_eq!(driver.client("four.example", "x"), "dropped Overload");
}

#[test]
fn few_judgements_are_under_way() {
    let mut driver = driver();
    for number in 0..JUDGEMENT_LIMIT {
        let name = format!("h{number}.example");
        assert_eq!(driver.client(&name, "x"), judge(&name));
    }
    assert_eq!(driver.client("more.example", "x"), "dropped Overload");
    assert_eq!(driver.client("h0.example", "x"), "held");
    driver.judged("h0.example", permitted("192.0.2.1:53"));
    assert_eq!(driver.client("more.example", "x"), judge("more.example"));
    // A target that would have to be judged again waits for its turn as well.
    driver.generation = 2;
    assert_eq!(driver.client("h0.example", "x"), "dropped Overload");
    assert_eq!(
        driver.judged("more.example", Finding::Refused),
        "judge again"
    );
    assert_eq!(driver.judged("more.example", Finding::Refused), "nothing");
    assert_eq!(driver.client("h0.example", "x"), judge("h0.example"));
}

/// An association that knows as many targets as it may, all of them permitted: `old`, `listened`
/// and `sent` first, then the numbered ones.
fn full() -> Driver {
    let mut driver = driver();
    driver.permit("old.example", "192.0.2.1:53");
    driver.permit("listened.example", "192.0.2.2:53");
    driver.permit("sent.example", "192.0.2.3:53");
    for number in 3..TARGET_LIMIT {
        driver.permit(&format!("h{number}.example"), "198.51.100.1:53");
    }
    assert_eq!(driver.association.targets.len(), TARGET_LIMIT);
    driver
}

#[test]
fn the_target_used_least_recently_is_forgotten() {
    let mut driver = full();
    let old = driver.client("old.example", "x");
    assert_eq!(
        old,
        sent("x", "192.0.2.1:53"),
        "a known target costs no other its place"
    );
    assert_eq!(driver.association.targets.len(), TARGET_LIMIT);
    assert!(driver.upstream("192.0.2.2:53").is_some());
    driver.permit("new.example", "192.0.2.4:53");
    driver.permit("newer.example", "192.0.2.5:53");

    assert_eq!(driver.association.targets.len(), TARGET_LIMIT);
    assert_eq!(driver.client("old.example", "x"), old);
    assert!(driver.upstream("192.0.2.2:53").is_some());
    assert_eq!(driver.upstream("192.0.2.3:53"), None);
    assert_eq!(driver.client("h3.example", "x"), judge("h3.example"));
    assert_eq!(driver.client("sent.example", "x"), judge("sent.example"));
    assert_eq!(driver.association.targets.len(), TARGET_LIMIT);
}

#[test]
fn a_judgement_under_way_is_not_forgotten() {
    let mut driver = driver();
    assert_eq!(driver.client("slow.example", "x"), judge("slow.example"));
    for number in 0..=TARGET_LIMIT {
        driver.permit(&format!("h{number}.example"), "198.51.100.1:53");
    }
    assert_eq!(driver.client("slow.example", "x"), "held");
}

#[test]
fn a_datagram_that_cannot_be_judged_forgets_nothing() {
    let mut driver = full();
    for number in 0..JUDGEMENT_LIMIT {
        let name = format!("slow{number}.example");
        assert_eq!(driver.client(&name, "x"), judge(&name));
    }
    assert_eq!(driver.client("more.example", "x"), "dropped Overload");
    assert_eq!(driver.association.targets.len(), TARGET_LIMIT);
}
