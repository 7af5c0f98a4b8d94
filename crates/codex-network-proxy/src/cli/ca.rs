//! `codex-network-proxy ca`: where the certificate authority is, what it is, and how clients come to trust it.
//!
//! Comes in: the command line and the user's Codex home. Goes out: text on stdout that scripts can use. `trust` makes the
//! authority at its first use and `rotate` a new one; the others change nothing.

use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use codex_network_proxy::config::Environment;
use codex_network_proxy::{AuthorityFiles, CertificateAuthority};

use super::failure::Failure;
use super::shell::Shell;

mod trust;

use trust::{Client, Trust};

const EXAMPLES: &str = "\
Examples:
  codex-network-proxy ca trust
      Show what every kind of client needs in order to trust the proxy.
  eval \"$(codex-network-proxy ca trust --shell sh)\"
      Let everything that is started from this shell trust it.
  curl --cacert \"$(codex-network-proxy ca path)\" -x http://127.0.0.1:3128 https://example.com/
      Let one program trust it.

The files are in the directory `proxy` of $CODEX_HOME (by default ~/.codex).";

const PATH_EXAMPLES: &str = "\
Examples:
  openssl x509 -in \"$(codex-network-proxy ca path)\" -noout -text
  SSL_CERT_FILE=\"$(codex-network-proxy ca path --bundle)\" some-program

Exit code 1, and nothing on stdout, where there is no such file yet.";

const SHOW_EXAMPLES: &str = "\
Examples:
  codex-network-proxy ca show
  codex-network-proxy ca show --json | jq -r .not_after";

const ROTATE_EXAMPLES: &str = "\
Examples:
  codex-network-proxy ca rotate
      When the certificate is about to expire, the key may have been read, or a file is damaged.

The old key is gone afterwards. Proxies that run go on with the old certificate until they are started again.";

const TRUST_EXAMPLES: &str = "\
Examples:
  codex-network-proxy ca trust
      Every kind of client.
  codex-network-proxy ca trust java
      One of them.
  eval \"$(codex-network-proxy ca trust --shell sh)\"
      Set all the variables in this shell; in fish:
  codex-network-proxy ca trust --shell fish | source";

/// The certificate authority that signs for the hosts of intercepted connections
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the path of the certificate that clients must trust
    #[command(after_help = PATH_EXAMPLES)]
    Path {
        /// The bundle instead: the certificate and the trust roots of this machine in one file
        #[arg(long)]
        bundle: bool,
    },

    /// Show whom the certificate names, its fingerprint, how long it is valid and where the files are
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },

    /// Make a new certificate and key in the place of the old ones, and say what must be trusted anew
    #[command(after_help = ROTATE_EXAMPLES)]
    Rotate,

    /// Show how clients come to trust the certificate; makes it, and the bundle, where they are missing
    #[command(after_help = TRUST_EXAMPLES)]
    Trust {
        /// Only this kind of client
        client: Option<Client>,

        /// Print nothing but the lines that set the variables, for this shell to read
        #[arg(long, value_name = "SHELL")]
        shell: Option<Shell>,
    },
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let home = Environment::of_process()
        .codex_home()
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let files = AuthorityFiles::in_home(&home);
    match &arguments.command {
        Command::Path { bundle: false } => path(&files.certificate()),
        Command::Path { bundle: true } => path(&files.bundle()),
        Command::Show { json } => show(&files, *json),
        Command::Rotate => rotate(&files),
        Command::Trust { client, shell } => trust(&files, *client, *shell),
    }
}

fn path(path: &Path) -> Result<(), Failure> {
    if !path.is_file() {
        return Err(none_yet(path));
    }
    // As it is: it need not be Unicode.
    let mut line = path.as_os_str().as_encoded_bytes().to_vec();
    line.push(b'\n');
    print(&line)
}

