//! A step of a command: a program or a check that is run, timed and reported on one line.
//!
//! Main type: `Steps`. It stops at nothing by itself: after a failure the later steps still run where they can, so one
//! run shows everything that is wrong. The output of a program goes straight to ours; only the tests' output is also
//! read, to add up what their closing lines say.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What the closing lines of all test binaries say together.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tests {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
    /// Lines in which a test says at run time that it could not run here, and why.
    pub(crate) skipped: Vec<String>,
}

impl Tests {
    /// Takes one line of a test run into account.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some(counts) = line.trim_start().strip_prefix("test result: ") {
            for part in counts.split(['.', ';']) {
                let mut words = part.split_whitespace();
                let (Some(number), Some(what)) = (words.next(), words.next()) else {
                    continue;
                };
                let Ok(number) = number.parse::<usize>() else {
                    continue;
                };
                match what {
                    "passed" => self.passed += number,
                    "failed" => self.failed += number,
                    "ignored" => self.ignored += number,
                    _ => {}
                }
            }
        } else if line.starts_with("SKIPPED ") {
            self.skipped.push(line.trim_end().to_owned());
        }
    }

    fn add(&mut self, other: Tests) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.skipped.extend(other.skipped);
    }

    /// A skipped test returned early and so was counted as passed by its runner; here it is counted as what it is.
    pub(crate) fn closing_line(&self) -> String {
        let skipped = self.skipped.len();
        let passed = self.passed.saturating_sub(skipped);
        format!(
            "tests: {passed} passed, {} failed, {} skipped",
            self.failed,
            self.ignored + skipped
        )
    }
}

struct Outcome {
    name: &'static str,
    good: bool,
    took: Duration,
}

/// The steps of one command, in order, with what became of each.
pub(crate) struct Steps {
    root: PathBuf,
    outcomes: Vec<Outcome>,
    started: Instant,
}

impl Steps {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            outcomes: Vec::new(),
            started: now(),
        }
    }

    /// Runs a check of our own.
    pub(crate) fn check(&mut self, name: &'static str, check: impl FnOnce(&Path) -> bool) -> bool {
        println!("==> {name}");
        let started = now();
        let good = check(&self.root);
        self.close(name, good, started)
    }

    /// Runs cargo; its output goes straight to ours.
    pub(crate) fn cargo(
        &mut self,
        name: &'static str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> bool {
        println!("==> {name}: cargo {}", arguments.join(" "));
        let started = now();
        let mut command = cargo(&self.root);
        command.args(arguments).envs(environment.iter().copied());
        let good = match command.status() {
            Ok(status) => status.success(),
            Err(error) => {
                println!("cannot start cargo: {error}");
                false
            }
        };
        self.close(name, good, started)
    }

    /// Runs cargo with tests: the output goes to ours line by line and is added up.
    pub(crate) fn tests(&mut self, name: &'static str, arguments: &[&str]) -> Tests {
        println!("==> {name}: cargo {}", arguments.join(" "));
        let started = now();
        let mut command = cargo(&self.root);
        command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (good, tests) = match command.spawn() {
            Ok(mut child) => {
                let errors = child.stderr.take();
                let errors =
                    thread::spawn(move || errors.map(|pipe| pass_on(pipe, std::io::stderr())));
                let mut tests = child
                    .stdout
                    .take()
                    .map(|pipe| pass_on(pipe, std::io::stdout()))
                    .unwrap_or_default();
                if let Ok(Some(more)) = errors.join() {
                    tests.add(more);
                }
                (child.wait().is_ok_and(|status| status.success()), tests)
            }
            Err(error) => {
                println!("cannot start cargo: {error}");
                (false, Tests::default())
            }
        };
        self.close(name, good, started);
        tests
    }

    fn close(&mut self, name: &'static str, good: bool, started: Instant) -> bool {
        let took = started.elapsed();
        println!("{} {name} ({:.1} s)", mark(good), took.as_secs_f64());
        self.outcomes.push(Outcome { name, good, took });
        good
    }

    /// Prints the table of all steps and says whether all of them passed.
    pub(crate) fn finish(self) -> bool {
        println!("\nstep                          result   seconds");
        for outcome in &self.outcomes {
            println!(
                "{:<30}{:<9}{:>7.1}",
                outcome.name,
                mark(outcome.good),
                outcome.took.as_secs_f64()
            );
        }
        let failed: Vec<&str> = self
            .outcomes
            .iter()
            .filter(|outcome| !outcome.good)
            .map(|outcome| outcome.name)
            .collect();
        println!("{:<39}{:>7.1}", "all", self.started.elapsed().as_secs_f64());
        if !failed.is_empty() {
            println!("FAILED: {}", failed.join(", "));
        }
        failed.is_empty()
    }
}

/// Cargo as it started us, in the repository's root.
pub(crate) fn cargo(root: &Path) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo tells its children where it is"
    )]
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root).stdin(Stdio::null());
    command
}

#[expect(
    clippy::disallowed_methods,
    reason = "steps are timed on the real clock"
)]
fn now() -> Instant {
    Instant::now()
}

fn mark(good: bool) -> &'static str {
    if good { "ok" } else { "FAILED" }
}

/// Copies a program's output to ours, line by line, and reads it on the way.
fn pass_on(from: impl Read, mut to: impl Write) -> Tests {
    let mut tests = Tests::default();
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|count| count > 0)
    {
        // Our own output may be a closed pipe; the child must be read to its end all the same.
        let _ = to.write_all(&line);
        tests.read(&String::from_utf8_lossy(&line));
        line.clear();
    }
    let _ = to.flush();
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_added_up_and_skips_are_not_passes() {
        let mut tests = Tests::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s",
            "SKIPPED namespaces: the kernel forbids user namespaces",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.00s",
        ] {
            tests.read(line);
        }
        assert_eq!(tests.closing_line(), "tests: 6 passed, 2 failed, 2 skipped");
    }

    #[test]
    fn output_passes_through_unchanged() {
        let mut seen = Vec::new();
        let tests = pass_on(
            &b"one\ntest result: ok. 2 passed; 0 failed; 0 ignored\n\xff tail"[..],
            &mut seen,
        );
        assert_eq!(
            seen,
            b"one\ntest result: ok. 2 passed; 0 failed; 0 ignored\n\xff tail"
        );
        assert_eq!(tests.passed, 2);
    }
}
