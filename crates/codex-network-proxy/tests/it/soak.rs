//! Load and faults for as long as one likes (THREATS 32): `cargo xtask soak`.
//!
//! Mixed clients at all doors of three proxies, origins and a name server that fail in every way, policies that change all
//! along, and proxies that live shortly under load ([`lives`]). What a client does next comes from a seed. Every so often
//! everything pauses ([`Soak::lull`]): then each verdict must have left its one event, and tasks, descriptors and memory must
//! be back where they were. One thread, so that it can tell whose tasks and events they are; the short lives have many.

#![expect(clippy::print_stdout, reason = "a run of ten minutes says how it goes")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{Wire, within};

mod clients;
mod dice;
mod lives;
mod origins;
mod stage;
mod tally;

use dice::Dice;
use stage::Stage;
use tally::Tally;

/// How many clients do something at any time.
const CLIENTS: u64 = 24;

/// The longest that another client may wait for a page, while all of this goes on. Generous, for machines that are busy.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// What memory may grow by from the first lull to the last.
const MEMORY: usize = 32 * 1024 * 1024;

/// The relay keeps four pipes for the next bulk, of two descriptors each.
const SPARE_PIPES: usize = 8;

/// What tasks and descriptors may take to end after the last client.
const SETTLING: Duration = Duration::from_secs(20);

#[test]
fn a_few_seconds_of_everything_leave_nothing_behind() {
    alone(3, 1);
}

#[test]
#[ignore = "ten minutes: `cargo xtask soak`"]
fn as_long_as_one_likes() {
    let number = |name: &str, default: u64| {
        let given = std::env::var(name).ok();
        given.map_or(default, |text| text.parse().expect(name))
    };
    alone(number("CNP_SOAK_SECONDS", 600), number("CNP_SOAK_SEED", 1));
}

/// In a process of its own, where no other test has descriptors or tasks.
fn alone(seconds: u64, seed: u64) {
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["soak::soak", "--exact", "--ignored", "--nocapture"])
        .env("CNP_SOAK_SECONDS", seconds.to_string())
        .env("CNP_SOAK_SEED", seed.to_string())
        .env("CNP_SOAK_INSIDE", "1")
        .stdin(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "seed {seed}");
}

#[tokio::test]
#[ignore = "counts what its process has open; run by the tests above in one of its own"]
async fn soak() {
    if std::env::var_os("CNP_SOAK_INSIDE").is_none() {
        return;
    }
    let number = |name: &str| std::env::var(name).unwrap().parse().unwrap();
    let (seconds, seed): (u64, u64) = (number("CNP_SOAK_SECONDS"), number("CNP_SOAK_SEED"));
    let soak = Arc::new(Soak::new(Stage::build().await));
    // The first child of a process leaves a descriptor for the signal of its end.
    lives::one(&soak, &mut Dice::new(seed)).await;
    let before = Taken::now();
    let mut workers = JoinSet::new();
    for worker in 0..CLIENTS {
        let dice = Dice::new(seed.wrapping_mul(1_000_003).wrapping_add(worker));
        workers.spawn(work(Arc::clone(&soak), dice));
    }
    workers.spawn(canary(Arc::clone(&soak)));
    workers.spawn(reload(Arc::clone(&soak), Dice::new(seed ^ 0x00ff_00ff)));
    workers.spawn(live(Arc::clone(&soak), Dice::new(seed ^ 0xff00_ff00)));
    let before = Taken {
        tasks: before.tasks + workers.len(),
        ..before
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    let stretch = Duration::from_secs((seconds / 12).max(1));
    let mut memory = Vec::new();
    while Instant::now() < end {
        let rest = stretch.min(end.saturating_duration_since(Instant::now()));
        tokio::select! {
            Some(ended) = workers.join_next() => panic!("a client gave up: {ended:?}"),
            () = keep_events(&soak, rest) => {}
        }
        memory.push(soak.lull(before, end).await);
    }
    if let Some(ended) = workers.try_join_next() {
        panic!("a client gave up: {ended:?}");
    }
    workers.shutdown().await;
    let (first, last) = (memory[0], memory[memory.len() - 1]);
    println!(
        "soak: {seconds} s, seed {seed}: {}",
        soak.tally.lock().unwrap().summary()
    );
    println!("soak: {}", soak.waits.lock().unwrap().summary());
    println!(
        "soak: memory {} KiB at the first pause, {} KiB at the last; {} tasks and {} descriptors before and after",
        first / 1024,
        last / 1024,
        before.tasks,
        before.descriptors
    );
    assert!(last < first + MEMORY, "memory grew: {memory:?}");
}

/// What all parts share.
struct Soak {
    stage: Stage,
    tally: Mutex<Tally>,
    waits: Mutex<Waits>,
    /// Whoever does something holds it for reading; a lull holds it alone.
    busy: RwLock<()>,
    number: AtomicU64,
}

impl Soak {
    fn new(stage: Stage) -> Self {
        Self {
            stage,
            tally: Mutex::default(),
            waits: Mutex::default(),
            busy: RwLock::new(()),
            number: AtomicU64::new(0),
        }
    }

    /// Waits until all clients are done, and demands that nothing of them is left. Returns the memory in use.
    async fn lull(&self, before: Taken, end: Instant) -> usize {
        let paused = timeout(Duration::from_secs(90), self.busy.write()).await;
        let _paused = paused.expect("all clients come to an end");
        let settled = timeout(SETTLING, async {
            while !Taken::now().is_within(before) {
                sleep(Duration::from_millis(50)).await;
            }
        });
        let settled = settled.await;
        let now = Taken::now();
        assert!(
            settled.is_ok(),
            "left behind: {now:?}, was {before:?}; {:?}",
            descriptors()
        );
        let mut tally = self.tally.lock().unwrap();
        tally.take_events(&self.stage);
        tally.assert_even();
        self.stage.assert_untouched();
        println!(
            "soak: {} s to go, {}, {} KiB, {now:?}",
            end.saturating_duration_since(Instant::now()).as_secs(),
            tally.summary(),
            now.memory / 1024
        );
        now.memory
    }
}

/// Takes the events now and then, so that the test itself does not grow.
async fn keep_events(soak: &Soak, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        sleep(Duration::from_millis(100).min(time)).await;
        soak.tally.lock().unwrap().take_events(&soak.stage);
    }
}

