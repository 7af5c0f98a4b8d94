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
use super::seen::Seen;

/// A request on its way upstream. It goes through many hands, and is carried by none: what waits for an answer stays small.
pub(crate) type Outgoing = Box<Request<RequestBody>>;

/// A client's body on its way upstream; most requests have none.
#[derive(Debug)]
pub(crate) struct RequestBody(Option<Box<Upload>>);

#[derive(Debug)]
struct Upload {
    arriving: Arriving,
    gate: Option<ContinueGate>,
    progress: Progress,
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
    /// It may not stand still for longer than `idle`.
    pub(crate) fn new(incoming: Incoming, idle: Duration) -> Self {
        if incoming.is_end_stream() {
            return Self::none();
        }
        Self(Some(Box::new(Upload {
            arriving: Arriving::new(incoming, idle),
            gate: None,
            progress: Progress::default(),
        })))
    }

    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Holds it back until the gate opens.
    pub(super) fn wait_for(&mut self, gate: ContinueGate) {
        if let Some(upload) = &mut self.0 {
            upload.gate = Some(gate);
        }
    }

    /// Of its sending; none where there is nothing to send.
    pub(super) fn progress(&self) -> Option<Progress> {
        self.0.as_ref().map(|upload| upload.progress.clone())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(upload) = &mut self.0 else {
            return Poll::Ready(None);
        };
        if let Some(gate) = &mut upload.gate {
            ready!(gate.0.as_mut().poll(cx))?;
            upload.gate = None;
        }
        let frame = ready!(upload.arriving.poll_frame(cx));
        upload.progress.0.store(true, Ordering::Relaxed);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Some(upload) => upload.arriving.is_end_stream(),
            None => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Some(upload) => upload.arriving.size_hint(),
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
    pub(super) fn of<B>(request: &mut Request<B>, seen: Seen) -> Option<Self> {
        if !seen.has(Seen::EXPECT) {
            return None;
        }
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
