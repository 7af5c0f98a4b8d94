//! The proxies of this user that run, as they tell of themselves.
//!
//! Main types: [`Running`], what one proxy says, and [`Record`], its own file under `$CODEX_HOME/proxy/run/`. A running
//! proxy holds a lock on its file, which ends with the process however that ends: so a file without one is stale, whatever
//! other process has the number meanwhile. Files are 0600 in a directory of 0700, and each version is written whole and
//! put in place at once. It holds no secret, and starts and stops nothing.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// What a running proxy tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    pub(super) pid: u32,
    /// `serve` or `run`.
    pub(super) command: String,
    pub(super) version: String,
    /// RFC 3339.
    pub(super) started: String,
    pub(super) http: SocketAddr,
    pub(super) socks: Option<SocketAddr>,
    pub(super) allow_local_binding: bool,
    /// What clients must trust, where TLS is opened.
    pub(super) trust_bundle: Option<PathBuf>,
    pub(super) policy: Policy,
}

/// Where its policy came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policy {
    /// In words, as `check` says it.
    pub(super) origin: String,
    /// The files, the lowest layer first.
    pub(super) files: Vec<String>,
    pub(super) enabled: bool,
    pub(super) mode: String,
    /// When it last changed, RFC 3339.
    pub(super) since: String,
    /// Why the files as they are now are not in force, if they are not.
    pub(super) failure: Option<String>,
    pub(super) warnings: Vec<String>,
}

/// The file of a running proxy. It goes with the value.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    /// Open, and so locked, for as long as the proxy runs.
    file: File,
}

/// A file that is being replaced can be met unlocked once, but hardly so often in a row.
const ATTEMPTS: usize = 3;

impl Record {
    /// Puts the first version in place.
    pub(super) fn create(home: &Path, running: &Running) -> io::Result<Self> {
        let directory = directory(home);
        create_private_directory(&directory)?;
        // The number of a process alone would not do: two containers can share a home.
        let unique = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        let path = directory.join(format!("{}-{unique}.json", running.pid));
        let file = write(&path, running)?;
        Ok(Self { path, file })
    }

    /// Puts a new version in place.
    pub(super) fn update(&mut self, running: &Running) -> io::Result<()> {
        self.file = write(&self.path, running)?;
        Ok(())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The proxies that run, by their numbers. What dead ones left behind is removed.
pub(super) fn list(home: &Path) -> io::Result<Vec<Running>> {
    let entries = match fs::read_dir(directory(home)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut running = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if is_stale(&path) {
            let _ = fs::remove_file(&path);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            // It may have ended since, and a version of the future may say other things.
            let told = fs::read(&path).ok();
            running.extend(told.and_then(|text| serde_json::from_slice::<Running>(&text).ok()));
        }
    }
    running.sort_by_key(|running| running.pid);
    Ok(running)
}

fn directory(home: &Path) -> PathBuf {
    home.join("proxy").join("run")
}

/// Whether nobody holds the lock.
fn is_stale(path: &Path) -> bool {
    (0..ATTEMPTS).all(|_| match File::open(path) {
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        },
        Err(_) => false,
    })
}

/// Writes a version aside, locks it and puts it in place. The old one's lock ends when its file is closed.
fn write(path: &Path, running: &Running) -> io::Result<File> {
    let aside = path.with_extension("new");
    let _ = fs::remove_file(&aside);
    let mut file = private_file(&aside)?;
    let written = (|| {
        file.try_lock().map_err(io::Error::from)?;
        let text = serde_json::to_vec_pretty(running)?;
        file.write_all(&text)?;
        fs::rename(&aside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written.map(|()| file)
}

#[cfg(unix)]
fn private_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn private_file(path: &Path) -> io::Result<File> {
    File::create_new(path)
}

#[cfg(unix)]
fn create_private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

#[cfg(not(unix))]
fn create_private_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn example(pid: u32) -> Running {
        Running {
            pid,
            command: "serve".to_owned(),
            version: "1".to_owned(),
            started: "2026-01-02T03:04:05Z".to_owned(),
            http: "127.0.0.1:3128".parse().unwrap(),
            socks: None,
            allow_local_binding: false,
            trust_bundle: None,
            policy: Policy {
                origin: "profile \"web\" of config.toml".to_owned(),
                files: vec!["config.toml".to_owned()],
                enabled: true,
                mode: "full".to_owned(),
                since: "2026-01-02T03:04:05Z".to_owned(),
                failure: None,
                warnings: Vec::new(),
            },
        }
    }

    #[test]
    fn a_record_is_there_while_its_proxy_runs() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(list(home.path()).unwrap(), []);
        let mut first = Record::create(home.path(), &example(1)).unwrap();
        let second = Record::create(home.path(), &example(2)).unwrap();
        // The same number again, as in two containers that share a home.
        let third = Record::create(home.path(), &example(2)).unwrap();
        assert_eq!(list(home.path()).unwrap().len(), 3);
        let changed = Running {
            allow_local_binding: true,
            ..example(1)
        };
        for _ in 0..3 {
            first.update(&changed).unwrap();
            assert_eq!(list(home.path()).unwrap()[0], changed);
        }
        drop((second, third));
        assert_eq!(list(home.path()).unwrap(), [changed]);
        drop(first);
        assert_eq!(list(home.path()).unwrap(), []);
    }

    #[test]
    fn what_a_dead_proxy_left_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let record = Record::create(home.path(), &example(1)).unwrap();
        // Its process is gone, and with it the lock; the file is not.
        let path = record.path.clone();
        let stale = fs::read(&path).unwrap();
        drop(record);
        fs::write(&path, stale).unwrap();
        fs::write(path.with_extension("new"), "half").unwrap();
        assert_eq!(list(home.path()).unwrap(), []);
        assert_eq!(fs::read_dir(directory(home.path())).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let record = Record::create(home.path(), &example(1)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&record.path), 0o600);
        assert_eq!(mode(&directory(home.path())), 0o700);
    }
}
