//! The way to a receiver: one attempt to hand over one message, over HTTP, SMTP or to a program.
//!
//! Whatever a receiver does, an attempt ends within its time and reads a bounded answer. No task is
//! left behind, and an attempt may be cancelled at any point: the message stays queued.

mod command;
mod connect;
pub mod gate;
pub mod guard;
mod http;
mod smtp;

use bytes::Bytes;

use self::connect::{Place, Proxy, Ways};
use self::guard::{Origin, Refusal};
use crate::receiver::{Dialect, Kind, TemplateError};
use crate::webhook::delivery::{Message, Outcome};

/// How a receiver is reached, as its owner wrote it.
#[derive(Clone)]
pub struct Route {
    /// Its URL; empty for a program. It may hold a token.
    pub url: String,
    /// Who wrote the URL.
    pub origin: Origin,
    /// The URL of an HTTP proxy.
    pub proxy: Option<String>,
    /// Certificate authorities besides the system's, PEM.
    pub authorities: Option<Vec<u8>>,
    /// A program and its arguments.
    pub command: Vec<String>,
}

impl Route {
    /// The straight way to a URL of the plan.
    pub fn to(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            origin: Origin::Plan,
            proxy: None,
            authorities: None,
            command: Vec::new(),
        }
    }
}

/// Why a receiver cannot be used. Says nothing of the URL, which may hold a token.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    /// The URL is none, or of another scheme.
    #[error(
        "use the url of receiver {receiver}: it must be {schemes}, with a host and without \
         user:password"
    )]
    Url {
        /// The receiver's name.
        receiver: String,
        /// What it may begin with.
        schemes: &'static str,
    },
    /// Nothing may be sent there.
    #[error("use the url of receiver {receiver}: {refusal}")]
    Refused {
        /// The receiver's name.
        receiver: String,
        /// Why.
        refusal: Refusal,
    },
    /// The proxy's URL is none.
    #[error("use the proxy of receiver {receiver}: it must be http://host:port")]
    Proxy {
        /// The receiver's name.
        receiver: String,
    },
    /// Certificate authorities cannot be read.
    #[error("read the certificate authorities for receiver {receiver}")]
    Roots {
        /// The receiver's name.
        receiver: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// There is no program to run.
    #[error("run the program of receiver {receiver}: none is named")]
    NoCommand {
        /// The receiver's name.
        receiver: String,
    },
    /// The owner's template is none.
    #[error("use the template of receiver {receiver}")]
    Template {
        /// The receiver's name.
        receiver: String,
        /// Why.
        #[source]
        error: TemplateError,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// What becomes of the message.
    pub outcome: Outcome,
    /// HTTP status, SMTP reply or exit code, if there was any.
    pub status: Option<u16>,
    /// The code inside the answer, where the service has one.
    pub code: Option<String>,
}

impl Carried {
    fn retry(why: String) -> Self {
        Self { outcome: Outcome::Retry { after: None, why }, status: None, code: None }
    }
}

enum Means {
    Http(http::Http),
    Smtp(smtp::Smtp),
    Command(command::Program),
}

/// Hands messages to one receiver.
pub struct Carrier {
    dialect: Dialect,
    means: Means,
    /// What must not come back in an error text.
    secrets: Vec<String>,
}

impl Carrier {
    /// A carrier for a receiver. Certificate authorities are read only where TLS is spoken, so that
    /// a machine without any can still talk plain HTTP.
    pub fn new(receiver: &str, dialect: Dialect, route: &Route) -> Result<Self, CarrierError> {
        let means = match dialect.kind() {
            Kind::Command => {
                let program = command::Program::new(&route.command);
                let none = || CarrierError::NoCommand { receiver: receiver.to_owned() };
                Means::Command(program.ok_or_else(none)?)
            }
            Kind::Email(mailbox) => Means::Smtp(smtp::Smtp::new(receiver, route, mailbox.clone())?),
            Kind::Webhook { .. }
            | Kind::Slack
            | Kind::PagerDuty { .. }
            | Kind::DingTalk { .. }
            | Kind::Feishu { .. }
            | Kind::WeCom => Means::Http(http::Http::new(receiver, route)?),
        };
        let mut secrets = secrets_of(&route.url);
        secrets.extend(route.proxy.iter().flat_map(|proxy| secrets_of(proxy)));
        secrets.extend(dialect.kind().secrets().into_iter().map(str::to_owned));
        Ok(Self { dialect, means, secrets })
    }

    /// The receiver's language.
    pub const fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// Tries once to hand over a message.
    pub async fn carry(&self, message: &Message) -> Carried {
        let mut carried = match &self.means {
            Means::Http(http) => http.post(&self.dialect, message).await,
            Means::Smtp(smtp) => smtp.send(&message.body).await,
            Means::Command(program) => program.run(message).await,
        };
        match &mut carried.outcome {
            Outcome::Retry { why, .. } | Outcome::Refused { why } => *why = self.scrub(why),
            Outcome::Accepted | Outcome::Gone => {}
        }
        carried.code = carried.code.map(|code| self.scrub(&code));
        carried
    }

    fn scrub(&self, text: &str) -> String {
        scrubbed(&self.secrets, text)
    }
}

/// Posts bodies that need no dialect to one URL.
pub struct Poster {
    http: http::Http,
    secrets: Vec<String>,
}

impl Poster {
    /// A poster for a route.
    pub fn new(receiver: &str, route: &Route) -> Result<Self, CarrierError> {
        let mut secrets = secrets_of(&route.url);
        secrets.extend(route.proxy.iter().flat_map(|proxy| secrets_of(proxy)));
        Ok(Self { http: http::Http::new(receiver, route)?, secrets })
    }

    /// Posts once; judged by the status alone.
    pub async fn post(&self, body: Bytes) -> Carried {
        let mut carried = self.http.post_plain(body).await;
        if let Outcome::Retry { why, .. } | Outcome::Refused { why } = &mut carried.outcome {
            *why = scrubbed(&self.secrets, why);
        }
        carried
    }
}

/// A receiver may say our own secrets back to us.
fn scrubbed(secrets: &[String], text: &str) -> String {
    let whole = secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN));
    // Long answers are cut, perhaps within a secret.
    let Some(kept) = whole.strip_suffix('…') else { return whole };
    let begins = |secret: &String| {
        let ends = secret.char_indices().map(|(at, _)| at).filter(|at| *at >= PIECE_MIN).rev();
        ends.into_iter().find_map(|end| kept.strip_suffix(secret.get(..end)?))
    };
    match secrets.iter().find_map(begins) {
        Some(before) => format!("{before}{HIDDEN}…"),
        None => whole,
    }
}

