//! `cargo xtask api`: the public interface of the three crates, as committed text.
//!
//! Comes in: the source tree. Goes out: one file per crate under `docs/api/`, a line for everything that other programs can
//! name, sorted. `check` compares and says what was taken away or changed, which breaks programs, and what was added;
//! `write` writes. It reads source with `syn`, so it needs no nightly compiler; what only the compiler knows (auto traits)
//! is in the tests of the crates.

mod lines;
mod surface;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::tidy::product::{CRATES, Product};
use crate::tidy::tree::Tree;

const HEAD: &str = "\
# Everything that other programs can name in this crate. Written by `cargo xtask api`, held by `cargo xtask ci` and by a
# test. A line that goes or changes breaks programs: it wants a new version, a line in CHANGELOG.md and, where Codex's own
# library has the name too, in docs/migration.md.

";

/// The committed file of a crate.
fn path(root: &Path, package: &str) -> PathBuf {
    root.join("docs/api").join(format!("{package}.txt"))
}

/// The interface of each crate as it is in the source.
fn interfaces(root: &Path) -> Result<Vec<(&'static str, BTreeSet<String>)>, String> {
    let tree = Tree::read(root).map_err(|error| format!("cannot read the tree: {error}"))?;
    let (product, findings) = Product::parse(&tree);
    if !findings.is_empty() {
        return Err(
            "some of the source cannot be read as Rust; `cargo xtask tidy` says what".into(),
        );
    }
    let of = |package| (package, surface::of(&product, package));
    Ok(CRATES.into_iter().map(of).collect())
}

/// Writes the files anew.
pub(crate) fn write(root: &Path) -> bool {
    match written(root) {
        Ok(()) => true,
        Err(error) => {
            println!("api: {error}");
            false
        }
    }
}

fn written(root: &Path) -> Result<(), String> {
    for (package, lines) in interfaces(root)? {
        let path = path(root, package);
        let lines: Vec<String> = lines.into_iter().collect();
        let text = format!("{HEAD}{}\n", lines.join("\n"));
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("api: {} lines of {package}", lines.len());
    }
    Ok(())
}

/// Whether the committed files say what the source says; prints what differs.
pub(crate) fn check(root: &Path) -> bool {
    match differences(root) {
        Ok(differences) => {
            for difference in &differences {
                println!("{difference}");
            }
            match differences.len() {
                0 => println!("api: as committed"),
                _ => println!("api: not as committed; `cargo xtask api` writes docs/api/ anew"),
            }
            differences.is_empty()
        }
        Err(error) => {
            println!("api: {error}");
            false
        }
    }
}

fn differences(root: &Path) -> Result<Vec<String>, String> {
    let mut differences = Vec::new();
    for (package, now) in interfaces(root)? {
        let text = std::fs::read_to_string(path(root, package)).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.is_empty());
        let lines = lines.filter(|line| !line.starts_with("# "));
        let committed: BTreeSet<String> = lines.map(str::to_owned).collect();
        let gone = committed.difference(&now);
        differences
            .extend(gone.map(|line| format!("gone or changed, which breaks programs: {line}")));
        let new = now.difference(&committed);
        differences.extend(new.map(|line| format!("new: {line}")));
    }
    Ok(differences)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_interface_is_the_committed_one() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(differences(&root), Ok(Vec::new()), "see `cargo xtask api`");
    }

    fn lines_of(files: &[(&str, &str)]) -> Vec<String> {
        let (product, findings) = Product::parse(&Tree::of(files));
        assert_eq!(findings, []);
        let lines = surface::of(&product, "codex-network-gate");
        lines.into_iter().collect()
    }

    #[test]
    fn what_can_be_named_from_outside_has_a_line_and_nothing_else_has() {
        let lines = lines_of(&[
            (
                "crates/codex-network-gate/src/lib.rs",
                "mod inner;\npub mod outer;\npub use codex_network_policy::Mode as NetworkMode;\npub use inner::{Shown, Told};\n",
            ),
            (
                "crates/codex-network-gate/src/inner.rs",
                "mod deep;\npub use deep::Told;\n#[derive(Clone, Debug)]\npub struct Shown { pub a: u16, b: u8 }\npub struct Hidden;\n\
                 impl Shown { pub fn new(a: u16) -> Self { Self { a, b: 0 } } fn own(&self) {} pub(crate) fn ours(&self) {} }\n\
                 impl std::fmt::Display for Shown { fn fmt(&self) {} }\nimpl Hidden { pub fn x() {} }\n",
            ),
            (
                "crates/codex-network-gate/src/inner/deep.rs",
                "/// A doc.\npub trait Told: Send { fn tell(&self, to: &str) -> bool; fn twice(&self) { } }\nimpl<T: Told> Told for Box<T> { fn tell(&self, to: &str) -> bool { true } }\n",
            ),
            (
                "crates/codex-network-gate/src/outer.rs",
                "#[non_exhaustive]\npub enum Kind { One, Two(u8), Three { x: u8 } }\npub const LIMIT: usize = 3;\n#[cfg(unix)]\npub async fn go(x: &mut [u8]) {}\nfn private() {}\npub type Alias = Kind;\n",
            ),
        ]);
        assert_eq!(
            lines,
            [
                "codex_network_gate::NetworkMode = codex_network_policy::Mode",
                "codex_network_gate::Shown: fn new(a: u16) -> Self",
                "codex_network_gate::Shown: impl Clone",
                "codex_network_gate::Shown: impl Debug",
                "codex_network_gate::Shown: impl std::fmt::Display for Shown",
                "codex_network_gate::Shown: pub a: u16",
                "codex_network_gate::Shown: struct, with private fields",
                "codex_network_gate::Told: fn tell(&self, to: &str) -> bool, required",
                "codex_network_gate::Told: fn twice(&self), provided",
                "codex_network_gate::Told: impl<T: Told> Told for Box<T>",
                "codex_network_gate::Told: trait: Send",
                "codex_network_gate::outer::Alias: type = Kind",
                "codex_network_gate::outer::Kind: #[non_exhaustive] enum",
                "codex_network_gate::outer::Kind: One",
                "codex_network_gate::outer::Kind: Three { x: u8 }",
                "codex_network_gate::outer::Kind: Two(u8)",
                "codex_network_gate::outer::LIMIT: const: usize",
                "codex_network_gate::outer::go: #[cfg(unix)] async fn(x: &mut [u8])",
            ]
        );
    }
}
