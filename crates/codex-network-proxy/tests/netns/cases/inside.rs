//! Real programs whose TLS is opened: read-only access to origins with every version of HTTP, by nothing but the lines that
//! the proxy printed.
//!
//! What must come of a request, whoever makes it, is in `visit.rs`; the files beside it are the programs.

use crate::report::Case;

mod chromium;
pub(super) mod curl;
mod distrust;
mod failures;
mod git;
mod go;
mod java;
mod packages;
mod scripts;
pub(super) mod visit;
mod wget;

pub(super) fn cases() -> Vec<Case> {
    let programs = [
        // Those that wait for a compiler come first.
        scripts::cases(),
        chromium::cases(),
        distrust::cases(),
        packages::cases(),
        git::cases(),
        wget::cases(),
        curl::cases(),
        failures::cases(),
    ];
    programs.into_iter().flatten().collect()
}
