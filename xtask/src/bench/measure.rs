//! Takes one sample: a contender on its core, load and origin on the other.
//!
//! Main types: [`Bench`], which starts and ends everything, and [`Sample`]. CPU time and memory are the kernel's words in
//! `/proc`, over all processes of the contender's group.

use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::contenders::{Contender, Place, Row, Way};

/// The length of the kernel's tick, in seconds.
const TICK: f64 = 0.01;

/// What was reached in one row. What does not apply is zero.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Requests, or bytes, per second.
    pub(crate) rate: f64,
    /// CPU microseconds per request, or seconds per GB; for an idle tunnel KiB, for a start milliseconds.
    pub(crate) cost: f64,
    /// Microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// MiB (PSS) under this load.
    pub(crate) memory: f64,
    pub(crate) failed: bool,
}

impl Sample {
    pub(crate) fn failure() -> Self {
        Self {
            failed: true,
            ..Self::default()
        }
    }

    /// The cost, where it was more than the clock can miss.
    pub(crate) fn cost(&self) -> Option<f64> {
        (self.cost > 0.0 && !self.failed).then_some(self.cost)
    }

    /// Of each figure the middle one, over the samples that did not fail.
    pub(crate) fn median(samples: Vec<Self>) -> Self {
        let good: Vec<Self> = samples.into_iter().filter(|it| !it.failed).collect();
        if good.is_empty() {
            return Self::failure();
        }
        let of = |figure: fn(&Self) -> f64| {
            let mut figures: Vec<f64> = good.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied().unwrap_or_default()
        };
        Self {
            rate: of(|it| it.rate),
            cost: of(|it| it.cost),
            p50: of(|it| it.p50),
            p99: of(|it| it.p99),
            memory: of(|it| it.memory),
            failed: false,
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rate {:.4e}/s  cost {:.2}  p50 {:.0} µs  p99 {:.0} µs  {:.1} MiB",
            self.rate, self.cost, self.p50, self.p99, self.memory
        )
    }
}

/// The programs, and how long a sample takes.
pub(crate) struct Bench {
    pub(crate) tool: PathBuf,
    pub(crate) ours: PathBuf,
    pub(crate) milliseconds: u64,
    pub(crate) idle: u64,
}

/// A process with its children, ended with the value.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Its own group, which we have made.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
        let _ = self.0.wait();
    }
}

impl Group {
    fn start(command: &Command, cores: &str) -> std::io::Result<Self> {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", cores]).arg(command.get_program());
        pinned.args(command.get_args());
        for (name, value) in command.get_envs() {
            pinned.envs(value.map(|value| (name, value)));
        }
        pinned
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        pinned.process_group(0).spawn().map(Self)
    }

    /// The fields of `/proc/PID/stat` behind the name, of each process of the group.
    fn processes(&self) -> Vec<(u32, Vec<u64>)> {
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        ids.filter_map(|id| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            let (_, fields) = stat.rsplit_once(')')?;
            let fields = fields.split_whitespace().skip(1);
            let fields: Vec<u64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
            (fields.get(1) == Some(&u64::from(self.0.id()))).then_some((id, fields))
        })
        .collect()
    }

    /// Seconds of CPU time so far, those of ended children included.
    fn cpu(&self) -> f64 {
        let times = |fields: &Vec<u64>| fields.get(10..14).unwrap_or_default().iter().sum::<u64>();
        let ticks: u64 = self
            .processes()
            .iter()
            .map(|(_, fields)| times(fields))
            .sum();
        ticks as f64 * TICK
    }

    /// PSS in KiB.
    fn memory(&self) -> f64 {
        let of = |id: u32| {
            let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        let processes = self.processes();
        processes.iter().filter_map(|(id, _)| of(*id)).sum()
    }
}

impl Bench {
    /// One sample of one row.
    pub(crate) fn sample(
        &self,
        contender: &Contender,
        row: Row,
        way: Way,
    ) -> Result<Sample, String> {
        self.try_sample(contender, row, way)
            .map_err(|error| error.to_string())
    }

    fn try_sample(&self, contender: &Contender, row: Row, way: Way) -> std::io::Result<Sample> {
        let scratch = std::env::temp_dir().join(format!("bench-{}", std::process::id()));
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(&scratch)?;
        // For proxies that drop their rights.
        fs::set_permissions(
            &scratch,
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        )?;
        let origin = format!("127.0.0.1:{}", free_ports()?);
        let mut command = Command::new(&self.tool);
        command.args(["origin", &origin]);
        let _origin = Group::start(&command, other_core())?;
        wait_for(&origin)?;
        let place = Place {
            directory: &scratch,
            tool: &self.tool,
            ours: &self.ours,
            origin: &origin,
            port: free_ports()?,
        };
        let port = place.port + u16::from(contender.has_second_port(way));
        let mut proxy = format!("127.0.0.1:{port}");
        let started = now();
        let group = match contender.command(&place)? {
            Some(command) => Some(Group::start(&command, contender.cores)?),
            None => {
                proxy.clone_from(&origin);
                None
            }
        };
        wait_for(&proxy)?;
        let start = started.elapsed();
        let sample = match row {
            Row::Start => Ok(Sample {
                cost: start.as_secs_f64() * 1e3,
                memory: group.as_ref().map_or(0.0, Group::memory) / 1024.0,
                ..Sample::default()
            }),
            Row::Idle => self.hold(group.as_ref(), way, &proxy, &origin),
            Row::Kept
            | Row::KeptMany
            | Row::Fresh
            | Row::Refused
            | Row::Connect
            | Row::Socks
            | Row::Bulk
            | Row::BulkMany => self.drive(group.as_ref(), row, way, &proxy, &origin),
        };
        drop(group);
        let _ = fs::remove_dir_all(&scratch);
        sample
    }

