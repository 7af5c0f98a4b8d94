//! Real programs whose TLS is opened: read-only access to origins with every version of HTTP, by nothing but the lines that
//! the proxy printed.
//!
//! What must come of a request, whoever makes it, is in `visit.rs`; the files beside it are the programs.

use crate::report::Case;

mod curl;
mod distrust;
mod failures;
mod go;
mod java;
mod scripts;
mod visit;

pub(super) fn cases() -> Vec<Case> {
    [
        scripts::cases(),
        curl::cases(),
        failures::cases(),
        distrust::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
