//! What stays as it was written, and what changes.

use super::*;

const FILE: &str = r#"# Mine.
model = "x"   # codex's
default_permissions = "web"

[permissions.web.network]
enabled = true # yes
allowed_domains = [
  # the forge
  "git.example.com", # code
  "*.example.org",   # docs

  "last.example",    # the last
]
denied_domains = ["a.com", "b.com"]
allow_unix_sockets = []

[other] # stays
key = 1
"#;

fn host(text: &str) -> Entry {
    Entry::Host(HostPattern::parse(text).unwrap())
}

/// The lines that an edit removes and adds, in the manner of `diff`.
fn difference(before: &str, after: &str) -> Vec<String> {
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let gone = before
        .iter()
        .filter(|line| !after.contains(line))
        .map(|line| format!("- {line}"));
    let come = after
        .iter()
        .filter(|line| !before.contains(line))
        .map(|line| format!("+ {line}"));
    gone.chain(come).collect()
}

#[track_caller]
fn check(text: &str, change: impl FnOnce(&mut Edit) -> Result<bool, String>, expected: &[&str]) {
    let mut edit = Edit::parse(text).unwrap();
    assert_eq!(change(&mut edit), Ok(true));
    let after = edit.text();
    assert_eq!(difference(text, &after), expected, "{after}");
    // What was written can be read, and read as the same again.
    assert_eq!(Edit::parse(&after).unwrap().text(), after);
}

#[test]
fn an_entry_joins_a_list_in_its_style() {
    let add =
        |entry: &'static str, list| move |edit: &mut Edit| edit.add("web", &host(entry), list);
    check(
        FILE,
        add("new.example", List::Allowed),
        &["+   \"new.example\","],
    );
    check(
        FILE,
        add("c.com", List::Denied),
        &[
            "- denied_domains = [\"a.com\", \"b.com\"]",
            "+ denied_domains = [\"a.com\", \"b.com\", \"c.com\"]",
        ],
    );
    let socket = Entry::Socket(SocketPath::parse("/run/a").unwrap());
    check(
        FILE,
        |edit| edit.add("web", &socket, List::Allowed),
        &[
            "- allow_unix_sockets = []",
            "+ allow_unix_sockets = [\"/run/a\"]",
        ],
    );
}

#[test]
fn without_a_comma_at_the_end_too() {
    let text = "[permissions.web.network]\nallowed_domains = [\n    \"a.com\", # a\n    \"b.com\" # b\n]\n";
    check(
        text,
        |edit| edit.add("web", &host("c.com"), List::Allowed),
        &[
            "-     \"b.com\" # b",
            "+     \"b.com\", # b",
            "+     \"c.com\",",
        ],
    );
}

#[test]
fn an_entry_that_is_there_changes_nothing() {
    let mut edit = Edit::parse(FILE).unwrap();
    assert_eq!(
        edit.add("web", &host("GIT.example.com."), List::Allowed),
        Ok(false)
    );
    assert_eq!(edit.add("web", &host("a.com"), List::Denied), Ok(false));
    assert_eq!(edit.remove("web", &host("other.com")), Ok(false));
    assert_eq!(edit.text(), FILE);
}

#[test]
fn an_entry_moves_from_the_opposite_list() {
    check(
        FILE,
        |edit| edit.add("web", &host("b.com"), List::Allowed),
        &[
            "- denied_domains = [\"a.com\", \"b.com\"]",
            "+   \"b.com\",",
            "+ denied_domains = [\"a.com\"]",
        ],
    );
}

#[test]
fn an_entry_leaves_with_its_comment_and_no_other() {
    let remove = |entry: &'static str| move |edit: &mut Edit| edit.remove("web", &host(entry));
    check(
        FILE,
        remove("git.example.com"),
        &["-   \"git.example.com\", # code"],
    );
    check(
        FILE,
        remove("*.example.org"),
        &["-   \"*.example.org\",   # docs"],
    );
    check(
        FILE,
        remove("last.example"),
        &["-   \"last.example\",    # the last"],
    );
    check(
        FILE,
        remove("a.com"),
        &[
            "- denied_domains = [\"a.com\", \"b.com\"]",
            "+ denied_domains = [\"b.com\"]",
        ],
    );
}

#[test]
fn the_table_spelling_is_kept() {
    let text = "default_permissions = \"p\"\n[permissions.p.network.domains]\n# one\n\"a.com\" = \"allow\" # 1\n\"b.com\" = \"deny\"\n";
    check(
        text,
        |edit| edit.add("p", &host("c.com"), List::Denied),
        &["+ \"c.com\" = \"deny\""],
    );
    check(
        text,
        |edit| edit.add("p", &host("b.com"), List::Allowed),
        &["- \"b.com\" = \"deny\"", "+ \"b.com\" = \"allow\""],
    );
    check(
        text,
        |edit| edit.remove("p", &host("b.com")),
        &["- \"b.com\" = \"deny\""],
    );
}

#[test]
fn a_profile_is_made_where_there_is_none() {
    let mut edit = Edit::parse("").unwrap();
    let profile = edit.profile(None).unwrap();
    assert_eq!(edit.add(&profile, &host("a.com"), List::Allowed), Ok(true));
    assert_eq!(
        edit.text(),
        "default_permissions = \"web\"\n\n[permissions.web.network]\nenabled = true\nallowed_domains = [\"a.com\"]\n"
    );
    let mut edit = Edit::parse("model = \"x\"\n\n[other]\nkey = 1\n").unwrap();
    let profile = edit.profile(None).unwrap();
    assert_eq!(edit.add(&profile, &host("a.com"), List::Allowed), Ok(true));
    assert_eq!(
        edit.text(),
        "model = \"x\"\ndefault_permissions = \"web\"\n\n[other]\nkey = 1\n\n[permissions.web.network]\nenabled = true\nallowed_domains = [\"a.com\"]\n"
    );
}

#[test]
fn a_profile_that_is_not_clear_is_an_error() {
    let profile = |text: &str, wanted: Option<&str>| Edit::parse(text).unwrap().profile(wanted);
    assert_eq!(profile(FILE, None), Ok("web".to_owned()));
    assert_eq!(
        profile(FILE, Some("wbe")),
        Err("the file has no profile `wbe`: expected one of web".to_owned())
    );
    assert_eq!(profile("", Some("ci")), Ok("ci".to_owned()));
    let several = "[permissions.a.network]\n[permissions.b.network]\n";
    assert!(profile(several, None).unwrap_err().contains("--profile"));
    let own = "default_permissions = \":workspace\"\n";
    assert!(profile(own, None).unwrap_err().contains("Codex's own"));
    let mut odd = Edit::parse("permissions = 1\n").unwrap();
    assert!(odd.add("web", &host("a.com"), List::Allowed).is_err());
    let mut odd = Edit::parse("[permissions.web.network]\nallowed_domains = \"a.com\"\n").unwrap();
    assert!(odd.add("web", &host("a.com"), List::Allowed).is_err());
}
