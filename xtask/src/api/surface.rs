//! What of a crate can be named from outside, and under which path.
//!
//! Main function: [`of`]. It begins at `lib.rs`, goes down public modules, and follows what they re-export to where it is
//! defined. What comes from another crate is named and not followed: that crate has a list of its own. How an item is put
//! into words is in `lines.rs`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use syn::{Item, ItemImpl, UseTree, Visibility};

use super::lines;
use crate::tidy::product::Product;

/// A module's path below the crate's root.
type Path = Vec<String>;

/// The items of one crate, by module.
struct Crate<'a> {
    name: String,
    modules: BTreeMap<Path, &'a [Item]>,
    impls: Vec<&'a ItemImpl>,
    /// The first name of each item that has been described. Its other names only refer to that one.
    described: RefCell<HashMap<*const Item, String>>,
}

/// How many re-exports are followed in a row; more is a circle.
const DEPTH: usize = 16;

/// One line for each thing that can be named.
pub(super) fn of(product: &Product, package: &'static str) -> BTreeSet<String> {
    let mut source = Crate {
        name: package.replace('-', "_"),
        modules: BTreeMap::new(),
        impls: Vec::new(),
        described: RefCell::default(),
    };
    for file in &product.files {
        // The binary is another crate, and so is what only it declares.
        if file.package == package && !file.path.ends_with("src/main.rs") {
            source.add(file.module.clone(), &file.syntax.items);
        }
    }
    let mut lines = BTreeSet::new();
    source.module(&Path::new(), &source.name, &mut lines);
    lines
}

impl<'a> Crate<'a> {
    fn add(&mut self, path: Path, items: &'a [Item]) {
        for item in items {
            match item {
                Item::Mod(module) => {
                    if let Some((_, inner)) = &module.content {
                        let inner_path = [path.as_slice(), &[module.ident.to_string()]].concat();
                        self.add(inner_path, inner);
                    }
                }
                Item::Impl(block) => self.impls.push(block),
                _ => {}
            }
        }
        self.modules.insert(path, items);
    }

    /// The lines of a public module, which is called `named` outside. What it holds itself comes before what its own
    /// modules hold, so that an item is described under its shortest name.
    fn module(&self, path: &Path, named: &str, lines: &mut BTreeSet<String>) {
        for item in self.items(path) {
            match item {
                Item::Use(import) if is_public(&import.vis) => {
                    let marks = lines::marks(&import.attrs);
                    for (segments, name) in leaves(&import.tree) {
                        self.import(path, &segments, &format!("{marks}{named}::{name}"), lines);
                    }
                }
                _ => {
                    if let Some((name, visibility)) = lines::name(item)
                        && is_public(visibility)
                    {
                        self.item(item, &format!("{named}::{name}"), lines);
                    }
                }
            }
        }
        for item in self.items(path) {
            if let Item::Mod(module) = item
                && is_public(&module.vis)
                && !lines::is_hidden(&module.attrs)
            {
                let inner = [path.as_slice(), &[module.ident.to_string()]].concat();
                self.module(&inner, &format!("{named}::{}", module.ident), lines);
            }
        }
    }

    fn items(&self, path: &Path) -> &'a [Item] {
        self.modules.get(path).copied().unwrap_or_default()
    }

    /// The lines of what is re-exported from `segments`, seen from the module at `path`.
    fn import(&self, path: &Path, segments: &[String], named: &str, lines: &mut BTreeSet<String>) {
        match self.definition(path, segments, 0) {
            Some(item) => self.item(item, named, lines),
            None => {
                lines.insert(format!("{named} = {}", segments.join("::")));
            }
        }
    }

    /// The item that a path leads to; `None` where it leads out of this crate.
    fn definition(&self, from: &Path, segments: &[String], depth: usize) -> Option<&'a Item> {
        let (last, modules) = segments.split_last()?;
        if depth > DEPTH {
            return None;
        }
        let mut here = from.clone();
        for (index, segment) in modules.iter().enumerate() {
            match segment.as_str() {
                "crate" => here.clear(),
                "self" => {}
                "super" => {
                    here.pop();
                }
                child => {
                    here.push(child.to_owned());
                    if !self.modules.contains_key(&here) {
                        debug_assert!(index == 0, "{segments:?} is not in this crate");
                        return None;
                    }
                }
            }
        }
        let items = self.items(&here);
        let defined = items
            .iter()
            .find(|item| lines::name(item).is_some_and(|(name, _)| name == *last));
        defined.or_else(|| {
            let imports = items.iter().filter_map(|item| match item {
                Item::Use(import) => Some(leaves(&import.tree)),
                _ => None,
            });
            let found = imports.flatten().find(|(_, name)| name == last)?;
            self.definition(&here, &found.0, depth + 1)
        })
    }

    fn item(&self, item: &Item, named: &str, lines: &mut BTreeSet<String>) {
        let mut described = self.described.borrow_mut();
        match described.get(&std::ptr::from_ref(item)) {
            Some(first) => {
                lines.insert(format!("{named} = {first}"));
            }
            None => {
                described.insert(item, named.to_owned());
                let of_it = lines::of(item, &self.impls);
                lines.extend(of_it.into_iter().map(|line| format!("{named}: {line}")));
            }
        }
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Each name that a `use` brings, with the path that it stands for.
fn leaves(tree: &UseTree) -> Vec<(Path, String)> {
    match tree {
        UseTree::Path(step) => {
            let mut leaves = leaves(&step.tree);
            for (path, _) in &mut leaves {
                path.insert(0, step.ident.to_string());
            }
            leaves
        }
        UseTree::Name(name) => vec![(vec![name.ident.to_string()], name.ident.to_string())],
        UseTree::Rename(name) => vec![(vec![name.ident.to_string()], name.rename.to_string())],
        UseTree::Glob(_) => vec![(vec!["*".to_owned()], "*".to_owned())],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}
