//! The product code of the three crates, parsed, without its tests.
//!
//! Main types: `Product` and its `SourceFile`s. Comes in: a `Tree`. Goes out: syntax trees and token streams from which
//! everything under `cfg(test)` has been taken, with line numbers as they stand in the file. Files of tests
//! (`tests.rs`, `tests/`, or declared under `cfg(test)`) are no product at all.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute, Item, Meta};

use super::Finding;
use super::tree::Tree;

/// The crates whose code is the product, in the order of their layers.
pub(crate) const CRATES: [&str; 3] = [
    "codex-network-policy",
    "codex-network-gate",
    "codex-network-proxy",
];

/// One parsed product file.
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) package: &'static str,
    /// Path of the module that the file is, below the crate's root: empty for `lib.rs` and `main.rs`.
    pub(crate) module: Vec<String>,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
    pub(crate) tokens: TokenStream,
    /// Lines, counted from 1, that belong to tests inside this file.
    pub(crate) test_lines: BTreeSet<usize>,
}

impl SourceFile {
    pub(crate) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }

    /// The module right below the crate's root that this file belongs to; `None` for the root itself.
    pub(crate) fn top(&self) -> Option<&str> {
        self.module.first().map(String::as_str)
    }

    /// Lines that are no tests, with their numbers.
    pub(crate) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..)
            .zip(self.text.lines())
            .filter(|(number, _)| !self.test_lines.contains(number))
    }
}

/// All product files, in the order of their paths.
pub(crate) struct Product {
    pub(crate) files: Vec<SourceFile>,
}

impl Product {
    /// Parses the product files; what is no Rust becomes a finding.
    pub(crate) fn parse(tree: &Tree) -> (Self, Vec<Finding>) {
        let mut files = Vec::new();
        let mut findings = Vec::new();
        let mut test_modules: BTreeSet<(&str, Vec<String>)> = BTreeSet::new();
        for (path, text) in tree.iter() {
            let Some((package, module)) = place(path) else {
                continue;
            };
            let mut syntax = match syn::parse_file(text) {
                Ok(syntax) => syntax,
                Err(error) => {
                    let line = error.span().start().line;
                    findings.push(Finding::new(
                        format!("{path}:{line}"),
                        format!("cannot be read as Rust: {error}"),
                    ));
                    continue;
                }
            };
            let mut strip = StripTests::default();
            strip.visit_file_mut(&mut syntax);
            for name in strip.outside_modules {
                test_modules.insert((package, [module.clone(), vec![name]].concat()));
            }
            files.push(SourceFile {
                path: path.to_owned(),
                package,
                module,
                text: text.to_owned(),
                tokens: syntax.to_token_stream(),
                syntax,
                test_lines: strip.lines,
            });
        }
        files.retain(|file| {
            !(1..=file.module.len())
                .any(|end| test_modules.contains(&(file.package, file.module[..end].to_vec())))
        });
        (Self { files }, findings)
    }
}

/// The crate and module path of a product file; `None` for every other path.
fn place(path: &str) -> Option<(&'static str, Vec<String>)> {
    let package = CRATES
        .into_iter()
        .find(|package| path.starts_with(&format!("crates/{package}/src/")))?;
    let inside = path
        .strip_prefix(&format!("crates/{package}/src/"))?
        .strip_suffix(".rs")?;
    let module: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if module.iter().any(|name| name == "tests") {
        return None;
    }
    match module.as_slice() {
        [root] if root == "lib" || root == "main" => Some((package, Vec::new())),
        _ => Some((package, module)),
    }
}

/// Whether a path is one of a test: a test file of a crate, or anything under its `tests` directory.
pub(crate) fn is_test_path(path: &str) -> bool {
    path.ends_with(".rs")
        && path
            .split('/')
            .any(|part| part == "tests" || part == "tests.rs")
}

/// Takes everything out that is only compiled for tests.
#[derive(Default)]
struct StripTests {
    lines: BTreeSet<usize>,
    /// `#[cfg(test)] mod name;`: the file `name.rs` is a test.
    outside_modules: Vec<String>,
}

impl StripTests {
    /// Whether to keep a node; if not, its lines are remembered as lines of tests.
    fn keep(&mut self, attributes: &[Attribute], node: &impl Spanned) -> bool {
        if !attributes.iter().any(is_cfg_test) {
            return true;
        }
        let span = node.span();
        self.lines.extend(span.start().line..=span.end().line);
        false
    }
}

impl VisitMut for StripTests {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        self.retain_items(&mut file.items);
        visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        if let Some((_, items)) = &mut module.content {
            self.retain_items(items);
        }
        visit_mut::visit_item_mod_mut(self, module);
    }

    fn visit_item_impl_mut(&mut self, item: &mut syn::ItemImpl) {
        item.items
            .retain(|part| self.keep(impl_item_attributes(part), part));
        visit_mut::visit_item_impl_mut(self, item);
    }

    fn visit_block_mut(&mut self, block: &mut syn::Block) {
        block.stmts.retain(|statement| match statement {
            syn::Stmt::Local(local) => self.keep(&local.attrs, statement),
            syn::Stmt::Macro(call) => self.keep(&call.attrs, statement),
            syn::Stmt::Item(item) => self.keep(item_attributes(item), statement),
            syn::Stmt::Expr(expression, _) => {
                self.keep(expression_attributes(expression), statement)
            }
        });
        visit_mut::visit_block_mut(self, block);
    }

    fn visit_expr_match_mut(&mut self, expression: &mut syn::ExprMatch) {
        expression.arms.retain(|arm| self.keep(&arm.attrs, arm));
        visit_mut::visit_expr_match_mut(self, expression);
    }
}

