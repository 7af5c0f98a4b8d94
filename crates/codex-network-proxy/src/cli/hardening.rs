//! What the serving process gives up, so that a defect in it is worth less to an attacker (Linux).
//!
//! [`give_up_privileges`] costs nothing and is always done: no core dumps, no new privileges, no capabilities but those that
//! listening and reading files can need. With `--harden`, [`confine_files`] lets the process reach only the files that it
//! works with (Landlock), and [`confine_calls`] takes away what it never does (seccomp): to run another program, to trace, to
//! mount. What was asked for and is not possible here is an error, never a silent less. The command of `run` is another
//! program and keeps what its user has.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use codex_network_proxy::config::{Environment, LoadedConfig};

/// Where a program finds its libraries, the resolver its files, TLS its roots.
const SYSTEM: [&str; 12] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/run",
    "/var/run",
    "/var/lib",
    "/dev",
    "/proc",
    "/sys",
    "/opt",
];

/// Gives up what a proxy never needs, and says what could not be. Before any thread is started, for it holds for the threads
/// to come.
pub(super) fn give_up_privileges() -> Vec<String> {
    let done = [
        ("core dumps", no_core_dumps()),
        ("new privileges", rustix::thread::set_no_new_privs(true)),
        ("capabilities", drop_capabilities()),
    ];
    let failed = done.into_iter().filter_map(|(what, done)| {
        done.err()
            .map(|error| format!("could not give up {what}: {error}"))
    });
    failed.collect()
}

/// A core holds keys and what clients have sent.
fn no_core_dumps() -> rustix::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)
}

/// Ports below 1024 and files of other users remain for those who start it as root.
fn drop_capabilities() -> rustix::io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
    let needed = CapabilitySet::NET_BIND_SERVICE
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::DAC_READ_SEARCH;
    let held = capabilities(None)?;
    set_capabilities(
        None,
        CapabilitySets {
            effective: held.effective & needed,
            permitted: held.permitted & needed,
            inheritable: CapabilitySet::empty(),
        },
    )
}

/// From here on the process reads the system's files and its own configuration, and writes below `written` only. `read` are further files. Before any
/// other thread is started, for it holds for the threads to come.
///
/// # Errors
/// This system has no Landlock.
pub(super) fn confine_files(
    config: &LoadedConfig,
    environment: &Environment,
    read: &[PathBuf],
    written: &[PathBuf],
) -> anyhow::Result<()> {
    use landlock::{
        ABI, Access as _, AccessFs, RestrictionStatus, Ruleset, RulesetAttr as _,
        RulesetCreatedAttr as _, RulesetStatus, path_beneath_rules,
    };
    let version = ABI::V5;
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let home = environment.codex_home()?;
    let own = home.join("proxy");
    // It has to be there to be named; what is in it is made with the modes that it needs.
    std::fs::create_dir_all(&own).with_context(|| format!("could not make `{}`", own.display()))?;
    let status: RestrictionStatus = Ruleset::default()
        .handle_access(AccessFs::from_all(version))?
        .create()?
        .add_rules(path_beneath_rules(readable(config, &home), reading))?
        .add_rules(path_beneath_rules(read, AccessFs::ReadFile))?
        .add_rules(path_beneath_rules(
            ["/dev/null"],
            AccessFs::from_file(version),
        ))?
        .add_rules(path_beneath_rules(
            written.iter().chain([&own]),
            AccessFs::from_all(version),
        ))?
        .restrict_self()?;
    anyhow::ensure!(
        status.ruleset != RulesetStatus::NotEnforced,
        "this system has no Landlock"
    );
    Ok(())
}

/// The directories that are read from, as far as they are there now.
fn readable(config: &LoadedConfig, home: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    paths.push(home.to_owned());
    // A file that is replaced is read through its directory.
    paths.extend(config.file.iter().filter_map(|file| directory_of(file)));
    let layers = config.layers.iter().map(|(_, name)| Path::new(&**name));
    paths.extend(layers.filter_map(directory_of));
    if let Ok(here) = std::env::current_dir() {
        let projects = here.ancestors().map(|directory| directory.join(".codex"));
        paths.extend(projects);
    }
    for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        #[expect(
            clippy::disallowed_methods,
            reason = "where the operator keeps the trust roots"
        )]
        if let Some(path) = std::env::var_os(variable) {
            paths.push(path.into());
        }
    }
    paths.retain(|path| path.exists());
    paths
}

fn directory_of(file: &Path) -> Option<PathBuf> {
    let file = std::path::absolute(file).ok()?;
    let directory = file.parent()?;
    // A file in the root directory must not open everything.
    directory.parent().is_some().then(|| directory.to_owned())
}

/// What a proxy never does once it listens: other programs, other processes, the kernel's own affairs.
const NEVER: [libc::c_long; 45] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_open_by_handle_at,
    libc::SYS_personality,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setresuid,
    libc::SYS_sethostname,
];

/// Takes these calls away from every thread, and new processes with them; what is tried is answered with `EPERM`.
///
/// # Errors
/// This system has no seccomp filters, or none for this kind of processor.
pub(super) fn confine_calls() -> anyhow::Result<()> {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, apply_filter_all_threads,
    };
    let filter = |rules, errno| -> anyhow::Result<()> {
        let architecture = std::env::consts::ARCH.try_into()?;
        let refused = SeccompAction::Errno(u32::try_from(errno)?);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture)?;
        let program: BpfProgram = filter.try_into()?;
        apply_filter_all_threads(&program).context("this system has no seccomp filters")
    };
    // A thread is a clone with this flag; everything else would be a process. The arguments of `clone3` cannot be seen: the
    // C library takes `clone` where it is not there.
    let thread = u64::try_from(libc::CLONE_THREAD)?;
    let process = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Qword,
        SeccompCmpOp::MaskedEq(thread),
        0,
    )?;
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        NEVER.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![process])?]);
    #[cfg(target_arch = "x86_64")]
    for call in [libc::SYS_fork, libc::SYS_vfork] {
        rules.insert(call, Vec::new());
    }
    filter(rules, libc::EPERM)?;
    filter([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is given up is given up for good, so it is tried in a process of its own.
    #[test]
    fn what_is_confined_runs_no_program_and_still_starts_threads() {
        let ran = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["cli::hardening::tests::confined", "--exact", "--ignored"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && text.contains("1 passed"), "{text}");
    }

    #[test]
    #[ignore = "confines its process; run by the test above in one of its own"]
    fn confined() {
        assert_eq!(give_up_privileges(), Vec::<String>::new());
        assert!(rustix::thread::no_new_privs().unwrap());
        let core = rustix::process::getrlimit(rustix::process::Resource::Core);
        assert_eq!(core.current, Some(0));
        let run = || std::process::Command::new("/bin/true").status();
        assert!(run().is_ok());
        confine_calls().unwrap();
        let refused = run().unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
        assert_eq!(std::thread::spawn(|| 1 + 1).join().unwrap(), 2);
    }
}
