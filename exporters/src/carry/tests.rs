//! Over real sockets of this machine: what misbehaving receivers do to an attempt.

mod tls;

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::receiver::Hidden;
use crate::webhook::delivery::{Late, MessageId};

fn message() -> Message {
    let id = MessageId { fingerprint: "0123456789abcdef".to_owned(), version: 3 };
    Message {
        id,
        name: "0123abcd".to_owned(),
        resolved: false,
        body: "{}".into(),
        late: Late::default(),
    }
}

fn carrier(kind: Kind, url: &str) -> Carrier {
    Carrier::new("ops", Dialect::new(kind, None).unwrap(), &Route::to(url)).unwrap()
}

const PLAIN: Kind = Kind::Webhook { secret: None };

/// Reads one request to the end of its body.
async fn request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    loop {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.unwrap();
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if read == 0 || body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return text;
        }
    }
}

/// A server that answers one request with these bytes, and then stays silent without closing.
async fn server(answer: Vec<u8>) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = request(&mut stream).await;
        // The client may have read enough and be gone.
        let _ = stream.write_all(&answer).await;
        let _ = stream.read(&mut [0; 1]).await;
        request
    });
    (address, task)
}

async fn answered(kind: Kind, answer: &str) -> (Carried, String) {
    let (address, task) = server(answer.as_bytes().to_vec()).await;
    let carried = carrier(kind, &format!("http://{address}/hook?token=t")).carry(&message()).await;
    (carried, task.await.unwrap())
}

fn retry(carried: &Carried) -> (Option<Duration>, &str) {
    match &carried.outcome {
        Outcome::Retry { after, why } => (*after, why),
        other => panic!("not to be tried again: {other:?}"),
    }
}

#[tokio::test]
async fn a_request_is_complete_and_its_answer_is_judged() {
    let (carried, request) = answered(PLAIN, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!((carried.outcome, carried.status), (Outcome::Accepted, Some(200)));
    assert!(request.starts_with("POST /hook?token=t HTTP/1.1\r\nhost: 127.0.0.1:"), "{request}");
    for header in ["content-type: application/json", "webhook-id: 0123abcd"] {
        assert!(request.contains(header), "{request}");
    }
}

#[tokio::test]
async fn failures_of_the_server_are_tried_again() {
    for status in ["500 Oops", "502 Bad Gateway", "503 Busy", "504 Late"] {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        let (carried, _) = answered(PLAIN, &answer).await;
        assert_eq!(retry(&carried).0, None, "{status}");
    }
    let busy = "HTTP/1.1 429 Slow down\r\nretry-after: 17\r\ncontent-length: 0\r\n\r\n";
    let (carried, _) = answered(Kind::Slack, busy).await;
    assert_eq!(retry(&carried), (Some(Duration::from_secs(17)), "answered 429"));
    let gone = "HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(answered(PLAIN, gone).await.0.outcome, Outcome::Gone);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let location = elsewhere.local_addr().unwrap();
    let head = format!("location: http://{location}/\r\ncontent-length: 0\r\n\r\n");
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let (carried, _) = answered(PLAIN, &format!("HTTP/1.1 {status}\r\n{head}")).await;
        assert_eq!(retry(&carried).1, format!("answered {}", &status[..3]));
    }
    let visited = tokio::time::timeout(Duration::from_millis(50), elsewhere.accept()).await;
    assert!(visited.is_err(), "somebody came");
}

#[tokio::test]
async fn of_a_gigabyte_a_few_pages_are_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let (piece, mut written) = (vec![b'x'; 65_536], 0);
        while written < 1 << 30 && stream.write_all(&piece).await.is_ok() {
            written += piece.len();
        }
        written
    });
    let carried = carrier(PLAIN, &format!("http://{address}/")).carry(&message()).await;
    assert_eq!(carried.outcome, Outcome::Accepted);
    // What the kernel's buffers took is not read; they are some megabytes.
    assert!(task.await.unwrap() < 64 << 20);
}

#[tokio::test]
async fn nobody_there_silence_and_nonsense_are_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let carried = carrier(PLAIN, &format!("http://{address}/")).carry(&message()).await;
    assert!(retry(&carried).1.contains("refused"), "{carried:?}");
    let (carried, _) = answered(PLAIN, "SSH-2.0-OpenSSH\r\n").await;
    assert_eq!(carried.status, None);
    retry(&carried);
}

#[tokio::test]
async fn a_slow_answer_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // The kernel accepts; nobody answers.
    let client = http::Http::new("ops", &Route::to(&format!("http://{address}/"))).unwrap();
    let now = std::time::SystemTime::now();
    let post = Dialect::new(PLAIN, None).unwrap().post("http://h/", &message(), now);
    let within = Duration::from_millis(50);
    let given_up = client.exchange(post, now, within).await;
    assert_eq!(given_up, Err("no answer within 0 s".to_owned()));
}

#[tokio::test]
async fn a_code_inside_of_200_is_a_failure() {
    let body = r#"{"errcode":310000,"errmsg":"token-from-the-url is bad"}"#;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (address, _task) = server(answer.into_bytes()).await;
    let kind = Kind::DingTalk { secret: Some(Hidden::new("SECabc")), keyword: None };
    let url = format!("http://{address}/send?access_token=token-from-the-url");
    let carried = carrier(kind, &url).carry(&message()).await;
    assert_eq!((carried.status, carried.code.as_deref()), (Some(200), Some("310000")));
    let why = "answered 200 with code 310000: (hidden) is bad".to_owned();
    assert_eq!(carried.outcome, Outcome::Refused { why });
}

