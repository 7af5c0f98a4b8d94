//! Where the authority's files are, and the care with which they are read and written.
//!
//! Main type: [`AuthorityFiles`]. Comes in: the user's Codex home. Goes out: the text of a certificate and its key, or the
//! reason why they are not to be trusted. A key is only read where nobody else could have read or replaced it, which is
//! judged on the opened file and not on its name; a pair appears whole, and never over another unless that is asked
//! for. It does not look into the certificate or the key.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::error::AuthorityError;
use super::staged::Staged;

const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;

/// No key and no certificate is longer.
const LONGEST_FILE: u64 = 64 * 1024;

/// How long another process may be between the two files.
const LONGEST_WRITE: Duration = Duration::from_secs(2);
/// How long another process may hold the lock; it writes two small files meanwhile.
const LONGEST_LOCK: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// The places of the authority's files.
#[derive(Clone, Debug)]
pub struct AuthorityFiles {
    directory: PathBuf,
}

/// A certificate and its key, both as PEM.
pub(super) struct PairText {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// What is there at one moment.
pub(super) enum Found {
    Neither,
    /// One of the two: another process is between them, or something went wrong.
    Half,
    Both(PairText),
}

impl AuthorityFiles {
    /// Those in this Codex home: `proxy/ca.pem`, `proxy/ca.key` and `proxy/ca-bundle.pem`.
    #[must_use]
    pub fn in_home(codex_home: &Path) -> Self {
        Self {
            directory: codex_home.join("proxy"),
        }
    }

    /// The certificate, which clients must trust.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The key, which nobody but the proxy may read.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.directory.join("ca.key")
    }

    /// The certificate together with the trust roots of this machine, for clients that take one file.
    #[must_use]
    pub fn bundle(&self) -> PathBuf {
        self.directory.join("ca-bundle.pem")
    }

    /// Makes the directory where there is none: for its owner alone, with everything above it that is missing.
    pub(super) fn make_directory(&self) -> Result<(), AuthorityError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let made = builder.create(&self.directory);
        // What is wrong with a thing that stands in the way is for the check to say.
        if self.check_directory()? {
            return Ok(());
        }
        made.map_err(AuthorityError::io("create", &self.directory))
    }

    /// Reads what is there. Where it is half a pair, or a pair that does not fit, another process may be writing it.
    pub(super) fn read(&self) -> Result<Found, AuthorityError> {
        if !self.check_directory()? {
            return Ok(Found::Neither);
        }
        let key = self.read_key()?;
        let path = self.certificate();
        let certificate = match open(&path, Links::Followed) {
            Ok(file) => Some(read_limited(file, &path)?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(AuthorityError::io("open", path)(error)),
        };
        Ok(match (certificate, key) {
            (Some(certificate), Some(key)) => Found::Both(PairText { certificate, key }),
            (None, None) => Found::Neither,
            (Some(_), None) | (None, Some(_)) => Found::Half,
        })
    }

    /// That only one of the files is there.
    pub(super) fn half(&self) -> AuthorityError {
        AuthorityError::HalfPair {
            certificate: self.certificate(),
            key: self.key(),
        }
    }

    /// Writes the pair where there is none. Where another process was faster, its files stay as they are.
    pub(super) fn create(&self, pair: &PairText) -> Result<(), AuthorityError> {
        let (key, certificate) = self.stage(pair)?;
        let _lock = self.lock()?;
        if !matches!(self.read()?, Found::Neither) {
            return Ok(());
        }
        match key.publish() {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(AuthorityError::io("write", self.key())(error)),
        }
        if let Err(error) = certificate.publish() {
            // A key without its certificate would only be in the way of the next attempt.
            let _ = std::fs::remove_file(self.key());
            return Err(AuthorityError::io("write", self.certificate())(error));
        }
        self.sync_directory()
    }

    /// Writes the pair over whatever is there. Between the two files a reader sees a pair that does not fit, and waits.
    pub(super) fn replace(&self, pair: &PairText) -> Result<(), AuthorityError> {
        let (key, certificate) = self.stage(pair)?;
        let _lock = self.lock()?;
        key.replace()
            .map_err(AuthorityError::io("write", self.key()))?;
        certificate
            .replace()
            .map_err(AuthorityError::io("write", self.certificate()))?;
        self.sync_directory()
    }

    /// Writes a file that everybody may read over whatever is there.
    pub(super) fn replace_public(path: &Path, content: &[u8]) -> Result<(), AuthorityError> {
        Staged::write(path, CERTIFICATE_MODE, content)
            .and_then(Staged::replace)
            .map_err(AuthorityError::io("write", path))
    }

    /// Both files aside, so that only two quick steps are left to be done one after the other.
    fn stage(&self, pair: &PairText) -> Result<(Staged, Staged), AuthorityError> {
        let (key, certificate) = (self.key(), self.certificate());
        let staged_key =
            Staged::write(&key, KEY_MODE, &pair.key).map_err(AuthorityError::io("write", key))?;
        let staged_certificate = Staged::write(&certificate, CERTIFICATE_MODE, &pair.certificate)
            .map_err(AuthorityError::io("write", certificate))?;
        Ok((staged_key, staged_certificate))
    }

    /// Keeps other writers of ours away until it is dropped. Where the file system knows no locks there is none: hard
    /// links still keep two writers from mixing their files.
    fn lock(&self) -> Result<Option<File>, AuthorityError> {
        let Ok(directory) = File::open(&self.directory) else {
            return Ok(None);
        };
        let mut patience = Patience(LONGEST_LOCK);
        loop {
            match directory.try_lock() {
                Ok(()) => return Ok(Some(directory)),
                Err(TryLockError::Error(_)) => return Ok(None),
                Err(TryLockError::WouldBlock) => {}
            }
            if !patience.pause() {
                return Err(AuthorityError::Busy(self.directory.clone()));
            }
        }
    }

    /// Names are on the disk only after this, where the system has such a thing.
    fn sync_directory(&self) -> Result<(), AuthorityError> {
        if cfg!(not(unix)) {
            return Ok(());
        }
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(AuthorityError::io("write", &self.directory))
    }

    /// Whether the directory is there; an error if somebody else could exchange what is in it.
    fn check_directory(&self) -> Result<bool, AuthorityError> {
        let path = &self.directory;
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(AuthorityError::io("open", path)(error)),
        };
        if metadata.is_symlink() {
            return Err(AuthorityError::DirectoryIsSymlink(path.clone()));
        }
        if !metadata.is_dir() {
            return Err(AuthorityError::NoDirectory(path.clone()));
        }
        match exposed(&metadata, 0o022) {
            Some(mode) => Err(AuthorityError::DirectoryIsExposed {
                directory: path.clone(),
                mode,
            }),
            None => Ok(true),
        }
    }

    fn read_key(&self) -> Result<Option<Vec<u8>>, AuthorityError> {
        let path = self.key();
        let file = match open(&path, Links::Refused) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            // It was not opened, so this only finds the words.
            Err(error) => {
                return Err(match path.symlink_metadata() {
                    Ok(metadata) if metadata.is_symlink() => AuthorityError::KeyIsSymlink(path),
                    Ok(metadata) if !metadata.is_file() => AuthorityError::KeyIsNoFile(path),
                    Ok(_) | Err(_) => AuthorityError::io("open", path)(error),
                });
            }
        };
        // Of the opened file: its name may mean another one by now.
        let metadata = file.metadata().map_err(AuthorityError::io("open", &path))?;
        if !metadata.is_file() {
            return Err(AuthorityError::KeyIsNoFile(path));
        }
        if let Some(mode) = exposed(&metadata, 0o077) {
            return Err(AuthorityError::KeyIsExposed { key: path, mode });
        }
        read_limited(file, &path).map(Some)
    }
}

