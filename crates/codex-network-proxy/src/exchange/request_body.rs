//! A client's body on its way upstream.
//!
//! [`RequestBody`] streams it; with `Expect: 100-continue` it waits for the origin's word first, which
//! [`Expectation`] follows. Nothing is gathered or looked at.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::watch;

use super::arriving::{Arriving, BodyError};

/// A client's body on its way upstream.
#[derive(Debug)]
pub(crate) struct RequestBody {
    arriving: Option<Arriving>,
    gate: Option<ContinueGate>,
    progress: Option<Progress>,
}

/// Set with every frame of a body, so that whoever waits for the answer can tell an upload from silence.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<AtomicBool>);

impl Progress {
    /// Whether there was any since the last time.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, idle: Duration, gate: Option<ContinueGate>) -> Self {
        if incoming.is_end_stream() {
            return Self::none();
        }
        Self {
            arriving: Some(Arriving::new(incoming, idle)),
            gate,
            progress: Some(Progress::default()),
        }
    }

    pub(super) fn none() -> Self {
        Self {
            arriving: None,
            gate: None,
            progress: None,
        }
    }

    /// Of its sending; none where there is nothing to send.
    pub(super) fn progress(&self) -> Option<Progress> {
        self.progress.clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.arriving.is_none()
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some(arriving) = &mut this.arriving else {
            return Poll::Ready(None);
        };
        if let Some(gate) = &mut this.gate {
            ready!(gate.0.as_mut().poll(cx))?;
            this.gate = None;
        }
        let frame = ready!(arriving.poll_frame(cx));
        if let Some(Progress(progress)) = &this.progress {
            progress.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.arriving {
            Some(arriving) => arriving.is_end_stream(),
            None => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.arriving {
            Some(arriving) => arriving.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

/// What the origin has said so far to a request with `Expect: 100-continue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Nothing,
    Continue,
    /// A final answer without a word before it: the body is not wanted.
    Answered,
}

/// Follows what an origin says to `Expect: 100-continue` (RFC 9110 section 10.1.1), so that the client is told to
/// go on when the origin says so, and not before.
#[derive(Debug)]
pub(super) struct Expectation(Arc<watch::Sender<Word>>);

impl Expectation {
    /// Attaches to a request that expects one.
    pub(super) fn of<B>(request: &mut Request<B>) -> Option<Self> {
        let expect = request.headers().get(header::EXPECT)?;
        if !expect.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            return None;
        }
        let word = Arc::new(watch::Sender::new(Word::Nothing));
        let expectation = Self(Arc::clone(&word));
        hyper::ext::on_informational(request, move |interim| {
            if interim.status() == StatusCode::CONTINUE {
                word.send_replace(Word::Continue);
            }
        });
        Some(expectation)
    }

    /// Holds the body back until the origin says 100, or nothing for `patience`.
    pub(super) fn gate(&self, patience: Duration) -> ContinueGate {
        let mut word = self.0.subscribe();
        ContinueGate(Box::pin(async move {
            let said = word.wait_for(|word| *word != Word::Nothing);
            match tokio::time::timeout(patience, said).await {
                Ok(Ok(word)) if *word == Word::Answered => {
                    Err("the origin answered without asking for the body".into())
                }
                // An origin that says nothing may not know the mechanism.
                Ok(_) | Err(_) => Ok(()),
            }
        }))
    }

    /// The origin's final answer has begun.
    pub(super) fn answered(&self) {
        self.0.send_if_modified(|word| {
            let first = *word == Word::Nothing;
            if first {
                *word = Word::Answered;
            }
            first
        });
    }
}

/// Opens when the body may be read.
pub(super) struct ContinueGate(Pin<Box<dyn Future<Output = Result<(), BodyError>> + Send + Sync>>);

impl std::fmt::Debug for ContinueGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContinueGate")
    }
}
