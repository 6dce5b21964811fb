//! The paths and what each answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{delete, get, post};
use reachd_core::snapshot::Snapshot;
use serde_json::json;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, oneshot};

use super::places::Places;
use super::respond::{PIECE, text, typed};
use super::web::{Peer, admit};
use super::{Api, Limits, ProbeReply, Request, page, probe, silences};
use crate::prometheus::{Exposition, ScrapeOutcome, negotiate};

/// How long the owner may take for a quick question.
pub(super) const QUICK: Duration = Duration::from_secs(10);

/// How long it may take to load a configuration.
const RELOAD: Duration = Duration::from_secs(60);

/// Longest path and query.
const MAX_URI: usize = 4096;

/// Bytes of a body.
const MAX_BODY: usize = 64 * 1024;

pub(super) const JSON: &str = "application/json; charset=utf-8";

/// The description of all of this.
const OPENAPI: &str = include_str!("../../../deploy/schema/openapi.json");

pub(super) struct Shared {
    api: Api,
    at_work: Semaphore,
    places: Places,
}

/// All routes behind the guard.
pub(super) fn router(api: Api, limits: &Limits) -> Router {
    let at_work = Semaphore::new(limits.requests);
    let shared = Arc::new(Shared { api, at_work, places: Places::new(limits.long_answers) });
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload).put(reload))
        .route("/probe", get(on_demand))
        .route("/api/v1/openapi.json", get(async || typed(JSON, Body::from(OPENAPI))))
        .route("/api/v1/silences", get(silences::list).post(silences::add))
        .route("/api/v1/silences/{id}", delete(silences::expire))
        .route("/api/v1/targets", get(targets))
        .route("/api/v1/targets/{name}/history", get(history))
        .route("/api/v1/incidents", get(incidents))
        .route("/api/v1/incidents/{id}/evidence.pcapng", get(evidence))
        .fallback(async || text(StatusCode::NOT_FOUND, "no such path; see /"))
        .method_not_allowed_fallback(async || {
            text(StatusCode::METHOD_NOT_ALLOWED, "this path wants another method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard))
        .with_state(shared)
}

/// Refuses what is too large or too much, before anything is done for it.
async fn guard(State(shared): State<Arc<Shared>>, request: HttpRequest, next: Next) -> Response {
    let whole = request.uri().path_and_query().map_or(0, |whole| whole.as_str().len());
    if whole > MAX_URI {
        return text(StatusCode::URI_TOO_LONG, "the path is too long");
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > MAX_BODY) {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
    }
    let peer = request.extensions().get::<Peer>().copied();
    let asked = (request.method(), request.uri().path(), request.headers());
    let setup = match admit(&shared.api.web, peer, asked).await {
        Ok(setup) => setup,
        Err(refusal) => return refusal,
    };
    // Only those who may come in take a place: guessers must not keep them out.
    let Ok(_permit) = shared.at_work.try_acquire() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once; come back");
    };
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in &setup.headers {
        headers.insert(name, value.clone());
    }
    response
}

impl Shared {
    /// Asks the owner; the error is the answer to the client.
    pub(super) async fn ask<T>(
        &self,
        limit: Duration,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Response> {
        let unavailable = |why: &str| text(StatusCode::SERVICE_UNAVAILABLE, why);
        let (answer, answered) = oneshot::channel();
        self.api.requests.try_send(request(answer)).map_err(|error| match error {
            TrySendError::Full(_) => unavailable("the daemon is busy; come back"),
            TrySendError::Closed(_) => unavailable("the daemon is stopping"),
        })?;
        match tokio::time::timeout(limit, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(unavailable("the daemon is stopping")),
            Err(_) => Err(text(StatusCode::GATEWAY_TIMEOUT, "the daemon did not answer in time")),
        }
    }

    async fn snapshot(&self) -> Result<Arc<Snapshot>, Response> {
        self.ask(QUICK, Request::Snapshot).await
    }
}

async fn healthy() -> Response {
    text(StatusCode::OK, "healthy")
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    if *shared.api.ready.borrow() {
        text(StatusCode::OK, "ready")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "not ready: the plan is not at work yet")
    }
}

async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let format = negotiate(accept(&headers).as_deref());
    let own = &shared.api.metrics;
    let place = match shared.places.take().await {
        Ok(place) => place,
        Err(refusal) => {
            own.scraped(ScrapeOutcome::Failed);
            return refusal;
        }
    };
    let snapshot = match shared.ask(QUICK, Request::Numbers).await {
        Ok(snapshot) => snapshot,
        Err(refusal) => {
            own.scraped(ScrapeOutcome::Failed);
            return refusal;
        }
    };
    own.scraped(ScrapeOutcome::Served);
    let detail = *shared.api.detail.borrow();
    let mut page = Exposition::new(snapshot, Arc::clone(own), format, detail);
    typed(format.content_type(), place.body(move |out| page.fill(out, PIECE)))
}

/// All `Accept` lines as one.
fn accept(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.map(str::to_owned).reduce(|all, line| all + "," + &line)
}