/// What stands in a secret's place.
const HIDDEN: &str = "(hidden)";

/// The shortest beginning of a secret that is taken for one.
const PIECE_MIN: usize = 4;

/// The parts of a URL that may be tokens: long pieces of its path and query, and a password.
fn secrets_of(url: &str) -> Vec<String> {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let login = authority.rsplit_once('@').map_or("", |(login, _)| login);
    let pieces = login.split(':').chain(path.split(['/', '?', '&', '=', '#']));
    pieces.filter(|piece| piece.len() >= 8).map(str::to_owned).collect()
}

/// A URL taken apart.
struct Parts {
    scheme: String,
    place: Place,
    /// Path and query.
    path: String,
}

/// Takes a URL apart; `None` for one that names a user, no host, or no port where there is no usual
/// one.
fn parts(url: &str, usual: &[(&str, u16)]) -> Option<Parts> {
    let uri: hyper::Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_owned();
    let (_, port) = usual.iter().find(|(name, _)| *name == scheme)?;
    let authority = uri.authority()?;
    let host = authority.host();
    if authority.as_str().contains('@') || host.is_empty() {
        return None;
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let place = Place { host: bare.to_owned(), port: uri.port_u16().unwrap_or(*port) };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Some(Parts { scheme, place, path: path.to_owned() })
}

/// The place of a route whose URL has one of these schemes, and how it is reached.
fn ways(
    receiver: &str,
    route: &Route,
    (schemes, usual): (&'static str, &[(&str, u16)]),
) -> Result<(Parts, Ways), CarrierError> {
    let receiver = || receiver.to_owned();
    let wrong = || CarrierError::Url { receiver: receiver(), schemes };
    let parts = parts(&route.url, usual).ok_or_else(wrong)?;
    guard::host(&parts.place.host, route.origin)
        .map_err(|refusal| CarrierError::Refused { receiver: receiver(), refusal })?;
    let proxy = match &route.proxy {
        None => None,
        Some(url) => {
            let wrong = || CarrierError::Proxy { receiver: receiver() };
            Some(proxy(url).ok_or_else(wrong)?)
        }
    };
    Ok((parts, Ways { origin: route.origin, proxy, tls: None }))
}

/// Unlike a receiver's URL, a proxy's may hold a login.
fn proxy(url: &str) -> Option<Proxy> {
    use base64::Engine as _;
    let rest = url.strip_prefix("http://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (login, place) = match authority.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, authority),
    };
    let place = parts(&format!("http://{place}/"), &[("http", 3128)])?.place;
    let encode = |login: &str| base64::engine::general_purpose::STANDARD.encode(login);
    Some(Proxy { place, authorization: login.map(|login| format!("Basic {}", encode(login))) })
}

#[cfg(test)]
mod tests;
