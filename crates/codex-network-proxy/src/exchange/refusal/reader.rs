//! Who reads an answer of the proxy's own: the door it leaves by, and the form that the client asks for.
//!
//! [`Reader`] is made from a request before it is judged. It deliberately knows of one form beside the usual ones:
//! `application/problem+json` (RFC 9457), and takes it only where a client names it; `*/*` means the usual form.

use http::HeaderMap;
use http::header::ACCEPT;

use super::super::seen::Seen;

const PROBLEM: &str = "application/problem+json";

/// The door that a refusal leaves by; it decides between text and JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Forward,
    Connect,
    UnixSocket,
    /// Inside of an opened tunnel.
    Inside,
}

/// Who reads an answer of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reader {
    pub(super) door: Door,
    /// Whether it asks for problem details.
    pub(super) wants_problem: bool,
}

impl Reader {
    /// The sender of a request with these fields.
    pub(crate) fn at(door: Door, headers: &HeaderMap, seen: Seen) -> Self {
        let wants_problem = seen.has(Seen::ACCEPT)
            && headers
                .get_all(ACCEPT)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .any(names_problem);
        Self {
            door,
            wants_problem,
        }
    }
}

/// Whether one element of `Accept` is problem details, and with another weight than none.
fn names_problem(element: &str) -> bool {
    let mut parts = element.split(';').map(str::trim);
    let named = parts
        .next()
        .is_some_and(|media_type| media_type.eq_ignore_ascii_case(PROBLEM));
    let refused = parts.any(|parameter| {
        let weight = parameter
            .strip_prefix("q=")
            .or_else(|| parameter.strip_prefix("Q="));
        weight.is_some_and(|weight| weight.trim_start_matches(['0', '.']).is_empty())
    });
    named && !refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_details_have_to_be_named() {
        for (accept, wants_problem) in [
            ("application/problem+json", true),
            ("text/html, Application/Problem+JSON;q=0.1", true),
            ("application/problem+json; q=0", false),
            ("application/problem+json;q=0.000, */*", false),
            ("application/json", false),
            ("*/*", false),
            ("application/*", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(
                Reader::at(Door::Forward, &headers, Seen::of(&headers)).wants_problem,
                wants_problem,
                "{accept}"
            );
        }
    }
}
