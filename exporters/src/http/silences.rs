//! Silences over HTTP, as Alertmanager's tools ask for them.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::Request;
use super::respond::{text, typed};
use super::route::{JSON, QUICK, Shared, is_foreign};
use crate::silence::{SilenceError, SilenceRequest};

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    match shared.ask(QUICK, Request::Silences).await {
        Ok(silences) => typed(JSON, Body::from(format!("{}\n", json!({ "silences": silences })))),
        Err(refusal) => refusal,
    }
}

pub(super) async fn add(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if is_foreign(&headers) {
        return text(StatusCode::FORBIDDEN, "silences are not for other people's web pages");
    }
    let request: SilenceRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return text(StatusCode::BAD_REQUEST, &format!("no silence: {error}")),
    };
    match shared.ask(QUICK, |answer| Request::Silence(request, answer)).await {
        Ok(Ok(id)) => typed(JSON, Body::from(format!("{}\n", json!({ "silenceID": id })))),
        Ok(Err(why)) => {
            let status = match why {
                SilenceError::Refused(_) => StatusCode::BAD_REQUEST,
                SilenceError::Unsaved(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            text(status, &why.to_string())
        }
        Err(refusal) => refusal,
    }
}

pub(super) async fn expire(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    if is_foreign(&headers) {
        return text(StatusCode::FORBIDDEN, "silences are not for other people's web pages");
    }
    match shared.ask(QUICK, |answer| Request::Unsilence(id, answer)).await {
        Ok(Ok(true)) => text(StatusCode::OK, "it is over"),
        Ok(Ok(false)) => text(StatusCode::NOT_FOUND, "no such silence"),
        Ok(Err(why)) => text(StatusCode::SERVICE_UNAVAILABLE, &why),
        Err(refusal) => refusal,
    }
}
