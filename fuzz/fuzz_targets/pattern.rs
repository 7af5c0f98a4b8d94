//! Feeds `pattern`; what it checks is said there.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| codex_network_fuzz::pattern::check(data));
