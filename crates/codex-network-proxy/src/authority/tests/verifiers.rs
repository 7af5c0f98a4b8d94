//! Real programs before a server that shows our leaves: each must accept every host that is asked for by its own name,
//! and refuse the one that is not. A program that is not installed is skipped, and counted.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use codex_network_policy::Host;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::process::Command;

use super::Home;
use super::leaves::{host, long_name, served};
use crate::authority::leaf::Alpn;

/// No program takes longer, even where Go compiles its standard library on two busy cores.
const LIMIT: Duration = Duration::from_secs(300);

/// What is asked for, and the port where a leaf for it is shown.
struct Site {
    asked: String,
    port: u16,
    accepted: bool,
}

/// Servers with leaves of one authority.
struct World {
    home: Home,
    sites: Vec<Site>,
    /// The leaves in PEM files, in the order of the sites.
    leaves: Vec<PathBuf>,
}

impl World {
    fn new() -> Self {
        let (home, leaves) = Home::with_leaves();
        let mut world = Self {
            home,
            sites: Vec::new(),
            leaves: Vec::new(),
        };
        let long = long_name();
        for (asked, shown) in [
            ("plain.example.test", "plain.example.test"),
            (&long, &long),
            ("a_b.example.test", "a_b.example.test"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("asked.example.test", "shown.example.test"),
        ] {
            let shown = host(shown);
            let config = leaves.server_config(&shown, Alpn::Http1).unwrap();
            let Some(port) = serve(&shown, &config) else {
                continue; // No IPv6 on this machine.
            };
            let path = world.path(&format!("leaf-{}.pem", world.leaves.len()));
            let pem = crate::authority::certificate::certificate_pem(&served(&config));
            std::fs::write(&path, pem).unwrap();
            world.leaves.push(path);
            world.sites.push(Site {
                asked: asked.to_owned(),
                port,
                accepted: shown.to_string() == asked,
            });
        }
        assert!(world.sites.len() >= 5);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.home.path().join(name)
    }

    fn authority(&self) -> PathBuf {
        self.home.files.certificate()
    }

    /// `HOST PORT` of every site.
    fn pairs(&self) -> impl Iterator<Item = OsString> {
        let pairs = self.sites.iter();
        pairs.flat_map(|site| [site.asked.clone().into(), site.port.to_string().into()])
    }

    /// Holds the lines `HOST accepted` and `HOST refused: why` of a program to what is right.
    fn judge(&self, program: &str, output: &Output) {
        let said = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), self.sites.len(), "{program}: {output:?}");
        for (site, line) in self.sites.iter().zip(lines) {
            let verdict = line.strip_prefix(&site.asked).unwrap_or(line);
            let expected = if site.accepted {
                " accepted"
            } else {
                " refused"
            };
            assert!(verdict.starts_with(expected), "{program}: {line}");
        }
    }
}

/// Serves `ok` over TLS to whoever comes, for as long as the test runs. Nothing, if the address is not to be had.
fn serve(host: &Host, config: &Arc<ServerConfig>) -> Option<u16> {
    let is_ipv6 = host.address().is_some_and(|address| address.is_ipv6());
    let listener = if is_ipv6 {
        TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).ok()?
    } else {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
    };
    let port = listener.local_addr().unwrap().port();
    let config = Arc::clone(config);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let server = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(server, stream.unwrap());
            // A client that refuses us breaks off, which is for it to report.
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    Some(port)
}