/// One thing after the other.
async fn work(soak: Arc<Soak>, mut dice: Dice) {
    loop {
        {
            let _busy = soak.busy.read().await;
            soak.number.fetch_add(1, Ordering::Relaxed);
            clients::one(&soak, &mut dice).await;
        }
        tokio::task::yield_now().await;
    }
}

/// A client that does nothing wrong, and counts how long it waits.
async fn canary(soak: Arc<Soak>) {
    loop {
        let _busy = soak.busy.read().await;
        let mut client = Wire::connect(soak.stage.full.proxy.http_addr()).await;
        for _ in 0..20 {
            let asked = Instant::now();
            clients::page(&soak, &mut client, "canary.soak.test", 200).await;
            let waited = asked.elapsed();
            soak.waits.lock().unwrap().0.push(waited);
            assert!(waited < LONGEST_WAIT, "waited {waited:?} for a page");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// How long the canary waited for each page.
#[derive(Default)]
struct Waits(Vec<Duration>);

impl Waits {
    fn summary(&mut self) -> String {
        self.0.sort();
        let at = |share: usize| self.0.get(self.0.len() * share / 1000).copied();
        format!(
            "another client waited {:?} in the middle, {:?} at 99 %, {:?} at most, of {} pages",
            at(500).unwrap_or_default(),
            at(990).unwrap_or_default(),
            self.0.last().copied().unwrap_or_default(),
            self.0.len()
        )
    }
}

/// Changes the policy in every way that a person does, and asks for what has changed.
async fn reload(soak: Arc<Soak>, mut dice: Dice) {
    let stage = &soak.stage;
    let mut status = stage.full.proxy.policy_status();
    loop {
        sleep(Duration::from_millis(dice.below(400))).await;
        let _busy = soak.busy.read().await;
        let permits = dice.below(2) == 0;
        if dice.below(5) == 0 {
            stage.write_config(
                "default_permissions = \"soak\"\n[permissions.soak.network\n",
                0,
            );
            within(
                "the complaint",
                status.wait_for(|now| now.failure.is_some()),
            )
            .await
            .unwrap();
        }
        stage.write_config(&stage::config(permits), dice.below(3));
        let wanted = move |now: &codex_network_proxy::PolicyStatus| {
            let allowed = &now.config.full_settings().allowed_domains;
            now.failure.is_none()
                && permits == allowed.iter().any(|host| host.starts_with("toggle"))
        };
        drop(
            within("the new policy", status.wait_for(wanted))
                .await
                .unwrap(),
        );
        let mut client = Wire::connect(stage.full.proxy.http_addr()).await;
        let expected = if permits { 200 } else { 403 };
        clients::page(&soak, &mut client, "toggle.soak.test", expected).await;
    }
}

/// One short life after the other.
async fn live(soak: Arc<Soak>, mut dice: Dice) {
    loop {
        {
            let _busy = soak.busy.read().await;
            lives::one(&soak, &mut dice).await;
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// What this process has at a moment.
#[derive(Clone, Copy, Debug)]
struct Taken {
    tasks: usize,
    descriptors: usize,
    /// In bytes.
    memory: usize,
}

impl Taken {
    fn now() -> Self {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        Self {
            tasks: tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks(),
            descriptors: descriptors().len(),
            memory: pages.unwrap_or(0_usize) * 4096,
        }
    }

    fn is_within(self, before: Self) -> bool {
        self.tasks <= before.tasks && self.descriptors <= before.descriptors + SPARE_PIPES
    }
}

/// Where the descriptors of this process lead.
fn descriptors() -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return Vec::new();
    };
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.collect()
}
