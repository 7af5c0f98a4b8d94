//! What is fuzzed, and what must hold whatever comes in: one module a target, with one function `check`.
//!
//! A target takes bytes and panics where a property does not hold. It knows the product by its public names, and by the
//! doorway that `--cfg fuzzing` opens. Nothing here starts a fuzzer: `fuzz_targets/` does.

#![expect(
    clippy::missing_panics_doc,
    reason = "to panic is how a target says that it has found something"
)]

pub mod address;
pub mod config;
pub mod frames;
pub mod head;
pub mod hello;
pub mod host;
pub mod overrides;
pub mod pattern;
pub mod requirements;
pub mod socks;
mod stage;
pub mod target;
