use alloc::string::ToString;

use super::*;

/// SPEC section 0, row by row.
#[test]
fn every_reason_has_its_word_header_and_message() {
    let by_policy = "Codex blocked this request by network policy.";
    for (reason, word, header, message) in [
        (
            Reason::NotAllowed,
            "not_allowed",
            Some("blocked-by-allowlist"),
            "Codex blocked this request: domain not in allowlist (this is not a denylist block).",
        ),
        (
            Reason::NotAllowedLocal,
            "not_allowed_local",
            Some("blocked-by-allowlist"),
            "Codex blocked this request: local/private addresses not allowed.",
        ),
        (
            Reason::Denied,
            "denied",
            Some("blocked-by-denylist"),
            "Codex blocked this request: domain denied by policy.",
        ),
        (
            Reason::MethodNotAllowed,
            "method_not_allowed",
            Some("blocked-by-method-policy"),
            "Codex blocked this request: method not allowed in limited mode.",
        ),
        (
            Reason::MitmRequired,
            "mitm_required",
            Some("blocked-by-method-policy"),
            "Codex blocked this request: MITM required for limited HTTPS.",
        ),
        (Reason::ProxyDisabled, "proxy_disabled", None, by_policy),
        (
            Reason::UnixSocketUnsupported,
            "unix_socket_unsupported",
            None,
            "unix sockets unsupported",
        ),
        (
            Reason::DnsLookupFailed(LookupFailure::Failed),
            "dns_lookup_failed",
            None,
            "upstream failure: could not resolve the host",
        ),
        (
            Reason::DnsLookupFailed(LookupFailure::Empty),
            "dns_lookup_failed",
            None,
            "upstream failure: could not resolve the host",
        ),
        (
            Reason::ServerNameMismatch,
            "server_name_mismatch",
            Some("blocked-by-policy"),
            "Codex blocked this request: TLS server name is not the permitted host.",
        ),
        (
            Reason::EncryptedHello,
            "encrypted_client_hello",
            Some("blocked-by-policy"),
            "Codex blocked this request: encrypted TLS server name not allowed.",
        ),
        (
            Reason::OriginNotVerified,
            "origin_not_verified",
            Some("blocked-by-policy"),
            "Codex blocked this request: the origin has no valid certificate for the host.",
        ),
        (
            Reason::AuditUnavailable,
            "audit_unavailable",
            None,
            "Codex blocked this request: the audit log cannot be written.",
        ),
        (
            Reason::Cancelled,
            "cancelled",
            None,
            "the client left before a decision",
        ),
        (
            Reason::PolicyDenied,
            "policy_denied",
            Some("blocked-by-policy"),
            by_policy,
        ),
        (
            Reason::from_decider("too_late"),
            "too_late",
            Some("blocked-by-policy"),
            by_policy,
        ),
    ] {
        assert_eq!(
            (reason.as_str(), reason.header(), reason.message()),
            (word, header, message)
        );
        assert_eq!(reason.to_string(), word);
    }
}

#[test]
fn a_decider_may_use_the_words_of_the_table_or_make_one_up() {
    for (text, expected) in [
        ("not_allowed", Reason::NotAllowed),
        ("not_allowed_local", Reason::NotAllowedLocal),
        ("denied", Reason::Denied),
        ("method_not_allowed", Reason::MethodNotAllowed),
        ("mitm_required", Reason::MitmRequired),
        ("policy_denied", Reason::PolicyDenied),
        ("", Reason::PolicyDenied),
        (" ", Reason::PolicyDenied),
        ("Not_Allowed", Reason::PolicyDenied),
        ("not allowed", Reason::PolicyDenied),
        ("a\nb", Reason::PolicyDenied),
        ("ü", Reason::PolicyDenied),
        ("a-b", Reason::PolicyDenied),
    ] {
        assert_eq!(Reason::from_decider(text), expected, "{text:?}");
    }
    let longest = "a".repeat(64);
    assert_eq!(Reason::from_decider(&longest).as_str(), longest);
    assert_eq!(Reason::from_decider(&"a".repeat(65)), Reason::PolicyDenied);
    // Words for what only the proxy itself can know stay words of the decider: they get no special answer.
    for word in [
        "proxy_disabled",
        "unix_socket_unsupported",
        "dns_lookup_failed",
        "cancelled",
    ] {
        let reason = Reason::from_decider(word);
        assert!(matches!(reason, Reason::Invented(_)), "{word}");
        assert_eq!(
            (reason.as_str(), reason.header()),
            (word, Some("blocked-by-policy"))
        );
    }
}

#[test]
fn sources_scopes_and_decisions_have_their_words() {
    let sources = [
        Source::BaselinePolicy,
        Source::ModeGuard,
        Source::ProxyState,
        Source::Decider,
    ];
    assert_eq!(
        sources.map(Source::as_str),
        ["baseline_policy", "mode_guard", "proxy_state", "decider"]
    );
    assert_eq!(
        [Scope::Domain, Scope::NonDomain].map(Scope::as_str),
        ["domain", "non_domain"]
    );
    assert_eq!(
        [Decision::Allow, Decision::Deny, Decision::Ask].map(Decision::as_str),
        ["allow", "deny", "ask"]
    );
}
