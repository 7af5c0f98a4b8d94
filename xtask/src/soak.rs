//! `cargo xtask soak`: load and faults for as long as one likes, with a seed.
//!
//! Main function: `run`. What it does and demands stands where it is, in the tests of the proxy crate (`tests/it/soak.rs`); a
//! few seconds of it are among the ordinary tests. Here are only the words of the command line.

use std::path::Path;

use crate::step::cargo;

const SECONDS: u64 = 600;
const SEED: u64 = 1;

/// How long and with which seed, from the words behind `soak`; `None` where they make no sense.
fn read(words: &[&str]) -> Option<(u64, u64)> {
    match words {
        [] => Some((SECONDS, SEED)),
        [seconds] => Some((seconds.parse().ok()?, SEED)),
        [seconds, seed] => Some((seconds.parse().ok()?, seed.parse().ok()?)),
        [_, _, _, ..] => None,
    }
}

/// Runs it, or says nothing where the words make no sense.
pub(crate) fn run(root: &Path, words: &[&str]) -> Option<bool> {
    let (seconds, seed) = read(words)?;
    let mut soak = cargo(root);
    soak.args(["test", "--package", "codex-network-proxy", "--test", "it"])
        .args(["--", "soak::as_long_as_one_likes", "--exact"])
        .args(["--ignored", "--nocapture"])
        .env("CNP_SOAK_SECONDS", seconds.to_string())
        .env("CNP_SOAK_SEED", seed.to_string());
    Some(soak.status().is_ok_and(|status| status.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_seed_can_be_left_out() {
        assert_eq!(read(&[]), Some((600, 1)));
        assert_eq!(read(&["60"]), Some((60, 1)));
        assert_eq!(read(&["60", "7"]), Some((60, 7)));
        assert_eq!(read(&["soon"]), None);
        assert_eq!(read(&["1", "2", "3"]), None);
    }
}