/// Whether a web page of somebody else sent a browser here; tools send no such headers. Browsers
/// that do not say where a request comes from name its origin at least (RFC 6454 7.3).
pub(super) fn is_foreign(headers: &HeaderMap) -> bool {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let from = header("sec-fetch-site");
    let foreign_site = from.is_some_and(|from| !matches!(from, "none" | "same-origin"));
    let host = header("host").unwrap_or_default();
    let foreign_origin = header("origin").is_some_and(|origin| {
        origin.split_once("://").is_none_or(|(_, origin)| !origin.eq_ignore_ascii_case(host))
    });
    foreign_site || foreign_origin
}

async fn reload(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if is_foreign(&headers) {
        return text(StatusCode::FORBIDDEN, "reload is not for other people's web pages");
    }
    match shared.ask(RELOAD, Request::Reload).await {
        Err(refusal) => refusal,
        Ok(Ok(())) => text(StatusCode::OK, "reloaded"),
        Ok(Err(why)) => {
            let why = format!("the configuration was refused, the old plan runs on:\n{why}");
            text(StatusCode::INTERNAL_SERVER_ERROR, &why)
        }
    }
}

type Parameters = Query<BTreeMap<String, String>>;

async fn on_demand(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Query(parameters): Parameters,
) -> Response {
    let request = match probe::read(&parameters, &headers) {
        Ok(request) => request,
        Err(why) => return text(StatusCode::BAD_REQUEST, &why),
    };
    let format = negotiate(accept(&headers).as_deref());
    let debug = parameters.get("debug").is_some_and(|value| value == "true" || value == "1");
    let (target, deadline) = (request.target.to_string(), request.deadline);
    // The daemon keeps the deadline; the margin only lets it say so itself.
    let limit = deadline + Duration::from_millis(250);
    let reply = shared.ask(limit, |answer| Request::Probe(request, answer)).await;
    let answer = match reply {
        Ok(ProbeReply::Answered(answer)) => Some(answer),
        Ok(ProbeReply::NotAllowed) => {
            return text(StatusCode::FORBIDDEN, &probe::not_allowed(&target));
        }
        Ok(ProbeReply::Failed(why)) => {
            return text(StatusCode::SERVICE_UNAVAILABLE, &format!("could not probe: {why}"));
        }
        Err(refusal) if refusal.status() == StatusCode::GATEWAY_TIMEOUT => None,
        Err(refusal) => return refusal,
    };
    let page = probe::page(answer.as_deref(), deadline, format, debug);
    let content_type = if debug { "text/plain; charset=utf-8" } else { format.content_type() };
    typed(content_type, Body::from(page))
}

async fn targets(State(shared): State<Arc<Shared>>) -> Response {
    let place = match shared.places.take().await {
        Ok(place) => place,
        Err(refusal) => return refusal,
    };
    let snapshot = match shared.snapshot().await {
        Ok(snapshot) => snapshot,
        Err(refusal) => return refusal,
    };
    let mut row = 0;
    let body = place.body(move |out| {
        if row == 0 {
            out.extend_from_slice(b"{\"targets\":[");
        }
        while out.len() < PIECE {
            let Some(target) = snapshot.targets.get(row) else {
                out.extend_from_slice(b"]}\n");
                return false;
            };
            if row > 0 {
                out.push(b',');
            }
            let document = json!({
                "name": target.target.name.as_str(),
                "class": target.class.as_str(),
                "severity": target.target.severity.as_str(),
                "group": target.target.group,
                "report": target.report.as_deref(),
            });
            out.extend_from_slice(document.to_string().as_bytes());
            row += 1;
        }
        true
    });
    typed(JSON, body)
}

async fn incidents(State(shared): State<Arc<Shared>>) -> Response {
    match shared.ask(QUICK, Request::Incidents).await {
        Ok(Ok(incidents)) => {
            typed(JSON, Body::from(format!("{}\n", json!({ "incidents": incidents }))))
        }
        Ok(Err(why)) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("not known: {why}")),
        Err(refusal) => refusal,
    }
}

async fn history(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    match shared.ask(QUICK, |answer| Request::History(name, answer)).await {
        Ok(Some(history)) => typed(JSON, Body::from(format!("{}\n", history.document()))),
        Ok(None) => text(StatusCode::NOT_FOUND, "no history of this target"),
        Err(refusal) => refusal,
    }
}

async fn evidence(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let none = || text(StatusCode::NOT_FOUND, "no packets kept");
    let known = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !known {
        return none();
    }
    match shared.ask(QUICK, |answer| Request::Evidence(id.to_ascii_lowercase(), answer)).await {
        Ok(Some(packets)) => typed("application/x-pcapng", Body::from(packets)),
        Ok(None) => none(),
        Err(refusal) => refusal,
    }
}

async fn index(State(shared): State<Arc<Shared>>) -> Response {
    let snapshot = match shared.snapshot().await {
        Ok(snapshot) => snapshot,
        Err(refusal) => return refusal,
    };
    let mut response = typed("text/html; charset=utf-8", Body::from(page::render(&snapshot)));
    let headers = response.headers_mut();
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; \
                  base-uri 'none'; form-action 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
