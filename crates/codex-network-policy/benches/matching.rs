//! What a judgement costs, by the length of the list and by the kind of name.
//!
//! `cargo bench -p codex-network-policy`. The allocator counts: a row without an `alloc` line allocated nothing.
#![expect(clippy::expect_used, reason = "the lists and names are made to parse")]

use std::cell::Cell;

use codex_network_policy::{
    AccessRequest, Host, HostPattern, Origin, PatternSet, Policy, Protocol, Rule, Rules, Target,
};
use divan::{AllocProfiler, Bencher, black_box};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const SIZES: [usize; 4] = [10, 1_000, 100_000, 1_000_000];
/// A working set that stays in the cache, so that only the work itself is seen.
const FEW: usize = 8;
/// A working set that a long list spreads over more memory than a short one, so that the cache is seen as well.
const MANY: usize = 1024;
/// A sample asks every name at least once; the slowest sample is the first, which finds nothing in the cache.
const SAMPLE: u32 = 1024;

fn main() {
    divan::main();
}

/// A pattern of one of the three common forms.
fn pattern_text(number: usize) -> String {
    match number % 3 {
        0 => format!("host{number}.example{}.com", number % 5_003),
        1 => format!("*.zone{number}.example.net"),
        _ => format!("**.site{number}.org"),
    }
}

fn patterns(size: usize) -> Vec<HostPattern> {
    (0..size)
        .map(|number| HostPattern::parse(&pattern_text(number)).expect("a pattern"))
        .collect()
}

/// Numbers all over the list.
fn numbers(size: usize, names: usize) -> impl Iterator<Item = usize> {
    (0..names).map(move |index| (index * 7_919 + 13) % size)
}

fn hosts(texts: impl Iterator<Item = String>) -> Vec<Host> {
    texts
        .map(|text| Host::parse(&text).expect("a host"))
        .collect()
}

fn hits(size: usize, names: usize) -> Vec<Host> {
    let text = |number| {
        pattern_text(number)
            .replace("**.", "www.")
            .replace("*.", "api.")
    };
    hosts(numbers(size, names).map(text))
}

fn misses(size: usize, names: usize) -> Vec<Host> {
    let text = |number| match number % 3 {
        // Nothing known, the last label known, all but the first label known.
        0 => format!("www.unlisted{number}.test"),
        1 => format!("www.unlisted{number}.com"),
        _ => format!("other{number}.example{}.com", number % 5_003),
    };
    hosts(numbers(size, names).map(text))
}

/// Names of about a hundred labels, below a listed name and not.
fn deep_names(size: usize, names: usize) -> Vec<Host> {
    let text = |number| {
        let labels = "a.".repeat(100);
        if number % 2 == 0 {
            format!("{labels}zone{number}.example.net")
        } else {
            format!("{labels}site{number}.org")
        }
    };
    hosts(numbers(size, names).map(text))
}

fn measure(bencher: Bencher<'_, '_>, size: usize, hosts: &[Host]) {
    let patterns = patterns(size);
    let set = PatternSet::compile(&patterns);
    let next = Cell::new(0);
    bencher.bench_local(|| {
        let index = next.replace((next.get() + 1) % hosts.len());
        black_box(&set).find(black_box(&hosts[index]))
    });
}

#[divan::bench(args = SIZES, sample_size = SAMPLE)]
fn find_hit(bencher: Bencher<'_, '_>, size: usize) {
    measure(bencher, size, &hits(size, FEW));
}

#[divan::bench(args = SIZES, sample_size = SAMPLE)]
fn find_hit_of_many(bencher: Bencher<'_, '_>, size: usize) {
    measure(bencher, size, &hits(size, MANY));
}

#[divan::bench(args = SIZES, sample_size = SAMPLE)]
fn find_miss(bencher: Bencher<'_, '_>, size: usize) {
    measure(bencher, size, &misses(size, FEW));
}

#[divan::bench(args = SIZES, sample_size = SAMPLE)]
fn find_miss_of_many(bencher: Bencher<'_, '_>, size: usize) {
    measure(bencher, size, &misses(size, MANY));
}

#[divan::bench(args = SIZES, sample_size = SAMPLE)]
fn find_deep_name(bencher: Bencher<'_, '_>, size: usize) {
    measure(bencher, size, &deep_names(size, FEW));
}

/// The whole judgement, with a denylist as long as the allowlist.
#[divan::bench(args = SIZES, sample_size = SAMPLE)]
fn evaluate(bencher: Bencher<'_, '_>, size: usize) {
    let rule = |pattern| Rule {
        pattern,
        origin: Origin::flag("bench"),
    };
    let denied = (size..2 * size)
        .map(|number| HostPattern::parse(&pattern_text(number)).expect("a pattern"));
    let policy = Policy::compile(Rules {
        enabled: true,
        allowed: patterns(size).into_iter().map(rule).collect(),
        denied: denied.map(rule).collect(),
        ..Rules::default()
    });
    let targets: Vec<Target> = hits(size, FEW)
        .into_iter()
        .map(|host| Target::Host { host, port: 443 })
        .collect();
    let next = Cell::new(0);
    bencher.bench_local(|| {
        let target = &targets[next.replace((next.get() + 1) % targets.len())];
        let request = AccessRequest {
            protocol: Protocol::HttpsConnect,
            target,
            method: Some("CONNECT"),
            upgrade: false,
        };
        black_box(&policy).evaluate(black_box(&request))
    });
}

#[divan::bench(args = ["8.8.8.8", "10.0.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8", "localhost"])]
fn evaluate_literal(bencher: Bencher<'_, '_>, text: &str) {
    let policy = Policy::compile(Rules {
        enabled: true,
        ..Rules::default()
    });
    let target = Target::Host {
        host: Host::parse(text).expect("a host"),
        port: 443,
    };
    let request = AccessRequest {
        protocol: Protocol::Socks5Tcp,
        target: &target,
        method: None,
        upgrade: false,
    };
    bencher.bench_local(|| black_box(&policy).evaluate(black_box(&request)));
}

#[divan::bench(args = ["example.com", "www.Some-Longer-Name.example.co.uk", "bücher.example", "192.0.2.1", "[2001:db8::1]"])]
fn parse_host(text: &str) -> Host {
    Host::parse(black_box(text)).expect("a host")
}

#[divan::bench(args = [100_000], sample_count = 20, sample_size = 1)]
fn compile(bencher: Bencher<'_, '_>, size: usize) {
    let patterns = patterns(size);
    bencher.bench_local(|| PatternSet::compile(black_box(&patterns)));
}

/// From text to a policy, as at start and at every reload.
#[divan::bench(args = [100_000], sample_count = 20, sample_size = 1)]
fn parse_and_compile(bencher: Bencher<'_, '_>, size: usize) {
    let texts: Vec<String> = (0..size).map(pattern_text).collect();
    let origin = Origin::flag("bench");
    bencher.bench_local(|| {
        let rule = |text: &String| Rule {
            pattern: HostPattern::parse(text).expect("a pattern"),
            origin: origin.clone(),
        };
        let allowed = black_box(&texts).iter().map(rule).collect();
        Policy::compile(Rules {
            enabled: true,
            allowed,
            ..Rules::default()
        })
    });
}
