//! The load tool of `cargo xtask bench`: an origin, two plain relays to compare with, and clients.
//!
//! `bench origin ADDRESS`, `bench relay copy|splice ADDRESS TARGET`, `bench load …`. Each is one process on one thread, so
//! that a core can be given to it. Results go out as one line of `key=value` words. Loopback only; nothing is verified that
//! is not needed to tell a good answer from a bad one.

mod load;
mod origin;
mod relay;

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = runtime.and_then(|runtime| runtime.block_on(run(&words)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(words: &[&str]) -> io::Result<()> {
    match words {
        ["origin", address] => origin::serve(address).await,
        ["relay", "copy", address, target] => relay::serve(address, target, relay::Way::Copy).await,
        ["relay", "splice", address, target] => {
            relay::serve(address, target, relay::Way::Splice).await
        }
        ["load", words @ ..] => load::run(words).await,
        _ => Err(io::Error::other(
            "expected `origin ADDRESS`, `relay copy|splice ADDRESS TARGET` or `load KEY=VALUE…`",
        )),
    }
}
