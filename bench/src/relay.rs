//! Plain relays, the floors that a proxy is compared with: bytes to one target, no protocol, no policy.

use std::io;

use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use tokio::io::{AsyncWriteExt as _, Interest, copy_bidirectional};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// How the bytes move.
#[derive(Clone, Copy)]
pub enum Way {
    /// By tokio's own copy.
    Copy,
    /// By `splice(2)` through a pipe for each direction.
    Splice,
}

pub async fn serve(address: &str, target: &str, way: Way) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (client, _) = listener.accept().await?;
        let target = target.to_owned();
        tokio::spawn(async move {
            let _ = relay(client, &target, way).await;
        });
    }
}

async fn relay(mut client: TcpStream, target: &str, way: Way) -> io::Result<()> {
    let mut origin = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    origin.set_nodelay(true)?;
    match way {
        Way::Copy => copy_bidirectional(&mut client, &mut origin).await.map(drop),
        Way::Splice => {
            let (from_client, to_client) = client.into_split();
            let (from_origin, to_origin) = origin.into_split();
            let up = move_all(from_client, to_origin);
            let down = move_all(from_origin, to_client);
            tokio::try_join!(up, down).map(drop)
        }
    }
}

async fn move_all(from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    const MOST: usize = 64 * 1024;
    let (outlet, inlet) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    loop {
        from.readable().await?;
        let source: &TcpStream = from.as_ref();
        let moved = source.try_io(Interest::READABLE, || {
            Ok(splice(source, None, &inlet, None, MOST, flags)?)
        });
        let mut waiting = match moved {
            Ok(0) => return to.shutdown().await,
            Ok(moved) => moved,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        while waiting > 0 {
            to.writable().await?;
            let sink: &TcpStream = to.as_ref();
            let moved = sink.try_io(Interest::WRITABLE, || {
                Ok(splice(&outlet, None, sink, None, waiting, flags)?)
            });
            match moved {
                Ok(moved) => waiting -= moved,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
