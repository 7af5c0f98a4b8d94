//! The house indicators: how the code compares with the best of the field.
//!
//! Main type: `Indicators`, a table. Some rows are binding and make `tidy` fail beyond their limit (marked `B`); the
//! others are reported (`R`) with the value to aim at. Clippy holds several of them too; they are measured here all the
//! same, so that one table tells how the house stands and an exemption cannot hide.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{Attribute, Meta, Visibility};

use super::Finding;
use super::floors::Graph;
use super::product::{self, Product, SourceFile};
use super::tree::Tree;

const LONGEST_FUNCTION: usize = 100;
/// Fewer lines than this that stand twice are chance, not copies.
const COPY: usize = 8;

/// One line of the table.
struct Row {
    name: &'static str,
    now: String,
    aim: &'static str,
    binding: bool,
    note: String,
}

/// What was measured, and what of it is beyond a binding limit.
pub(super) struct Indicators {
    rows: Vec<Row>,
    findings: Vec<Finding>,
}

impl Indicators {
    pub(super) fn findings(&self) -> Vec<Finding> {
        self.findings.clone()
    }

    fn row(
        &mut self,
        name: &'static str,
        now: String,
        aim: &'static str,
        binding: bool,
        note: String,
    ) {
        self.rows.push(Row {
            name,
            now,
            aim,
            binding,
            note,
        });
    }
}

