//! Installs the proxies that ours is compared with: from Debian's packages, and mitmproxy from PyPI.
//!
//! Main function: [`install`]. What cannot be had is said and left out; a comparison takes who is there.

use std::process::Command;

use super::contenders::found;

/// Programs, and the packages that have them. What is there already stays: some packages would put out another that has it too.
const PACKAGES: [(&str, &str); 7] = [
    ("haproxy", "haproxy"),
    ("squid", "squid-openssl"),
    ("tinyproxy", "tinyproxy"),
    ("privoxy", "privoxy"),
    ("microsocks", "microsocks"),
    ("danted", "dante-server"),
    ("taskset", "util-linux"),
];

/// Whether everything could be installed. Services that packages would start are kept from it.
pub(crate) fn install() -> bool {
    let mut good = true;
    for (program, package) in PACKAGES {
        if found(program).is_some() {
            continue;
        }
        let done = ran(Command::new("apt-get")
            .args(["install", "-y", "-qq", "--no-install-recommends", package])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1"));
        if !done {
            println!("bench: cannot install {package}");
        }
        good &= done;
    }
    let made = ran(Command::new("python3").args(["-m", "venv", "target/bench-peers"]));
    let pip = ["-m", "pip", "install", "--quiet", "mitmproxy"];
    let done = made && ran(Command::new("target/bench-peers/bin/python").args(pip));
    if !done {
        println!("bench: cannot install mitmproxy");
    }
    good && done
}

fn ran(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}