fn show(files: &AuthorityFiles, json: bool) -> Result<(), Failure> {
    let authority = CertificateAuthority::open(files)
        .context("the certificate authority cannot be used")?
        .ok_or_else(|| none_yet(&files.certificate()))?;
    let left = authority.not_after().duration_since(SystemTime::now());
    let days = left.unwrap_or_default().as_secs() / (24 * 60 * 60);
    let warning = authority.expiry_warning();
    let bundle = files.bundle();
    let (certificate, key) = (files.certificate(), files.key());
    if json {
        let facts = serde_json::json!({
            "subject": authority.subject(),
            "fingerprint_sha256": authority.fingerprint().to_string(),
            "not_before": rfc3339(authority.not_before())?,
            "not_after": rfc3339(authority.not_after())?,
            "days_left": days,
            "expires_soon": warning.is_some(),
            "certificate": certificate.to_string_lossy(),
            "key": key.to_string_lossy(),
            "bundle": bundle.is_file().then(|| bundle.to_string_lossy()),
        });
        return print(format!("{facts:#}\n").as_bytes());
    }
    let not_written = match bundle.is_file() {
        true => "",
        false => " (not written yet: `codex-network-proxy ca trust` does)",
    };
    let mut text = format!(
        "subject:      {}\nSHA-256:      {}\nvalid from:   {}\nvalid until:  {} ({days} days)\n\
         certificate:  {}\nkey:          {}\nbundle:       {}{not_written}\n",
        authority.subject(),
        authority.fingerprint(),
        rfc3339(authority.not_before())?,
        rfc3339(authority.not_after())?,
        certificate.display(),
        key.display(),
        bundle.display(),
    );
    if let Some(warning) = warning {
        text.push_str(&format!("\nwarning: {warning}\n"));
    }
    print(text.as_bytes())
}

fn rotate(files: &AuthorityFiles) -> Result<(), Failure> {
    // One that cannot be used is a reason to rotate.
    let old = CertificateAuthority::open(files).ok().flatten();
    let new = CertificateAuthority::rotate(files)
        .context("could not make a new certificate authority")?;
    let bundle = new
        .write_bundle(files)
        .context("the new certificate authority is in place, but not in the bundle")?;
    let mut text = format!(
        "A new certificate authority is in place.\n  certificate: {}\n  SHA-256:     {}\n",
        files.certificate().display(),
        new.fingerprint()
    );
    if let Some(old) = &old {
        text.push_str(&format!("  replaces:    {}\n", old.fingerprint()));
    }
    text.push_str(&format!(
        "\nTo do now:\n\
         - Start the proxies of this Codex home again; until then they go on with the old certificate.\n\
         - Start again what takes its trust from the bundle: {} holds the new one.\n\
         - Wherever the old one was added to a store (system, Java, Firefox, NSS), remove it there and add the new \
         one; `codex-network-proxy ca trust` shows how.\n",
        bundle.display()
    ));
    print(text.as_bytes())
}

fn trust(
    files: &AuthorityFiles,
    client: Option<Client>,
    shell: Option<Shell>,
) -> Result<(), Failure> {
    let authority = CertificateAuthority::open_or_create(files)
        .context("the certificate authority cannot be used")?;
    authority
        .write_bundle(files)
        .context("could not bring the bundle up to date")?;
    let trust = Trust::new(files, shell.unwrap_or_else(Shell::of_platform))?;
    let text = match (client, shell) {
        (client, Some(_)) => trust.variables(client)?,
        (Some(client), None) => trust.of(client),
        (None, None) => trust.of_all(&authority),
    };
    print(text.as_bytes())
}

fn none_yet(path: &Path) -> Failure {
    Failure::Other(anyhow!(
        "there is no {} yet; run `codex-network-proxy ca trust` to make it",
        path.display()
    ))
}

fn rfc3339(time: SystemTime) -> Result<String, Failure> {
    let time = jiff::Timestamp::try_from(time).context("a certificate has an impossible time")?;
    Ok(time.to_string())
}

/// A reader that has had enough, such as `head`, is no failure.
fn print(text: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error)
                .context("could not write to stdout")
                .into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
