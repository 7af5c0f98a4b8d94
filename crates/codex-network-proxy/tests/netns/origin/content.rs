//! The bodies of answers, in the shapes that a proxy must carry: whole, in pieces, with trailers, and endless enough.
//!
//! Main type: [`Content`]. The large one is made while it is sent and never held; [`large_sha256`] is what must arrive.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};

use crate::command::hexadecimal;

/// More than any buffer between two programs, and 100 MB.
const LARGE_PIECES: u32 = 1526;
const PIECE: usize = 65_536;

/// How many bytes the large body has.
pub(crate) const LARGE_BYTES: u64 = LARGE_PIECES as u64 * PIECE as u64;

/// What comes in pieces.
const LINES: u32 = 20;

/// The field that follows a body which has one, and its value.
pub(crate) const TRAILER: (&str, &str) = ("x-checked", "at-the-end");

#[derive(Debug)]
pub(crate) enum Content {
    Whole(Option<Bytes>),
    /// So many lines were sent; nobody says beforehand how many there will be.
    Lines(u32),
    /// What is still to come of a body with a trailer.
    Trailed(Trailed),
    /// So many pieces were sent, which is told here too.
    Large(u32, Taken),
}

/// How much of a large body has been taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken(Arc<AtomicU32>);

impl Taken {
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.0.load(Ordering::Relaxed)) * PIECE as u64
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Trailed {
    Body,
    Trailer,
    End,
}

impl Content {
    pub(crate) fn lines() -> Self {
        Self::Lines(0)
    }

    pub(crate) fn trailed() -> Self {
        Self::Trailed(Trailed::Body)
    }

    pub(crate) fn large(taken: Taken) -> Self {
        Self::Large(0, taken)
    }

    fn next(&mut self) -> Option<Frame<Bytes>> {
        match self {
            Self::Whole(bytes) => bytes.take().map(Frame::data),
            Self::Lines(LINES) | Self::Large(LARGE_PIECES, _) | Self::Trailed(Trailed::End) => None,
            Self::Lines(sent) => {
                let line = line(*sent);
                *sent += 1;
                Some(Frame::data(line.into()))
            }
            Self::Large(sent, taken) => {
                let piece = piece(*sent);
                *sent += 1;
                taken.0.store(*sent, Ordering::Relaxed);
                Some(Frame::data(piece))
            }
            Self::Trailed(part) => {
                let (frame, then) = match part {
                    Trailed::Body => (Frame::data("the body\n".into()), Trailed::Trailer),
                    Trailed::Trailer | Trailed::End => (trailer(), Trailed::End),
                };
                *part = then;
                Some(frame)
            }
        }
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Whole(Some(bytes.into()))
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.next().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Large(sent, _) => {
                SizeHint::with_exact(LARGE_BYTES - u64::from(*sent) * PIECE as u64)
            }
            Self::Lines(_) | Self::Trailed(_) => SizeHint::default(),
        }
    }
}

fn line(number: u32) -> String {
    format!("line {number}\n")
}

/// What a client must have read of the body that comes in pieces.
pub(crate) fn all_lines() -> String {
    (0..LINES).map(line).collect()
}

fn trailer() -> Frame<Bytes> {
    let (name, value) = TRAILER;
    Frame::trailers(HeaderMap::from_iter([(
        HeaderName::from_static(name),
        HeaderValue::from_static(value),
    )]))
}

/// Every piece is another one, so that one which is lost or comes twice is noticed.
fn piece(number: u32) -> Bytes {
    static FILLING: OnceLock<Vec<u8>> = OnceLock::new();
    let filling = FILLING.get_or_init(|| {
        let numbers = (0..PIECE - 4).map(|place| (place * place / 7 % 251) as u8);
        numbers.collect()
    });
    let mut piece = BytesMut::with_capacity(PIECE);
    piece.extend_from_slice(&number.to_be_bytes());
    piece.extend_from_slice(filling);
    piece.freeze()
}

/// The SHA-256 of the large body, in hexadecimal.
pub(crate) fn large_sha256() -> &'static str {
    static SUM: OnceLock<String> = OnceLock::new();
    SUM.get_or_init(|| {
        let mut sum = ring::digest::Context::new(&ring::digest::SHA256);
        for number in 0..LARGE_PIECES {
            sum.update(&piece(number));
        }
        hexadecimal(sum.finish().as_ref())
    })
}
