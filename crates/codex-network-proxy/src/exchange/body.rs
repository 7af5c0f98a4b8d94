//! What the proxy answers with.
//!
//! [`Body`] is a text of the proxy's own, or an origin's answer as it comes; the latter gives its connection back
//! at its end. Nothing is gathered or looked at.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::arriving::{Arriving, BodyError};
use super::pool::GiveBack;

/// What the proxy answers with: a text of its own, or an origin's answer as it comes.
#[derive(Debug)]
pub(crate) enum Body {
    Own(Full<Bytes>),
    Upstream(ResponseBody),
    /// An origin's answer for which others wait their turn.
    Held(Box<Held>),
}

/// An origin's answer and the turn that it takes, given up together.
#[derive(Debug)]
pub(crate) struct Held {
    body: ResponseBody,
    _turn: OwnedSemaphorePermit,
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

    /// Keeps `turn` until the origin's answer has come to its end.
    pub(crate) fn holding(self, turn: OwnedSemaphorePermit) -> Self {
        match self {
            Self::Own(_) | Self::Held(_) => self,
            Self::Upstream(body) => Self::Held(Box::new(Held { body, _turn: turn })),
        }
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
            Self::Held(held) => Pin::new(&mut held.body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Held(held) => held.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
            Self::Held(held) => held.body.size_hint(),
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
        if self.arriving.is_end_stream()
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
        self.arriving.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.arriving.size_hint()
    }
}
