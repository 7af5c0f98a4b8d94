//! `cargo xtask defences`: takes out one defence after the other and demands that its test fails.
//!
//! Main type: `Defence`, one row of `xtask/defences.txt`. A test that passes without what it tests is none; this proves that
//! each row of docs/guarantees.md has one that is. The tree that is changed is a copy below `target/`, with a build
//! directory of its own, so that nothing is left to put back. Not part of `ci`: it builds once a row, a quarter of an hour in all.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::step::cargo;

/// Lines of one file, and what stands in their place when the defence is out.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    file: String,
    old: String,
    new: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Defence {
    row: String,
    title: String,
    changes: Vec<Change>,
    test: Vec<String>,
}

/// Proves all rows, or the one that is asked for.
pub(crate) fn run(root: &Path, wanted: Option<&str>) -> bool {
    let defences = match std::fs::read_to_string(root.join("xtask/defences.txt")) {
        Ok(text) => parse(&text),
        Err(error) => {
            println!("cannot read xtask/defences.txt: {error}");
            return false;
        }
    };
    let place = root.join("target/defences");
    let tree = place.join("tree");
    let mut unproven = Vec::new();
    for defence in &defences {
        if wanted.is_some_and(|wanted| wanted != defence.row) {
            continue;
        }
        let found = copy(root, &tree)
            .map_err(|error| format!("cannot copy the tree: {error}"))
            .and_then(|()| prove(defence, &tree, &place.join("build")));
        match found {
            Ok(()) => println!("ok      {} {}", defence.row, defence.title),
            Err(why) => {
                println!("FAILED  {} {}: {why}", defence.row, defence.title);
                unproven.push(defence.row.as_str());
            }
        }
    }
    if !unproven.is_empty() {
        println!("not proven: {}", unproven.join(", "));
    }
    unproven.is_empty()
}

fn parse(text: &str) -> Vec<Defence> {
    let mut defences: Vec<Defence> = Vec::new();
    let mut file = "";
    // Whether the last line was one of the new text, so that an old one begins another change.
    let mut between = true;
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("== ") {
            let (row, title) = head.split_once(' ').unwrap_or((head, ""));
            defences.push(Defence {
                row: row.to_owned(),
                title: title.to_owned(),
                ..Defence::default()
            });
            between = true;
            continue;
        }
        let Some(defence) = defences.last_mut() else {
            continue;
        };
        if let Some(path) = line.strip_prefix("file ") {
            file = path;
            between = true;
        } else if let Some(arguments) = line.strip_prefix("test ") {
            defence.test = arguments.split_whitespace().map(str::to_owned).collect();
        } else if let Some(old) = line.strip_prefix("- ") {
            if between {
                defence.changes.push(Change {
                    file: file.to_owned(),
                    old: String::new(),
                    new: String::new(),
                });
                between = false;
            }
            if let Some(change) = defence.changes.last_mut() {
                change.old.push_str(old);
                change.old.push('\n');
            }
        } else if let Some(new) = line.strip_prefix("+ ") {
            between = true;
            if let Some(change) = defence.changes.last_mut() {
                change.new.push_str(new);
                change.new.push('\n');
            }
        }
    }
    defences
}

/// The text without the defence.
fn taken_out(text: &str, change: &Change) -> Result<String, String> {
    match text.matches(&change.old).count() {
        1 => Ok(text.replacen(&change.old, &change.new, 1)),
        count => Err(format!(
            "{}: stands {count} times and not once:\n{}",
            change.file, change.old
        )),
    }
}

fn prove(defence: &Defence, tree: &Path, build: &Path) -> Result<(), String> {
    for change in &defence.changes {
        let path = tree.join(&change.file);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", change.file))?;
        std::fs::write(&path, taken_out(&text, change)?)
            .map_err(|error| format!("cannot write {}: {error}", change.file))?;
    }
    let output = cargo(tree)
        .arg("test")
        .args(&defence.test)
        .env("CARGO_TARGET_DIR", build)
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        // Rows of tables are the tests here; shrinking a counterexample for minutes is not.
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if said.contains("test result: FAILED") {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let why: Vec<&str> = errors
        .lines()
        .filter(|line| line.starts_with("error"))
        .collect();
    Err(if why.is_empty() {
        format!("`{}` passes without it", defence.test.join(" "))
    } else {
        format!("it does not build: {}", why.join("; "))
    })
}

/// Copies what git tracks or would track, as it stands. Files that are the same keep their time, so little is rebuilt.
fn copy(root: &Path, tree: &Path) -> std::io::Result<()> {
    let listing = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()?;
    for path in listing.stdout.split(|byte| *byte == 0) {
        let path = PathBuf::from(String::from_utf8_lossy(path).into_owned());
        let (from, to) = (root.join(&path), tree.join(&path));
        let Ok(bytes) = std::fs::read(&from) else {
            continue;
        };
        if std::fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        if let Some(directory) = to.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(&to, bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_defence_stands_where_it_is_said_to_stand() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = std::fs::read_to_string(root.join("xtask/defences.txt")).unwrap();
        let defences = parse(&text);
        assert!(defences.len() > 30);
        for defence in defences {
            assert!(!defence.changes.is_empty(), "{}", defence.row);
            assert!(defence.test.len() > 2, "{}", defence.row);
            for change in &defence.changes {
                let text = std::fs::read_to_string(root.join(&change.file)).unwrap();
                assert_ne!(taken_out(&text, change).unwrap(), text, "{}", defence.row);
            }
        }
    }

    #[test]
    fn rows_are_read_with_all_their_changes() {
        let text = "# about\n== 7b a title\nfile a.rs\n- one\n-   two\n+ 1\n- three\n+ 3\ntest -p a name\n";
        let defences = parse(text);
        assert_eq!(defences.len(), 1);
        let [first, second] = defences[0].changes.as_slice() else {
            panic!("{defences:?}");
        };
        assert_eq!(
            (first.old.as_str(), first.new.as_str()),
            ("one\n  two\n", "1\n")
        );
        assert_eq!(second.old, "three\n");
        assert_eq!(
            taken_out("one\n  two\nthree\n", first).as_deref(),
            Ok("1\nthree\n")
        );
        assert!(taken_out("three\nthree\n", second).is_err());
        assert_eq!(defences[0].test, ["-p", "a", "name"]);
    }
}
