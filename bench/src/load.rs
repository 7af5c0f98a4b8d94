//! Clients: as many as wanted, each with one request under way, for as long as wanted.
//!
//! [`run`] takes `proxy=ADDRESS origin=ADDRESS how=plain|forward|connect|socks what=kept|fresh|refused|bulk|idle clients=N
//! ms=N` and prints what was reached. `idle` opens its tunnels, says so, and holds them until its input ends.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};

/// By which way a client reaches the origin.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// As if there were no proxy.
    Plain,
    Forward,
    Connect,
    Socks,
}

/// What a client does.
#[derive(Clone, Copy, PartialEq)]
enum What {
    Kept,
    Fresh,
    Refused,
    Bulk,
    Idle,
}

struct Plan {
    proxy: String,
    origin: String,
    how: How,
    what: What,
    until: Instant,
}

/// What one client has reached.
#[derive(Default)]
struct Reached {
    latencies: Vec<u32>,
    bytes: u64,
    errors: u64,
}

pub async fn run(words: &[&str]) -> io::Result<()> {
    let keys: HashMap<&str, &str> = words
        .iter()
        .filter_map(|word| word.split_once('='))
        .collect();
    let key = |name: &str| {
        let missing = || io::Error::other(format!("`{name}=` is missing"));
        keys.get(name).copied().ok_or_else(missing)
    };
    let number = |name: &str| key(name)?.parse::<u64>().map_err(io::Error::other);
    let how = match key("how")? {
        "plain" => How::Plain,
        "forward" => How::Forward,
        "connect" => How::Connect,
        "socks" => How::Socks,
        other => return Err(io::Error::other(format!("`how={other}` is unknown"))),
    };
    let what = match key("what")? {
        "kept" => What::Kept,
        "fresh" => What::Fresh,
        "refused" => What::Refused,
        "bulk" => What::Bulk,
        "idle" => What::Idle,
        other => return Err(io::Error::other(format!("`what={other}` is unknown"))),
    };
    let clients = number("clients")?;
    let started = Instant::now();
    let plan = Rc::new(Plan {
        proxy: key("proxy")?.to_owned(),
        origin: key("origin")?.to_owned(),
        how,
        what,
        until: started + Duration::from_millis(number("ms")?),
    });
    LocalSet::new()
        .run_until(async move {
            if what == What::Idle {
                return hold(&plan, clients).await;
            }
            let mut tasks = JoinSet::new();
            for _ in 0..clients {
                let plan = Rc::clone(&plan);
                tasks.spawn_local(async move { client(&plan).await });
            }
            let all = tasks.join_all().await;
            report(all, started.elapsed());
            Ok(())
        })
        .await
}

fn report(all: Vec<Reached>, took: Duration) {
    let mut latencies: Vec<u32> = all
        .iter()
        .flat_map(|one| one.latencies.iter().copied())
        .collect();
    latencies.sort_unstable();
    let at = |hundredths: usize| {
        let index = latencies.len() * hundredths / 100;
        latencies.get(index).copied().unwrap_or_default()
    };
    let bytes: u64 = all.iter().map(|one| one.bytes).sum();
    let errors: u64 = all.iter().map(|one| one.errors).sum();
    println!(
        "requests={} bytes={bytes} errors={errors} seconds={:.4} p50={} p99={}",
        latencies.len(),
        took.as_secs_f64(),
        at(50),
        at(99)
    );
}

async fn hold(plan: &Plan, count: u64) -> io::Result<()> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(open(plan).await?);
    }
    println!("held={count}");
    let _ = tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new())).await;
    drop(held);
    Ok(())
}

async fn client(plan: &Plan) -> Reached {
    let mut reached = Reached::default();
    while Instant::now() < plan.until {
        if session(plan, &mut reached).await.is_err() {
            reached.errors += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    reached
}

/// One connection, and all that is done over it.
async fn session(plan: &Plan, reached: &mut Reached) -> io::Result<()> {
    let mut before = Instant::now();
    let mut stream = open(plan).await?;
    let path = if plan.what == What::Bulk {
        "/bulk"
    } else {
        "/"
    };
    let host = if plan.what == What::Refused {
        "refused.test"
    } else {
        plan.origin.as_str()
    };
    let target = match plan.how {
        How::Forward => format!("http://{host}{path}"),
        How::Plain | How::Connect | How::Socks => path.to_owned(),
    };
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
    );
    let mut buffer = vec![0; 256 * 1024];
    if plan.what == What::Bulk {
        stream.write_all(request.as_bytes()).await?;
        while Instant::now() < plan.until {
            match stream.read(&mut buffer).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => reached.bytes += count as u64,
            }
        }
        return Ok(());
    }
    while Instant::now() < plan.until {
        stream.write_all(request.as_bytes()).await?;
        let stays = answer(&mut stream, &mut buffer, plan.what == What::Refused).await?;
        let took = before.elapsed().as_micros();
        reached
            .latencies
            .push(u32::try_from(took).unwrap_or(u32::MAX));
        if !stays || plan.what == What::Fresh || plan.how == How::Connect || plan.how == How::Socks
        {
            return Ok(());
        }
        before = Instant::now();
    }
    Ok(())
}

/// A connection on which requests for the origin can be sent.
async fn open(plan: &Plan) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(&plan.proxy).await?;
    stream.set_nodelay(true)?;
    match plan.how {
        How::Plain | How::Forward => {}
        How::Connect => {
            let origin = &plan.origin;
            let request = format!("CONNECT {origin} HTTP/1.1\r\nHost: {origin}\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut head).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            if !head.starts_with(b"HTTP/1.1 200") && !head.starts_with(b"HTTP/1.0 200") {
                return Err(io::Error::other("the tunnel was refused"));
            }
        }
        How::Socks => {
            let address: std::net::SocketAddrV4 = plan.origin.parse().map_err(io::Error::other)?;
            stream.write_all(&[5, 1, 0]).await?;
            let mut chosen = [0; 2];
            stream.read_exact(&mut chosen).await?;
            let mut request = vec![5, 1, 0, 1];
            request.extend(address.ip().octets());
            request.extend(address.port().to_be_bytes());
            stream.write_all(&request).await?;
            let mut reply = [0; 10];
            stream.read_exact(&mut reply).await?;
            if chosen != [5, 0] || reply[1] != 0 {
                return Err(io::Error::other("the tunnel was refused"));
            }
        }
    }
    Ok(stream)
}

/// Reads one answer, which has a length. Whether the connection can take another request.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8], refused: bool) -> io::Result<bool> {
    let mut filled = 0;
    let head = loop {
        match stream.read(&mut buffer[filled..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
        if let Some(end) = buffer[..filled]
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
        {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let good = text.as_bytes().get(9..12) == Some(if refused { b"403" } else { b"200" });
    if !good {
        return Err(io::Error::other("another status was expected"));
    }
    let field = |name: &str| text.split("\r\n").find_map(|line| line.strip_prefix(name));
    let closes = text.starts_with("http/1.0")
        || field("connection:").is_some_and(|value| value.contains("close"));
    match field("content-length:").and_then(|value| value.trim().parse::<usize>().ok()) {
        Some(length) => {
            while filled < head + length {
                match stream.read(&mut buffer[filled..]).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => filled += count,
                }
            }
            Ok(!closes)
        }
        // To its end, then: chunks are not read apart.
        None if closes => {
            while stream.read(buffer).await? > 0 {}
            Ok(false)
        }
        None => Ok(false),
    }
}
