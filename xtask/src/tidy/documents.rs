//! What must not stand in tracked files, and what documents must be right about.
//!
//! No path of one machine and no host name of a package registry; every file that ARCHITECTURE.md names exists; every
//! link from one document to another, or to a heading, leads somewhere; every dependency has its reason written down.
//! Links into the world are not looked at.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::Tree;

/// What no tracked file may hold, in halves so that this file does not hold it either.
const MACHINE_PATHS: [(&str, &str); 4] = [
    ("/wor", "k/"),
    ("/roo", "t/"),
    ("/far", "m/"),
    ("bash_", "jobs"),
];
const REGISTRY_HOSTS: [(&str, &str); 5] = [
    ("crates", ".io"),
    ("pypi", ".org"),
    ("npmjs", ".org"),
    ("npmjs", ".com"),
    ("debian", ".org"),
];

/// Libraries that would put a second TLS stack or C symbols into an embedder's binary.
const BANNED_LIBRARIES: [&str; 7] = [
    "openssl",
    "openssl-sys",
    "native-tls",
    "boring",
    "boring-sys",
    "aws-lc-rs",
    "aws-lc-sys",
];

/// Which libraries are used, and why.
const LIBRARIES: &str = "docs/decisions/0002-libraries.md";

/// All findings on documents and tracked text.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.iter() {
        findings.extend(traces(path, text));
        if path.ends_with(".md") {
            findings.extend(dead_links(tree, path, text));
        }
        if path.ends_with("ARCHITECTURE.md") {
            findings.extend(missing_files(tree, path, text));
        }
    }
    findings.extend(banned_libraries(tree));
    findings.extend(unexplained_libraries(tree));
    findings
}

/// Paths of one machine and host names of registries.
fn traces(path: &str, text: &str) -> Vec<Finding> {
    // A lock file names its registry, as its format demands.
    let lock = path.ends_with("Cargo.lock") || path.ends_with("package-lock.json");
    let hosts = if lock { &[][..] } else { &REGISTRY_HOSTS[..] };
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (kind, halves) in [
            ("path of one machine", &MACHINE_PATHS[..]),
            ("host name of a registry", hosts),
        ] {
            for (left, right) in halves {
                let word = format!("{left}{right}");
                if line.contains(&word) {
                    findings.push(Finding::new(
                        format!("{path}:{number}"),
                        format!("{kind}: `{word}`"),
                    ));
                }
            }
        }
    }
    findings
}

/// The same bans as in `deny.toml`, for a machine without cargo-deny.
fn banned_libraries(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(tree.get("Cargo.lock").unwrap_or_default().lines()) {
        let name = line
            .strip_prefix("name = \"")
            .and_then(|rest| rest.strip_suffix('"'));
        if let Some(name) = name.filter(|name| BANNED_LIBRARIES.contains(name)) {
            findings.push(Finding::new(
                format!("Cargo.lock:{number}"),
                format!("`{name}` is banned (deny.toml)"),
            ));
        }
    }
    findings
}

/// Dependencies that the table of libraries does not name in backticks: each was a decision, and has its reason there.
fn unexplained_libraries(tree: &Tree) -> Vec<Finding> {
    let Some(table) = tree.get(LIBRARIES) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (path, text) in tree.iter().filter(|(path, _)| path.ends_with("Cargo.toml")) {
        let mut inside = false;
        for (number, line) in (1..).zip(text.lines()) {
            if line.starts_with('[') {
                inside = line.ends_with("dependencies]");
            }
            let letter = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
            let name = line.split(|mark| !letter(mark)).next().unwrap_or_default();
            let ours = name.starts_with("codex-network-");
            if inside && !name.is_empty() && !ours && !table.contains(&format!("`{name}`")) {
                let message = format!("`{name}` has no row with its reason in {LIBRARIES}");
                findings.push(Finding::new(format!("{path}:{number}"), message));
            }
        }
    }
    findings
}

/// Lines outside fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    })
}

/// Files named in backticks that nobody can find.
fn missing_files(tree: &Tree, path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in prose(text) {
        for word in line.split('`').skip(1).step_by(2) {
            for name in expand(word).into_iter().filter(|name| is_file_name(name)) {
                if !tree.iter().any(|(file, _)| is_named(file, &name)) {
                    let message = format!("no file or directory is called `{name}`");
                    findings.push(Finding::new(format!("{path}:{number}"), message));
                }
            }
        }
    }
    findings
}

