//! `cargo xtask tidy`: holds what neither the compiler nor clippy can.
//!
//! It reads the tree once (`Tree`), parses the product files of the three crates (`Product`), and asks four checks for
//! `Finding`s: the floors between modules, the counts that keep the gate the only way out, the house indicators, and
//! what must not or must stand in tracked files. It mends nothing and starts no program but `git ls-files`.

mod counts;
mod documents;
mod floors;
mod indicators;
mod modules;
mod paths;
pub(crate) mod product;
pub(crate) mod tree;

use std::path::Path;

use product::Product;
use tree::Tree;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// `path` or `path:line`.
    place: String,
    message: String,
}

impl Finding {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
        }
    }
}

/// Runs all checks on the working tree, prints the findings and the table of indicators, and says whether all is well.
pub(crate) fn run(root: &Path) -> bool {
    let tree = match Tree::read(root) {
        Ok(tree) => tree,
        Err(error) => {
            println!("tidy: cannot read the tree: {error}");
            return false;
        }
    };
    let (findings, table) = inspect(&tree);
    print!("{table}");
    for finding in &findings {
        println!("{}: {}", finding.place, finding.message);
    }
    match findings.len() {
        0 => println!("tidy: nothing to mend"),
        count => println!("tidy: {count} to mend"),
    }
    findings.is_empty()
}

/// All findings on a tree, in the order of their places, and the table of indicators.
fn inspect(tree: &Tree) -> (Vec<Finding>, String) {
    let (product, mut findings) = Product::parse(tree);
    let graph = floors::Graph::build(&product);
    findings.extend(floors::check(&product, &graph));
    findings.extend(counts::check(&product));
    findings.extend(documents::check(tree));
    let indicators = indicators::measure(tree, &product, &graph);
    findings.extend(indicators.findings());
    findings.sort();
    findings.dedup();
    (findings, indicators.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_clean_tree_has_nothing_to_mend() {
        let tree = Tree::of(&[
            (
                "crates/codex-network-gate/src/lib.rs",
                "//! The gate.\nmod gate;\nmod store;\npub use gate::Gate;\n",
            ),
            (
                "crates/codex-network-gate/src/gate.rs",
                "//! Judges.\nuse crate::store::Store;\npub struct Gate(Store);\n",
            ),
            (
                "crates/codex-network-gate/src/store.rs",
                "//! Keeps.\npub struct Store;\n",
            ),
            ("README.md", "# Proxy\n\nSee [the top](#proxy).\n"),
        ]);
        let (findings, table) = inspect(&tree);
        assert_eq!(findings, []);
        assert!(table.contains("longest function"), "{table}");
    }

    #[test]
    fn a_file_that_is_no_rust_is_a_finding() {
        let tree = Tree::of(&[(
            "crates/codex-network-gate/src/lib.rs",
            "//! Broken.\nfn (\n",
        )]);
        let (findings, _) = inspect(&tree);
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0].message.contains("cannot be read as Rust"),
            "{findings:?}"
        );
    }
}
