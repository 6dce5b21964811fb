//! Passwords, and who may change something.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use tokio::sync::Semaphore;

use super::{Setup, Web};
use crate::http::respond::text;

/// Name and password that were found right are remembered as a digest, for bcrypt is slow on
/// purpose; so many at most.
const REMEMBERED: usize = 64;

/// bcrypt reads no more of a password (Provos and Mazières 1999, section 3).
const PASSWORD_MAX: usize = 72;

/// A hash of no password that anybody knows: unknown users take as long as known ones.
const NOBODY: &str = "$2b$10$aszgZjyJ71CXejFoA/ESDOc9blUnnxA8AhJm2rZo.EzZusrWWXopG";

/// What tells nothing but that somebody is there: probes of supervisors have no password.
const OPEN: [&str; 2] = ["/-/healthy", "/-/ready"];

/// What Prometheus reads, from wherever it may run.
const SCRAPED: [&str; 2] = ["/metrics", "/probe"];

/// Who came, from where.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Peer(pub(in crate::http) SocketAddr);

/// Users and their passwords as bcrypt hashes; without any, everybody comes in.
#[derive(Clone, Default)]
pub(super) struct Users {
    hashes: Arc<BTreeMap<String, String>>,
    right: Arc<Mutex<BTreeSet<[u8; 32]>>>,
    counter: Arc<Counter>,
}

impl Users {
    /// Takes users as they are written; the error tells whose hash is none.
    pub(super) fn new(hashes: BTreeMap<String, String>) -> Result<Self, String> {
        for (user, hash) in &hashes {
            if user.is_empty() || user.contains(':') {
                return Err("a user's name is empty or has a colon".to_owned());
            }
            if hash.parse::<bcrypt::HashParts>().is_err() {
                return Err(format!(
                    "the password of {user} is no bcrypt hash; make one with \
                     `htpasswd -nBC 10 {user}`"
                ));
            }
        }
        Ok(Self { hashes: Arc::new(hashes), right: Arc::default(), counter: Arc::default() })
    }

    fn right(&self) -> MutexGuard<'_, BTreeSet<[u8; 32]>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a password was found right before.
    fn remembers(&self, user: &str, password: &[u8]) -> bool {
        self.right().contains(&seal(user, password))
    }

    /// Whether a password is that of a user. Takes as long for users that do not exist.
    async fn knows(&self, user: String, password: Vec<u8>) -> bool {
        let seal = seal(&user, &password);
        let known = self.hashes.get(&user).cloned();
        let is_user = known.is_some();
        let hash = known.unwrap_or_else(|| NOBODY.to_owned());
        let compare = move || bcrypt::verify(password, &hash).unwrap_or(false);
        let right = tokio::task::spawn_blocking(compare).await.unwrap_or(false) && is_user;
        if right {
            let mut known = self.right();
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(seal);
        }
        right
    }
}

fn seal(user: &str, password: &[u8]) -> [u8; 32] {
    // A name has no colon, so nobody's name and password read as another's.
    let whole = [user.as_bytes(), b":", password].concat();
    let mut seal = [0; 32];
    seal.copy_from_slice(digest(&SHA256, &whole).as_ref());
    seal
}

/// Where passwords are compared.
struct Counter {
    /// One at a time: guessing costs the guesser, not the prober.
    comparing: Semaphore,
    /// So many wait for that; whoever comes then is sent away, and holds up nobody who is known.
    waiting: Semaphore,
}

impl Default for Counter {
    fn default() -> Self {
        Self { comparing: Semaphore::new(1), waiting: Semaphore::new(8) }
    }
}

/// Lets a request in or gives the answer that it gets instead.
pub(in crate::http) async fn admit(
    web: &Web,
    peer: Option<Peer>,
    (method, path, headers): (&Method, &str, &HeaderMap),
) -> Result<Arc<Setup>, Response> {
    let setup = web.setup();
    if OPEN.contains(&path) || setup.users.hashes.is_empty() {
        return match stranger(&setup, peer, (method, path, headers)) {
            Some(reason) => Err(text(StatusCode::FORBIDDEN, reason)),
            None => Ok(setup),
        };
    }
    let Some((user, password)) = credentials(headers) else { return Err(challenge()) };
    if setup.users.remembers(&user, &password) {
        return Ok(setup);
    }
    let counter = Arc::clone(&setup.users.counter);
    let Ok(_place) = counter.waiting.try_acquire() else {
        return Err(text(StatusCode::TOO_MANY_REQUESTS, "too many passwords at once; come back"));
    };
    // The semaphore is never closed.
    let _turn = counter.comparing.acquire().await;
    if setup.users.knows(user, password).await { Ok(setup) } else { Err(challenge()) }
}

/// Why somebody without a password is sent away. On the machine itself everything is read, and
/// changed under its own names; from afar, what Prometheus and supervisors read. Targets,
/// incidents and their packets are for those who have a password or a certificate.
fn stranger(
    setup: &Setup,
    peer: Option<Peer>,
    (method, path, headers): (&Method, &str, &HeaderMap),
) -> Option<&'static str> {
    if setup.certified {
        return None;
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let near = peer.is_some_and(|Peer(address)| address.ip().to_canonical().is_loopback());
    match (near, reads) {
        (true, true) => None,
        (true, false) => (!is_own_host(headers)).then_some(
            "without a password nothing is changed under a name that anybody may give this \
             machine: ask an address or localhost, or set basic_auth_users in the file of \
             [listen] web_config",
        ),
        (false, true) => (!OPEN.contains(&path) && !SCRAPED.contains(&path)).then_some(
            "from afar only /metrics and /probe are read without a password: set \
             basic_auth_users in the file of [listen] web_config, or ask on the machine itself",
        ),
        (false, false) => Some(
            "from afar nothing is changed without a password: set basic_auth_users in the file of \
             [listen] web_config, or ask on the machine itself",
        ),
    }
}

/// Whether the request was made to an address or a name without a dot, such as `localhost`. A web
/// page of somebody else's can reach us under a name of its own domain (DNS rebinding), and a
/// browser takes us for its origin then.
fn is_own_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(authority) = host.to_str().unwrap_or_default().parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse::<IpAddr>().is_ok() || !bare.is_empty() && !bare.contains('.')
}

/// Name and password of the `Authorization` header (RFC 7617).
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, coded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = STANDARD.decode(coded.trim()).ok()?;
    let colon = plain.iter().position(|byte| *byte == b':')?;
    let (user, password) = plain.split_at(colon);
    let password = password.get(1..).filter(|password| password.len() <= PASSWORD_MAX)?;
    Some((String::from_utf8(user.to_vec()).ok()?, password.to_vec()))
}

fn challenge() -> Response {
    let mut response = text(StatusCode::UNAUTHORIZED, "name and password, please");
    let basic = HeaderValue::from_static("Basic realm=\"reachd\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
    response
}