/// `a/{b,c}.rs` names `a/b.rs` and `a/c.rs`.
fn expand(word: &str) -> Vec<String> {
    match word
        .split_once('{')
        .and_then(|(head, rest)| Some((head, rest.split_once('}')?)))
    {
        Some((head, (choices, tail))) => choices
            .split(',')
            .flat_map(|choice| expand(&format!("{head}{}{tail}", choice.trim())))
            .collect(),
        None => vec![word.to_owned()],
    }
}

/// Whether a word in backticks is meant as the name of a file or a directory of ours.
fn is_file_name(word: &str) -> bool {
    let plain = word
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || "/._-*".contains(letter));
    let kinds = [".rs", ".md", ".toml", ".txt", ".sh", ".yml", ".lock", "/"];
    // `config.toml` belongs to the user, and a path from the root of a file system is none of ours.
    let ours = !word.starts_with(['/', '.', '*'])
        || word.starts_with(".ci/")
        || word.starts_with(".github/");
    plain
        && ours
        && word != "config.toml"
        && word.len() > 3
        && kinds.iter().any(|kind| word.ends_with(kind))
}

/// Whether a path is the one that a document names by its end; `*` stands for anything within one part.
fn is_named(path: &str, name: &str) -> bool {
    let directory = name.ends_with('/');
    let wanted: Vec<&str> = name.trim_end_matches('/').split('/').collect();
    let parts: Vec<&str> = path.split('/').collect();
    let parts = if directory {
        &parts[..parts.len() - 1]
    } else {
        &parts[..]
    };
    let fits = |(part, wanted): (&&str, &&str)| match wanted.split_once('*') {
        Some((head, tail)) => part.starts_with(head) && part.ends_with(tail),
        None => part == wanted,
    };
    if directory {
        parts
            .windows(wanted.len())
            .any(|window| window.iter().zip(&wanted).all(fits))
    } else {
        parts.len() >= wanted.len()
            && parts[parts.len() - wanted.len()..]
                .iter()
                .zip(&wanted)
                .all(fits)
    }
}

/// Links to files or headings that do not exist.
fn dead_links(tree: &Tree, path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in prose(text) {
        for target in link_targets(line) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let resolved = if file.is_empty() {
                Some(path.to_owned())
            } else {
                join(path, file)
            };
            let good = resolved
                .as_deref()
                .is_some_and(|file| tree.holds(file) && has_heading(tree, file, heading));
            if !good {
                findings.push(Finding::new(
                    format!("{path}:{number}"),
                    format!("link to `{target}` leads nowhere"),
                ));
            }
        }
    }
    findings
}

/// The targets of `[text](target)` and `[label]: target` on one line; code in backticks is none.
fn link_targets(line: &str) -> Vec<String> {
    let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
    let mut targets = Vec::new();
    let mut rest = plain.as_str();
    while let Some((_, after)) = rest.split_once("](") {
        let Some((target, remaining)) = after.split_once(')') else {
            break;
        };
        targets.extend(target.split_whitespace().next().map(str::to_owned));
        rest = remaining;
    }
    if plain.starts_with('[')
        && let Some((_, target)) = plain.split_once("]: ")
    {
        targets.extend(target.split_whitespace().next().map(str::to_owned));
    }
    targets
}

