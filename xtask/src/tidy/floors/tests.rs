use super::*;
use crate::tidy::tree::Tree;

/// The messages about a tree of proxy modules, given as (module path, code).
fn messages(files: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<(String, &str)> = files
        .iter()
        .map(|(module, code)| (format!("crates/codex-network-proxy/src/{module}.rs"), *code))
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, code)| (path.as_str(), *code))
        .collect();
    let (product, broken) = Product::parse(&Tree::of(&files));
    assert_eq!(broken, []);
    let graph = Graph::build(&product);
    check(&product, &graph)
        .into_iter()
        .map(|finding| {
            format!(
                "{}: {}",
                finding.place.replace("crates/codex-network-proxy/src/", ""),
                finding.message
            )
        })
        .collect()
}

#[track_caller]
fn one(files: &[(&str, &str)], expected: &str) {
    let messages = messages(files);
    assert_eq!(messages.len(), 1, "{messages:#?}");
    assert!(messages[0].contains(expected), "{messages:#?}");
}

const NOTHING: [String; 0] = [];

#[test]
fn arrows_downward_are_fine() {
    let files = [
        (
            "lib",
            "mod listener; mod relay; mod error; pub use error::Error; pub use listener::Listener;",
        ),
        ("main", "mod cli; fn main() { cli::run() }"),
        (
            "cli",
            "use codex_network_proxy::Error; pub fn run() { crate::listener::bind() }",
        ),
        (
            "listener",
            "mod http; use crate::{relay::Relay, error}; pub struct Listener; fn bind() { http::serve() }",
        ),
        (
            "listener/http",
            "use crate::relay; fn serve() { relay::go(); super::super::error::make(); }",
        ),
        ("relay", "pub struct Relay; use crate::Error;"),
        ("error", "pub struct Error;"),
    ];
    assert_eq!(messages(&files), NOTHING);
}

#[test]
fn an_upward_arrow_is_refused_in_every_spelling() {
    for code in [
        "use crate::listener::Listener;",
        "use crate::{error::Error, listener};",
        "fn f() -> crate::listener::Listener { todo() }",
        "fn f() { tokio::select! { _ = super::listener::accept() => {} } }",
        "mod inner { use super::super::listener::Listener; }",
        "use crate::Listener;",
        "use super::*; use super::Listener;",
    ] {
        let files = [
            (
                "lib",
                "mod listener; mod relay; pub use listener::Listener;",
            ),
            ("listener", "pub struct Listener;"),
            ("relay", code),
        ];
        let messages = messages(&files);
        assert!(
            messages
                .iter()
                .any(|message| message.contains("`relay` (floor 3) uses `listener` (floor 7)")),
            "{code}: {messages:#?}"
        );
    }
}

#[test]
fn a_level_arrow_is_refused() {
    one(
        &[
            ("hello", "use crate::error::Error;"),
            ("error", "pub struct Error;"),
            ("lib", "mod hello; mod error;"),
        ],
        "hello.rs:1: `hello` (floor 0) uses `error` (floor 0)",
    );
}

#[test]
fn a_module_without_a_floor_is_named_with_the_table() {
    one(
        &[("lib", "mod utils;"), ("utils", "")],
        "utils.rs: module `utils` of codex-network-proxy has no floor",
    );
}

#[test]
fn the_root_is_a_roof() {
    one(
        &[
            ("lib", "mod relay; pub const LIMIT: usize = 1;"),
            ("relay", "use crate::LIMIT;"),
        ],
        "relay.rs:1: `relay` uses the crate's root",
    );
}

#[test]
fn files_of_one_module_may_use_each_other_but_not_in_a_circle() {
    let parent = (
        "listener",
        "mod socks5; mod http; use socks5::Codec; pub struct Limits;",
    );
    let sibling = ("listener/http", "use super::socks5::Codec;");
    assert_eq!(
        messages(&[
            ("lib", "mod listener;"),
            parent,
            sibling,
            ("listener/socks5", "pub struct Codec;")
        ]),
        NOTHING
    );
    one(
        &[
            ("lib", "mod listener;"),
            parent,
            sibling,
            ("listener/socks5", "use super::Limits;\npub struct Codec;"),
        ],
        "listener.rs: 2 files use each other in a circle",
    );
}

#[test]
fn a_mere_listing_is_no_half_of_a_circle() {
    let child = ("listener/socks5", "use super::Limits; pub struct Codec;");
    let root = ("lib", "mod listener;");
    let lists = (
        "listener",
        "mod socks5; pub use socks5::Codec; pub struct Limits;",
    );
    assert_eq!(messages(&[root, lists, child]), NOTHING);
    let needs = (
        "listener",
        "mod socks5; pub use socks5::Codec; pub struct Limits(Codec);",
    );
    one(&[root, needs, child], "2 files use each other in a circle");
    let upward = ("relay", "pub use crate::listener::Limits;");
    let upward = [("lib", "mod listener; mod relay;"), lists, child, upward];
    one(&upward, "`relay` (floor 3) uses `listener` (floor 7)");
}

#[test]
fn an_import_of_the_parent_is_followed_to_where_it_leads() {
    // The child takes `Relay` through its parent's import: that is an arrow to `relay`, not to the parent.
    let files = [
        ("lib", "mod listener; mod relay;"),
        (
            "listener",
            "mod http; use crate::relay::Relay; use http::Door;",
        ),
        ("listener/http", "use super::Relay; pub struct Door;"),
        ("relay", "pub struct Relay;"),
    ];
    assert_eq!(messages(&files), NOTHING);
}

#[test]
fn tests_may_look_anywhere() {
    let files = [
        ("lib", "mod relay; mod listener;"),
        ("listener", ""),
        (
            "relay",
            "#[cfg(test)] mod tests { use crate::listener::accept; }",
        ),
    ];
    assert_eq!(messages(&files), NOTHING);
}

#[test]
fn the_table_is_well_formed_and_names_every_crate() {
    let floors = table(TABLE).expect("the table is well formed");
    for package in crate::tidy::product::CRATES {
        assert!(floors.keys().any(|(name, _)| *name == package), "{package}");
    }
    assert!(table("[a]\n1 x\n2 x\n").is_err());
    assert!(table("1 x\n").is_err());
}
