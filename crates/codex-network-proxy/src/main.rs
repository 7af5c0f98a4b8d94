//! Placeholder until the first commit of the binary.
fn main() {}
