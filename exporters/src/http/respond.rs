//! Answers: plain texts, and bodies that are written while they are sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::time::Instant;

/// Size of the pieces a long answer is written in.
pub(super) const PIECE: usize = 64 * 1024;

/// How long a client may take for a whole answer, however steadily it sips.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// A text with a status. Ends with a line feed, for people with `curl`.
pub(super) fn text(status: StatusCode, text: &str) -> Response {
    (status, format!("{text}\n")).into_response()
}

/// An answer of one type.
pub(super) fn typed(content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A body written piece by piece: `fill` appends to its buffer and says whether there is more.
pub(super) struct Pieces<F> {
    fill: Option<F>,
    deadline: Instant,
}

impl<F: FnMut(&mut Vec<u8>) -> bool + Send + Unpin + 'static> Pieces<F> {
    /// A body of these pieces.
    pub(super) fn body(fill: F) -> Body {
        Body::new(Self { fill: Some(fill), deadline: Instant::now() + ANSWER_TIMEOUT })
    }
}

impl<F: FnMut(&mut Vec<u8>) -> bool + Unpin> hyper::body::Body for Pieces<F> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let overdue = Instant::now() > self.deadline;
        let Some(fill) = &mut self.fill else { return Poll::Ready(None) };
        if overdue {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        let mut piece = Vec::with_capacity(PIECE + PIECE / 8);
        if !fill(&mut piece) {
            self.fill = None;
        }
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}
