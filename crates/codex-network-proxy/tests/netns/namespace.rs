//! The private network: how to get in, and how it is furnished.
//!
//! Main functions: [`enter`] starts this program again inside, [`furnish`] makes the network there. Without root, by the
//! `unshare` of util-linux; inside the program is root over nothing but its namespaces. Whatever fails here is a reason
//! to skip the suite, not a defect of the product.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::timeout;

use crate::command::{bare_environment, output};

/// Tells the second start of this program that it is inside.
const INSIDE: &str = "CNP_NETNS_INSIDE";

/// Longer than the suite may ever take: every wait inside has a limit of its own, and a compiler may have four minutes.
const LIMIT: Duration = Duration::from_secs(420);

/// The process namespace ends everything that was started inside together with its first process.
const UNSHARE: [&str; 7] = [
    "--user",
    "--map-root-user",
    "--mount",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
];

/// The DNS server's address, as a stub resolver would have it.
pub(crate) const NAME_SERVER: &str = "127.0.0.53";

/// An address that no route leads to, for a name with one dead address.
pub(crate) const UNREACHABLE: &str = "5.5.5.5";

pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this program inside new namespaces and says whether all was well. An error is the reason why there are none.
pub(crate) async fn enter(filter: Option<&str>) -> Result<bool> {
    let probe: Vec<&str> = UNSHARE.iter().copied().chain(["true"]).collect();
    let probe = output("unshare", probe, &bare_environment()).await?;
    ensure!(
        probe.good,
        "the kernel forbids namespaces: {}",
        probe.stderr.trim()
    );
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut child = tokio::process::Command::new("unshare")
        .args(UNSHARE)
        .arg(this)
        .args(filter)
        .env(INSIDE, "1")
        .kill_on_drop(true)
        .spawn()
        .context("cannot start `unshare`")?;
    match timeout(LIMIT, child.wait()).await {
        Ok(status) => Ok(status.context("cannot wait for the suite")?.success()),
        Err(_) => {
            eprintln!("netns: FAILED: the suite did not end within {LIMIT:?}");
            Ok(false)
        }
    }
}

/// Brings the loopback up, leads every address to it, and puts the suite's own resolver configuration in place.
pub(crate) async fn furnish() -> Result<()> {
    for arguments in [
        "link set lo up",
        // Public-looking addresses of this machine.
        "address add 151.101.1.1/32 dev lo",
        "address add 1.2.3.4/32 dev lo",
        "-6 address add 2606:2800:220:1::1/128 dev lo nodad",
        // All the others lead here as well, so that whatever is dialled, in spite of the policy, is seen.
        "route add local 0.0.0.0/0 dev lo",
        "-6 route add local ::/0 dev lo",
        &format!("route add unreachable {UNREACHABLE}"),
    ] {
        run("ip", &arguments.split(' ').collect::<Vec<_>>()).await?;
    }
    let files = tempfile::tempdir().context("cannot make a directory")?;
    let resolver = format!("nameserver {NAME_SERVER}\nsearch .\noptions timeout:30 attempts:1\n");
    // Clients ask for the machine's own name, which must not look like a question of the proxy.
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let machine = machine.trim();
    let hosts = format!("127.0.0.1 localhost {machine}\n::1 localhost {machine}\n");
    for (name, content) in [
        ("resolv.conf", resolver.as_str()),
        ("hosts", hosts.as_str()),
        ("nsswitch.conf", "hosts: files dns\n"),
    ] {
        let target = format!("/etc/{name}");
        // Without the file glibc asks DNS and `hosts`, which is what the suite wants.
        if name == "nsswitch.conf" && !std::path::Path::new(&target).exists() {
            continue;
        }
        let source = files.path().join(name);
        std::fs::write(&source, content).context("cannot write")?;
        run("mount", &["--bind", &source.display().to_string(), &target]).await?;
    }
    // A caching daemon of the machine would answer for the DNS server.
    if std::path::Path::new("/run/nscd").exists() {
        run("mount", &["-t", "tmpfs", "none", "/run/nscd"]).await?;
    }
    Ok(())
}

async fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let said = output(program, arguments, &bare_environment()).await?;
    if !said.good {
        bail!(
            "no right to furnish a network namespace: `{program} {}`: {}",
            arguments.join(" "),
            said.stderr.trim()
        );
    }
    Ok(())
}
