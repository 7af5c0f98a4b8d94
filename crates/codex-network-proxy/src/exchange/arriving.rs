//! A body as it arrives from either side: streamed, never gathered, never looked at.
//!
//! [`Arriving`] ends when its source stands still for too long. Nothing here knows a header or a policy.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

/// Why a body ended before its end.
pub(crate) type BodyError = Box<dyn Error + Send + Sync>;

/// A body as it arrives, which may not stand still for longer than its limit.
#[derive(Debug)]
pub(super) struct Arriving {
    incoming: Incoming,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    last_frame: Option<Instant>,
}

impl Arriving {
    pub(super) fn new(incoming: Incoming, idle: Duration) -> Self {
        Self {
            incoming,
            idle,
            timer: None,
            last_frame: None,
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    pub(super) fn poll_frame(
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
