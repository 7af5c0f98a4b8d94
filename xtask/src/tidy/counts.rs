//! The counts that keep the gate the only way out (the guards that neither the compiler nor clippy can hold).
//!
//! Each count is a list of places in product code and how many of them there may be. Zero is always fine: a thing that
//! does not exist yet cannot be done twice. The search is by name on the syntax tree and its tokens; someone who wants
//! to deceive it can, someone who forgets cannot.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::{self, Visit};

use super::Finding;
use super::product::{Product, SourceFile};

/// The audit event's target, the refusal's header: each is written in one product file only.
const AUDIT_TARGET: &str = "codex_otel.network_proxy";
const REFUSAL_HEADER: &str = "x-proxy-error";

/// Who may use what `clippy.toml` bans: a crate, and a file of it with everything below.
const OWNERS: [(&str, &str); 7] = [
    ("codex-network-gate", "upstream"),
    ("codex-network-gate", "resolve"),
    ("codex-network-gate", "route"),
    ("codex-network-proxy", "config"),
    ("codex-network-proxy", "cli"),
    ("codex-network-proxy", "main"),
    // Datagrams back to the client of an association; those to targets go through the gate.
    ("codex-network-proxy", "listener/socks5/udp"),
];

/// All counts on the product code.
pub(super) fn check(product: &Product) -> Vec<Finding> {
    let mut findings = Vec::new();
    let sites: Vec<Sites> = product.files.iter().map(Sites::of).collect();
    let files = || product.files.iter().zip(&sites);

    at_most_one(
        "`Permit` literals",
        &places(files(), |sites| &sites.permits),
        &mut findings,
    );
    at_most_one(
        "`from_grant` calls, which make a permit",
        &places(files(), |sites| &sites.grants),
        &mut findings,
    );
    at_most_one(
        "`of_operator` calls, which name a collector",
        &places(files(), |sites| &sites.collectors),
        &mut findings,
    );
    at_most_one(
        "`BlockedRequest` literals",
        &places(files(), |sites| &sites.blocked),
        &mut findings,
    );
    at_most_one(
        "files that emit the audit event",
        &first_places(files(), |sites| &sites.audit),
        &mut findings,
    );
    let refusals = files().filter(|(file, _)| file.top() != Some("reason"));
    at_most_one(
        "files that build an HTTP refusal",
        &first_places(refusals, |sites| &sites.refusals),
        &mut findings,
    );
    at_most_one(
        "files that turn a denial into a SOCKS reply",
        &first_places(files(), |sites| &sites.replies),
        &mut findings,
    );
    for (file, sites) in files() {
        if file.package == "codex-network-proxy" && sites.authorize.len() > 1 {
            at_most_one(
                "`authorize` calls in one file",
                &lines(file, &sites.authorize),
                &mut findings,
            );
        }
        let owner = OWNERS
            .iter()
            .any(|(package, place)| is_below(file, package, place));
        for line in sites.exemptions.iter().filter(|_| !owner) {
            let message =
                "only the owners that tidy knows (counts.rs) may use what clippy.toml bans";
            findings.push(Finding::new(file.at(*line), message));
        }
    }
    findings.extend(product.files.iter().filter_map(no_std));
    findings
}

