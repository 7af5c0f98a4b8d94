//! `cargo xtask layout`: finds out which functions the binary runs, and writes them to where the linker reads it, so that it
//! puts them side by side.
//!
//! Main function: `run`. The system maps a program in pieces of 64 KiB. What runs at start is 6 % of the binary's code, and lay
//! scattered over three quarters of those pieces. The functions come from two runs under callgrind: a start, and a start with a
//! request at each door. Names are written without the hashes of crates and instances, so that a change elsewhere does not make them
//! strangers. A list that has grown old costs memory and nothing else; write it anew when the size at rest grows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::step::cargo;

const BINARY: &str = "codex-network-proxy";

/// Where `build.rs` of the binary expects it.
const LAYOUT: &str = "crates/codex-network-proxy/layout.ld";

const HEADER: &str = "\
/* Which functions of the binary the linker puts first, side by side: those that run at start, then those that run when
   traffic comes. Written by `cargo xtask layout`; `build.rs` hands it to the linker. Functions that are not found are passed over. */
";

/// As a user has one, so that what reads it is among what runs.
const CONFIG: &str = r#"
default_permissions = "workspace"

[permissions.workspace.network]
enabled = true
proxy_url = "http://127.0.0.1:0"
socks_url = "http://127.0.0.1:0"
denied_domains = ["*.denied.test"]
allowed_domains = ["127.0.0.1", "localhost", "*.example.com", "**.example.org"]
"#;

/// How long an answer may take, with everything ten times slower than it is.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Names without hashes, and how many bytes of functions have them.
type Sizes = BTreeMap<String, u64>;

/// Builds, watches, writes.
pub(crate) fn run(root: &Path) -> bool {
    match write(root) {
        Ok(count) => {
            println!("layout: {count} names in {LAYOUT}");
            true
        }
        Err(why) => {
            println!("layout: {why}");
            false
        }
    }
}

fn write(root: &Path) -> Result<usize, String> {
    let target = root.join("target/layout");
    let built = cargo(root)
        .args(["build", "--release", "--locked", "--package", BINARY])
        .args([
            "--bin",
            BINARY,
            "--config",
            "profile.release.strip=\"none\"",
        ])
        .arg("--target-dir")
        .arg(&target)
        .status();
    if !built.is_ok_and(|status| status.success()) {
        return Err("the build failed".to_owned());
    }
    let binary = target.join("release").join(BINARY);
    let symbols = output(Command::new("nm").arg("-S").arg(&binary))?;
    let sizes = sizes(&symbols);
    let start = executed(&watch(&binary, &target, false)?, &sizes);
    let mut traffic = executed(&watch(&binary, &target, true)?, &sizes);
    traffic.retain(|name, _| !start.contains_key(name));
    let all = add_up(&sizes);
    let mut text = HEADER.to_owned();
    text.push_str("SECTIONS\n{\n  .text_first :\n  {\n");
    for names in [&start, &traffic] {
        for name in densest_first(names, &all) {
            // The compiler keeps what it takes for rare in a section of its own.
            let _ = writeln!(text, "    *(.text.{name} .text.unlikely.{name})");
        }
    }
    text.push_str("  }\n}\nINSERT BEFORE .text;\n");
    std::fs::write(root.join(LAYOUT), text).map_err(|error| error.to_string())?;
    Ok(start.len() + traffic.len())
}

