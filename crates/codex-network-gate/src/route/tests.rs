use super::*;

/// Reads an environment of `KEY=value` lines.
fn read(environment: &[(&str, &str)]) -> (ParentProxies, Vec<String>) {
    ParentProxies::from_environment(|key| {
        let found = environment.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| (*value).to_owned())
    })
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

/// `scheme://host:port` of a parent, or `direct`.
fn shown(parent: Option<&Arc<Parent>>) -> String {
    parent.map_or("direct".to_owned(), |parent| {
        let scheme = if parent.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}", parent.host, parent.port)
    })
}

#[test]
fn the_first_usable_variable_counts() {
    let check = |environment: &[(&str, &str)], plain: &str, secure: &str| {
        let (parents, warnings) = read(environment);
        let target = host("example.com");
        let ways = [
            shown(parents.route(&target, 80, false)),
            shown(parents.route(&target, 443, true)),
        ];
        assert_eq!(ways, [plain, secure], "{environment:?}");
        assert_eq!(warnings, [""; 0], "{environment:?}");
        assert_eq!(parents.is_empty(), ways == ["direct", "direct"]);
    };
    let (a, b, c) = ("http://a:1", "http://b:2", "http://c:3");
    check(&[], "direct", "direct");
    // Upper case first; the secure ones fall back to the plain ones, and all of them to ALL_PROXY.
    check(&[("HTTP_PROXY", a), ("http_proxy", b)], a, a);
    check(&[("http_proxy", b)], b, b);
    check(&[("HTTP_PROXY", a), ("HTTPS_PROXY", b)], a, b);
    check(&[("HTTP_PROXY", a), ("https_proxy", c)], a, c);
    check(&[("HTTPS_PROXY", b), ("https_proxy", c)], "direct", b);
    check(&[("HTTPS_PROXY", b), ("ALL_PROXY", c)], c, b);
    check(&[("HTTP_PROXY", a), ("ALL_PROXY", c)], a, a);
    check(&[("ALL_PROXY", a), ("all_proxy", c)], a, a);
    check(&[("all_proxy", c)], c, c);
    // Blank ones do not count.
    check(&[("HTTP_PROXY", ""), ("http_proxy", b)], b, b);
    check(&[("HTTP_PROXY", " \t"), ("all_proxy", c)], c, c);
    check(&[("HTTP_PROXY", " http://a:1 ")], a, a);
    // SOCKS doors, NO_PROXY and others set no parent.
    check(&[("SOCKS_PROXY", a), ("NO_PROXY", "*")], "direct", "direct");
}

#[test]
fn a_value_is_a_url_or_an_authority() {
    let check = |value: &str, expected: Result<&str, &str>| {
        let (parents, warnings) = read(&[("HTTP_PROXY", value)]);
        let shown = shown(parents.plain.as_ref());
        let (way, expected_warnings) = match expected {
            Ok(way) => (way, vec![]),
            Err(why) => ("direct", vec![format!("ignoring HTTP_PROXY: {why}")]),
        };
        assert_eq!(
            (shown.as_str(), warnings),
            (way, expected_warnings),
            "{value}"
        );
    };
    check("proxy.test:3128", Ok("http://proxy.test:3128"));
    check("proxy.test", Ok("http://proxy.test:80"));
    check("http://proxy.test", Ok("http://proxy.test:80"));
    check("https://proxy.test", Ok("https://proxy.test:443"));
    check(
        "HTTPS://Proxy.Test.:8443/path?x#y",
        Ok("https://proxy.test:8443"),
    );
    check("http://[2001:db8::1]:3128", Ok("http://2001:db8::1:3128"));
    check("192.0.2.1:3128", Ok("http://192.0.2.1:3128"));
    check("u:p@proxy.test:3128", Ok("http://proxy.test:3128"));
    check("socks5://proxy.test:1080", Err("non-http proxy protocol"));
    check("socks5h://proxy.test", Err("non-http proxy protocol"));
    check("ftp://proxy.test", Err("non-http proxy protocol"));
    check("http://", Err("invalid proxy address (the host is empty)"));
    check(
        "http://proxy.test:port",
        Err("invalid proxy address (the port is no number from 0 to 65535)"),
    );
    check(
        "http://proxy test:1",
        Err("invalid proxy address (the host name contains the character ` `)"),
    );
    check(
        "http://u:%zz@proxy.test:1",
        Err("invalid proxy address (bad % escape)"),
    );
    check(
        "http://u:8080/secret@proxy.test:1",
        Err("invalid proxy address (`/`, `?` or `#` before `@`; write them as %2F, %3F, %23)"),
    );
}

