//! The floors between modules, and the cycles between files.
//!
//! Main type: `Graph`, whose arrows lead from a file to the files that define what it names. `check` holds the arrows
//! between top-level modules to the table in `xtask/floors.txt` and refuses every cycle of files. Crates need no check
//! here: cargo knows their order.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};

use super::Finding;
use super::modules::{Modules, Target};
use super::paths::written_paths;
use super::product::Product;

/// Where the floors stand, for people and for this program.
const TABLE_PATH: &str = "xtask/floors.txt";
const TABLE: &str = include_str!("../../floors.txt");

/// One use of one file by another.
struct Arrow {
    from: usize,
    target: Target,
    line: usize,
    /// A `pub use` of a name that the file does not need for itself: a line in its table of contents. It obeys the
    /// floors, but binds nothing to anything, for a use of the name through it is an arrow to where it is defined.
    listing: bool,
}

/// Who uses whom.
pub(super) struct Graph {
    arrows: Vec<Arrow>,
    /// Files that reach each other, as indices; each set has at least two.
    cycles: Vec<BTreeSet<usize>>,
}

impl Graph {
    pub(super) fn build(product: &Product) -> Self {
        let modules = Modules::of(product);
        let mut arrows = Vec::new();
        for (from, file) in product.files.iter().enumerate() {
            let mut names = BTreeMap::new();
            count_names(file.tokens.clone(), &mut names);
            for path in written_paths(file.tokens.clone()) {
                let once = path
                    .segments
                    .last()
                    .is_some_and(|name| names.get(name) == Some(&1));
                let module = [file.module.as_slice(), &path.inside].concat();
                if let Some(target) = modules.resolve(&(file.package, module), &path.segments)
                    && target.file != from
                {
                    arrows.push(Arrow {
                        from,
                        target,
                        line: path.line,
                        listing: path.reexport && once,
                    });
                }
            }
        }
        let cycles = cycles(product, &arrows);
        Self { arrows, cycles }
    }

    /// The number of files in the largest cycle; 0 where there is none.
    pub(super) fn largest_cycle(&self) -> usize {
        self.cycles.iter().map(BTreeSet::len).max().unwrap_or(0)
    }
}

/// How often each name occurs.
fn count_names(tokens: TokenStream, names: &mut BTreeMap<String, usize>) {
    for token in tokens {
        match token {
            TokenTree::Ident(name) => *names.entry(name.to_string()).or_default() += 1,
            TokenTree::Group(group) => count_names(group.stream(), names),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// The floors by crate and module, or the line of the table that is none.
fn table(text: &str) -> Result<BTreeMap<(&str, &str), u32>, Finding> {
    let mut floors = BTreeMap::new();
    let mut package = None;
    for (number, line) in (1..).zip(text.lines()) {
        let bad = |message: String| Finding::new(format!("{TABLE_PATH}:{number}"), message);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            package = Some(name);
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(package), Some(Ok(floor))) = (package, words.next().map(str::parse)) else {
            return Err(bad(format!(
                "`{line}` is neither `[crate]` nor a floor and its modules"
            )));
        };
        for module in words {
            if floors.insert((package, module), floor).is_some() {
                return Err(bad(format!("`{module}` has two floors")));
            }
        }
    }
    Ok(floors)
}

/// Arrows that go up or stay level, modules without a floor, and cycles.
pub(super) fn check(product: &Product, graph: &Graph) -> Vec<Finding> {
    let floors = match table(TABLE) {
        Ok(floors) => floors,
        Err(finding) => return vec![finding],
    };
    let mut findings = Vec::new();
    for file in &product.files {
        if let Some(top) = file.top()
            && !floors.contains_key(&(file.package, top))
        {
            let message = format!(
                "module `{top}` of {} has no floor: give it one in {TABLE_PATH}",
                file.package
            );
            findings.push(Finding::new(&file.path, message));
        }
    }
    for arrow in &graph.arrows {
        let file = &product.files[arrow.from];
        let Some(from) = file.top() else { continue };
        let Some(to) = arrow.target.module.1.first() else {
            let message = format!(
                "`{from}` uses the crate's root: name the module that defines what it needs"
            );
            findings.push(Finding::new(file.at(arrow.line), message));
            continue;
        };
        let (Some(own), Some(other)) = (
            floors.get(&(file.package, from)),
            floors.get(&(file.package, to.as_str())),
        ) else {
            continue;
        };
        if from != to && other >= own {
            let message = format!(
                "`{from}` (floor {own}) uses `{to}` (floor {other}): a module uses only lower floors ({TABLE_PATH})"
            );
            findings.push(Finding::new(file.at(arrow.line), message));
        }
    }
    findings.extend(
        graph
            .cycles
            .iter()
            .map(|cycle| cycle_finding(product, graph, cycle)),
    );
    findings
}

/// The finding about one cycle, with what each file takes from which other, for it is there that it must be cut.
fn cycle_finding(product: &Product, graph: &Graph, cycle: &BTreeSet<usize>) -> Finding {
    let mut takes: BTreeMap<(usize, usize), (usize, BTreeSet<&str>)> = BTreeMap::new();
    for arrow in &graph.arrows {
        if !arrow.listing && cycle.contains(&arrow.from) && cycle.contains(&arrow.target.file) {
            let first = (arrow.line, BTreeSet::new());
            let (_, names) = takes
                .entry((arrow.from, arrow.target.file))
                .or_insert(first);
            names.insert(&arrow.target.name);
        }
    }
    let mut message = format!("{} files use each other in a circle", cycle.len());
    for ((from, to), (line, names)) in takes {
        let names: Vec<&str> = names.into_iter().collect();
        let place = product.files[from].at(line);
        message += &format!(
            "\n    {place} takes {} from {}",
            names.join(", "),
            product.files[to].path
        );
    }
    let first = cycle
        .first()
        .map_or("", |index| &product.files[*index].path);
    Finding::new(first, message)
}

/// The sets of files that reach each other. Roots are left out: they name everything and nothing may name them.
fn cycles(product: &Product, arrows: &[Arrow]) -> Vec<BTreeSet<usize>> {
    let mut next: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for arrow in arrows {
        let under_a_roof = [arrow.from, arrow.target.file]
            .iter()
            .all(|file| product.files[*file].top().is_some());
        if under_a_roof && !arrow.listing {
            next.entry(arrow.from)
                .or_default()
                .insert(arrow.target.file);
        }
    }
    // The graph has some fifty nodes: a plain search from each of them is quick, and plainly right.
    let reached: BTreeMap<usize, BTreeSet<usize>> = next
        .keys()
        .map(|start| (*start, reach(&next, *start)))
        .collect();
    let mut cycles: Vec<BTreeSet<usize>> = Vec::new();
    for (start, others) in &reached {
        if others.contains(start) && !cycles.iter().any(|cycle| cycle.contains(start)) {
            let back = |other: &&usize| reached.get(*other).is_some_and(|set| set.contains(start));
            cycles.push(others.iter().filter(back).copied().collect());
        }
    }
    cycles
}

fn reach(next: &BTreeMap<usize, BTreeSet<usize>>, start: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![start];
    while let Some(node) = open.pop() {
        for other in next.get(&node).into_iter().flatten() {
            if reached.insert(*other) {
                open.push(*other);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests;