/// Runs the binary under callgrind until it listens, or until it has had some traffic, and returns what callgrind wrote.
fn watch(binary: &Path, target: &Path, traffic: bool) -> Result<String, String> {
    let told = |error: std::io::Error| error.to_string();
    let home = target.join("home");
    std::fs::create_dir_all(&home).map_err(told)?;
    std::fs::write(home.join("config.toml"), CONFIG).map_err(told)?;
    let written = target.join("callgrind.out");
    let _ = std::fs::remove_file(&written);
    let mut child = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--demangle=no"])
        .arg(format!("--callgrind-out-file={}", written.display()))
        .arg(binary)
        .env("CODEX_HOME", &home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start valgrind: {error}"))?;
    let listened = listening(&mut child);
    let driven = listened.and_then(|[http, socks]| {
        if traffic {
            drive(&http, &socks).map_err(told)?;
        }
        Ok(())
    });
    let id = child.id().to_string();
    let _ = Command::new("kill").args(["-INT", &id]).status();
    let _ = child.wait();
    driven?;
    std::fs::read_to_string(&written).map_err(told)
}

/// Waits for the lines that name both listeners.
fn listening(child: &mut Child) -> Result<[String; 2], String> {
    let mut lines = BufReader::new(child.stderr.take().ok_or("no stderr")?).lines();
    let mut said = String::new();
    let mut found = ["http://", "socks5h://"].map(|scheme| (scheme, None));
    while found.iter().any(|(_, address)| address.is_none()) {
        let Some(Ok(line)) = lines.next() else {
            return Err(format!("it does not listen:\n{said}"));
        };
        for (scheme, address) in &mut found {
            if let Some((_, rest)) = line.split_once(*scheme) {
                let address_ends = |char: char| !char.is_ascii_digit() && !".:".contains(char);
                *address = rest.split(address_ends).next().map(str::to_owned);
            }
        }
        said.push_str(&line);
        said.push('\n');
    }
    // Whatever it says later must find somebody who reads.
    std::thread::spawn(move || lines.for_each(drop));
    Ok(found.map(|(_, address)| address.unwrap_or_default()))
}

/// A request at each door: permitted, kept, refused, through a tunnel.
fn drive(http: &str, socks: &str) -> std::io::Result<()> {
    let origin = TcpListener::bind("127.0.0.1:0")?;
    let target = origin.local_addr()?;
    std::thread::spawn(move || {
        for client in origin.incoming().flatten() {
            std::thread::spawn(move || answer(client));
        }
    });
    let get = format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n");
    let mut client = connect(http)?;
    for _ in 0..3 {
        exchange(&mut client, get.as_bytes())?;
    }
    exchange(
        &mut connect(http)?,
        b"GET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\n\r\n",
    )?;
    let mut tunnel = connect(http)?;
    let ask = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    exchange(&mut tunnel, ask.as_bytes())?;
    exchange(&mut tunnel, get.as_bytes())?;
    let mut tunnel = connect(socks)?;
    exchange(&mut tunnel, &[5, 1, 0])?;
    let [high, low] = target.port().to_be_bytes();
    exchange(&mut tunnel, &[5, 1, 0, 1, 127, 0, 0, 1, high, low])?;
    exchange(&mut tunnel, get.as_bytes())
}

/// Answers every piece that comes: requests are small, and come in one.
fn answer(mut client: TcpStream) {
    let mut piece = [0; 4096];
    while client.read(&mut piece).is_ok_and(|count| count > 0) {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if client.write_all(answer).is_err() {
            return;
        }
    }
}

fn connect(address: &str) -> std::io::Result<TcpStream> {
    #[expect(clippy::disallowed_methods, reason = "a client of what is watched")]
    let client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(LONGEST_WAIT))?;
    Ok(client)
}

fn exchange(client: &mut TcpStream, ask: &[u8]) -> std::io::Result<()> {
    client.write_all(ask)?;
    match client.read(&mut [0; 4096])? {
        0 => Err(std::io::Error::other("it closed without an answer")),
        _ => Ok(()),
    }
}

/// The functions in a listing of `nm -S`, with their sizes.
fn sizes(listing: &str) -> Sizes {
    let functions = listing.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let size = u64::from_str_radix(words.next()?, 16).ok()?;
        let is_code = matches!(words.next()?, "t" | "T" | "w" | "W");
        let name = words.next().filter(|_| is_code)?;
        Some((name.to_owned(), size))
    });
    functions.collect()
}