#[test]
fn a_bad_value_is_passed_over_with_a_warning() {
    let (parents, warnings) = read(&[
        ("HTTP_PROXY", "socks5://a:1"),
        ("http_proxy", "http://b:2"),
        ("HTTPS_PROXY", "http://:443"),
        ("NO_PROXY", "bad entry@, , //"),
    ]);
    assert_eq!(shown(parents.plain.as_ref()), "http://b:2");
    assert_eq!(shown(parents.secure.as_ref()), "http://b:2");
    let expected = [
        "ignoring HTTP_PROXY: non-http proxy protocol",
        "ignoring HTTPS_PROXY: invalid proxy address (the host is empty)",
    ];
    assert_eq!(warnings, expected);
}

#[test]
fn credentials_are_decoded_and_never_shown() {
    let check = |credentials: &str, decoded: Option<&str>| {
        let (parents, warnings) =
            read(&[("ALL_PROXY", &format!("http://{credentials}@proxy.test:1"))]);
        let parent = parents.plain.as_ref().unwrap();
        let expected = decoded.map(|text| format!("Basic {}", STANDARD.encode(text)));
        assert_eq!(parent.authorization, expected, "{credentials}");
        let debug = format!("{parents:?} {parent:?} {warnings:?}");
        assert!(!debug.contains("canary"), "{debug}");
        assert!(!debug.contains(&STANDARD.encode("canary")[..7]), "{debug}");
    };
    check("user:canary", Some("user:canary"));
    check("canary", Some("canary:"));
    check("user:", Some("user:"));
    check("", None);
    check("user%40corp:canary%3A%2f%25", Some("user@corp:canary:/%"));
    check("user@corp:canary", Some("user@corp:canary"));
    check("user:canary%0d%0aX", Some("user:canary\r\nX"));
}