/// A wait with an end.
#[derive(Debug)]
pub(super) struct Patience(Duration);

impl Patience {
    /// For as long as another process may take from the one file to the other.
    pub(super) fn for_a_pair() -> Self {
        Self(LONGEST_WRITE)
    }

    /// Pauses for a moment, unless the time is over.
    pub(super) fn pause(&mut self) -> bool {
        let Some(left) = self.0.checked_sub(PAUSE) else {
            return false;
        };
        self.0 = left;
        sleep(PAUSE);
        true
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Followed,
    Refused,
}

#[cfg(unix)]
fn open(path: &Path, links: Links) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // A pipe that was put there must not hold us up.
    let flags = match links {
        Links::Followed => libc::O_NONBLOCK,
        Links::Refused => libc::O_NONBLOCK | libc::O_NOFOLLOW,
    };
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Windows has no flag for it in `std`, and making a link takes a right there that common users lack.
#[cfg(not(unix))]
fn open(path: &Path, links: Links) -> io::Result<File> {
    if links == Links::Refused && path.is_symlink() {
        return Err(io::Error::from(ErrorKind::InvalidInput));
    }
    OpenOptions::new().read(true).open(path)
}

/// The permission bits, if one of these is among them.
#[cfg(unix)]
fn exposed(metadata: &std::fs::Metadata, bits: u32) -> Option<u32> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
    (mode & bits != 0).then_some(mode)
}

/// Access lists are inherited from the user's profile there, and are not looked at.
#[cfg(not(unix))]
fn exposed(_metadata: &std::fs::Metadata, _bits: u32) -> Option<u32> {
    None
}

fn read_limited(file: File, path: &Path) -> Result<Vec<u8>, AuthorityError> {
    let mut content = Vec::new();
    let read = file.take(LONGEST_FILE + 1).read_to_end(&mut content);
    read.and_then(|length| {
        if length as u64 > LONGEST_FILE {
            return Err(io::Error::other("it is longer than 64 KiB"));
        }
        Ok(content)
    })
    .map_err(AuthorityError::io("read", path))
}
