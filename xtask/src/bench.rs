//! `cargo xtask bench`: the proxy beside no proxy, two plain relays and whichever other proxies are installed.
//!
//! Main function: [`run`]. All contenders take turns within each round, so that what the machine does meanwhile hits all of
//! them; medians over the rounds go into `docs/performance.md`, with charts. Single samples are noise: only ratios within
//! a run count. The load tool is in `bench/`, a workspace of its own. [`smoke`] is the short run of CI.

mod contenders;
mod measure;
mod peers;
mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use contenders::{Contender, Row};
use measure::{Bench, Sample};

use crate::step::cargo;

/// The medians of one run: by row and contender.
pub(crate) type Results = BTreeMap<(Row, &'static str), Sample>;

/// How much is measured.
#[derive(Clone, Copy)]
struct Plan {
    rounds: usize,
    /// Of each sample.
    milliseconds: u64,
    idle: u64,
}

/// What `bench` takes; `None` where the words are not understood.
pub(crate) fn run(root: &Path, words: &[&str]) -> Option<bool> {
    let plan = |rounds| Plan {
        rounds,
        milliseconds: 1_000,
        idle: 1_000,
    };
    match words {
        [] => Some(measured(root, plan(5))),
        ["--rounds", rounds] => Some(measured(root, plan(rounds.parse().ok()?))),
        ["--install-peers"] => Some(peers::install()),
        ["smoke"] => Some(smoke(root)),
        _ => None,
    }
}

fn measured(root: &Path, plan: Plan) -> bool {
    let done = compare(root, plan, &contenders::installed())
        .and_then(|results| report::write(root, &results, plan.rounds));
    match done {
        Ok(()) => true,
        Err(error) => {
            println!("bench: {error}");
            false
        }
    }
}

/// A short run that would notice a proxy that has become several times slower. A busy machine must not fail it.
pub(crate) fn smoke(root: &Path) -> bool {
    let plan = Plan {
        rounds: 3,
        milliseconds: 300,
        idle: 200,
    };
    let few: Vec<Contender> = contenders::floors();
    let results = match compare(root, plan, &few) {
        Ok(results) => results,
        Err(error) => {
            println!("bench: {error}");
            return false;
        }
    };
    let cost = |row, name| results.get(&(row, name)).and_then(Sample::cost);
    let mut good = true;
    for (row, most) in [
        (Row::Kept, 5.0),
        (Row::Fresh, 4.0),
        (Row::Connect, 4.0),
        (Row::Bulk, 4.0),
    ] {
        match (cost(row, "ours"), cost(row, "relay-copy")) {
            (Some(ours), Some(floor)) => {
                let ratio = ours / floor;
                println!("{}: {ratio:.2} of a plain relay's CPU", row.title());
                if ratio > most {
                    println!("that is beyond {most}");
                    good = false;
                }
            }
            // A sample can be too short for the kernel's clock.
            _ => println!("{}: not measured", row.title()),
        }
    }
    let failed = results.iter().filter(|(_, sample)| sample.failed);
    for ((row, name), _) in failed {
        println!("{name} failed at `{}`", row.title());
        good = false;
    }
    good
}

fn compare(root: &Path, plan: Plan, contenders: &[Contender]) -> Result<Results, String> {
    let bench = Bench {
        tool: built(root, "bench", root.join("target/bench"))?,
        ours: built(root, ".", root.join("target"))?,
        milliseconds: plan.milliseconds,
        idle: plan.idle,
    };
    let mut all: BTreeMap<(Row, &'static str), Vec<Sample>> = BTreeMap::new();
    for round in 1..=plan.rounds {
        for row in Row::ALL {
            for contender in contenders {
                let Some(way) = contender.way(row) else {
                    continue;
                };
                let sample = bench.sample(contender, row, way).unwrap_or_else(|error| {
                    println!("{} failed at `{}`: {error}", contender.name, row.title());
                    Sample::failure()
                });
                println!(
                    "round {round}  {:<28} {:<12} {sample}",
                    row.title(),
                    contender.name
                );
                all.entry((row, contender.name)).or_default().push(sample);
            }
        }
    }
    let medians = all
        .into_iter()
        .map(|(key, samples)| (key, Sample::median(samples)));
    Ok(medians.collect())
}

/// Builds one of the two programs, and says where it is.
fn built(root: &Path, directory: &str, target: PathBuf) -> Result<PathBuf, String> {
    let (package, program) = match directory {
        "bench" => ("bench", "bench"),
        _ => ("codex-network-proxy", "codex-network-proxy"),
    };
    let mut command: Command = cargo(root);
    let status = command
        .current_dir(root.join(directory))
        .args(["build", "--release", "--locked", "--quiet", "--package"])
        .args([package, "--bin", program])
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if !status.success() {
        return Err(format!("{program} does not build"));
    }
    Ok(target.join("release").join(program))
}
