//! The modules of the three crates and what the names in them stand for.
//!
//! Main type: `Modules`. It follows a written path through child modules and `use` declarations (private ones as well,
//! for a child sees them) to the module that defines what is named. It knows nothing of floors.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Item, UseTree};

use super::product::Product;

/// A module: its crate and the path below the crate's root.
pub(super) type ModuleId = (&'static str, Vec<String>);

#[derive(Default)]
struct Module {
    /// Index of the file that holds the module's text.
    file: usize,
    children: BTreeSet<String>,
    items: BTreeSet<String>,
    imports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
}

/// Where a path leads: a module, and the name in it that is meant; no name means the module itself.
struct Place {
    module: Vec<String>,
    name: Option<String>,
}

/// What a path names: the file and the module that define it, and its name there.
pub(super) struct Target {
    pub(super) file: usize,
    pub(super) module: ModuleId,
    pub(super) name: String,
}

/// All modules by their ids.
pub(super) struct Modules {
    modules: BTreeMap<ModuleId, Module>,
}

/// How many `use` declarations are followed in a row; more is a circle.
const DEPTH: usize = 16;

impl Modules {
    pub(super) fn of(product: &Product) -> Self {
        let mut modules: BTreeMap<ModuleId, Module> = BTreeMap::new();
        for (index, file) in product.files.iter().enumerate() {
            fill(
                &mut modules,
                (file.package, file.module.clone()),
                index,
                &file.syntax.items,
            );
        }
        Self { modules }
    }

    /// What a path names, seen from a module. `None`: outside this crate.
    pub(super) fn resolve(&self, from: &ModuleId, segments: &[String]) -> Option<Target> {
        let place = self.follow(from.0, &from.1, segments, 0)?;
        let own_name = || place.module.last().cloned().unwrap_or_default();
        let name = place.name.clone().unwrap_or_else(own_name);
        let module = (from.0, place.module);
        let file = self.modules.get(&module)?.file;
        Some(Target { file, module, name })
    }

    /// Finds where a path begins, then walks it.
    fn follow(
        &self,
        package: &'static str,
        from: &[String],
        path: &[String],
        depth: usize,
    ) -> Option<Place> {
        if depth > DEPTH {
            return None;
        }
        match path.first()?.as_str() {
            "crate" => self.walk(package, Vec::new(), &path[1..], depth),
            "self" => self.walk(package, from.to_vec(), &path[1..], depth),
            "super" => {
                let up = path
                    .iter()
                    .take_while(|segment| *segment == "super")
                    .count();
                let start = from[..from.len().saturating_sub(up)].to_vec();
                self.walk(package, start, &path[up..], depth)
            }
            first => {
                let module = self.modules.get(&(package, from.to_vec()))?;
                let known = module.children.contains(first) || module.imports.contains_key(first);
                if known {
                    self.walk(package, from.to_vec(), path, depth)
                } else {
                    None
                }
            }
        }
    }

    /// Walks down through child modules and sideways through imports, to the first name that is no module.
    fn walk(
        &self,
        package: &'static str,
        start: Vec<String>,
        path: &[String],
        depth: usize,
    ) -> Option<Place> {
        let mut here = start;
        for (index, name) in path.iter().enumerate() {
            let module = self.modules.get(&(package, here.clone()))?;
            if module.children.contains(name) {
                here.push(name.clone());
            } else if let Some(import) = module.imports.get(name) {
                // An import from another crate leads outside, whoever looks at it through this module.
                let target = self.follow(package, &here, import, depth + 1)?;
                if target.name.is_some() {
                    return Some(target);
                }
                here = target.module;
            } else {
                let behind_glob = module
                    .globs
                    .iter()
                    .find_map(|glob| self.glob(package, &here, glob, &path[index..], depth));
                return behind_glob.or(Some(Place {
                    module: here,
                    name: Some(name.clone()),
                }));
            }
        }
        Some(Place {
            module: here,
            name: None,
        })
    }

    /// Where a path leads by way of `use glob::*`, if the module behind it has the path's first name.
    fn glob(
        &self,
        package: &'static str,
        from: &[String],
        glob: &[String],
        path: &[String],
        depth: usize,
    ) -> Option<Place> {
        let target = self.follow(package, from, glob, depth + 1)?;
        let module = self.modules.get(&(package, target.module.clone()))?;
        let known = target.name.is_none() && module.names(path.first()?);
        if known {
            self.walk(package, target.module, path, depth + 1)
        } else {
            None
        }
    }
}

impl Module {
    fn names(&self, name: &String) -> bool {
        self.children.contains(name) || self.items.contains(name) || self.imports.contains_key(name)
    }

    fn import(&mut self, prefix: &[String], tree: &UseTree) {
        let mut path = prefix.to_vec();
        match tree {
            UseTree::Path(step) => {
                path.push(step.ident.to_string());
                self.import(&path, &step.tree);
            }
            UseTree::Name(name) if name.ident == "self" => {
                if let Some(last) = path.last().cloned() {
                    self.imports.insert(last, path);
                }
            }
            UseTree::Name(name) => {
                path.push(name.ident.to_string());
                self.imports.insert(name.ident.to_string(), path);
            }
            UseTree::Rename(name) => {
                if name.ident != "self" {
                    path.push(name.ident.to_string());
                }
                self.imports.insert(name.rename.to_string(), path);
            }
            UseTree::Glob(_) => self.globs.push(path),
            UseTree::Group(group) => {
                for branch in &group.items {
                    self.import(prefix, branch);
                }
            }
        }
    }
}

fn fill(modules: &mut BTreeMap<ModuleId, Module>, id: ModuleId, file: usize, items: &[Item]) {
    // `lib.rs` and `main.rs` are both roots; what they declare is one space of names here.
    let mut module = modules.remove(&id).unwrap_or(Module {
        file,
        ..Module::default()
    });
    for item in items {
        match item {
            Item::Mod(child) => {
                let name = child.ident.to_string();
                if let Some((_, inner)) = &child.content {
                    fill(
                        modules,
                        (
                            id.0,
                            [id.1.as_slice(), std::slice::from_ref(&name)].concat(),
                        ),
                        file,
                        inner,
                    );
                }
                module.children.insert(name);
            }
            Item::Use(import) => module.import(&[], &import.tree),
            _ => {
                module.items.extend(item_name(item));
            }
        }
    }
    modules.insert(id, module);
}

/// The name that an item adds to its module.
fn item_name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
