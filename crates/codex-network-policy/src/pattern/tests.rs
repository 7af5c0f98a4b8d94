use alloc::string::ToString;

use super::*;

#[test]
fn an_error_names_the_entry_and_the_supported_forms() {
    let message = |text: &str| HostPattern::parse(text).unwrap_err().to_string();
    assert_eq!(
        message("*"),
        "unsupported global wildcard domain pattern \"*\"; \
         use exact hosts or scoped wildcards like *.example.com or **.example.com"
    );
    assert_eq!(
        message("http://x"),
        "invalid host pattern `http://x`: it is a URL; \
         use exact hosts or scoped wildcards like *.example.com or **.example.com"
    );
    assert_eq!(
        message("a\nb"),
        "invalid host pattern `a\\nb`: the host name contains the character `\\n`; \
         use exact hosts or scoped wildcards like *.example.com or **.example.com"
    );
    assert_eq!(
        message(""),
        "invalid host pattern ``: the host is empty; \
         use exact hosts or scoped wildcards like *.example.com or **.example.com"
    );
}

#[test]
fn only_an_entry_without_a_star_is_exact() {
    for (text, exact) in [
        ("example.com", true),
        ("localhost", true),
        ("::1", true),
        ("*.example.com", false),
        ("**.localhost", false),
        ("local*.example", false),
    ] {
        assert_eq!(
            HostPattern::parse(text).unwrap().is_exact(),
            exact,
            "{text}"
        );
    }
}

#[test]
fn an_address_is_never_matched_as_a_name() {
    let address = Host::parse("192.0.2.1").unwrap();
    for text in ["*.example", "**.example", "192.*.example", "example.*"] {
        assert!(
            !HostPattern::parse(text).unwrap().matches(&address),
            "{text}"
        );
    }
    assert!(HostPattern::parse("192.0.2.1").unwrap().matches(&address));
}
