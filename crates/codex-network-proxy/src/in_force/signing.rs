//! The certificate authority that goes with a configuration that opens TLS.
//!
//! Main type: [`Signing`]. Comes in: a configuration and where its `CODEX_HOME` is. Goes out: the authority, and the bundle
//! by which clients trust it, or nothing where no TLS is opened. It signs nothing itself.

use std::path::PathBuf;
use std::sync::Arc;

use codex_network_gate::chain;
use codex_network_policy::Interception;

use crate::authority::{AuthorityFiles, CertificateAuthority};
use crate::config::{Environment, LoadedConfig};
use crate::error::{Error, ErrorKind};

/// The authority that signs for opened tunnels, and the bundle by which clients trust it.
#[derive(Clone, Debug)]
pub(crate) struct Signing {
    pub(crate) authority: Arc<CertificateAuthority>,
    pub(crate) bundle: PathBuf,
}

impl Signing {
    /// The authority where this configuration wants TLS opened; a disabled proxy needs none.
    pub(crate) fn wanted_by(
        config: &LoadedConfig,
        environment: &Environment,
    ) -> Result<Option<Self>, Error> {
        match config.rules.tls.interception {
            Interception::Unavailable => Ok(None),
            Interception::WhenLimited | Interception::Always if config.disabled.is_some() => {
                Ok(None)
            }
            Interception::WhenLimited | Interception::Always => Self::open(environment).map(Some),
        }
    }

    /// How far TLS can be opened with this, whatever a later configuration wants.
    pub(crate) fn reach(signing: Option<&Self>, always: bool) -> Interception {
        match (signing, always) {
            (None, _) => Interception::Unavailable,
            (Some(_), false) => Interception::WhenLimited,
            (Some(_), true) => Interception::Always,
        }
    }

    fn open(environment: &Environment) -> Result<Self, Error> {
        let home = environment
            .codex_home()
            .map_err(|error| Error::new(ErrorKind::Config, error.to_string(), error))?;
        let files = AuthorityFiles::in_home(&home);
        let opened = CertificateAuthority::open_or_create(&files).and_then(|authority| {
            let bundle = authority.write_bundle(&files)?;
            let authority = Arc::new(authority);
            Ok(Self { authority, bundle })
        });
        let signing =
            opened.map_err(|error| Error::new(ErrorKind::Authority, chain(&error), error))?;
        if let Some(warning) = signing.authority.expiry_warning() {
            tracing::warn!("{warning}");
        }
        Ok(signing)
    }
}