impl fmt::Display for Indicators {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "  {:<42}{:>12}  {:<12}",
            "indicator", "now", "limit or aim"
        )?;
        for row in &self.rows {
            let mark = if row.binding { "B" } else { "R" };
            let line = format!(
                "{mark} {:<42}{:>12}  {:<12}  {}",
                row.name, row.now, row.aim, row.note
            );
            writeln!(formatter, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Measures the tree.
pub(super) fn measure(tree: &Tree, product: &Product, graph: &Graph) -> Indicators {
    let mut table = Indicators {
        rows: Vec::new(),
        findings: Vec::new(),
    };
    let surveys: Vec<Survey> = product.files.iter().map(Survey::of).collect();
    let files = || product.files.iter().zip(&surveys);
    longest_function(files(), &mut table);
    module_docs(product, &mut table);
    unwraps(files(), &mut table);
    // The findings about cycles come with the arrows that make them, from `floors`.
    table.row(
        "largest module cycle",
        graph.largest_cycle().to_string(),
        "0",
        true,
        String::new(),
    );
    bare_allows(tree, &mut table);
    file_lengths(product, &mut table);
    let matches: usize = surveys.iter().map(|survey| survey.matches).sum();
    let wildcards: usize = surveys.iter().map(|survey| survey.wildcards).sum();
    let note = format!("{wildcards} of {matches}");
    table.row(
        "matches with a wildcard arm",
        percent(wildcards, matches),
        "5 %",
        false,
        note,
    );
    let (copies, lines) = copied_lines(product);
    let note = format!("{copies} of {lines}, runs of {COPY} or more");
    table.row("copied lines", percent(copies, lines), "2 %", false, note);
    let undocumented: Vec<String> = files()
        .flat_map(|(file, survey)| survey.undocumented.iter().map(|line| file.at(*line)))
        .collect();
    let first = undocumented.first().cloned().unwrap_or_default();
    table.row(
        "public items without a doc",
        undocumented.len().to_string(),
        "0",
        false,
        first,
    );
    let tests = test_lines(tree, product);
    let ratio = if lines == 0 {
        0.0
    } else {
        real(tests) / real(lines)
    };
    let note = format!("{tests} test lines, {lines} product lines");
    table.row(
        "test lines per product line",
        format!("{ratio:.2}"),
        "1",
        false,
        note,
    );
    table
}

fn percent(part: usize, whole: usize) -> String {
    let share = if whole == 0 {
        0.0
    } else {
        100.0 * real(part) / real(whole)
    };
    format!("{share:.1} %")
}

fn real(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn longest_function<'a>(
    files: impl Iterator<Item = (&'a SourceFile, &'a Survey<'a>)>,
    table: &mut Indicators,
) {
    let mut longest = (0, String::new());
    for (file, survey) in files {
        for (name, line, length) in &survey.functions {
            if *length > longest.0 {
                longest = (*length, format!("{name} at {}", file.at(*line)));
            }
            if *length > LONGEST_FUNCTION {
                let message = format!(
                    "`{name}` has {length} lines of code, at most {LONGEST_FUNCTION} are allowed"
                );
                table.findings.push(Finding::new(file.at(*line), message));
            }
        }
    }
    table.row(
        "longest function",
        longest.0.to_string(),
        "100",
        true,
        longest.1,
    );
}

fn module_docs(product: &Product, table: &mut Indicators) {
    let bare: Vec<&SourceFile> = product
        .files
        .iter()
        .filter(|file| !file.syntax.attrs.iter().any(is_doc))
        .collect();
    for file in &bare {
        table.findings.push(Finding::new(
            &file.path,
            "the file does not open with a `//!` doc that says what it is for",
        ));
    }
    table.row(
        "modules without a doc",
        bare.len().to_string(),
        "0",
        true,
        format!("of {}", product.files.len()),
    );
}

fn unwraps<'a>(
    files: impl Iterator<Item = (&'a SourceFile, &'a Survey<'a>)>,
    table: &mut Indicators,
) {
    let (mut bare, mut reasoned) = (0, 0);
    for (file, survey) in files {
        for line in &survey.unwraps {
            if survey.reasoned.contains(line) {
                reasoned += 1;
            } else {
                bare += 1;
                let message =
                    "`unwrap` or `expect` without `#[expect(clippy::..., reason = \"...\")]`";
                table.findings.push(Finding::new(file.at(*line), message));
            }
        }
    }
    table.row(
        "unwrap, expect without a reason",
        bare.to_string(),
        "0",
        true,
        format!("{reasoned} with a reason"),
    );
}

/// `allow` and `expect` attributes without a reason, in every Rust file there is.
fn bare_allows(tree: &Tree, table: &mut Indicators) {
    let mut count = 0;
    for (path, text) in tree.iter().filter(|(path, _)| path.ends_with(".rs")) {
        // A file that is no Rust on purpose (a case that must not compile, say) has no attributes to judge.
        let Ok(syntax) = syn::parse_file(text) else {
            continue;
        };
        let mut allows = Allows::default();
        allows.visit_file(&syntax);
        count += allows.bare.len();
        let place = |line: &usize| {
            Finding::new(
                format!("{path}:{line}"),
                "`allow` or `expect` without a reason",
            )
        };
        table.findings.extend(allows.bare.iter().map(place));
    }
    table.row(
        "`allow` without a reason",
        count.to_string(),
        "0",
        true,
        String::new(),
    );
}

fn file_lengths(product: &Product, table: &mut Indicators) {
    let mut lengths: Vec<(usize, &str)> = product
        .files
        .iter()
        .map(|file| (file.product_lines().count(), file.path.as_str()))
        .collect();
    lengths.sort_unstable();
    let largest = lengths.last().copied().unwrap_or_default();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
    table.row(
        "largest file, lines",
        largest.0.to_string(),
        "600",
        false,
        largest.1.to_owned(),
    );
    table.row(
        "median file, lines",
        median.0.to_string(),
        "120 to 250",
        false,
        format!("{} files", lengths.len()),
    );
}

/// Lines of product that stand elsewhere in it too, in runs of at least `COPY`, and all lines that could.
fn copied_lines(product: &Product) -> (usize, usize) {
    let files: Vec<Vec<&str>> = product
        .files
        .iter()
        .map(|file| {
            file.product_lines()
                .map(|(_, line)| line.trim())
                .filter(|line| is_code(line))
                .collect()
        })
        .collect();
    let mut runs: HashMap<&[&str], Vec<(usize, usize)>> = HashMap::new();
    for (file, lines) in files.iter().enumerate() {
        for (start, run) in lines.windows(COPY).enumerate() {
            runs.entry(run).or_default().push((file, start));
        }
    }
    let copied: BTreeSet<(usize, usize)> = runs
        .values()
        .filter(|places| places.len() > 1)
        .flatten()
        .flat_map(|(file, start)| (*start..start + COPY).map(|line| (*file, line)))
        .collect();
    (copied.len(), files.iter().map(Vec::len).sum())
}

/// Lines of code in tests: whole test files, and the tests inside product files.
fn test_lines(tree: &Tree, product: &Product) -> usize {
    let product_paths: BTreeSet<&str> = product
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    let whole: usize = tree
        .iter()
        .filter(|(path, _)| {
            path.starts_with("crates/") && path.ends_with(".rs") && !product_paths.contains(path)
        })
        .filter(|(path, _)| product::is_test_path(path) || path.contains("/src/"))
        .map(|(_, text)| text.lines().filter(|line| is_code(line.trim())).count())
        .sum();
    let inside = |file: &SourceFile| {
        (1..)
            .zip(file.text.lines())
            .filter(|(number, line)| file.test_lines.contains(number) && is_code(line.trim()))
            .count()
    };
    whole + product.files.iter().map(inside).sum::<usize>()
}

fn is_code(line: &str) -> bool {
    !line.is_empty() && !line.starts_with("//")
}

fn is_doc(attribute: &Attribute) -> bool {
    attribute.path().is_ident("doc")
}

/// Whether an attribute is `#[expect(clippy::unwrap_used or expect_used, reason = "...")]`.
fn excuses_unwrap(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else {
        return false;
    };
    let says = list.tokens.to_string();
    list.path.is_ident("expect")
        && has_reason(&says)
        && (says.contains("unwrap_used") || says.contains("expect_used"))
}

fn has_reason(arguments: &str) -> bool {
    arguments.contains("reason = \"")
}

/// What is counted in one product file.
#[derive(Default)]
struct Survey<'a> {
    lines: Vec<&'a str>,
    /// Name, line and length of every function.
    functions: Vec<(String, usize, usize)>,
    unwraps: Vec<usize>,
    /// Lines on which an `unwrap` has its reason.
    reasoned: BTreeSet<usize>,
    matches: usize,
    wildcards: usize,
    undocumented: Vec<usize>,
}

impl<'a> Survey<'a> {
    fn of(file: &'a SourceFile) -> Self {
        let mut survey = Survey {
            lines: file.text.lines().collect(),
            ..Survey::default()
        };
        survey.excuse(&file.syntax.attrs, &file.syntax);
        survey.visit_file(&file.syntax);
        survey.scan(file.tokens.clone());
        survey
    }

    /// Lines of code between a function's braces: what clippy's `too_many_lines` counts.
    fn function(&mut self, name: &syn::Ident, body: &syn::Block) {
        let (first, last) = (
            body.brace_token.span.open().start().line,
            body.brace_token.span.close().end().line,
        );
        let inside = self
            .lines
            .get(first..last.saturating_sub(1))
            .unwrap_or_default();
        let length = inside.iter().filter(|line| is_code(line.trim())).count();
        self.functions
            .push((name.to_string(), name.span().start().line, length));
    }

    fn excuse(&mut self, attributes: &[Attribute], node: &impl ToTokens) {
        if attributes.iter().any(excuses_unwrap) {
            let mut lines = node.to_token_stream().into_iter().map(|token| token.span());
            if let Some(first) = lines.next() {
                let last = lines.last().unwrap_or(first);
                self.reasoned.extend(first.start().line..=last.end().line);
            }
        }
    }

    fn document(&mut self, visibility: &Visibility, attributes: &[Attribute], line: usize) {
        if matches!(visibility, Visibility::Public(_)) && !attributes.iter().any(is_doc) {
            self.undocumented.push(line);
        }
    }

    /// `.unwrap()` and `.expect("...")`, inside macros as well. `.expect(token)` is some parser's own.
    fn scan(&mut self, tokens: proc_macro2::TokenStream) {
        use proc_macro2::TokenTree::{Group, Ident, Literal, Punct};
        let tokens: Vec<proc_macro2::TokenTree> = tokens.into_iter().collect();
        for window in tokens.windows(3) {
            if let [Punct(dot), Ident(name), Group(arguments)] = window
                && dot.as_char() == '.'
            {
                let mut inside = arguments.stream().into_iter();
                let counts = match inside.next() {
                    None => name == "unwrap" || name == "unwrap_err",
                    Some(Literal(_)) => name == "expect" || name == "expect_err",
                    Some(_) => false,
                };
                if counts {
                    self.unwraps.push(name.span().start().line);
                }
            }
        }
        for token in tokens {
            if let Group(group) = token {
                self.scan(group.stream());
            }
        }
    }
}

impl<'ast> Visit<'ast> for Survey<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = product::item_attributes(item);
        self.excuse(attributes, item);
        let visibility = match item {
            syn::Item::Const(item) => Some((&item.vis, item.ident.span())),
            syn::Item::Enum(item) => Some((&item.vis, item.ident.span())),
            syn::Item::Fn(item) => Some((&item.vis, item.sig.ident.span())),
            syn::Item::Static(item) => Some((&item.vis, item.ident.span())),
            syn::Item::Struct(item) => Some((&item.vis, item.ident.span())),
            syn::Item::Trait(item) => Some((&item.vis, item.ident.span())),
            syn::Item::Type(item) => Some((&item.vis, item.ident.span())),
            _ => None,
        };
        if let Some((visibility, span)) = visibility {
            self.document(visibility, attributes, span.start().line);
        }
        visit::visit_item(self, item);
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.sig.ident, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        self.excuse(product::impl_item_attributes(item), item);
        if let syn::ImplItem::Fn(function) = item {
            self.function(&function.sig.ident, &function.block);
            self.document(
                &function.vis,
                &function.attrs,
                function.sig.ident.span().start().line,
            );
        }
        visit::visit_impl_item(self, item);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.function(&function.sig.ident, body);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_stmt(&mut self, statement: &'ast syn::Stmt) {
        match statement {
            syn::Stmt::Local(local) => self.excuse(&local.attrs, statement),
            syn::Stmt::Macro(call) => self.excuse(&call.attrs, statement),
            syn::Stmt::Item(_) | syn::Stmt::Expr(..) => {}
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_expr(&mut self, expression: &'ast syn::Expr) {
        self.excuse(product::expression_attributes(expression), expression);
        visit::visit_expr(self, expression);
    }

    fn visit_expr_match(&mut self, expression: &'ast syn::ExprMatch) {
        self.matches += 1;
        let wild = |arm: &syn::Arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none();
        self.wildcards += usize::from(expression.arms.iter().any(wild));
        visit::visit_expr_match(self, expression);
    }
}

/// The lines of `allow` and `expect` attributes without a reason.
#[derive(Default)]
struct Allows {
    bare: Vec<usize>,
}

impl<'ast> Visit<'ast> for Allows {
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta
            && (list.path.is_ident("allow") || list.path.is_ident("expect"))
            && !has_reason(&list.tokens.to_string())
        {
            self.bare.push(attribute.pound_token.span.start().line);
        }
        visit::visit_attribute(self, attribute);
    }
}

#[cfg(test)]
mod tests;