/// Runs a program to its end; nothing if it is not installed, which is said in the way that `cargo xtask ci` counts.
async fn run(
    test: &str,
    program: &str,
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
    environment: &[(&str, &Path)],
) -> Option<Output> {
    let mut command = Command::new(program);
    command
        .args(arguments.into_iter().map(Into::into))
        // Those who call us may have roots of their own.
        .env_remove("SSL_CERT_FILE")
        .env_remove("SSL_CERT_DIR")
        .env_remove("NODE_EXTRA_CA_CERTS")
        .env_remove("JAVA_TOOL_OPTIONS")
        .env("LC_ALL", "C.UTF-8")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(LIMIT, command.output()).await;
    match ended.unwrap_or_else(|_| panic!("{program} does not end")) {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED {test}: {program} is not installed"
            );
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

fn data(name: &str) -> OsString {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/verifiers");
    data.join(name).into()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests take their Python from CNP_PYTHON"
)]
fn python() -> String {
    std::env::var("CNP_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

#[tokio::test]
async fn openssl_accepts_a_leaf_on_the_wire_in_both_versions() {
    let world = World::new();
    for site in &world.sites {
        let address = site.asked.parse::<std::net::IpAddr>();
        let place = match &address {
            Ok(std::net::IpAddr::V6(_)) => format!("[::1]:{}", site.port),
            Ok(std::net::IpAddr::V4(_)) | Err(_) => format!("127.0.0.1:{}", site.port),
        };
        for version in ["-tls1_2", "-tls1_3"] {
            let mut arguments = vec!["s_client", "-brief", version, "-connect", &place];
            arguments.extend(["-verify_return_error", "-x509_strict"]);
            if address.is_ok() {
                arguments.extend(["-verify_ip", &site.asked]);
            } else {
                arguments.extend(["-verify_hostname", &site.asked, "-servername", &site.asked]);
            }
            let authority = world.authority();
            arguments.extend(["-CAfile", authority.to_str().unwrap()]);
            let name = "openssl_accepts_a_leaf_on_the_wire_in_both_versions";
            let Some(output) = run(name, "openssl", arguments, &[]).await else {
                return;
            };
            assert_eq!(output.status.success(), site.accepted, "{output:?}");
        }
    }
}

#[tokio::test]
async fn openssl_finds_no_fault_in_a_leaf_when_it_is_strict() {
    let world = World::new();
    for (site, leaf) in world.sites.iter().zip(&world.leaves) {
        let flag = match site.asked.parse::<std::net::IpAddr>() {
            Ok(_) => "-verify_ip",
            Err(_) => "-verify_hostname",
        };
        let authority = world.authority();
        let arguments = [
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            flag,
            &site.asked,
            "-CAfile",
            authority.to_str().unwrap(),
            leaf.to_str().unwrap(),
        ];
        let name = "openssl_finds_no_fault_in_a_leaf_when_it_is_strict";
        let Some(output) = run(name, "openssl", arguments, &[]).await else {
            return;
        };
        assert_eq!(output.status.success(), site.accepted, "{output:?}");
    }
}

#[tokio::test]
async fn python_accepts_a_leaf_when_it_is_strict() {
    let world = World::new();
    let arguments = [data("client.py"), world.authority().into()];
    let python = python();
    let arguments = arguments.into_iter().chain(world.pairs());
    if let Some(output) = run(
        "python_accepts_a_leaf_when_it_is_strict",
        &python,
        arguments,
        &[],
    )
    .await
    {
        world.judge("Python", &output);
    }
}

#[tokio::test]
async fn node_accepts_a_leaf() {
    let world = World::new();
    let arguments = [data("client.js"), world.authority().into()];
    let arguments = arguments.into_iter().chain(world.pairs());
    if let Some(output) = run("node_accepts_a_leaf", "node", arguments, &[]).await {
        world.judge("Node", &output);
    }
}

#[tokio::test]
async fn go_accepts_a_leaf() {
    let world = World::new();
    let cache = world.path("go-cache");
    let arguments = ["run".into(), data("client.go"), world.authority().into()];
    let arguments = arguments.into_iter().chain(world.pairs());
    let environment = [
        ("GOCACHE", cache.as_path()),
        ("GOTOOLCHAIN", Path::new("local")),
    ];
    if let Some(output) = run("go_accepts_a_leaf", "go", arguments, &environment).await {
        world.judge("Go", &output);
    }
}

#[tokio::test]
async fn java_accepts_a_leaf() {
    // Without its compiler, Java cannot run a source file.
    if run("java_accepts_a_leaf", "javac", ["-version"], &[])
        .await
        .is_none()
    {
        return;
    }
    let world = World::new();
    let store = world.path("trust.p12");
    let authority = world.authority();
    let arguments = [
        "-importcert",
        "-noprompt",
        "-storepass",
        "changeit",
        "-keystore",
        store.to_str().unwrap(),
        "-file",
        authority.to_str().unwrap(),
    ];
    let Some(made) = run("java_accepts_a_leaf", "keytool", arguments, &[]).await else {
        return;
    };
    assert!(made.status.success(), "{made:?}");
    let mut arguments = vec![
        OsString::from("-Djavax.net.ssl.trustStorePassword=changeit"),
        format!("-Djavax.net.ssl.trustStore={}", store.display()).into(),
        data("Client.java"),
    ];
    arguments.extend(world.pairs());
    let Some(mut output) = run("java_accepts_a_leaf", "java", arguments, &[]).await else {
        return;
    };
    // Java takes no name with `_` for a host's, whatever a certificate says.
    let said = String::from_utf8(output.stdout).unwrap();
    let unable = "a_b.example.test refused: Illegal given domain name: a_b.example.test";
    assert!(said.contains(unable), "{said}");
    output.stdout = said.replace(unable, "a_b.example.test accepted").into();
    world.judge("Java", &output);
}

#[tokio::test]
async fn curl_accepts_a_leaf() {
    let world = World::new();
    for site in &world.sites {
        let Site {
            asked,
            port,
            accepted,
        } = site;
        let in_url = match asked.contains(':') {
            true => format!("[{asked}]"),
            false => asked.clone(),
        };
        let authority = world.authority();
        let resolve = format!("{asked}:{port}:127.0.0.1");
        let url = format!("https://{in_url}:{port}/");
        let mut arguments = vec!["--silent", "--show-error", "--noproxy", "*", "--cacert"];
        arguments.extend([authority.to_str().unwrap(), &url]);
        if asked.parse::<std::net::IpAddr>().is_err() {
            arguments.extend(["--resolve", &resolve]);
        }
        let Some(output) = run("curl_accepts_a_leaf", "curl", arguments, &[]).await else {
            return;
        };
        assert_eq!(output.stdout == b"ok", *accepted, "{output:?}");
        // "The peer's certificate was deemed not OK."
        assert_eq!(
            output.status.code(),
            Some(if *accepted { 0 } else { 60 }),
            "{output:?}"
        );
    }
}

#[tokio::test]
async fn the_bundle_makes_clients_trust_by_its_variable() {
    let test = "the_bundle_makes_clients_trust_by_its_variable";
    let world = World::new();
    let authority = world.home.open().unwrap().unwrap();
    let bundle = authority.write_bundle(&world.home.files).unwrap();
    let site = &world.sites[0];
    let resolve = format!("{}:{}:127.0.0.1", site.asked, site.port);
    let url = format!("https://{}:{}/", site.asked, site.port);
    let curl = ["-sS", "--noproxy", "*", "--resolve", &resolve, &url];
    let environment = [("CURL_CA_BUNDLE", bundle.as_path())];
    if let Some(output) = run(test, "curl", curl, &environment).await {
        assert_eq!(output.stdout, b"ok", "{output:?}");
    }
    let script = format!(
        "require('tls').connect({{ host: '127.0.0.1', port: {}, servername: '{}' }}, () => process.exit(7))",
        site.port, site.asked
    );
    let environment = [("NODE_EXTRA_CA_CERTS", bundle.as_path())];
    if let Some(output) = run(test, "node", ["-e", &script], &environment).await {
        assert_eq!(output.status.code(), Some(7), "{output:?}");
    }
    let script = format!(
        "import socket, ssl; ssl.create_default_context().wrap_socket(\
         socket.create_connection(('127.0.0.1', {})), server_hostname='{}')",
        site.port, site.asked
    );
    let environment = [("SSL_CERT_FILE", bundle.as_path())];
    if let Some(output) = run(test, &python(), ["-c", &script], &environment).await {
        assert!(output.status.success(), "{output:?}");
    }
}

#[tokio::test]
async fn nss_accepts_every_leaf_beside_the_others() {
    let name = "nss_accepts_every_leaf_beside_the_others";
    let world = World::new();
    let database = world.path("nss");
    std::fs::create_dir(&database).unwrap();
    let database = format!("sql:{}", database.display());
    let add = |nickname: &str, trust: &str, file: &Path| {
        let flags = ["-A", "-d", &database, "-n", nickname, "-t", trust, "-i"];
        let flags = flags.map(OsString::from).into_iter();
        flags.chain([file.into()]).collect::<Vec<_>>()
    };
    let new = ["-N", "-d", &database, "--empty-password"];
    let Some(made) = run(name, "certutil", new, &[]).await else {
        return;
    };
    assert!(made.status.success(), "{made:?}");
    let authority = add("authority", "C,,", &world.authority());
    let added = run(name, "certutil", authority, &[]).await.unwrap();
    assert!(added.status.success(), "{added:?}");
    // All of them in one database: a serial number that came twice would be refused here.
    for (number, leaf) in world.leaves.iter().enumerate() {
        let leaf = add(&number.to_string(), ",,", leaf);
        let added = run(name, "certutil", leaf, &[]).await.unwrap();
        assert!(added.status.success(), "{added:?}");
    }
    for number in 0..world.leaves.len() {
        let number = number.to_string();
        let verify = ["-V", "-u", "V", "-e", "-d", &database, "-n", &number];
        let output = run(name, "certutil", verify, &[]).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("is valid"),
            "{output:?}"
        );
    }
}
