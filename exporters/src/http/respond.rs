//! Answers: what their heads say.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// Size of the pieces a long answer is written in.
pub(super) const PIECE: usize = 64 * 1024;

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
