//! `cargo xtask scale`: what deployments cost and how long clients wait in them, simulated from measured costs.
//!
//! Main function: [`run`]. Comes in: the costs in `docs/performance.md`. Goes out: the table between two marks of
//! `docs/scale.md`. Requests arrive at random; each goes to one of several instances, each of which has one core and serves
//! in the order of arrival; half-way one instance leaves. Networks, origins and the balancer are not simulated: the wait
//! is what the proxy adds. The seed is fixed, so equal costs give equal tables.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- simulated -->\n";
const END: &str = "<!-- /simulated -->\n";

/// How long is simulated, in seconds of arrivals.
const SECONDS: f64 = 120.0;

/// How much of its core an instance shall use at most.
const BUSY: f64 = 0.6;

/// What one instance of the proxy takes, in seconds of CPU or KiB.
struct Costs {
    kept: f64,
    tunnel: f64,
    refused: f64,
    gigabyte: f64,
    idle_tunnel: f64,
}

/// What one sandbox does, per second.
struct Sandbox {
    name: &'static str,
    kept: f64,
    tunnels: f64,
    refused: f64,
    megabytes: f64,
    open: f64,
}

const SANDBOXES: [Sandbox; 2] = [
    Sandbox {
        name: "an agent: a request now and then, some packages",
        kept: 2.0,
        tunnels: 1.0,
        refused: 0.2,
        megabytes: 0.2,
        open: 10.0,
    },
    Sandbox {
        name: "a build: many packages at once",
        kept: 20.0,
        tunnels: 10.0,
        refused: 0.5,
        megabytes: 5.0,
        open: 30.0,
    },
];

const COUNTS: [u32; 4] = [1, 50, 1_000, 10_000];

/// Writes the table.
pub(crate) fn run(root: &Path) -> bool {
    match written(root) {
        Ok(()) => true,
        Err(error) => {
            println!("scale: {error}");
            false
        }
    }
}

fn written(root: &Path) -> Result<(), String> {
    let read = |name: &str| {
        fs::read_to_string(root.join(name)).map_err(|error| format!("{name}: {error}"))
    };
    let costs = Costs::read(&read("docs/performance.md")?)?;
    let text = read("docs/scale.md")?;
    let (before, rest) = text.split_once(BEGIN).ok_or("the first mark is missing")?;
    let (_, after) = rest.split_once(END).ok_or("the second mark is missing")?;
    let table = table(&costs);
    fs::write(
        root.join("docs/scale.md"),
        format!("{before}{BEGIN}{table}{END}{after}"),
    )
    .map_err(|error| error.to_string())
}

impl Costs {
    /// From the tables of `cargo xtask bench`.
    fn read(text: &str) -> Result<Self, String> {
        let cost = |row: &str| {
            let (_, part) = text
                .split_once(&format!("\n**{row}**\n"))
                .ok_or_else(|| format!("`{row}` was not measured: run `cargo xtask bench`"))?;
            let line = part.lines().find_map(|line| line.strip_prefix("| ours | "));
            let first = line.and_then(|line| line.split(" |").next());
            first
                .and_then(|cost| cost.trim().parse::<f64>().ok())
                .ok_or_else(|| format!("`{row}` has no figure for `ours`"))
        };
        Ok(Self {
            kept: cost("kept HTTP, 32 clients")? * 1e-6,
            tunnel: cost("CONNECT and a request")? * 1e-6,
            refused: cost("refused requests")? * 1e-6,
            gigabyte: cost("bulk, 1 tunnel")?,
            idle_tunnel: cost("an idle tunnel")?,
        })
    }
}

impl Sandbox {
    /// Requests per second.
    fn rate(&self) -> f64 {
        self.kept + self.tunnels + self.refused
    }

    /// Seconds of CPU per second.
    fn work(&self, costs: &Costs) -> f64 {
        self.kept * costs.kept
            + self.tunnels * costs.tunnel
            + self.refused * costs.refused
            + self.megabytes / 1e3 * costs.gigabyte
    }
}