/// Whether a file is the one of this name in this crate, or stands below it.
fn is_below(file: &SourceFile, package: &str, place: &str) -> bool {
    let inside = file
        .path
        .strip_prefix(&format!("crates/{package}/src/{place}"));
    inside.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// The policy crate decides and does nothing else: without `std` a clock or a socket does not compile.
fn no_std(file: &SourceFile) -> Option<Finding> {
    let root = file.package == "codex-network-policy" && file.top().is_none();
    let has_code = !file.syntax.items.is_empty();
    let says = file
        .syntax
        .attrs
        .iter()
        .any(|attribute| attribute.path().is_ident("no_std"));
    (root && has_code && !says)
        .then(|| Finding::new(&file.path, "the policy crate must be `#![no_std]`"))
}

fn at_most_one(what: &str, places: &[String], findings: &mut Vec<Finding>) {
    if let [first, others @ ..] = places
        && !others.is_empty()
    {
        let message = format!(
            "{} {what}, at most 1 is allowed: {}",
            places.len(),
            places.join(", ")
        );
        findings.push(Finding::new(first, message));
    }
}

fn lines(file: &SourceFile, lines: &[usize]) -> Vec<String> {
    lines.iter().map(|line| file.at(*line)).collect()
}

/// Every place in every file.
fn places<'a>(
    files: impl Iterator<Item = (&'a SourceFile, &'a Sites)>,
    pick: impl Fn(&'a Sites) -> &'a Vec<usize>,
) -> Vec<String> {
    files
        .flat_map(|(file, sites)| lines(file, pick(sites)))
        .collect()
}

/// The first place in each file.
fn first_places<'a>(
    files: impl Iterator<Item = (&'a SourceFile, &'a Sites)>,
    pick: impl Fn(&'a Sites) -> &'a Vec<usize>,
) -> Vec<String> {
    files
        .filter_map(|(file, sites)| Some(file.at(*pick(sites).first()?)))
        .collect()
}

/// Where one file does the things that are counted, as line numbers.
#[derive(Default)]
struct Sites {
    permits: Vec<usize>,
    grants: Vec<usize>,
    collectors: Vec<usize>,
    blocked: Vec<usize>,
    audit: Vec<usize>,
    refusals: Vec<usize>,
    replies: Vec<usize>,
    authorize: Vec<usize>,
    exemptions: Vec<usize>,
    /// The type of the `impl` block that is being read, for `Self { .. }`.
    own_type: Option<String>,
}

impl Sites {
    fn of(file: &SourceFile) -> Self {
        let mut sites = Self::default();
        sites.visit_file(&file.syntax);
        sites.scan(file.tokens.clone(), false);
        sites
    }

    fn literal(&mut self, name: &str, line: usize) {
        match name {
            "Permit" => self.permits.push(line),
            "BlockedRequest" => self.blocked.push(line),
            _ => {}
        }
    }

    /// What is plain to see in tokens, inside macros as well: calls, strings, attributes.
    fn scan(&mut self, tokens: TokenStream, attribute: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (index, token) in tokens.iter().enumerate() {
            let after_hash = index.checked_sub(1).and_then(|before| tokens.get(before)).is_some_and(|before| {
                matches!(before, TokenTree::Punct(mark) if mark.as_char() == '#' || mark.as_char() == '!')
            });
            match token {
                TokenTree::Group(group) => {
                    let inside_attribute =
                        attribute || (after_hash && group.delimiter() == Delimiter::Bracket);
                    self.scan(group.stream(), inside_attribute);
                }
                TokenTree::Literal(literal) if !attribute => {
                    let text = literal.to_string();
                    let line = literal.span().start().line;
                    if text.contains(AUDIT_TARGET) {
                        self.audit.push(line);
                    }
                    if text.to_ascii_lowercase().contains(REFUSAL_HEADER) {
                        self.refusals.push(line);
                    }
                }
                TokenTree::Ident(name) if attribute && name == "disallowed_methods" => {
                    self.exemptions.push(name.span().start().line);
                }
                TokenTree::Ident(name) if name == "authorize" && is_call(&tokens, index) => {
                    self.authorize.push(name.span().start().line);
                }
                TokenTree::Ident(name) if name == "from_grant" && is_call(&tokens, index) => {
                    self.grants.push(name.span().start().line);
                }
                TokenTree::Ident(name) if name == "of_operator" && is_call(&tokens, index) => {
                    self.collectors.push(name.span().start().line);
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    /// A function that knows both what was denied and the replies of SOCKS turns one into the other.
    fn reply(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let mut names = BTreeSet::new();
        idents(signature.to_token_stream(), &mut names);
        idents(body.to_token_stream(), &mut names);
        let denied = names.contains("Denial")
            || names.contains("Reason")
            || self.own_type.as_deref() == Some("Denial");
        if denied && names.contains("Reply") {
            self.replies.push(signature.ident.span().start().line);
        }
    }
}

impl<'ast> Visit<'ast> for Sites {
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let name = match item.self_ty.as_ref() {
            syn::Type::Path(path) => path
                .path
                .segments
                .last()
                .map(|segment| segment.ident.to_string()),
            _ => None,
        };
        let outer = std::mem::replace(&mut self.own_type, name);
        visit::visit_item_impl(self, item);
        self.own_type = outer;
    }

    fn visit_expr_struct(&mut self, literal: &'ast syn::ExprStruct) {
        if let Some(last) = literal.path.segments.last() {
            let line = last.ident.span().start().line;
            let name = if last.ident == "Self" {
                self.own_type.clone()
            } else {
                Some(last.ident.to_string())
            };
            self.literal(name.as_deref().unwrap_or_default(), line);
        }
        visit::visit_expr_struct(self, literal);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let mut found = Vec::new();
        macro_literals(call.tokens.clone(), &mut found);
        for (name, line) in found {
            let name = if name == "Self" {
                self.own_type.clone().unwrap_or_default()
            } else {
                name
            };
            self.literal(&name, line);
        }
        visit::visit_macro(self, call);
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.reply(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.reply(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }
}

/// `.authorize(` or `::authorize(`: a call, and not the function's own declaration.
fn is_call(tokens: &[TokenTree], index: usize) -> bool {
    let before = index.checked_sub(1).and_then(|before| tokens.get(before));
    let called = matches!(tokens.get(index + 1), Some(TokenTree::Group(arguments))
        if arguments.delimiter() == Delimiter::Parenthesis);
    called && matches!(before, Some(TokenTree::Punct(mark)) if matches!(mark.as_char(), '.' | ':'))
}

/// `Name { .. }` in a macro's tokens; with a `..` at its end it is a pattern or takes the rest from another value.
fn macro_literals(tokens: TokenStream, found: &mut Vec<(String, usize)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            let rest = matches!(inner.last(), Some(TokenTree::Punct(dot)) if dot.as_char() == '.');
            if let Some(TokenTree::Ident(name)) =
                index.checked_sub(1).and_then(|before| tokens.get(before))
                && group.delimiter() == Delimiter::Brace
                && !rest
            {
                found.push((name.to_string(), name.span().start().line));
            }
            macro_literals(group.stream(), found);
        }
    }
}

fn idents(tokens: TokenStream, names: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                names.insert(name.to_string());
            }
            TokenTree::Group(group) => idents(group.stream(), names),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
