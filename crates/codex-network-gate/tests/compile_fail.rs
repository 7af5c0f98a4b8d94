//! What must not compile outside the gate: making a permit, changing one, or opening anything without one.
//!
//! Each file in `tests/fail` is such an attempt, with the compiler's answer beside it. After a change of toolchain
//! `TRYBUILD=overwrite cargo test -p codex-network-gate --test compile_fail` writes the answers anew; read them, for
//! each has to fail for the reason that its file gives.

#[test]
fn a_permit_cannot_be_forged_or_gone_around() {
    trybuild::TestCases::new().compile_fail("tests/fail/*.rs");
}
