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

/// Where a path leads: a module, and whether the path names the module itself or something in it.
struct Place {
    module: Vec<String>,
    exact: bool,
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

    /// The file that defines what a path names, seen from a module. `None`: outside this crate.
    pub(super) fn resolve(
        &self,
        from: &ModuleId,
        segments: &[String],
    ) -> Option<(usize, ModuleId)> {
        let place = self.follow(from.0, &from.1, segments, 0)?;
        let id = (from.0, place.module);
        Some((self.modules.get(&id)?.file, id))
    }

    fn follow(
        &self,
        package: &'static str,
        from: &[String],
        segments: &[String],
        depth: usize,
    ) -> Option<Place> {
        if depth > DEPTH {
            return None;
        }
        let first = segments.first()?;
        let here = || Place {
            module: from.to_vec(),
            exact: true,
        };
        match first.as_str() {
            "crate" => self.walk(
                package,
                Place {
                    module: Vec::new(),
                    exact: true,
                },
                &segments[1..],
                depth,
            ),
            "self" => self.walk(package, here(), &segments[1..], depth),
            "super" => {
                let up = segments
                    .iter()
                    .take_while(|segment| *segment == "super")
                    .count();
                let module = from[..from.len().saturating_sub(up)].to_vec();
                self.walk(
                    package,
                    Place {
                        module,
                        exact: true,
                    },
                    &segments[up..],
                    depth,
                )
            }
            _ => {
                let module = self.modules.get(&(package, from.to_vec()))?;
                let known = module.children.contains(first) || module.imports.contains_key(first);
                if known {
                    self.walk(package, here(), segments, depth)
                } else {
                    None
                }
            }
        }
    }

    fn walk(
        &self,
        package: &'static str,
        start: Place,
        segments: &[String],
        depth: usize,
    ) -> Option<Place> {
        let mut place = start;
        for (index, name) in segments.iter().enumerate() {
            let id = (package, place.module.clone());
            let module = self.modules.get(&id)?;
            if module.children.contains(name) {
                place.module.push(name.clone());
                continue;
            }
            let inside = Place {
                module: place.module.clone(),
                exact: false,
            };
            if let Some(import) = module
                .imports
                .get(name)
                .filter(|import| **import != [name.clone()])
            {
                let Some(target) = self.follow(package, &place.module, import, depth + 1) else {
                    return Some(inside);
                };
                if !target.exact {
                    return Some(target);
                }
                place = target;
                continue;
            }
            if module.items.contains(name) || depth > DEPTH {
                return Some(inside);
            }
            let behind_glob = module.globs.iter().find_map(|glob| {
                let target = self
                    .follow(package, &place.module, glob, depth + 1)
                    .filter(|target| target.exact)?;
                let known = self
                    .modules
                    .get(&(package, target.module.clone()))?
                    .names(name);
                if known {
                    self.walk(package, target, &segments[index..], depth + 1)
                } else {
                    None
                }
            });
            return Some(behind_glob.unwrap_or(inside));
        }
        Some(place)
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
