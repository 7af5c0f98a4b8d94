//! The paths in a stream of tokens, with macro bodies and groups of imports taken apart.
//!
//! Reads tokens and no syntax trees, for a path inside `select!` or `matches!` is an import like any other. Names of
//! macros' own variables are not understood, and need not be: only paths with two or more parts count.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// A path as it is written, and where: in which inline modules of its file, on which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrittenPath {
    pub(super) inside: Vec<String>,
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
    /// Written in a `pub use`, of whatever width.
    pub(super) reexport: bool,
}

/// All paths of at least two parts.
pub(super) fn written_paths(tokens: TokenStream) -> Vec<WrittenPath> {
    let mut found = Vec::new();
    collect(tokens, &[], &mut found);
    found
}

fn collect(tokens: TokenStream, inside: &[String], found: &mut Vec<WrittenPath>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut index = 0;
    let mut reexport = false;
    while index < tokens.len() {
        match &tokens[index] {
            TokenTree::Ident(word) if word == "mod" => {
                if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                    (tokens.get(index + 1), tokens.get(index + 2))
                {
                    let inner = [inside, &[name.to_string()]].concat();
                    collect(body.stream(), &inner, found);
                    index += 2;
                }
            }
            // `pub(in crate::gate)` says who may look in, not what is looked at.
            TokenTree::Ident(word) if word == "pub" => {
                let scoped = matches!(tokens.get(index + 1), Some(TokenTree::Group(scope))
                    if scope.delimiter() == Delimiter::Parenthesis);
                index += usize::from(scoped);
                reexport =
                    matches!(tokens.get(index + 1), Some(TokenTree::Ident(next)) if next == "use");
            }
            TokenTree::Ident(_)
                if is_double_colon(&tokens, index + 1) && !is_continued(&tokens, index) =>
            {
                let known = found.len();
                index = path(&tokens, index, &[], inside, found);
                found[known..]
                    .iter_mut()
                    .for_each(|path| path.reexport = reexport);
                reexport = false;
                continue;
            }
            TokenTree::Group(group) => collect(group.stream(), inside, found),
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        index += 1;
    }
}

/// Reads one path (or tree of imports) from `start` and returns the index of the token after it.
fn path(
    tokens: &[TokenTree],
    start: usize,
    prefix: &[String],
    inside: &[String],
    found: &mut Vec<WrittenPath>,
) -> usize {
    let mut segments = prefix.to_vec();
    let mut index = start;
    let mut line = 0;
    loop {
        match tokens.get(index) {
            Some(TokenTree::Ident(name)) => {
                line = name.span().start().line;
                // `{self, other}`: the prefix itself.
                if name != "self" || segments.is_empty() {
                    segments.push(name.to_string());
                }
            }
            Some(TokenTree::Punct(star)) if star.as_char() == '*' && !segments.is_empty() => {
                line = star.span().start().line;
                segments.push("*".to_owned());
            }
            Some(TokenTree::Group(group))
                if group.delimiter() == Delimiter::Brace && !segments.is_empty() =>
            {
                let branches: Vec<TokenTree> = group.stream().into_iter().collect();
                for branch in branches.split(
                    |token| matches!(token, TokenTree::Punct(comma) if comma.as_char() == ','),
                ) {
                    path(branch, 0, &segments, inside, found);
                }
                return index + 1;
            }
            _ => break,
        }
        index += 1;
        if !is_double_colon(tokens, index) {
            break;
        }
        index += 2;
    }
    if segments.len() > 1 && line > 0 {
        found.push(WrittenPath {
            inside: inside.to_vec(),
            segments,
            line,
            reexport: false,
        });
    }
    index
}

fn is_double_colon(tokens: &[TokenTree], index: usize) -> bool {
    matches!((tokens.get(index), tokens.get(index + 1)), (Some(TokenTree::Punct(first)), Some(TokenTree::Punct(second)))
        if first.as_char() == ':' && first.spacing() == Spacing::Joint && second.as_char() == ':')
}

/// Whether the name at `index` goes on from what stands before it: `::name`, `value.name`; not `..name`.
fn is_continued(tokens: &[TokenTree], index: usize) -> bool {
    let mark = |back: usize| match index
        .checked_sub(back)
        .and_then(|before| tokens.get(before))
    {
        Some(TokenTree::Punct(mark)) => Some(mark.as_char()),
        _ => None,
    };
    match mark(1) {
        Some(':') => mark(2) == Some(':'),
        Some('.') => mark(2) != Some('.'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(code: &str) -> Vec<String> {
        let tokens: TokenStream = code.parse().expect("the test's code is Rust");
        written_paths(tokens)
            .iter()
            .map(|path| path.segments.join("/"))
            .collect()
    }

    #[test]
    fn trees_of_imports_are_taken_apart() {
        assert_eq!(
            segments("use crate::{host::{self, Host as H}, rules::*, reason::Reason};"),
            [
                "crate/host",
                "crate/host/Host",
                "crate/rules/*",
                "crate/reason/Reason"
            ]
        );
    }

    #[test]
    fn paths_in_types_calls_and_macros_are_found() {
        assert_eq!(
            segments(
                "fn f(a: crate::a::A) -> <T as super::T>::X { select! { _ = crate::b::go() => self.c::<d::D>() } }"
            ),
            ["crate/a/A", "super/T", "crate/b/go", "d/D"]
        );
    }

    #[test]
    fn the_rest_of_a_struct_and_a_field_are_told_apart() {
        assert_eq!(
            segments(
                "fn f() { g(S { a: crate::a::A, ..super::S::new() }, value.crate_::x, ::core::x) }"
            ),
            ["crate/a/A", "super/S/new"]
        );
    }

    #[test]
    fn a_reexport_is_known_as_one() {
        let tokens: TokenStream =
            "pub use a::{B, c::D}; pub(crate) use e::F; pub fn f() -> g::H {} use i::J;"
                .parse()
                .expect("the test's code is Rust");
        let reexports: Vec<bool> = written_paths(tokens)
            .iter()
            .map(|path| path.reexport)
            .collect();
        assert_eq!(reexports, [true, true, true, false, false]);
    }

    #[test]
    fn visibility_and_outside_paths_are_no_arrows() {
        assert_eq!(
            segments("pub(in crate::gate) fn f() { ::std::mem::drop(1) }"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn inline_modules_are_remembered() {
        let tokens: TokenStream = "mod inner { use super::x::Y; }"
            .parse()
            .expect("the test's code is Rust");
        assert_eq!(
            written_paths(tokens),
            [WrittenPath {
                inside: vec!["inner".into()],
                segments: vec!["super".into(), "x".into(), "Y".into()],
                line: 1,
                reexport: false
            }]
        );
    }
}
