//! What other programs make of a request's target: Python's `urllib` and Node's `URL` are asked about every combination
//! below, and may not read another host or port than we judge. What we refuse, they may read as they like.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use codex_network_policy::Host;
use serde_json::Value;

use crate::harness::Setup;

const SCHEMES: [&str; 3] = ["http://", "https://", "HTTP://"];
const USERS: [&str; 4] = ["", "user@", "user:pass@", "a.example:80@"];
const HOSTS: [&str; 44] = [
    "a.example",
    "A.Example",
    "a.example.",
    "a.example..",
    ".a.example",
    "a..example",
    "a_b.example",
    "-a.example",
    "xn--bcher-kva.example",
    "xn--a.example",
    "1.2.3.4",
    "1.2.3.4.",
    "1.2.3",
    "0x7f.1",
    "0177.0.0.1",
    "2130706433",
    "1.2.3.4.5",
    "1.2.3.08",
    "0x.1",
    "256.1.1.1",
    "a.1",
    "a.0x1",
    "[::1]",
    "[::ffff:1.2.3.4]",
    "[2001:DB8::1]",
    "[::1",
    "::1",
    "[v1.a]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
    "[a.example]",
    "a%2eexample",
    "a%00.example",
    "a%40b.example",
    "a\\b.example",
    "a\\@b.example",
    "a.example;b",
    "a,b",
    "a'b",
    "a|b",
    "a^b",
    "a{b}",
    "*.example",
    "a$b.example",
];
const PORTS: [&str; 11] = [
    ":80", "", ":", ":0", ":080", ":8080", ":65536", ":99999", ":+80", ":80a", ":8 0",
];
const TAILS: [&str; 9] = [
    "/",
    "",
    "/p@b.example/",
    "?q@b.example",
    "#@b.example",
    "\\@b.example/",
    "/..//b.example",
    ";p",
    "%2f",
];

type Explained = (&'static str, fn(&str) -> bool, &'static str);

/// Where a reader goes another way with a reason. Each reason must still be needed.
const EXPLAINED: [Explained; 1] = [(
    "python",
    |target| target.contains("[fe80::1%25lo]"),
    "RFC 6874 writes the `%` before a zone as `%25` in a URL; urllib does not take it back. The address is one.",
)];

const PYTHON: &str = "
import json, sys, urllib.parse
for line in sys.stdin:
    try:
        read = urllib.parse.urlsplit(json.loads(line))
        port = read.port
        print(json.dumps([read.hostname, {'http': 80, 'https': 443}.get(read.scheme) if port is None else port]))
    except ValueError:
        print('null')
";

const NODE: &str = "
for (const line of require('fs').readFileSync(0, 'utf8').split('\\n').filter(Boolean)) {
    let read = null;
    try { read = new URL(JSON.parse(line)); } catch (error) {}
    const known = { 'http:': 80, 'https:': 443 };
    console.log(JSON.stringify(read && [read.hostname, read.port === '' ? known[read.protocol] : Number(read.port)]));
}
";

fn targets() -> Vec<String> {
    let mut targets = Vec::new();
    for scheme in SCHEMES {
        for host in HOSTS {
            for (index, port) in PORTS.iter().enumerate() {
                for tail in TAILS {
                    for user in USERS {
                        // Everything with everything would be 50,000; what is special is tried beside what is plain.
                        let plain = [
                            index < 2,
                            tail.len() < 2,
                            user.is_empty(),
                            scheme == "http://",
                        ];
                        if plain.iter().filter(|plain| !**plain).count() < 2 {
                            targets.push(format!("{scheme}{user}{host}{port}{tail}"));
                        }
                    }
                }
            }
        }
    }
    targets
}

/// One answer for each target: host and port, or null. `None` where the program is not there.
fn read_by(program: &str, arguments: &[&str], targets: &[String]) -> Option<Vec<Value>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take().unwrap();
    let lines: String = targets
        .iter()
        .map(|target| format!("{}\n", Value::from(target.as_str())))
        .collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), targets.len(), "{program}");
    Some(answers)
}

/// What we judge: host and port out of the refusal, or nothing where the request is malformed.
async fn judged(world: &crate::harness::World, target: &str) -> Option<(Host, u16)> {
    let answer = world
        .exchange(format!(
            "GET {target} HTTP/1.1\r\nConnection: close\r\n\r\n"
        ))
        .await;
    if answer.starts_with("HTTP/1.1 400 ") {
        return None;
    }
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let refusal: Value = serde_json::from_str(body).unwrap();
    let host = Host::parse(refusal["host"].as_str().unwrap()).unwrap();
    Some((
        host,
        u16::try_from(refusal["port"].as_u64().unwrap()).unwrap(),
    ))
}

#[tokio::test]
async fn no_other_program_reads_another_host_or_port() {
    let targets = targets();
    let python = std::env::var("CNP_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let readers = [
        ("python", read_by(&python, &["-c", PYTHON], &targets)),
        ("node", read_by("node", &["-e", NODE], &targets)),
    ];
    for (reader, _) in readers.iter().filter(|(_, answers)| answers.is_none()) {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED readings of request targets: no {reader}"
        );
    }
    let world = Setup::new().start().await;
    let mut disagreements = String::new();
    let (mut accepted, mut needed) = (0, vec![false; EXPLAINED.len()]);
    for (index, target) in targets.iter().enumerate() {
        let Some((host, port)) = judged(&world, target).await else {
            continue;
        };
        accepted += 1;
        for (reader, answers) in &readers {
            let Some(Value::Array(read)) = answers.as_ref().map(|answers| &answers[index]) else {
                continue;
            };
            let theirs = Host::parse(read[0].as_str().unwrap_or_default());
            if theirs.as_ref() == Ok(&host) && read[1].as_u64() == Some(port.into()) {
                continue;
            }
            let why = EXPLAINED
                .iter()
                .position(|(who, fits, _)| who == reader && fits(target));
            match why {
                Some(why) => needed[why] = true,
                None => {
                    writeln!(disagreements, "{target}: {host} {port}, {reader} {read:?}").unwrap()
                }
            }
        }
    }
    assert_eq!(disagreements, "");
    assert!(
        accepted > 300,
        "only {accepted} of {} are accepted",
        targets.len()
    );
    if readers.iter().all(|(_, answers)| answers.is_some()) {
        assert!(needed.iter().all(|needed| *needed), "{needed:?}");
    }
}
