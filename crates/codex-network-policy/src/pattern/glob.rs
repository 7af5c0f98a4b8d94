//! Patterns with stars at other places than `*.` or `**.` before a plain name.
//!
//! A [`Glob`] is kept as its text. A star matches within one label only; the first label may be `*` (one label or
//! more) or `**` (any number of labels), and a whole-label star elsewhere is exactly one label.

use alloc::sync::Arc;
use core::fmt;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Glob(Arc<str>);

impl Glob {
    /// `text` is a checked pattern in lower case ASCII.
    pub(super) fn new(text: &str) -> Glob {
        Glob(text.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels after the last one that holds a star; empty if that is the last label.
    pub(super) fn plain_suffix(&self) -> &str {
        let after_star = self.0.rfind('*').map_or(0, |star| star + 1);
        let tail = self.0.get(after_star..).unwrap_or_default();
        tail.split_once('.').map_or("", |(_, suffix)| suffix)
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        let mut names = name.rsplit('.');
        let mut labels = self.0.rsplit('.');
        let Some(first) = labels.next_back() else {
            return false;
        };
        for label in labels {
            if !names
                .next()
                .is_some_and(|name| label_matches(label.as_bytes(), name.as_bytes()))
            {
                return false;
            }
        }
        match (first, names.next()) {
            ("**", _) | ("*", Some(_)) => true,
            (_, None) => false,
            (first, Some(name)) => {
                names.next().is_none() && label_matches(first.as_bytes(), name.as_bytes())
            }
        }
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Matches one label; on a mismatch only the last star takes one byte more, so the cost is bounded by the product.
fn label_matches(pattern: &[u8], label: &[u8]) -> bool {
    let (mut at, mut pattern_at) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while at < label.len() {
        match pattern.get(pattern_at) {
            Some(b'*') => {
                last_star = Some((pattern_at, at));
                pattern_at += 1;
            }
            Some(byte) if label.get(at) == Some(byte) => {
                at += 1;
                pattern_at += 1;
            }
            Some(_) | None => {
                let Some((star, taken)) = last_star else {
                    return false;
                };
                last_star = Some((star, taken + 1));
                (at, pattern_at) = (taken + 1, star + 1);
            }
        }
    }
    pattern.iter().skip(pattern_at).all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_its_label() {
        for (pattern, name, expected) in [
            ("region*.v2.example.com", "region1.v2.example.com", true),
            ("region*.v2.example.com", "region.v2.example.com", true),
            (
                "region*.v2.example.com",
                "foo.region1.v2.example.com",
                false,
            ),
            ("region*.v2.example.com", "region1.x.v2.example.com", false),
            ("a.*.com", "a.b.com", true),
            ("a.*.com", "a.b.c.com", false),
            ("a.*.com", "a.com", false),
            ("*.a*.example.com", "x.ab.example.com", true),
            ("*.a*.example.com", "y.x.a.example.com", true),
            ("*.a*.example.com", "ab.example.com", false),
            ("**.a*.example.com", "ab.example.com", true),
            ("**.a*.example.com", "x.y.ab.example.com", true),
            ("**.a*.example.com", "b.example.com", false),
            ("*.*.example.com", "a.b.example.com", true),
            ("*.*.example.com", "b.example.com", false),
            ("example.*", "example.com", true),
            ("example.*", "example.co.uk", false),
            ("*a*b*.com", "xaybz.com", true),
            ("*a*b*.com", "ab.com", true),
            ("*a*b*.com", "ba.com", false),
        ] {
            assert_eq!(
                Glob::new(pattern).matches(name),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn the_plain_suffix_starts_after_the_last_starred_label() {
        for (pattern, suffix) in [
            ("region*.v2.example.com", "v2.example.com"),
            ("*x.com", "com"),
            ("a.*.b*c.com", "com"),
            ("example.*", ""),
            ("example.c*m", ""),
        ] {
            assert_eq!(Glob::new(pattern).plain_suffix(), suffix, "{pattern}");
        }
    }
}
