//! One attempt to deliver one message over HTTP.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::delivery::{Message, Outcome};
use super::signature::Secret;
use crate::clock::unix_seconds;

/// How long an attempt may take in all.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How long its connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of an answer is read; a receiver has no business sending more.
const MAX_ANSWER: usize = 64 * 1024;

/// Why a receiver cannot be used. Says nothing of the URL, which may hold a token.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is none, or no http(s).
    #[error(
        "use the url of receiver {receiver}: it must be http:// or https://, with a host and \
         without user:password"
    )]
    Url {
        /// The receiver's name.
        receiver: String,
    },
    /// The system's certificate authorities cannot be read.
    #[error("read the system's certificate authorities for receiver {receiver}")]
    Roots {
        /// The receiver's name.
        receiver: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
}

type Connection = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// An HTTP client for one receiver.
pub struct Client {
    connection: Connection,
    uri: Uri,
    secret: Option<Secret>,
}

impl Client {
    /// A client for a URL. The certificate authorities of the system are read for https only, so
    /// that a machine without any can still talk plain http.
    pub fn new(receiver: &str, url: &str, secret: Option<Secret>) -> Result<Self, ClientError> {
        let bad_url = || ClientError::Url { receiver: receiver.to_owned() };
        let uri: Uri = url.parse().map_err(|_| bad_url())?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(bad_url()),
        };
        let user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        if user || uri.host().is_none_or(str::is_empty) {
            return Err(bad_url());
        }
        let roots = |error| ClientError::Roots { receiver: receiver.to_owned(), error };
        let connector = connector(secure).map_err(roots)?;
        let mut builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        builder.pool_idle_timeout(Duration::from_secs(30)).pool_max_idle_per_host(1);
        builder.pool_timer(hyper_util::rt::TokioTimer::new());
        Ok(Self { connection: builder.build(connector), uri, secret })
    }

    /// Posts a message once. A redirect is a failure: following it could take the message, signed,
    /// to anywhere.
    pub async fn send(&self, message: &Message) -> Outcome {
        match tokio::time::timeout(TIMEOUT, self.attempt(message)).await {
            Ok(outcome) => outcome,
            Err(_) => retry("no answer within 15 s".to_owned()),
        }
    }

    async fn attempt(&self, message: &Message) -> Outcome {
        let now = SystemTime::now();
        let request = match self.request(message, unix_seconds(now)) {
            Ok(request) => request,
            Err(error) => return Outcome::Refused { why: error.to_string() },
        };
        let answer = match self.connection.request(request).await {
            Ok(answer) => answer,
            Err(error) => return retry(chain(&error)),
        };
        let (head, body) = answer.into_parts();
        // Reading the rest lets the connection be used again; what it says does not matter.
        let _ = http_body_util::Limited::new(body, MAX_ANSWER).collect().await;
        judge(head.status, retry_after(&head.headers, now))
    }

    fn request(
        &self,
        message: &Message,
        unix_seconds: u64,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let id = message.id.to_string();
        let mut request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("reachd/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &id)
            .header("webhook-timestamp", unix_seconds);
        if let Some(secret) = &self.secret {
            let signature = secret.sign(&id, unix_seconds, &message.body);
            request = request.header("webhook-signature", signature);
        }
        request.body(Full::new(message.body.clone()))
    }
}

fn connector(secure: bool) -> std::io::Result<HttpsConnector<HttpConnector>> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    http.set_nodelay(true);
    let provider = rustls::crypto::ring::default_provider();
    let builder = HttpsConnectorBuilder::new();
    let builder = if secure {
        builder.with_provider_and_native_roots(provider)?
    } else {
        let config = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(std::io::Error::other)?;
        let none = rustls::RootCertStore::empty();
        builder.with_tls_config(config.with_root_certificates(none).with_no_client_auth())
    };
    Ok(builder.https_or_http().enable_http1().wrap_connector(http))
}

fn retry(why: String) -> Outcome {
    Outcome::Retry { after: None, why }
}

/// What a status means for the message. 3xx is retried too: a portal in between may go away.
fn judge(status: StatusCode, after: Option<Duration>) -> Outcome {
    match status.as_u16() {
        200..=299 => Outcome::Accepted,
        410 => Outcome::Gone,
        408 | 425 | 429 | 300..=399 | 500..=599 => {
            Outcome::Retry { after, why: format!("answered {}", status.as_u16()) }
        }
        _ => Outcome::Refused { why: format!("answered {}", status.as_u16()) },
    }
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

/// An error with its causes; none of them names the URL's path.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_decide_what_becomes_of_a_message() {
        let name = |status: u16| match judge(StatusCode::from_u16(status).unwrap(), None) {
            Outcome::Accepted => "accepted",
            Outcome::Retry { .. } => "retry",
            Outcome::Refused { .. } => "refused",
            Outcome::Gone => "gone",
        };
        let table = [
            (200, "accepted"),
            (204, "accepted"),
            (301, "retry"),
            (400, "refused"),
            (401, "refused"),
            (404, "refused"),
            (408, "retry"),
            (410, "gone"),
            (429, "retry"),
            (500, "retry"),
            (503, "retry"),
            (599, "retry"),
            (600, "refused"),
        ];
        for (status, expected) in table {
            assert_eq!(name(status), expected, "{status}");
        }
    }

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

    #[test]
    fn only_http_urls_with_a_host_are_taken() {
        for url in ["", "example", "ftp://192.0.2.1/", "http://", "/path", "http://u:p@192.0.2.1/"]
        {
            let error = Client::new("ops", url, None).err().unwrap();
            assert!(error.to_string().contains("receiver ops"), "{url}");
        }
        assert!(Client::new("ops", "http://192.0.2.1:1/x?token=1", None).is_ok());
    }
}
