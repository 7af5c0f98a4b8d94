//! The runtime that a command runs on.
//!
//! [`start`] takes one thread where one processor is all there is: threads that could only take turns would pass work
//! between each other for nothing.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

pub(super) fn start() -> anyhow::Result<Runtime> {
    let mut builder = match available_parallelism().map(NonZeroUsize::get) {
        Ok(1) => Builder::new_current_thread(),
        Ok(_) | Err(_) => Builder::new_multi_thread(),
    };
    builder
        .enable_all()
        .build()
        .context("could not start the runtime")
}
