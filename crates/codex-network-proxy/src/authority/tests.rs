//! The authority on real files, and its leaves before real verifiers.

mod bundle;
mod files;
mod leaves;
mod pairs;
mod verifiers;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::leaf::Leaves;
use super::{AuthorityError, AuthorityFiles, CertificateAuthority};

/// A Codex home of its own, with an authority in it.
struct Home {
    home: TempDir,
    files: AuthorityFiles,
}

impl Home {
    fn empty() -> Self {
        let home = tempfile::tempdir().unwrap();
        let files = AuthorityFiles::in_home(home.path());
        Self { home, files }
    }

    fn with_authority() -> (Self, CertificateAuthority) {
        let home = Self::empty();
        let authority = CertificateAuthority::open_or_create(&home.files).unwrap();
        (home, authority)
    }

    fn with_leaves() -> (Self, Leaves) {
        let (home, authority) = Self::with_authority();
        (
            home,
            Leaves::new(
                Arc::new(authority),
                Arc::new(crate::meters::Meters::new(Arc::default())),
            )
            .unwrap(),
        )
    }

    fn directory(&self) -> std::path::PathBuf {
        self.home.path().join("proxy")
    }

    /// What opening says, without waiting for another process.
    fn open(&self) -> Result<Option<CertificateAuthority>, AuthorityError> {
        CertificateAuthority::open_with(&self.files, std::time::SystemTime::now(), || false)
    }

    /// The error of opening, with the home's path taken out.
    fn error(&self) -> String {
        let error = self.open().expect_err("these files must not be used");
        error
            .to_string()
            .replace(self.home.path().to_str().unwrap(), "HOME")
    }

    /// The names in the directory, in order.
    fn names(&self) -> Vec<String> {
        names(&self.directory())
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
