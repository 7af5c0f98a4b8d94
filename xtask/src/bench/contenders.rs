//! Who is compared, at what, and how each is started.
//!
//! Main types: [`Contender`] and [`Row`]. Another proxy is a row of [`ALL`] and an arm of [`Contender::command`]. Every one
//! listens on loopback, keeps no access log and caches nothing; policies allow the origin and refuse everything else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row {
    Kept,
    KeptMany,
    Fresh,
    Refused,
    Connect,
    Socks,
    Bulk,
    BulkMany,
    Idle,
    Start,
}

impl Row {
    pub(crate) const ALL: [Row; 10] = [
        Row::Kept,
        Row::KeptMany,
        Row::Fresh,
        Row::Refused,
        Row::Connect,
        Row::Socks,
        Row::Bulk,
        Row::BulkMany,
        Row::Idle,
        Row::Start,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Row::Kept => "kept HTTP, 32 clients",
            Row::KeptMany => "kept HTTP, 256 clients",
            Row::Fresh => "a new connection each",
            Row::Refused => "refused requests",
            Row::Connect => "CONNECT and a request",
            Row::Socks => "SOCKS5 and a request",
            Row::Bulk => "bulk, 1 tunnel",
            Row::BulkMany => "bulk, 16 tunnels",
            Row::Idle => "an idle tunnel",
            Row::Start => "start",
        }
    }

    /// What the load tool calls it.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Row::Kept | Row::KeptMany | Row::Start => "kept",
            Row::Fresh | Row::Connect | Row::Socks => "fresh",
            Row::Refused => "refused",
            Row::Bulk | Row::BulkMany => "bulk",
            Row::Idle => "idle",
        }
    }

    pub(crate) fn clients(self) -> u64 {
        match self {
            Row::Kept | Row::Fresh | Row::Refused | Row::Connect | Row::Socks => 32,
            Row::KeptMany => 256,
            Row::BulkMany => 16,
            Row::Bulk | Row::Idle | Row::Start => 1,
        }
    }
}

/// How a client speaks to a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Plain,
    Forward,
    Connect,
    Socks,
}

impl Way {
    /// What the load tool calls it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Way::Plain => "plain",
            Way::Forward => "forward",
            Way::Connect => "connect",
            Way::Socks => "socks",
        }
    }
}

/// Ourselves, with each audit event and all metrics sent to a collector, which is the origin as well.
const WITH_EVIDENCE: &str = "ours, OTLP";

/// One program that is compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// What has to be installed; `None` for what we build.
    program: Option<&'static str>,
    ways: &'static [Way],
    /// Which cores it may use, in the words of `taskset`.
    pub(crate) cores: &'static str,
}

const ALL: [Contender; 13] = [
    built("direct", &[Way::Plain], "0"),
    built("relay-copy", &[Way::Plain], "0"),
    built("relay-splice", &[Way::Plain], "0"),
    built("ours", &[Way::Forward, Way::Connect, Way::Socks], "0"),
    built(
        "ours, 2 cores",
        &[Way::Forward, Way::Connect, Way::Socks],
        "0,1",
    ),
    built(WITH_EVIDENCE, &[Way::Forward], "0"),
    peer("haproxy", "haproxy", &[Way::Forward]),
    peer("squid", "squid", &[Way::Forward, Way::Connect]),
    peer("tinyproxy", "tinyproxy", &[Way::Forward, Way::Connect]),
    peer("privoxy", "privoxy", &[Way::Forward, Way::Connect]),
    peer("microsocks", "microsocks", &[Way::Socks]),
    peer("dante", "danted", &[Way::Socks]),
    peer("mitmproxy", "mitmdump", &[Way::Forward, Way::Connect]),
];

const fn built(name: &'static str, ways: &'static [Way], cores: &'static str) -> Contender {
    Contender {
        name,
        program: None,
        ways,
        cores,
    }
}

const fn peer(name: &'static str, program: &'static str, ways: &'static [Way]) -> Contender {
    Contender {
        name,
        program: Some(program),
        ways,
        cores: "0",
    }
}

/// What we build, and ourselves.
pub(crate) fn floors() -> Vec<Contender> {
    let built = ALL.into_iter().filter(|it| it.program.is_none());
    built
        .filter(|it| it.cores == "0" && it.name != WITH_EVIDENCE)
        .collect()
}

/// All that can be started here.
pub(crate) fn installed() -> Vec<Contender> {
    ALL.into_iter()
        .filter(|it| it.program.is_none_or(|program| found(program).is_some()))
        .collect()
}

/// Where a program is.
pub(super) fn found(program: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "where programs are")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/bin"].map(PathBuf::from);
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench-peers/bin");
    std::env::split_paths(&path)
        .chain(usual)
        .chain([peers])
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// Where a contender finds everything.
pub(crate) struct Place<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) tool: &'a Path,
    pub(crate) ours: &'a Path,
    pub(crate) origin: &'a str,
    pub(crate) port: u16,
}