#[tokio::test]
async fn plain_bytes_where_tls_is_due_are_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 512]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let route = Route { authorities: Some(authority().to_vec()), ..Route::to("") };
    let route = Route { url: format!("https://{address}/"), ..route };
    let carrier = Carrier::new("ops", Dialect::new(PLAIN, None).unwrap(), &route).unwrap();
    let carried = carrier.carry(&message()).await;
    assert!(retry(&carried).1.starts_with("begin TLS with 127.0.0.1"), "{carried:?}");
}

#[tokio::test]
async fn a_proxy_gets_the_whole_url_or_a_tunnel() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let (address, task) = server(answer.as_bytes().to_vec()).await;
    let dialect = || Dialect::new(PLAIN, None).unwrap();
    let proxy = Some(format!("http://user:password@{address}"));
    let route = Route { proxy: proxy.clone(), ..Route::to("http://alerts.example/hook") };
    let carried = Carrier::new("ops", dialect(), &route).unwrap().carry(&message()).await;
    assert_eq!(carried.outcome, Outcome::Accepted);
    let request = task.await.unwrap();
    assert!(request.starts_with("POST http://alerts.example/hook HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("host: alerts.example\r\n"), "{request}");
    assert!(request.contains("proxy-authorization: Basic dXNlcjpwYXNzd29yZA==\r\n"), "{request}");

    let (address, task) = server(b"HTTP/1.1 403 Forbidden\r\n\r\n".to_vec()).await;
    let route = Route {
        proxy: Some(format!("http://{address}")),
        authorities: Some(authority().to_vec()),
        ..Route::to("https://alerts.example/hook")
    };
    let carried = Carrier::new("ops", dialect(), &route).unwrap().carry(&message()).await;
    assert_eq!(retry(&carried).1, "pass the proxy: it answered 403");
    assert!(task.await.unwrap().starts_with("CONNECT alerts.example:443 HTTP/1.1\r\n"));
}

#[test]
fn urls_that_cannot_be_used_are_refused_without_being_shown() {
    let urls = [
        "",
        "example",
        "ftp://192.0.2.1/",
        "http://",
        "/path",
        "http://u:p@192.0.2.1/",
        "http://169.254.169.254/token",
        "http://[fe80::1]/token",
        "http://0xa9fea9fe/token",
        "http://metadata.google.internal/token",
    ];
    for url in urls {
        let dialect = Dialect::new(PLAIN, None).unwrap();
        let error = Carrier::new("ops", dialect, &Route::to(url)).err().unwrap().to_string();
        assert!(error.contains("receiver ops") && !error.contains("token"), "{url}: {error}");
    }
    for url in ["http://192.0.2.1:1/x?token=1", "http://10.0.0.1/", "http://127.0.0.1:1/"] {
        assert!(Carrier::new("ops", Dialect::new(PLAIN, None).unwrap(), &Route::to(url)).is_ok());
    }
    let route = Route { origin: Origin::Elsewhere, ..Route::to("http://10.0.0.1/") };
    assert!(Carrier::new("ops", Dialect::new(PLAIN, None).unwrap(), &route).is_err());
}

/// `localhost` passes as a name; what it resolves to is looked at, and nothing is sent.
#[tokio::test]
async fn what_a_name_resolves_to_is_looked_at() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = Place { host: "localhost".to_owned(), port: listener.local_addr().unwrap().port() };
    let ways = Ways { origin: Origin::Elsewhere, proxy: None, tls: None };
    let error = ways.open(&place, false).await.err().unwrap();
    assert!(error.to_string().contains("private"), "{error}");
    let ways = Ways { origin: Origin::Plan, ..ways };
    assert!(ways.open(&place, false).await.is_ok());
}

#[test]
fn secrets_are_hidden_whole_and_where_they_are_cut() {
    let secrets = ["abcdefgh".to_owned(), "schlüssel".to_owned()];
    let check = |text: &str, expected: &str| assert_eq!(scrubbed(&secrets, text), expected);
    check("x abcdefgh y", "x (hidden) y");
    check("x abcdefg…", "x (hidden)…");
    check("x abcd…", "x (hidden)…");
    check("x abc…", "x abc…");
    check("x schlü…", "x (hidden)…");
    check("x abcdefg", "x abcdefg");
}

#[test]
fn tokens_of_a_url_are_known_as_secrets() {
    let found = secrets_of("http://me:password1@h/services/T00000000/x?key=abcdefgh&a=b");
    assert_eq!(found, ["password1", "services", "T00000000", "abcdefgh"]);
}

/// An authority, a server of it, and an authority that nobody knows: made anew in each run.
struct Pki {
    authority: String,
    stranger: String,
    chain: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

static PKI: LazyLock<Pki> = LazyLock::new(|| {
    let authority = || {
        let mut wanted = CertificateParams::default();
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let made = wanted.self_signed(&key).unwrap().pem();
        (made, Issuer::new(wanted, key))
    };
    let ((known, issuer), (stranger, _)) = (authority(), authority());
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().unwrap();
    let served = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Pki { authority: known, stranger, chain: served.der().clone(), key }
});

/// The certificate of an authority, in PEM.
pub(super) fn authority() -> &'static [u8] {
    PKI.authority.as_bytes()
}