impl StripTests {
    fn retain_items(&mut self, items: &mut Vec<Item>) {
        items.retain(|item| {
            let keep = self.keep(item_attributes(item), item);
            if !keep
                && let Item::Mod(module) = item
                && module.content.is_none()
            {
                self.outside_modules.push(module.ident.to_string());
            }
            keep
        });
    }
}

/// `#[cfg(test)]`, `#[cfg(all(test, ...))]` and `#[test]`; not `any(test, ...)` or `not(test)`, which product has too.
fn is_cfg_test(attribute: &Attribute) -> bool {
    match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => list.path.is_ident("cfg") && needs_test(list.tokens.clone()),
        Meta::NameValue(_) => false,
    }
}

fn needs_test(condition: TokenStream) -> bool {
    let tokens: Vec<TokenTree> = condition.into_iter().collect();
    tokens.iter().enumerate().any(|(index, token)| match token {
        TokenTree::Ident(name) if name == "test" => true,
        TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis && index > 0 => {
            matches!(&tokens[index - 1], TokenTree::Ident(name) if name == "all")
                && needs_test(group.stream())
        }
        _ => false,
    })
}

/// The attributes of an item of a module.
pub(crate) fn item_attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The attributes of an item of an `impl` block.
pub(crate) fn impl_item_attributes(item: &syn::ImplItem) -> &[Attribute] {
    match item {
        syn::ImplItem::Const(item) => &item.attrs,
        syn::ImplItem::Fn(item) => &item.attrs,
        syn::ImplItem::Type(item) => &item.attrs,
        syn::ImplItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

/// The attributes of the kinds of expression that carry any in practice.
pub(crate) fn expression_attributes(expression: &syn::Expr) -> &[Attribute] {
    match expression {
        syn::Expr::Assign(expression) => &expression.attrs,
        syn::Expr::Await(expression) => &expression.attrs,
        syn::Expr::Block(expression) => &expression.attrs,
        syn::Expr::Call(expression) => &expression.attrs,
        syn::Expr::Closure(expression) => &expression.attrs,
        syn::Expr::ForLoop(expression) => &expression.attrs,
        syn::Expr::If(expression) => &expression.attrs,
        syn::Expr::Loop(expression) => &expression.attrs,
        syn::Expr::Macro(expression) => &expression.attrs,
        syn::Expr::Match(expression) => &expression.attrs,
        syn::Expr::MethodCall(expression) => &expression.attrs,
        syn::Expr::Return(expression) => &expression.attrs,
        syn::Expr::Struct(expression) => &expression.attrs,
        syn::Expr::Try(expression) => &expression.attrs,
        syn::Expr::While(expression) => &expression.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(files: &[(&str, &str)]) -> Product {
        let (product, findings) = Product::parse(&Tree::of(files));
        assert_eq!(findings, []);
        product
    }

    #[test]
    fn what_is_compiled_for_tests_only_is_no_product() {
        let text = "fn kept() {}\n#[cfg(test)]\nfn gone() {\n}\n#[cfg(not(test))]\nfn kept_too() {}\n\
                    #[cfg(all(test, unix))]\nmod gone_too {}\n#[cfg(any(test, feature = \"x\"))]\nfn also_kept() {}\n";
        let product = parse(&[("crates/codex-network-gate/src/gate.rs", text)]);
        let file = &product.files[0];
        let tokens = file.tokens.to_string();
        assert!(!tokens.contains("gone"), "{tokens}");
        assert!(
            ["kept ", "kept_too", "also_kept"]
                .iter()
                .all(|name| tokens.contains(name)),
            "{tokens}"
        );
        assert_eq!(
            file.test_lines.iter().copied().collect::<Vec<_>>(),
            [2, 3, 4, 7, 8]
        );
        assert_eq!(file.top(), Some("gate"));
    }

    #[test]
    fn test_files_are_no_product() {
        let product = parse(&[
            (
                "crates/codex-network-gate/src/gate.rs",
                "#[cfg(test)]\nmod scripted;\nmod real;\n",
            ),
            ("crates/codex-network-gate/src/gate/scripted.rs", ""),
            ("crates/codex-network-gate/src/gate/scripted/more.rs", ""),
            ("crates/codex-network-gate/src/gate/real.rs", ""),
            ("crates/codex-network-gate/src/gate/tests.rs", ""),
            ("crates/codex-network-gate/tests/it/main.rs", ""),
            ("xtask/src/main.rs", ""),
        ]);
        let paths: Vec<&str> = product
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        assert_eq!(
            paths,
            [
                "crates/codex-network-gate/src/gate.rs",
                "crates/codex-network-gate/src/gate/real.rs"
            ]
        );
        assert!(is_test_path("crates/codex-network-gate/src/gate/tests.rs"));
        assert!(is_test_path("crates/codex-network-gate/tests/it/main.rs"));
        assert!(!is_test_path("crates/codex-network-gate/src/gate.rs"));
    }
}
