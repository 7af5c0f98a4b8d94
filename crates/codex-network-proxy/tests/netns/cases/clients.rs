//! Real programs, with nothing but the exports that the proxy printed: each reaches what is allowed and shows the
//! refusal of what is not.

use crate::report::Case;

mod curl;
pub(super) mod git;
mod node;
pub(super) mod python;

pub(super) fn cases() -> Vec<Case> {
    [node::cases(), python::cases(), git::cases(), curl::cases()]
        .into_iter()
        .flatten()
        .collect()
}