/// The path that a link in `from` leads to; `None` when it leaves the repository.
fn join(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    if link.starts_with('/') {
        parts.clear();
    }
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn has_heading(tree: &Tree, path: &str, heading: &str) -> bool {
    if heading.is_empty() || !path.ends_with(".md") {
        return true;
    }
    let headings: BTreeSet<String> = prose(tree.get(path).unwrap_or_default())
        .filter_map(|(_, line)| {
            Some(anchor(
                line.strip_prefix('#')?.trim_start_matches('#').trim(),
            ))
        })
        .collect();
    headings.contains(heading)
}

/// The anchor that a forge gives to a heading: lower case, dashes for spaces, other marks dropped.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.flat_map(char::to_lowercase)
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files))
            .into_iter()
            .map(|finding| format!("{}: {}", finding.place, finding.message))
            .collect()
    }

    const NOTHING: [String; 0] = [];

    #[test]
    fn paths_of_one_machine_and_registry_hosts_are_found() {
        for (left, right) in MACHINE_PATHS.into_iter().chain(REGISTRY_HOSTS) {
            let text = format!("fine\nsee {left}{right}x\n");
            let messages = messages(&[("notes.txt", &text)]);
            assert_eq!(messages.len(), 1, "{messages:?}");
            assert!(messages[0].starts_with("notes.txt:2: "), "{messages:?}");
        }
        let lock = format!(
            "source = \"https://{}{}\"",
            REGISTRY_HOSTS[0].0, REGISTRY_HOSTS[0].1
        );
        assert_eq!(
            messages(&[
                ("Cargo.lock", &lock),
                ("a.rs", "// work/around, crates, pypi")
            ]),
            NOTHING
        );
    }

    #[test]
    fn banned_libraries_are_found_in_the_lock_file() {
        assert_eq!(
            messages(&[(
                "Cargo.lock",
                "name = \"rustls\"\nname = \"openssl-probe\"\n"
            )]),
            NOTHING
        );
        assert_eq!(
            messages(&[("Cargo.lock", "name = \"rustls\"\nname = \"openssl-sys\"\n")]),
            ["Cargo.lock:2: `openssl-sys` is banned (deny.toml)"]
        );
    }

    #[test]
    fn every_dependency_has_its_reason() {
        let manifest = "[package]\nname = \"x\"\n\n[target.'cfg(unix)'.dependencies]\n# why\ntokio = \"1\"\n\
                        codex-network-gate.workspace = true\n\n[dev-dependencies]\nhttp.workspace = true\n\n[features]\ncli = []\n";
        let manifest = ("crates/a/Cargo.toml", manifest);
        assert_eq!(
            messages(&[manifest, (LIBRARIES, "| `tokio` and `http` |")]),
            NOTHING
        );
        assert_eq!(
            messages(&[manifest, (LIBRARIES, "| `tokio` and `http-body` |")]),
            [format!(
                "crates/a/Cargo.toml:10: `http` has no row with its reason in {LIBRARIES}"
            )]
        );
    }

    #[test]
    fn files_that_the_architecture_names_exist() {
        let files = [
            "crates/a/src/socks5/codec.rs",
            "crates/a/src/socks5/udp.rs",
            ".ci/run",
            "docs/decisions/0001-x.md",
        ];
        let with = |text: &'static str| {
            let mut tree: Vec<(&str, &str)> = files.iter().map(|path| (*path, "")).collect();
            tree.push(("ARCHITECTURE.md", text));
            messages(&tree)
        };
        let good = "`codec.rs`, `socks5/{codec,udp}.rs`, `socks5/`, `crates/a/`, `docs/decisions/*.md`, `Gate::authorize`, \
                    `config.toml`, `.ci/run`, `*.example.com`\n```\n`gone.rs`\n```\n";
        assert_eq!(with(good), NOTHING);
        let bad = "A\n`codec.rs`, `ocks5/codec.rs`, `socks5/{codec,http}.rs`, `listener/`\n";
        assert_eq!(
            with(bad),
            [
                "ARCHITECTURE.md:2: no file or directory is called `ocks5/codec.rs`",
                "ARCHITECTURE.md:2: no file or directory is called `socks5/http.rs`",
                "ARCHITECTURE.md:2: no file or directory is called `listener/`",
            ]
        );
    }

    #[test]
    fn links_lead_somewhere() {
        let good = "# Two Words!\n[a](docs/config.md#http_proxy-and-no_proxy) [b](#two-words) [c](docs) [d](https://x/y)\n\
                    [e]: ./docs/config.md\n`[f](gone.md)`\n```\n[g](gone.md)\n```\n";
        let config = (
            "docs/config.md",
            "## `HTTP_PROXY` and `NO_PROXY`\n[up](../README.md) [root](/README.md)\n",
        );
        assert_eq!(messages(&[("README.md", good), config]), NOTHING);
        let bad =
            "[a](docs/gone.md)\n[b](#no-such)\n[c](docs/config.md#nor-this)\n[d](../out.md)\n";
        assert_eq!(messages(&[("README.md", bad), config]).len(), 4);
    }
}