#[test]
fn a_broken_value_shows_no_credential() {
    for value in [
        "http://canary:canary@",
        "http://canary:canary@bad host:1",
        "http://canary:can/ary@proxy.test",
        "http://canary:%xcanary@proxy.test",
        "socks5://canary:canary@proxy.test",
        "canary:canary://x@proxy.test:1",
    ] {
        let (parents, warnings) = read(&[("HTTP_PROXY", value)]);
        assert!(parents.is_empty(), "{value}");
        let text = format!("{warnings:?}");
        assert_eq!(warnings.len(), 1, "{value}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[test]
fn no_proxy_names_what_leaves_directly() {
    let check = |no_proxy: &str, direct: &[&str], parent: &[&str]| {
        let (parents, _) = read(&[("HTTP_PROXY", "http://p:1"), ("NO_PROXY", no_proxy)]);
        for (targets, expected) in [(direct, true), (parent, false)] {
            for target in targets {
                let Authority { host, port } = Authority::parse(target).unwrap();
                let route = parents.route(&host, port.unwrap_or(80), false);
                assert_eq!(route.is_none(), expected, "NO_PROXY={no_proxy} {target}");
            }
        }
    };
    check("", &[], &["example.com", "8.8.8.8"]);
    check("*", &["example.com", "8.8.8.8", "[2606:4700::1]"], &[]);
    let below = ["example.com", "a.example.com", "a.b.example.com"];
    let beside = ["notexample.com", "example.com.evil.test", "com"];
    for entry in [
        "example.com",
        ".example.com",
        "*.example.com",
        "EXAMPLE.com.",
    ] {
        check(entry, &below, &beside);
    }
    check("other.test , example.com", &below, &beside);
    check("other.test example.com", &below, &beside);
    check("bücher.test", &["xn--bcher-kva.test"], &["b.test"]);
    check(
        "example.com:8080",
        &["example.com:8080", "a.example.com:8080"],
        &["example.com"],
    );
    check(
        "8.8.0.0/16",
        &["8.8.8.8", "8.8.4.4", "[::ffff:8.8.8.8]"],
        &["8.9.8.8"],
    );
    check("8.8.8.8", &["8.8.8.8"], &["8.8.4.4", "example.com"]);
    check(
        "8.8.8.8:8080",
        &["8.8.8.8:8080"],
        &["8.8.8.8", "8.8.8.8:81"],
    );
    check("2606:4700::/32", &["[2606:4700::1]"], &["[2607:4700::1]"]);
    check("[2606:4700::1]", &["[2606:4700::1]"], &["[2606:4700::2]"]);
    check(
        "[2606:4700::1]:8080",
        &["[2606:4700::1]:8080"],
        &["[2606:4700::1]:80"],
    );
    // What cannot be read covers nothing.
    check("example.com/x,*example.com,10.0.0.0/99", &[], &below);
}

#[test]
fn the_lower_case_no_proxy_counts_where_the_other_is_blank() {
    let check = |upper: &str, lower: &str, expected: &str| {
        let (parents, _) = read(&[
            ("HTTP_PROXY", "http://p:1"),
            ("NO_PROXY", upper),
            ("no_proxy", lower),
        ]);
        let way = shown(parents.route(&host("example.com"), 80, false));
        assert_eq!(way, expected, "{upper:?} {lower:?}");
    };
    check("", "example.com", "direct");
    check(" ", "*", "direct");
    check("other.test", "example.com", "http://p:1");
}

#[test]
fn what_is_local_by_its_text_leaves_directly() {
    let (parents, _) = read(&[("HTTP_PROXY", "http://p:1")]);
    for target in [
        "localhost",
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "fe80::1%7",
        "2606:4700::1%7",
        "64:ff9b::127.0.0.1",
        "::ffff:10.0.0.1",
    ] {
        assert_eq!(
            shown(parents.route(&host(target), 80, false)),
            "direct",
            "{target}"
        );
    }
    for target in ["example.com", "8.8.8.8", "2606:4700::1", "64:ff9b::8.8.8.8"] {
        assert_eq!(
            shown(parents.route(&host(target), 80, false)),
            "http://p:1",
            "{target}"
        );
    }
}

#[test]
fn a_parent_that_is_our_listener_is_dropped() {
    let listeners = ["127.0.0.1:3128", "127.0.0.1:8081"].map(|text| text.parse().unwrap());
    let check = |plain: &str, secure: &str, expected: [&str; 2], warnings: &[&str]| {
        let (mut parents, _) = read(&[("HTTP_PROXY", plain), ("HTTPS_PROXY", secure)]);
        assert_eq!(
            parents.without_listeners(&listeners),
            warnings,
            "{plain} {secure}"
        );
        let left = [
            shown(parents.plain.as_ref()),
            shown(parents.secure.as_ref()),
        ];
        assert_eq!(left, expected, "{plain} {secure}");
    };
    let other = "http://proxy.test:3128";
    check(other, other, [other, other], &[]);
    for own in [
        "127.0.0.1:3128",
        "localhost:3128",
        "LOCALHOST.:3128",
        "127.9.9.9:3128",
        "[::1]:3128",
        "0.0.0.0:3128",
        "[::]:3128",
        "[::ffff:127.0.0.1]:3128",
        "http://u:canary@localhost:3128/",
        "https://127.0.0.1:8081",
    ] {
        let shown = Parent::parse(own).unwrap();
        let warning = format!(
            "ignoring the parent proxy {}:{}: it is this proxy's own listener",
            shown.host, shown.port
        );
        check(own, other, ["direct", other], &[warning.as_str()]);
        check(own, own, ["direct", "direct"], &[warning.as_str()]);
    }
    check(
        "localhost:3129",
        other,
        ["http://localhost:3129", other],
        &[],
    );
}
