use super::*;
use crate::tidy::floors;

const PATH: &str = "crates/codex-network-gate/src/gate.rs";

fn measured(files: &[(&str, &str)]) -> Indicators {
    let tree = Tree::of(files);
    let (product, broken) = Product::parse(&tree);
    assert_eq!(broken, []);
    let graph = floors::Graph::build(&product);
    measure(&tree, &product, &graph)
}

fn messages(code: &str) -> Vec<String> {
    let findings = measured(&[(PATH, &format!("//! A doc.\n{code}"))]).findings();
    findings
        .into_iter()
        .map(|finding| finding.message)
        .collect()
}

fn value(table: &Indicators, name: &str) -> String {
    table
        .rows
        .iter()
        .find(|row| row.name == name)
        .map(|row| row.now.clone())
        .unwrap_or_default()
}

const NOTHING: [String; 0] = [];

#[test]
fn a_function_may_have_a_hundred_lines_of_code() {
    let function =
        |lines: usize| format!("fn f() {{\n// why\n\n{}}}\n", "    g();\n".repeat(lines));
    assert_eq!(messages(&function(100)), NOTHING);
    assert_eq!(
        messages(&function(101)),
        ["`f` has 101 lines of code, at most 100 are allowed"]
    );
    let method = format!("struct S;\nimpl S {{ {} }}\n", function(101));
    assert_eq!(messages(&method).len(), 1);
}

#[test]
fn every_file_says_what_it_is_for() {
    assert_eq!(
        measured(&[(PATH, "//! Judges.\nfn f() {}\n")]).findings(),
        []
    );
    assert_eq!(
        measured(&[(PATH, "/// Not the module's.\nfn f() {}\n")])
            .findings()
            .len(),
        1
    );
}

#[test]
fn an_unwrap_needs_its_reason() {
    let bare = "`unwrap` or `expect` without `#[expect(clippy::..., reason = \"...\")]`";
    assert_eq!(messages("fn f() { a.unwrap(); }"), [bare]);
    assert_eq!(messages("fn f() { a.expect(\"it is there\"); }"), [bare]);
    assert_eq!(
        messages("fn f() { select! { x = a() => x.unwrap() } }"),
        [bare]
    );
    assert_eq!(
        messages("fn f() { a.unwrap_or_default(); parser.expect(comma); }"),
        NOTHING
    );
    assert_eq!(
        messages("#[cfg(test)] mod tests { fn f() { a.unwrap(); } }"),
        NOTHING
    );
    let reasoned = "#[expect(clippy::expect_used, reason = \"a literal\")]";
    for code in [
        format!("{reasoned}\nfn f() {{\n a.expect(\"x\");\n}}"),
        format!("fn f() {{\n {reasoned}\n let b = match c {{\n d => e,\n }}\n .expect(\"x\");\n}}"),
        format!("fn f() {{\n {reasoned}\n a.expect(\"x\");\n}}"),
        format!("struct S;\nimpl S {{\n {reasoned}\n fn f() {{\n a.expect(\"x\");\n}}\n}}"),
    ] {
        assert_eq!(messages(&code), NOTHING, "{code}");
    }
    let next_door = format!("{reasoned}\nfn f() {{}}\nfn g() {{ a.unwrap(); }}");
    assert_eq!(messages(&next_door), [bare]);
}

#[test]
fn an_allow_needs_its_reason_in_tests_too() {
    assert_eq!(
        messages("#[allow(dead_code, reason = \"later\")]\nfn f() {}"),
        NOTHING
    );
    assert_eq!(
        messages("#[cfg(test)]\nmod tests {\n#[allow(dead_code)]\nfn f() {}\n}").len(),
        1
    );
    let table = measured(&[("xtask/src/main.rs", "#![allow(unused)]\nfn main() {}\n")]);
    assert_eq!(value(&table, "`allow` without a reason"), "1");
}

#[test]
fn reported_rows_count_what_they_say() {
    let copy = "    let a = one();\n    two(a);\n    three();\n    four();\n    five();\n    six();\n    seven();\n    eight();\n";
    let code = format!(
        "//! A doc.\npub fn bare() {{\n{copy}}}\n/// Says.\npub fn said() {{\n{copy}}}\nfn m() {{\n    match a {{ A => 1, _ => 2 }};\n\
         \n    match a {{ A => 1, B => 2 }};\n}}\n#[cfg(test)]\nmod tests {{\n    fn t() {{}}\n}}\n"
    );
    let table = measured(&[
        (PATH, &code),
        (
            "crates/codex-network-gate/tests/it/main.rs",
            "fn main() {\n}\n",
        ),
    ]);
    assert_eq!(value(&table, "matches with a wildcard arm"), "50.0 %");
    assert_eq!(value(&table, "public items without a doc"), "1");
    assert_eq!(value(&table, "copied lines"), "75.0 %");
    assert_eq!(value(&table, "test lines per product line"), "0.25");
    assert_eq!(value(&table, "largest file, lines"), "27");
}

#[test]
fn a_cycle_shows_in_the_table() {
    let table = measured(&[
        (PATH, "//! A.\nmod a; use a::A; struct G;"),
        (
            "crates/codex-network-gate/src/gate/a.rs",
            "//! A.\nuse super::G; struct A;",
        ),
        ("crates/codex-network-gate/src/lib.rs", "//! A.\nmod gate;"),
    ]);
    assert_eq!(value(&table, "largest module cycle"), "2");
    assert!(
        table.to_string().contains("B largest module cycle"),
        "{table}"
    );
}
