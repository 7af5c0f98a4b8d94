//! The end-to-end suite: the real binary between real clients and real name resolution.
//!
//! The test starts itself again in new user, mount, network and process namespaces, where it owns the network: every
//! address of both families leads to its own origins, which say which address was dialled, and every question about a
//! name reaches its own DNS server, which counts. So it can tell what no test on an ordinary machine can: that a private
//! address was not dialled, and that no question was asked. It deliberately knows the product only as a program: its
//! configuration, its ports, its output.
//!
//! One line per case. A case whose client is missing, or the whole suite where the kernel forbids namespaces, is
//! SKIPPED, with the reason. `cargo test --test netns -- WORD` runs the cases whose names hold the word.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test program outside of the gate: it is the clients, the origins and the clock"
)]

#[cfg(target_os = "linux")]
mod cases;
#[cfg(target_os = "linux")]
mod command;
#[cfg(target_os = "linux")]
mod dns;
#[cfg(target_os = "linux")]
mod namespace;
#[cfg(target_os = "linux")]
mod origin;
#[cfg(target_os = "linux")]
mod proxy;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod wire;
#[cfg(target_os = "linux")]
mod world;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("running 1 test");
    eprintln!("SKIPPED netns: network namespaces exist on Linux only");
    println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // How test runners such as nextest ask what there is to run.
    if arguments.iter().any(|argument| argument == "--list") {
        if !arguments.iter().any(|argument| argument == "--ignored") {
            println!("netns: test");
        }
        return std::process::ExitCode::SUCCESS;
    }
    let filter = arguments
        .into_iter()
        .find(|argument| !argument.starts_with('-') && argument != "netns");
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => {
            let good = runtime.block_on(run(filter));
            runtime.shutdown_background();
            std::process::ExitCode::from(u8::from(!good))
        }
        Err(error) => {
            eprintln!("netns: cannot start a runtime: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(target_os = "linux")]
async fn run(filter: Option<String>) -> bool {
    if !namespace::is_inside() {
        return match namespace::enter(filter.as_deref()).await {
            Ok(good) => good,
            Err(reason) => report::all_skipped(&format!("{reason:#}")),
        };
    }
    if let Err(reason) = namespace::furnish().await {
        return report::all_skipped(&format!("{reason:#}"));
    }
    let world = match world::World::create().await {
        Ok(world) => std::sync::Arc::new(world),
        Err(error) => {
            eprintln!("netns: cannot set the stage: {error:#}");
            return false;
        }
    };
    report::run(&world, cases::all(), filter.as_deref()).await
}