impl Contender {
    /// The way in which it takes part in a row, if it does.
    pub(crate) fn way(&self, row: Row) -> Option<Way> {
        let wanted: &[Way] = match row {
            Row::Kept | Row::KeptMany | Row::Fresh => &[Way::Plain, Way::Forward],
            Row::Refused => &[Way::Forward],
            Row::Connect | Row::Bulk | Row::BulkMany | Row::Idle => &[Way::Plain, Way::Connect],
            Row::Socks => &[Way::Socks],
            Row::Start => &[Way::Plain, Way::Forward, Way::Socks],
        };
        let idle = matches!(row, Row::Idle | Row::Start);
        let seldom = self.name == WITH_EVIDENCE && !matches!(row, Row::Kept | Row::Refused);
        if seldom || (self.name == "direct" && idle) {
            return None;
        }
        wanted.iter().copied().find(|way| self.ways.contains(way))
    }

    /// Whether its listener for this way is the second one.
    pub(crate) fn has_second_port(&self, way: Way) -> bool {
        self.program.is_none() && way == Way::Socks
    }

    /// How it is started, listening at the place's port, and its second listener at the next one. `None`: not at all.
    pub(crate) fn command(&self, place: &Place<'_>) -> std::io::Result<Option<Command>> {
        let (port, at) = (place.port, format!("127.0.0.1:{}", place.port));
        let directory = place.directory.display();
        let file = |name: &str, text: String| {
            let path = place.directory.join(name);
            fs::write(&path, text).map(|()| path)
        };
        let program = self.program.and_then(found).unwrap_or_default();
        let mut command = Command::new(program);
        match self.name {
            "direct" => return Ok(None),
            "relay-copy" | "relay-splice" => {
                command = Command::new(place.tool);
                let way = self.name.trim_start_matches("relay-");
                command.args(["relay", way, &at, place.origin]);
            }
            "haproxy" => {
                let text = format!(
                    "defaults\n mode http\n timeout connect 9s\n timeout client 99s\n timeout server 99s\nlisten l\n bind {at}\n http-request deny deny_status 403 unless {{ url_beg http://{0}/ }}\n http-reuse always\n server o {0}\n",
                    place.origin
                );
                command.arg("-db").arg("-f").arg(file("haproxy.cfg", text)?);
            }
            "squid" => {
                let text = format!(
                    "http_port {at}\nacl o dst 127.0.0.1\nacl named dstdomain .test\nhttp_access deny named\nhttp_access allow o\nhttp_access deny all\ncache deny all\naccess_log none\ncache_log {directory}/log\npid_filename none\nvisible_hostname bench\nshutdown_lifetime 0 seconds\npinger_enable off\nnetdb_filename none\ncoredump_dir {directory}\n"
                );
                command.arg("-N").arg("-f").arg(file("squid.conf", text)?);
            }
            "tinyproxy" => {
                let filter = file("filter", "^127\\.0\\.0\\.1$\n".to_owned())?;
                let text = format!(
                    "Port {port}\nListen 127.0.0.1\nTimeout 600\nLogLevel Critical\nLogFile \"{directory}/log\"\nMaxClients 9000\nFilter \"{}\"\nFilterDefaultDeny Yes\n",
                    filter.display()
                );
                command.arg("-d").arg("-c").arg(file("tiny.conf", text)?);
            }
            "privoxy" => {
                file(
                    "b.action",
                    "{+block{no}}\n/\n{-block}\n127.0.0.1\n".to_owned(),
                )?;
                let text = format!(
                    "confdir {directory}\ntempldir /etc/privoxy/templates\nlogdir {directory}\nactionsfile b.action\nlisten-address {at}\ntoggle 1\nmax-client-connections 9000\nkeep-alive-timeout 300\nconnection-sharing 1\nsocket-timeout 300\ntolerate-pipelining 1\n"
                );
                command.arg("--no-daemon").arg(file("config", text)?);
            }
            "microsocks" => {
                command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
            }
            "dante" => {
                let text = format!(
                    "logoutput: {directory}/log\ninternal: 127.0.0.1 port = {port}\nexternal: 127.0.0.1\nclientmethod: none\nsocksmethod: none\nclient pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\nsocks pass {{ from: 127.0.0.0/8 to: 127.0.0.1/32 command: connect }}\n"
                );
                command.arg("-f").arg(file("dante.conf", text)?);
                command.arg("-p").arg(place.directory.join("pid"));
            }
            "mitmproxy" => {
                command.args(["-q", "--listen-host=127.0.0.1", "-p", &port.to_string()]);
                command.arg(format!("--set=confdir={directory}"));
                command.arg("--set=block_list=/!~d ^127\\.0\\.0\\.1$/403");
            }
            _ => {
                command = Command::new(place.ours);
                command.args(["--quiet", "--allow", "127.0.0.1", "--http-addr", &at]);
                command.args(["--socks-addr", &format!("127.0.0.1:{}", port + 1)]);
                command.env("CODEX_HOME", place.directory);
                if self.name == WITH_EVIDENCE {
                    let collector = format!("http://{}", place.origin);
                    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
                    command.env("OTEL_METRIC_EXPORT_INTERVAL", "1000");
                }
            }
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Some(command))
    }
}
