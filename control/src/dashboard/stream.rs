//! Server-sent events, one connection for each page.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::{mpsc, watch};

use crate::listen::Place;

/// Events that may wait for a page that is slow: it misses what is more, and is let go of when it has missed so many in a row.
const WAITING: usize = 2;
const MISSED: u32 = 30;

/// The body of an answer that does not end.
struct Events(mpsc::Receiver<Bytes>);

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

/// Each event from now on, until the page has gone.
pub(super) fn events(mut told: watch::Receiver<Bytes>, place: Arc<Place>) -> Body {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut missed = 0;
        while missed < MISSED {
            tokio::select! {
                changed = told.changed() => if changed.is_err() { return },
                // Whoever looks no more does not keep the calls looked at.
                () = sender.closed() => return,
            }
            let event = told.borrow_and_update().clone();
            match sender.try_send(event) {
                Ok(()) => {
                    missed = 0;
                    // Who looks has not gone.
                    place.asked(Instant::now());
                }
                Err(mpsc::error::TrySendError::Full(_)) => missed += 1,
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
    });
    Body::new(Events(receiver))
}
