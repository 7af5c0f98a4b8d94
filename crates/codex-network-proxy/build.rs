//! Hands the linker `layout.ld`, by which what runs at start stands side by side in the binary (`cargo xtask layout`).
//!
//! Only where it helps and is understood: an optimised build for Linux with the linker that the toolchain brings. Another linker
//! builds the same program, which takes more memory at rest.

#![expect(
    clippy::disallowed_methods,
    reason = "the environment is how cargo speaks with it"
)]

use std::env;
use std::path::Path;

const LAYOUT: &str = "layout.ld";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={LAYOUT}");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let linux = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    let optimised = !is("OPT_LEVEL", "0");
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let chosen = env::var_os("RUSTC_LINKER").is_some() || flags.contains("link");
    if linux && optimised && !chosen {
        let directory = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        let layout = Path::new(&directory).join(LAYOUT);
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", layout.display());
    }
}
