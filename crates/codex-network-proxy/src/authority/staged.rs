//! A file that is written aside and appears whole under its name.
//!
//! Main type: [`Staged`]. Comes in: the path, the mode and the content. Goes out: a file that a reader sees whole or not
//! at all, either only where none was ([`Staged::publish`]) or in the place of another ([`Staged::replace`]). A staged
//! file that is dropped is gone. It never changes the mode of a file that exists.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// How often another name is tried where the temporary one is taken.
const NAMES: usize = 16;

#[derive(Debug)]
pub(super) struct Staged {
    temporary: PathBuf,
    path: PathBuf,
}

impl Staged {
    /// Writes the content aside, with its mode from the first byte on, and down to the disk.
    pub(super) fn write(path: &Path, mode: u32, content: &[u8]) -> io::Result<Self> {
        let (temporary, mut file) = create_temporary(path, mode)?;
        let staged = Self {
            temporary,
            path: path.to_owned(),
        };
        file.write_all(content)?;
        file.sync_all()?;
        Ok(staged)
    }

    /// Lets the file appear, unless there is one already: `AlreadyExists`, and that one is as it was.
    ///
    /// A hard link is the one way to do this that never overwrites, and never shows half a file.
    pub(super) fn publish(self) -> io::Result<()> {
        std::fs::hard_link(&self.temporary, &self.path)
    }

    /// Lets the file appear in the place of what is there.
    pub(super) fn replace(self) -> io::Result<()> {
        std::fs::rename(&self.temporary, &self.path)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After `replace` there is nothing under this name any more.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

fn create_temporary(path: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    with_mode(&mut options, mode);
    let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
    for _ in 0..NAMES {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = since.unwrap_or_default().as_nanos();
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".tmp.{}.{nanos}", std::process::id()));
        let temporary = path.with_file_name(temporary);
        match options.open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            // Another thread, in the same nanosecond.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}

#[cfg(unix)]
fn with_mode(options: &mut OpenOptions, mode: u32) {
    std::os::unix::fs::OpenOptionsExt::mode(options, mode);
}

#[cfg(not(unix))]
fn with_mode(_options: &mut OpenOptions, _mode: u32) {}
