//! What each kind of client needs in order to trust the authority.
//!
//! Main types: [`Client`], the kinds, and [`Trust`], which writes them down. Comes in: the files and a shell. Goes out:
//! commands with every path quoted for that shell. It runs none of them: trusting a root is for the user to do.

use std::path::Path;

use anyhow::anyhow;
use clap::ValueEnum;
use codex_network_proxy::{AuthorityFiles, CertificateAuthority};

use super::super::failure::Failure;
use super::super::shell::Shell;

/// The kinds of clients, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Client {
    /// OpenSSL, Go, Ruby, Python's `ssl`, httpx and most programs in Rust
    Openssl,
    /// Node and what runs in it
    Node,
    /// npm, whatever its own configuration says
    Npm,
    /// requests, and what is built on it
    Python,
    Curl,
    Git,
    Cargo,
    Pip,
    Java,
    /// Firefox, Chromium on Linux, and other users of NSS
    Firefox,
    /// The store of Debian, Ubuntu and their relatives
    Debian,
    /// The store of Fedora, RHEL and their relatives
    Fedora,
    /// The keychain of macOS
    Macos,
    /// The store of Windows
    Windows,
}

impl Client {
    fn title(self) -> &'static str {
        match self {
            Self::Openssl => "OpenSSL, Go, Ruby, Python's ssl, httpx, most programs in Rust",
            Self::Node => "Node",
            Self::Npm => "npm",
            Self::Python => "Python's requests",
            Self::Curl => "curl",
            Self::Git => "git",
            Self::Cargo => "cargo",
            Self::Pip => "pip",
            Self::Java => "Java",
            Self::Firefox => "Firefox, Chromium on Linux",
            Self::Debian => "Debian and Ubuntu, for the whole machine",
            Self::Fedora => "Fedora and RHEL, for the whole machine",
            Self::Macos => "macOS, for this user",
            Self::Windows => "Windows, for this user",
        }
    }

    /// The variable that names the bundle for this client.
    fn variable(self) -> Option<&'static str> {
        match self {
            Self::Openssl => Some("SSL_CERT_FILE"),
            Self::Node => Some("NODE_EXTRA_CA_CERTS"),
            Self::Npm => Some("npm_config_cafile"),
            Self::Python => Some("REQUESTS_CA_BUNDLE"),
            Self::Curl => Some("CURL_CA_BUNDLE"),
            Self::Git => Some("GIT_SSL_CAINFO"),
            Self::Cargo => Some("CARGO_HTTP_CAINFO"),
            Self::Pip => Some("PIP_CERT"),
            Self::Java
            | Self::Firefox
            | Self::Debian
            | Self::Fedora
            | Self::Macos
            | Self::Windows => None,
        }
    }

    fn word(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// The commands for these files and this shell.
pub(super) struct Trust {
    shell: Shell,
    certificate: String,
    bundle: String,
    java_store: String,
}

impl Trust {
    pub(super) fn new(files: &AuthorityFiles, shell: Shell) -> Result<Self, Failure> {
        let text = |path: &Path| {
            path.to_str().map(ToOwned::to_owned).ok_or_else(|| {
                anyhow!(
                    "{} is no Unicode, so no command can name it; set CODEX_HOME to another directory",
                    path.display()
                )
            })
        };
        let certificate = files.certificate();
        Ok(Self {
            shell,
            java_store: text(&certificate.with_file_name("java-cacerts"))?,
            certificate: text(&certificate)?,
            bundle: text(&files.bundle())?,
        })
    }

    /// Nothing but the lines that set variables.
    pub(super) fn variables(&self, client: Option<Client>) -> Result<String, Failure> {
        let clients = client.map_or_else(|| Client::value_variants().to_vec(), |one| vec![one]);
        let lines = clients.iter().filter_map(|client| self.export(*client));
        let text: String = lines.map(|line| line + "\n").collect();
        match client {
            Some(client) if text.is_empty() => Err(Failure::Usage(format!(
                "`{}` trusts by commands and not by a variable; leave `--shell` out to see them",
                client.word()
            ))),
            Some(_) | None => Ok(text),
        }
    }

    /// One kind of client.
    pub(super) fn of(&self, client: Client) -> String {
        let mut text = format!("# {}\n", client.title());
        for line in self.lines(client) {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// Every kind of client.
    pub(super) fn of_all(&self, authority: &CertificateAuthority) -> String {
        let mut text = format!(
            "# {}, SHA-256 {}\n# {}\n# The bundle holds it and the trust roots of this machine, for clients that take one file:\n\
             # {}\n# To set all the variables at once: {}\n",
            authority.subject(),
            authority.fingerprint(),
            self.certificate,
            self.bundle,
            match self.shell {
                Shell::Sh | Shell::Fish => "eval \"$(codex-network-proxy ca trust --shell sh)\"",
                Shell::Pwsh =>
                    "codex-network-proxy ca trust --shell powershell | Out-String | Invoke-Expression",
            }
        );
        for client in Client::value_variants() {
            text.push('\n');
            text.push_str(&self.of(*client));
        }
        text
    }

    fn export(&self, client: Client) -> Option<String> {
        let name = client.variable()?;
        Some(self.shell.export(name, &self.bundle))
    }

    fn lines(&self, client: Client) -> Vec<String> {
        let certificate = self.shell.quote(&self.certificate);
        // Whatever the shell here: these commands are for machines that have this one.
        let in_sh = Shell::Sh.quote(&self.certificate);
        let in_power_shell = Shell::Pwsh.quote(&self.certificate);
        match client {
            Client::Openssl
            | Client::Node
            | Client::Npm
            | Client::Python
            | Client::Curl
            | Client::Git
            | Client::Cargo
            | Client::Pip => self.export(client).into_iter().collect(),
            Client::Java => self.java(),
            Client::Firefox => vec![
                "# PROFILE is the folder that about:profiles names; for Chromium it is $HOME/.pki/nssdb,".to_owned(),
                "# which may have to be made first (mkdir -p).".to_owned(),
                format!("certutil -A -n codex-network-proxy -t C,, -i {certificate} -d sql:PROFILE"),
                "# On macOS and Windows, Firefox takes the system's store: security.enterprise_roots.enabled in".to_owned(),
                "# about:config, true by default.".to_owned(),
            ],
            Client::Debian => vec![
                format!(
                    "sudo cp {in_sh} /usr/local/share/ca-certificates/codex-network-proxy.crt"
                ),
                "sudo update-ca-certificates".to_owned(),
            ],
            Client::Fedora => vec![
                format!(
                    "sudo cp {in_sh} /etc/pki/ca-trust/source/anchors/codex-network-proxy.pem"
                ),
                "sudo update-ca-trust".to_owned(),
            ],
            Client::Macos => vec![format!(
                "security add-trusted-cert -r trustRoot -k \"$HOME/Library/Keychains/login.keychain-db\" {in_sh}"
            )],
            Client::Windows => vec![
                format!(
                    "Import-Certificate -CertStoreLocation Cert:\\CurrentUser\\Root -FilePath {in_power_shell}"
                ),
                format!("# or: certutil -user -addstore Root {in_power_shell}"),
            ],
        }
    }

    /// Into a copy of Java's own store, for a property names one store and not two.
    fn java(&self) -> Vec<String> {
        let certificate = self.shell.quote(&self.certificate);
        let store = self.shell.quote(&self.java_store);
        let copy = match self.shell {
            Shell::Sh | Shell::Fish => format!(
                "cat \"$(java -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java\\.home = //p')\
                 /lib/security/cacerts\" > {store}"
            ),
            Shell::Pwsh => format!(
                "Copy-Item -Destination {store} -Path ((java -XshowSettings:properties -version 2>&1 | \
                 Select-String 'java.home = (.*)').Matches[0].Groups[1].Value.Trim() + '/lib/security/cacerts')"
            ),
        };
        let property = self
            .shell
            .quote(&format!("-Djavax.net.ssl.trustStore={}", self.java_store));
        vec![
            copy,
            format!(
                "keytool -importcert -noprompt -alias codex-network-proxy -storepass changeit -keystore {store} \
                 -file {certificate}"
            ),
            format!("java {property} '-Djavax.net.ssl.trustStorePassword=changeit' ..."),
        ]
    }
}