fn table(costs: &Costs) -> String {
    let mut text = String::from(
        "\n| sandbox | how many | instances | core in use | memory for tunnels, MiB | wait p99, ms | while one leaves, ms |\n|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for sandbox in &SANDBOXES {
        for count in COUNTS {
            let work = sandbox.work(costs) * f64::from(count);
            let needed = (work / BUSY).ceil().max(1.0);
            // One more, so that one can leave; a proxy of one sandbox leaves with it.
            let instances = if count == 1 { 1.0 } else { needed + 1.0 };
            let run = Run {
                sandbox,
                costs,
                count: f64::from(count),
                instances: instances as usize,
            };
            let (usual, leaving) = run.waits();
            let leaving =
                leaving.map_or_else(|| "–".to_owned(), |wait| format!("{:.2}", wait * 1e3));
            let _ = writeln!(
                text,
                "| {} | {count} | {instances:.0} | {:.1} % | {:.1} | {:.2} | {leaving} |",
                sandbox.name,
                work / instances * 100.0,
                sandbox.open * f64::from(count) * costs.idle_tunnel / 1024.0,
                usual * 1e3,
            );
        }
    }
    text.push('\n');
    text
}

/// One deployment under load.
struct Run<'a> {
    sandbox: &'a Sandbox,
    costs: &'a Costs,
    count: f64,
    instances: usize,
}

impl Run<'_> {
    /// The 99th percentile of the seconds that a request waits for its core: with all instances, and with one fewer.
    fn waits(&self) -> (f64, Option<f64>) {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let rate = self.sandbox.rate() * self.count;
        // Of a large fleet a part is enough: instances are alike, and a balancer spreads by chance.
        let share = (20_000.0 / rate).min(1.0);
        let seconds = SECONDS * share.max(0.02);
        let mut free_at = vec![0.0_f64; self.instances];
        let (mut usual, mut leaving) = (Vec::new(), Vec::new());
        let mut clock = 0.0;
        while clock < seconds {
            clock += -random.unit().ln() / rate;
            let leaves = self.instances > 1 && clock > seconds / 2.0;
            let choices = if leaves {
                self.instances - 1
            } else {
                self.instances
            };
            let chosen = (random.unit() * choices as f64) as usize;
            let Some(free) = free_at.get_mut(chosen.min(choices - 1)) else {
                break;
            };
            let begins = free.max(clock);
            *free = begins + self.service(&mut random);
            if leaves { &mut leaving } else { &mut usual }.push(begins - clock);
        }
        (
            percentile(usual),
            (!leaving.is_empty()).then(|| percentile(leaving)),
        )
    }

    /// The seconds of CPU that one request takes, with its part of the bytes.
    fn service(&self, random: &mut Random) -> f64 {
        let Sandbox {
            kept,
            tunnels,
            megabytes,
            ..
        } = *self.sandbox;
        let rate = self.sandbox.rate();
        let kind = random.unit() * rate;
        let bytes = megabytes / 1e3 * self.costs.gigabyte / rate;
        // Sizes vary by far more than requests do.
        let bytes = bytes * -random.unit().ln();
        bytes
            + if kind < kept {
                self.costs.kept
            } else if kind < kept + tunnels {
                self.costs.tunnel
            } else {
                self.costs.refused
            }
    }
}

fn percentile(mut waits: Vec<f64>) -> f64 {
    waits.sort_by(f64::total_cmp);
    let index = waits.len() * 99 / 100;
    waits.get(index).copied().unwrap_or_default()
}

/// Numbers that look random, and are the same each time (xorshift).
struct Random(u64);

impl Random {
    /// Above zero and below one.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs {
        kept: 40e-6,
        tunnel: 150e-6,
        refused: 20e-6,
        gigabyte: 1.0,
        idle_tunnel: 4.0,
    };

    #[test]
    fn equal_costs_give_equal_tables_and_more_load_longer_waits() {
        assert_eq!(table(&COSTS), table(&COSTS));
        let [_, build] = &SANDBOXES;
        let wait = |count: f64| {
            let run = Run {
                sandbox: build,
                costs: &COSTS,
                count,
                instances: 2,
            };
            run.waits()
        };
        let (light, heavy) = (wait(10.0), wait(180.0));
        assert!(light.0 < heavy.0, "{light:?} {heavy:?}");
        assert!(
            heavy.1.is_some_and(|leaving| leaving > heavy.0),
            "{heavy:?}"
        );
    }

    #[test]
    fn costs_are_read_from_the_tables() {
        let rows = [
            "kept HTTP, 32 clients",
            "CONNECT and a request",
            "refused requests",
            "bulk, 1 tunnel",
            "an idle tunnel",
        ];
        let text: String = rows
            .iter()
            .map(|row| {
                format!("\n**{row}**\n\n| | CPU |\n|---|---|\n| direct | |\n| ours | 2.500 | |\n")
            })
            .collect();
        let costs = Costs::read(&text).unwrap();
        assert!((costs.kept - 2.5e-6).abs() < 1e-12);
        assert!((costs.idle_tunnel - 2.5).abs() < 1e-9);
        assert!(Costs::read("").is_err());
    }
}