    fn load(&self, row: Row, way: Way, proxy: &str, origin: &str) -> Command {
        let mut command = Command::new("taskset");
        command
            .args(["-c", other_core()])
            .arg(&self.tool)
            .arg("load");
        let clients = if row == Row::Idle {
            self.idle
        } else {
            row.clients()
        };
        command.args([
            format!("proxy={proxy}"),
            format!("origin={origin}"),
            format!("how={}", way.word()),
            format!("what={}", row.what()),
            format!("clients={clients}"),
            format!("ms={}", self.milliseconds),
        ]);
        command.stderr(Stdio::null());
        command
    }

    fn drive(
        &self,
        group: Option<&Group>,
        row: Row,
        way: Way,
        proxy: &str,
        origin: &str,
    ) -> std::io::Result<Sample> {
        let before = group.map_or(0.0, Group::cpu);
        let output = self.load(row, way, proxy, origin).output()?;
        let cpu = group.map_or(0.0, Group::cpu) - before;
        let said = String::from_utf8_lossy(&output.stdout);
        let figure = |name: &str| {
            let words = said.split_whitespace();
            let found = words.filter_map(|word| word.split_once('='));
            let mut found = found.filter(|(key, _)| *key == name);
            found
                .next()
                .and_then(|(_, value)| value.parse::<f64>().ok())
        };
        let figure = |name| figure(name).ok_or_else(|| std::io::Error::other("no result"));
        let (requests, bytes, seconds) =
            (figure("requests")?, figure("bytes")?, figure("seconds")?);
        let bulk = matches!(row, Row::Bulk | Row::BulkMany);
        let (done, unit) = if bulk { (bytes, 1e9) } else { (requests, 1e-6) };
        let errors = figure("errors")?;
        if done <= 0.0 || errors > requests / 100.0 + 32.0 {
            return Err(std::io::Error::other(format!(
                "{errors} errors, {done} good"
            )));
        }
        Ok(Sample {
            rate: done / seconds,
            cost: if bulk {
                cpu / done * unit
            } else {
                cpu / done / unit
            },
            p50: figure("p50")?,
            p99: figure("p99")?,
            memory: group.map_or(0.0, Group::memory) / 1024.0,
            failed: false,
        })
    }

    /// The memory that idle tunnels take, in KiB for each.
    fn hold(
        &self,
        group: Option<&Group>,
        way: Way,
        proxy: &str,
        origin: &str,
    ) -> std::io::Result<Sample> {
        let before = group.map_or(0.0, Group::memory);
        let mut command = self.load(Row::Idle, way, proxy, origin);
        let mut load = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        if let Some(pipe) = load.stdout.take() {
            BufReader::new(pipe).read_line(&mut said)?;
        }
        let memory = group.map_or(0.0, Group::memory);
        drop(load.stdin.take());
        let _ = load.wait();
        if !said.starts_with("held=") {
            return Err(std::io::Error::other("tunnels could not be opened"));
        }
        Ok(Sample {
            cost: (memory - before) / self.idle as f64,
            memory: memory / 1024.0,
            ..Sample::default()
        })
    }
}

/// Where load and origin run: off the contender's core, if there is another.
fn other_core() -> &'static str {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores > 1 { "1" } else { "0" }
}

/// A port that was free a moment ago, as was the next one. None of those from which the system takes ports for clients: after
/// many short connections, few of these can be listened at.
fn free_ports() -> std::io::Result<u16> {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut pairs = (10_000..32_000).step_by(2);
    let found = pairs.find(|port| is_free(*port) && is_free(port + 1));
    found.ok_or_else(|| std::io::Error::other("no two free ports in a row"))
}

fn wait_for(address: &str) -> std::io::Result<()> {
    let started = now();
    #[expect(clippy::disallowed_methods, reason = "the load's own clients")]
    while TcpStream::connect(address).is_err() {
        if started.elapsed() > Duration::from_secs(10) {
            return Err(std::io::Error::other("it does not listen"));
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn now() -> Instant {
    Instant::now()
}

/// The processor, the cores and the kernel, in words.
pub(crate) fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel
        .split(['-', '+'])
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    let virtual_machine = Path::new("/sys/hypervisor").exists() || cpu.contains(" hypervisor");
    format!(
        "{}{}, {cores} cores, Linux {kernel}",
        model.unwrap_or_else(|| "an unnamed processor".to_owned()),
        if virtual_machine {
            " (a virtual machine)"
        } else {
            ""
        }
    )
}