/// The functions that callgrind names (`fn=(7) name`, after which `fn=(7)` alone is enough) and that the binary has.
fn executed(written: &str, sizes: &Sizes) -> Sizes {
    let named = written.lines().filter_map(|line| {
        let (_, name) = line.strip_prefix("fn=(")?.split_once(") ")?;
        // A recursion's second level is `name'2`.
        Some(name.split('\'').next().unwrap_or(name))
    });
    let called = written.lines().filter_map(|line| {
        let (_, name) = line.strip_prefix("cfn=(")?.split_once(") ")?;
        Some(name.split('\'').next().unwrap_or(name))
    });
    let functions: Sizes = named
        .chain(called)
        .filter_map(|name| Some((name.to_owned(), *sizes.get(name)?)))
        .collect();
    add_up(&functions)
}

/// Functions by their names without hashes.
fn add_up(functions: &Sizes) -> Sizes {
    let mut sums = Sizes::new();
    for (name, size) in functions {
        if let Some(name) = without_hashes(name) {
            *sums.entry(name).or_default() += size;
        }
    }
    sums
}

/// A name as a pattern. `None` where it has what a pattern gives another meaning.
fn without_hashes(name: &str) -> Option<String> {
    let known = |char: char| char.is_ascii_alphanumeric() || "_$.".contains(char);
    if !name.starts_with('_') || !name.chars().all(known) {
        return None;
    }
    // `_ZN..17h<16 digits>E`, in the older form of mangling.
    if let Some((rest, hash)) = name.rsplit_once("17h")
        && hash
            .get(..16)
            .is_some_and(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        return Some(format!("{rest}17h*"));
    }
    // `Cs<digits of base 62>_`, which stands before the name of a crate, in the newer one.
    let mut parts = name.split("Cs");
    let mut pattern = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        pattern.push_str("Cs");
        match part.split_once('_') {
            Some((hash, rest)) if hash.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                pattern.push_str("*_");
                pattern.push_str(rest);
            }
            Some(_) | None => pattern.push_str(part),
        }
    }
    Some(pattern)
}

/// First the names that stand for little else than what runs, in quarters: others of the same name come along.
fn densest_first<'a>(names: &'a Sizes, all: &Sizes) -> Vec<&'a String> {
    let mut sorted: Vec<&String> = names.keys().collect();
    sorted.sort_by_key(|name| {
        let (runs, has) = (names.get(*name), all.get(*name));
        let quarters = runs.zip(has).map(|(runs, has)| runs * 4 / (*has).max(1));
        std::cmp::Reverse(quarters)
    });
    sorted
}

fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output();
    let output = output.map_err(|error| format!("cannot start {program}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} failed"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_changes_from_build_to_build() {
        for (name, expected) in [
            ("_ZN4core3ptr17h0123456789abcdefE", Some("_ZN4core3ptr17h*")),
            (
                "_ZN4a17hb3c17h0123456789abcdefE.llvm.77",
                Some("_ZN4a17hb3c17h*"),
            ),
            (
                "_RNvCs5Z9_7___rustc12___rust_alloc",
                Some("_RNvCs*_7___rustc12___rust_alloc"),
            ),
            (
                "_RNvMNtCsaB1_4core3strNtCs0_3std",
                Some("_RNvMNtCs*_4core3strNtCs*_3std"),
            ),
            ("_x25519_ge_add", Some("_x25519_ge_add")),
            ("main", None),
            ("_a*", None),
        ] {
            assert_eq!(without_hashes(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn what_runs_is_found_and_the_densest_stands_first() {
        let listing = "0000000000001000 0000000000000010 t _ZN1a17h0000000000000001E\n\
                       0000000000001010 0000000000000100 T _ZN1a17h0000000000000002E\n\
                       0000000000001110 0000000000000020 t _ZN1b17h0000000000000003E\n\
                       0000000000002000 0000000000000020 D _ZN1c17h0000000000000004E\n\
                                        U pow\n";
        let sizes = sizes(listing);
        assert_eq!(sizes.len(), 3);
        let written = "ob=(1) /binary\nfn=(1) _ZN1a17h0000000000000001E\n1 2\ncfn=(2) _ZN1b17h0000000000000003E'2\nfn=(1)\nfn=(3) strange\n";
        let runs = executed(written, &sizes);
        assert_eq!(
            densest_first(&runs, &add_up(&sizes)),
            ["_ZN1b17h*", "_ZN1a17h*"]
        );
    }
}
