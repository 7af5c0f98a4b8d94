//! Where metrics are served.
//!
//! [`MetricsEndpoint`] is a unix socket that only its owner can connect to, an address that wants a token, or one for probes. Binding makes
//! a [`Bound`]; a socket is put in its place with its final mode, so that nobody can connect in between. Nothing is served here.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::serve::Bound;
#[cfg(unix)]
use super::socket_file::SocketFile;
use super::token::BearerToken;

/// Where to serve metrics.
#[derive(Clone, Debug)]
pub enum MetricsEndpoint {
    /// A unix socket of mode 0600. A socket that is there already is replaced; any other file is not.
    UnixSocket(PathBuf),
    /// An address, for who shows the token. What is sent is not encrypted.
    Address(SocketAddr, BearerToken),
    /// An address that answers `/healthz` and `/readyz` and nothing else, to whoever asks.
    Probes(SocketAddr),
}

impl MetricsEndpoint {
    /// Binds it. Must be called within a runtime.
    pub(crate) fn bind(&self) -> io::Result<Bound> {
        match self {
            Self::UnixSocket(path) => bind_socket(path),
            Self::Address(address, token) => {
                Ok(Bound::Address(bind_address(*address)?, token.clone()))
            }
            Self::Probes(address) => Ok(Bound::Probes(bind_address(*address)?)),
        }
    }
}

impl fmt::Display for MetricsEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnixSocket(path) => path.display().fmt(f),
            Self::Address(address, _) | Self::Probes(address) => address.fmt(f),
        }
    }
}

fn bind_address(address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

#[cfg(unix)]
fn bind_socket(path: &Path) -> io::Result<Bound> {
    use std::fs;
    use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};

    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let message = "there is a file that is no socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(_) | Err(_) => {}
    }
    // Whoever may connect is decided by the mode, which a socket has only after it is bound. So it is bound where nobody
    // else can look, and put in place when it is ready.
    let parent = path.parent().unwrap_or(Path::new("."));
    let unique = std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos());
    let aside = parent.join(format!(".m{:x}{unique:x}", std::process::id()));
    fs::DirBuilder::new().mode(0o700).create(&aside)?;
    let hidden = aside.join("s");
    let bound = std::os::unix::net::UnixListener::bind(&hidden).and_then(|listener| {
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        fs::rename(&hidden, path)?;
        Ok(listener)
    });
    let _ = fs::remove_dir_all(&aside);
    let file = SocketFile::of(path);
    Ok(Bound::Socket(bound?, file?))
}

#[cfg(not(unix))]
fn bind_socket(_: &Path) -> io::Result<Bound> {
    Err(io::ErrorKind::Unsupported.into())
}
