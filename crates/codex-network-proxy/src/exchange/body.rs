//! The bodies that pass through: streamed, never gathered, never looked at.
//!
//! [`RequestBody`] and [`ResponseBody`] end when their source stands still for too long; a response gives its
//! connection back at its end; a request with `Expect: 100-continue` waits for the origin's word. Nothing here
//! knows a header or a policy.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::pool::GiveBack;

/// Why a body ended before its end.
pub(crate) type BodyError = Box<dyn Error + Send + Sync>;

/// What the proxy answers with: a text of its own, or an origin's answer as it comes.
#[derive(Debug)]
pub(crate) enum Body {
    Own(Full<Bytes>),
    Upstream(ResponseBody),
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self::own(Bytes::new())
    }

    pub(crate) fn own(text: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(text.into()))
    }

    pub(super) fn upstream(body: ResponseBody) -> Self {
        Self::Upstream(body)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}

/// A body as it arrives, which may not stand still for longer than its limit.
#[derive(Debug)]
struct Arriving {
    incoming: Incoming,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    last_frame: Option<Instant>,
}

impl Arriving {
    fn new(incoming: Incoming, idle: Duration) -> Self {
        Self {
            incoming,
            idle,
            timer: None,
            last_frame: None,
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            if self.timer.is_some() {
                self.last_frame = Some(Instant::now());
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        // The timer is made at the first wait and moved only when it fires, not with every frame.
        let idle = self.idle;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        loop {
            ready!(timer.as_mut().poll(cx));
            match self.last_frame.take() {
                Some(last_frame) => timer.as_mut().reset(last_frame + idle),
                None => return Poll::Ready(Some(Err("the body stood still for too long".into()))),
            }
        }
    }
}

/// An origin's body.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    arriving: Arriving,
    give_back: Option<GiveBack>,
}

impl ResponseBody {
    pub(super) fn new(incoming: Incoming, idle: Duration, give_back: Option<GiveBack>) -> Self {
        let mut body = Self {
            arriving: Arriving::new(incoming, idle),
            give_back,
        };
        body.finish_at_end();
        body
    }

    /// INVARIANT: a connection is given back only once its answer has been read completely.
    fn finish_at_end(&mut self) {
        if self.arriving.incoming.is_end_stream()
            && let Some(give_back) = self.give_back.take()
        {
            give_back.give_back();
        }
    }

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(this.arriving.poll_frame(cx));
        match &frame {
            Some(Err(_)) => this.give_back = None,
            None => {
                if let Some(give_back) = this.give_back.take() {
                    give_back.give_back();
                }
            }
            Some(Ok(_)) => this.finish_at_end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.arriving.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.arriving.incoming.size_hint()
    }
}

/// A client's body on its way upstream.
#[derive(Debug)]
pub(crate) struct RequestBody {
    arriving: Option<Arriving>,
    gate: Option<ContinueGate>,
    /// Set with every frame, so that whoever waits for the answer can tell an upload from silence.
    progress: Arc<AtomicBool>,
}

impl RequestBody {
    pub(super) fn new(
        incoming: Incoming,
        idle: Duration,
        gate: Option<ContinueGate>,
        progress: Arc<AtomicBool>,
    ) -> Self {
        let empty = incoming.is_end_stream();
        Self {
            arriving: (!empty).then(|| Arriving::new(incoming, idle)),
            gate,
            progress,
        }
    }

    pub(super) fn none() -> Self {
        Self {
            arriving: None,
            gate: None,
            progress: Arc::default(),
        }
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
        this.progress.store(true, Ordering::Relaxed);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.arriving {
            Some(arriving) => arriving.incoming.is_end_stream(),
            None => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.arriving {
            Some(arriving) => arriving.incoming.size_hint(),
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
