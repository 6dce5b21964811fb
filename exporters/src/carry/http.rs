//! One POST over HTTP/1.1. Redirects are never followed: a redirect could take the message, signed,
//! to anywhere.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;

use super::connect::{Place, Ways, tls};
use super::{Carried, CarrierError, Route, ways};
use crate::chain;
use crate::receiver::{Answer, Dialect, Post, by_status, excerpt};
use crate::webhook::delivery::{Message, Outcome};

/// How long an attempt may take in all.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How much of an answer is read; a receiver has no business sending more.
const MAX_ANSWER: usize = 16 * 1024;

const USUAL: [(&str, u16); 2] = [("http", 80), ("https", 443)];

/// An HTTP client for one receiver. Each attempt has its own connection: alerts are rare, and a
/// kept connection that the receiver has meanwhile closed would cost a retry.
pub(super) struct Http {
    url: String,
    /// The `Host` header: without the port where it is the usual one.
    host: String,
    place: Place,
    secure: bool,
    ways: Ways,
}

impl Http {
    pub(super) fn new(receiver: &str, route: &Route) -> Result<Self, CarrierError> {
        let (parts, mut ways) = ways(receiver, route, ("http:// or https://", &USUAL))?;
        let secure = parts.scheme == "https";
        if secure {
            let roots = |error| CarrierError::Roots { receiver: receiver.to_owned(), error };
            ways.tls = Some(tls(route.authorities.as_deref()).map_err(roots)?);
        }
        let authority = parts.place.authority();
        let usual = USUAL.contains(&(parts.scheme.as_str(), parts.place.port));
        let host = match authority.rsplit_once(':') {
            Some((host, _)) if usual => host.to_owned(),
            Some(_) | None => authority,
        };
        let url = format!("{}://{host}{}", parts.scheme, parts.path);
        Ok(Self { url, host, place: parts.place, secure, ways })
    }

    /// Posts a message once.
    pub(super) async fn post(&self, dialect: &Dialect, message: &Message) -> Carried {
        let now = SystemTime::now();
        let post = dialect.post(&self.url, message, now);
        match self.exchange(post, now, TIMEOUT).await {
            Ok(answer) => {
                let judged = dialect.judge(&answer);
                let status = Some(answer.status);
                Carried { outcome: judged.outcome, status, code: judged.code }
            }
            Err(why) => Carried::retry(why),
        }
    }

    /// Posts a body as it is once; judged by the status.
    pub(super) async fn post_plain(&self, body: Bytes) -> Carried {
        let post = Post { url: self.url.clone(), headers: Vec::new(), body };
        match self.exchange(post, SystemTime::now(), TIMEOUT).await {
            Ok(answer) => {
                let mut outcome = by_status(&answer);
                let said = excerpt(&answer.body);
                if let Outcome::Refused { why } = &mut outcome
                    && !said.is_empty()
                {
                    *why = format!("{why}: {said}");
                }
                Carried { outcome, status: Some(answer.status), code: None }
            }
            Err(why) => Carried::retry(why),
        }
    }

    /// Posts and reads the answer; `Err` says why there is none.
    pub(super) async fn exchange(
        &self,
        post: Post,
        now: SystemTime,
        within: Duration,
    ) -> Result<Answer, String> {
        match tokio::time::timeout(within, self.attempt(post, now)).await {
            Ok(ended) => ended,
            Err(_) => Err(format!("no answer within {} s", within.as_secs())),
        }
    }

    async fn attempt(&self, post: Post, now: SystemTime) -> Result<Answer, String> {
        let request = self.request(post).map_err(|error| error.to_string())?;
        let stream = self.ways.open(&self.place, self.secure).await;
        let stream = TokioIo::new(stream.map_err(|error| chain(&error))?);
        let shaken = hyper::client::conn::http1::handshake(stream).await;
        let (mut sender, connection) = shaken.map_err(|error| chain(&error))?;
        let mut connection = std::pin::pin!(connection);
        let talk = async {
            let response = sender.send_request(request).await.map_err(|error| chain(&error))?;
            Ok(read(response, now).await)
        };
        let mut talk = std::pin::pin!(talk);
        // The connection is driven here, not by a task, so that it ends with the attempt.
        tokio::select! {
            biased;
            answer = &mut talk => answer,
            // What had arrived before the end may still be an answer; else it tells the error.
            _ = &mut connection => talk.await,
        }
    }

    fn request(&self, post: Post) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        // A proxy wants the whole URL (RFC 9112 3.2.2), everybody else path and query.
        let absolute = self.ways.proxy.is_some() && !self.secure;
        let uri: hyper::Uri = post.url.parse()?;
        let origin_form = || uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let target = if absolute { post.url.clone() } else { origin_form() };
        let mut request = Request::post(target)
            .header(HOST, self.host.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("reachd/", env!("CARGO_PKG_VERSION")))
            .header("connection", "close");
        if let Some(authorization) =
            self.ways.proxy.as_ref().filter(|_| absolute).and_then(|p| p.authorization.as_ref())
        {
            request = request.header("proxy-authorization", authorization);
        }
        for (name, value) in &post.headers {
            request = request.header(*name, value);
        }
        request.body(Full::new(post.body))
    }
}

/// Reads as much of the body as there may be; a body that breaks off is judged by what came.
async fn read(response: Response<Incoming>, now: SystemTime) -> Answer {
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    while body.len() < MAX_ANSWER {
        let Some(Ok(frame)) = incoming.frame().await else { break };
        if let Ok(data) = frame.into_data() {
            let room = MAX_ANSWER.saturating_sub(body.len()).min(data.len());
            body.extend_from_slice(data.get(..room).unwrap_or_default());
        }
    }
    let retry_after = retry_after(&head.headers, now);
    Answer { status: head.status.as_u16(), retry_after, body }
}

/// `Retry-After` as seconds or as a date (RFC 9110 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let date: SystemTime = date.timestamp().into();
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_470);
        let check = |text: &str, expected: Option<u64>| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
        };
        check("120", Some(120));
        check("Wed, 21 Oct 2015 07:28:00 GMT", Some(10));
        check("Wed, 21 Oct 2015 07:27:00 GMT", Some(0));
        check("soon", None);
        check("-1", None);
    }
}
