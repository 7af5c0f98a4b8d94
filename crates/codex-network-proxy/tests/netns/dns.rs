//! A small authoritative DNS server that keeps count.
//!
//! Main type: [`NameServer`]. Goes in: a zone of [`Answer`]s. It answers A and AAAA over UDP, as simply as the wire
//! format allows (no compression, no EDNS, no TCP), and names that it does not know with NXDOMAIN.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::namespace::NAME_SERVER;

/// What the zone says about a name.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// These addresses; with none of a family the answer is empty.
    Addresses(Vec<IpAddr>),
    /// A CNAME, and what its target says.
    Alias(String),
    /// The n-th question about addresses of a family gets the n-th list; the last one stays.
    Turns(Vec<Vec<IpAddr>>),
    ServFail,
    Silent,
}

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

const NO_ERROR: u16 = 0;
const SERV_FAIL: u16 = 2;
const NX_DOMAIN: u16 = 3;

/// Questions per name and type.
type Counts = HashMap<(String, u16), usize>;

#[derive(Debug)]
pub(crate) struct NameServer {
    asked: watch::Receiver<Counts>,
}

impl NameServer {
    pub(crate) async fn start(zone: HashMap<String, Answer>) -> Result<Self> {
        let socket = UdpSocket::bind((NAME_SERVER, 53))
            .await
            .context("cannot listen for DNS")?;
        let (counts, asked) = watch::channel(Counts::new());
        tokio::spawn(serve(socket, Arc::new(zone), counts));
        Ok(Self { asked })
    }

    /// How often somebody asked for addresses of this name: the larger number of both families, which are asked as one.
    pub(crate) fn questions(&self, name: &str) -> usize {
        questions(&self.asked.borrow(), name)
    }

    /// Every name that was ever asked.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .asked
            .borrow()
            .keys()
            .map(|key| key.0.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Waits until somebody has asked for this name.
    pub(crate) async fn wait_for_question(&self, name: &str) -> Result<()> {
        let mut asked = self.asked.clone();
        let wait = asked.wait_for(|counts| questions(counts, name) > 0);
        timeout(Duration::from_secs(10), wait)
            .await
            .with_context(|| format!("nobody asked for `{name}`"))??;
        Ok(())
    }
}

fn questions(counts: &Counts, name: &str) -> usize {
    let of = |kind| counts.get(&(name.to_owned(), kind)).copied();
    of(A).max(of(AAAA)).unwrap_or(0)
}

async fn serve(
    socket: UdpSocket,
    zone: Arc<HashMap<String, Answer>>,
    counts: watch::Sender<Counts>,
) {
    let mut buffer = [0; 1500];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let Some(question) = Question::parse(&buffer[..length]) else {
            continue;
        };
        let mut count = 0;
        counts.send_modify(|counts| {
            let asked = counts
                .entry((question.name.clone(), question.kind))
                .or_default();
            *asked += 1;
            count = *asked;
        });
        if let Some(reply) = reply(&question, &zone, count) {
            let _ = socket.send_to(&reply, client).await;
        }
    }
}

struct Question {
    id: [u8; 2],
    name: String,
    kind: u16,
}

impl Question {
    fn parse(message: &[u8]) -> Option<Self> {
        let id = [*message.first()?, *message.get(1)?];
        let mut labels = Vec::new();
        let mut rest = message.get(12..)?;
        loop {
            let (length, after) = rest.split_first()?;
            let length = usize::from(*length);
            if length == 0 {
                rest = after;
                break;
            }
            labels.push(String::from_utf8_lossy(after.get(..length)?).to_ascii_lowercase());
            rest = after.get(length..)?;
        }
        Some(Self {
            id,
            name: labels.join("."),
            kind: u16::from_be_bytes([*rest.first()?, *rest.get(1)?]),
        })
    }
}

fn reply(question: &Question, zone: &HashMap<String, Answer>, count: usize) -> Option<Vec<u8>> {
    let mut records = Vec::new();
    let mut name = question.name.clone();
    let code = loop {
        match zone.get(&name) {
            None => break NX_DOMAIN,
            Some(Answer::Silent) => return None,
            Some(Answer::ServFail) => break SERV_FAIL,
            Some(Answer::Alias(target)) => {
                records.push(record(&name, CNAME, &encoded(target)));
                name.clone_from(target);
            }
            Some(Answer::Addresses(addresses)) => {
                records.extend(address_records(&name, question.kind, addresses));
                break NO_ERROR;
            }
            Some(Answer::Turns(turns)) => {
                if let Some(addresses) = turns.get(count - 1).or(turns.last()) {
                    records.extend(address_records(&name, question.kind, addresses));
                }
                break NO_ERROR;
            }
        }
    };
    // A reply, authoritative, recursion desired and available.
    let flags = 0x8580 | code;
    let mut message = Vec::from(question.id);
    for field in [flags, 1, u16::try_from(records.len()).ok()?, 0, 0] {
        message.extend(field.to_be_bytes());
    }
    message.extend(encoded(&question.name));
    message.extend(question.kind.to_be_bytes());
    message.extend([0, 1]);
    message.extend(records.concat());
    Some(message)
}

fn address_records(name: &str, kind: u16, addresses: &[IpAddr]) -> Vec<Vec<u8>> {
    addresses
        .iter()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(address), A) => Some(record(name, A, &address.octets())),
            (IpAddr::V6(address), AAAA) => Some(record(name, AAAA, &address.octets())),
            _ => None,
        })
        .collect()
}

/// A record of class IN that nobody may keep.
fn record(name: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    let mut record = encoded(name);
    record.extend(kind.to_be_bytes());
    record.extend([0, 1]);
    record.extend(0_u32.to_be_bytes());
    record.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
    record.extend(data);
    record
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(0));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}
