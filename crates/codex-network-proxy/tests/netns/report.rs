//! Runs the cases and says what became of each, on one line, in words that `cargo xtask ci` adds up.
//!
//! Main types: [`Case`] and [`Outcome`]. The cases run side by side, a few at a time; those that look back on all the
//! others run last.

use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::world::World;

/// Most cases wait for a program that starts up.
const AT_ONCE: usize = 6;

/// What a case may take at most, unless it says otherwise.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) enum Outcome {
    Passed,
    /// Why it could not run here.
    Skipped(String),
}

type Running = Pin<Box<dyn Future<Output = Result<Outcome>> + Send>>;

/// One line of the report.
pub(crate) struct Case {
    name: String,
    run: Box<dyn FnOnce(Arc<World>) -> Running + Send>,
    limit: Duration,
    is_last: bool,
}

impl Case {
    /// Grants it another time than the usual one.
    pub(crate) fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }
}

/// A case that passes unless it fails.
pub(crate) fn case<F>(
    name: impl Into<String>,
    run: impl FnOnce(Arc<World>) -> F + Send + 'static,
) -> Case
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    skippable(name, |world| {
        let run = run(world);
        async { run.await.map(|()| Outcome::Passed) }
    })
}

/// A case that may find that it cannot run here.
pub(crate) fn skippable<F>(
    name: impl Into<String>,
    run: impl FnOnce(Arc<World>) -> F + Send + 'static,
) -> Case
where
    F: Future<Output = Result<Outcome>> + Send + 'static,
{
    Case {
        name: name.into(),
        run: Box::new(|world| Box::pin(run(world))),
        limit: LIMIT,
        is_last: false,
    }
}

/// A case that looks back on what all the others have left.
pub(crate) fn last<F>(
    name: impl Into<String>,
    run: impl FnOnce(Arc<World>) -> F + Send + 'static,
) -> Case
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    Case {
        is_last: true,
        ..case(name, run)
    }
}

/// Runs the cases whose names hold the filter, and says whether none failed.
pub(crate) async fn run(world: &Arc<World>, cases: Vec<Case>, filter: Option<&str>) -> bool {
    let started = Instant::now();
    let all = cases.len();
    let (last, cases): (Vec<Case>, Vec<Case>) = cases
        .into_iter()
        .filter(|case| filter.is_none_or(|word| case.name.contains(word)))
        .partition(|case| case.is_last);
    let mut tally = Tally {
        filtered: all - last.len() - cases.len(),
        ..Tally::default()
    };
    println!("\nrunning {} tests", last.len() + cases.len());
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for case in cases {
        let (world, slots) = (Arc::clone(world), Arc::clone(&slots));
        running.spawn(async move {
            let _slot = slots.acquire().await;
            judged(case, world).await
        });
    }
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok((name, outcome)) => tally.add(&name, outcome),
            Err(panicked) => tally.add("a case", Err(anyhow!("{panicked}"))),
        }
    }
    for case in last {
        let (name, outcome) = judged(case, Arc::clone(world)).await;
        tally.add(&name, outcome);
    }
    tally.close(started.elapsed())
}

async fn judged(case: Case, world: Arc<World>) -> (String, Result<Outcome>) {
    let limit = case.limit;
    let outcome = timeout(limit, (case.run)(world)).await;
    let outcome = outcome.unwrap_or_else(|_| Err(anyhow!("did not end within {limit:?}")));
    (case.name, outcome)
}

/// The whole suite cannot run here.
pub(crate) fn all_skipped(reason: &str) -> bool {
    println!("\nrunning 1 test");
    skipped("netns (all cases)", reason);
    let mut tally = Tally::default();
    tally.skipped += 1;
    tally.close(Duration::ZERO)
}

#[derive(Default)]
struct Tally {
    passed: usize,
    skipped: usize,
    filtered: usize,
    failures: Vec<(String, String)>,
}

impl Tally {
    fn add(&mut self, name: &str, outcome: Result<Outcome>) {
        match outcome {
            Ok(Outcome::Passed) => {
                self.passed += 1;
                println!("test {name} ... ok");
            }
            Ok(Outcome::Skipped(reason)) => {
                self.skipped += 1;
                skipped(name, &reason);
            }
            Err(error) => {
                println!("test {name} ... FAILED");
                self.failures.push((name.to_owned(), format!("{error:#}")));
            }
        }
    }

    fn close(self, took: Duration) -> bool {
        for (name, error) in &self.failures {
            println!("\n---- {name} ----\n{error}");
        }
        let word = if self.failures.is_empty() {
            "ok"
        } else {
            "FAILED"
        };
        let failed = self.failures.len();
        // `cargo xtask` takes the SKIPPED lines off the passed ones, for with the usual runner a test that skips passes.
        println!(
            "\nnetns: {} passed, {failed} failed, {} SKIPPED\ntest result: {word}. {} passed; {failed} failed; 0 ignored; \
             0 measured; {} filtered out; finished in {:.2}s (skipped ones count as passed in this line)",
            self.passed,
            self.skipped,
            self.passed + self.skipped,
            self.filtered,
            took.as_secs_f64(),
        );
        self.failures.is_empty()
    }
}

fn skipped(name: &str, reason: &str) {
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    println!("test {name} ... SKIPPED");
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {reason}");
}
