//! HTTP/2 as frames (RFC 9113), for what no library would send.
//!
//! Header blocks are written without compression, so that a test says exactly which bytes are sent. They are not read.

use tokio::io::{AsyncRead, AsyncWrite};

use super::Wire;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.into(),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The error code of a reset or a farewell.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A header block: literal fields without indexing and without Huffman coding (RFC 7541 section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 section 5.1).
fn length(value: usize, block: &mut Vec<u8>) {
    if value < 127 {
        block.push(u8::try_from(value).unwrap());
        return;
    }
    block.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Begins as a client.
    pub(crate) async fn begin_http2(&mut self) {
        self.send(PREFACE).await;
        self.send_frame(&Frame::new(SETTINGS, 0, 0, [])).await;
    }

    /// Begins as a server: reads what a client begins with.
    pub(crate) async fn await_http2(&mut self) {
        assert_eq!(self.exactly(PREFACE.len()).await, PREFACE);
        self.send_frame(&Frame::new(SETTINGS, 0, 0, [])).await;
        self.send_frame(&Frame::new(SETTINGS, ACK, 0, [])).await;
    }

    pub(crate) async fn send_frame(&mut self, frame: &Frame) {
        self.send(frame.bytes()).await;
    }

    /// Sends frames for as long as they are taken, and says whether all were.
    pub(crate) async fn flood(&mut self, frames: impl Iterator<Item = Frame>) -> bool {
        for frame in frames {
            let bytes = frame.bytes();
            let sent = tokio::io::AsyncWriteExt::write_all(&mut self.stream, &bytes);
            match tokio::time::timeout(super::LIMIT, sent).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return false,
            }
        }
        true
    }

    pub(crate) async fn next_frame(&mut self) -> Frame {
        let head = self.exactly(9).await;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes(head[5..9].try_into().unwrap()) & 0x7fff_ffff,
            payload: self.exactly(length as usize).await,
        }
    }

    /// The next frame of one of these kinds; others are skipped.
    pub(crate) async fn next_of(&mut self, kinds: &[u8]) -> Frame {
        loop {
            let frame = self.next_frame().await;
            if kinds.contains(&frame.kind) {
                return frame;
            }
        }
    }
}
