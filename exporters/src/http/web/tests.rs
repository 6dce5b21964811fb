use std::path::Path;

use axum::http::{HeaderMap, Method, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;
use crate::http::tests::{behind, status};

/// bcrypt of `open sesame`, at the lowest cost.
const SESAME: &str = "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy";

fn write(folder: &Path, name: &str, text: &str) {
    // Marks are times and sizes: another text of the same length must be seen as well.
    std::fs::write(folder.join(name), text).unwrap();
}

/// A certificate for `localhost` with its key, in files.
fn certify(folder: &Path, name: &str) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    write(folder, &format!("{name}.crt"), &made.cert.pem());
    write(folder, &format!("{name}.key"), &made.signing_key.serialize_pem());
    made
}

fn read(folder: &Path, text: &str) -> Result<Web, WebError> {
    write(folder, "web.yml", text);
    Web::read(&folder.join("web.yml"))
}

fn basic(user: &str, password: &str) -> String {
    format!("authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
}

/// One request within TLS; the error is that of the handshake.
async fn get_tls(
    address: std::net::SocketAddr,
    trusted: &rcgen::Certificate,
    headers: &str,
) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn a_certificate_and_a_password_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let made = certify(folder.path(), "a");
    let text = format!(
        "tls_server_config:\n  cert_file: a.crt\n  key_file: a.key\n  min_version: TLS13\n\
         http_server_config:\n  headers:\n    Strict-Transport-Security: max-age=1\n\
         basic_auth_users:\n  ali: {SESAME}\n"
    );
    let running = behind(read(folder.path(), &text).unwrap()).await;
    let ask = async |headers: String| get_tls(running.address, &made.cert, &headers).await.unwrap();
    for refused in [
        String::new(),
        basic("ali", "open barley"),
        basic("cassim", "open sesame"),
        basic("cassim", ""),
        "authorization: Bearer open sesame\r\n".to_owned(),
        "authorization: Basic ====\r\n".to_owned(),
        basic("ali", &"x".repeat(100)),
    ] {
        let answer = ask(refused.clone()).await;
        assert_eq!(status(&answer), "401", "{refused}");
        assert!(answer.contains("www-authenticate: Basic realm=\"reachd\""), "{answer}");
        assert!(!answer.contains("reachd_target_up"));
    }
    // The second time it is remembered.
    for _ in 0..2 {
        let answer = ask(basic("ali", "open sesame")).await;
        assert_eq!(status(&answer), "200");
        assert!(answer.contains("strict-transport-security: max-age=1"), "{answer}");
    }
    // Whoever speaks no TLS hears nothing of us.
    assert!(!running.get("/metrics").await.contains("HTTP/1.1 200"));
}

#[tokio::test]
async fn supervisors_need_no_password() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("basic_auth_users:\n  ali: {SESAME}\n");
    let running = behind(read(folder.path(), &text).unwrap()).await;
    assert_eq!(status(&running.get("/-/healthy").await), "200");
    assert_eq!(status(&running.get("/-/ready").await), "503");
    assert_eq!(status(&running.get("/api/v1/targets").await), "401");
    assert_eq!(status(&running.ask("POST", "/-/reload", "").await), "401");
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_a_broken_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let first = certify(folder.path(), "a");
    let text = "tls_server_config: { cert_file: a.crt, key_file: a.key }\n";
    let running = behind(read(folder.path(), text).unwrap()).await;
    let reached =
        async |trusted: &rcgen::Certificate| get_tls(running.address, trusted, "").await.is_ok();
    assert!(reached(&first.cert).await);
    write(folder.path(), "web.yml", "tls_server_config: [");
    assert!(reached(&first.cert).await, "the last good one stays");
    let second = certify(folder.path(), "b");
    let text = "tls_server_config: { cert_file: b.crt, key_file: b.key }\n# renewed\n";
    write(folder.path(), "web.yml", text);
    assert!(reached(&second.cert).await);
    assert!(!reached(&first.cert).await);
}

#[test]
fn what_cannot_be_done_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path(), "a");
    certify(folder.path(), "b");
    let tls = |more: &str| {
        format!("tls_server_config: {{ cert_file: a.crt, key_file: a.key, {more} }}\n")
    };
    let table = [
        ("tls_server_confg: {}\n".to_owned(), "tls_server_confg"),
        ("basic_auth_users: { ali: secret }\n".to_owned(), "htpasswd -nBC 10 ali"),
        ("basic_auth_users: { ali: \"$2b$04$\u{e4}\" }\n".to_owned(), "no bcrypt hash"),
        ("basic_auth_users: { \"a:b\": x }\n".to_owned(), "colon"),
        ("http_server_config: { headers: { Server: x } }\n".to_owned(), "Server: set one of"),
        ("tls_server_config: { cert_file: a.crt }\n".to_owned(), "both cert_file and key_file"),
        ("tls_server_config: { cert_file: a.crt, key_file: b.key }\n".to_owned(), "fit the key"),
        ("tls_server_config: { cert_file: a.key, key_file: a.key }\n".to_owned(), "certificate"),
        ("tls_server_config: { cert_file: a.crt, key_file: c.key }\n".to_owned(), "c.key"),
        (tls("min_version: TLS10"), "TLS10 is not served"),
        (tls("min_version: TLS13, max_version: TLS12"), "exchange the two"),
        (tls("cipher_suites: [X]"), "leave it out"),
        (tls("client_auth_type: RequireAnyClientCert"), "proves nothing"),
        (tls("client_auth_type: RequireAndVerifyClientCert"), "client_ca_file"),
        (tls("client_ca_file: a.crt"), "RequireAndVerifyClientCert"),
        (tls("client_auth_type: Maybe"), "unknown"),
    ];
    for (text, reason) in table {
        let Err(error) = read(folder.path(), &text) else { panic!("{text} was taken") };
        let told = format!("{error}");
        let all = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
        let all: Vec<_> = all.map(ToString::to_string).collect();
        assert!(all.iter().any(|part| part.contains(reason)), "{text}: {all:?}");
        assert!(told.contains("web_config") || told.contains("web.yml"), "{told}");
        assert!(!told.contains("secret"), "no password is repeated: {told}");
    }
    for text in ["", "{}\n", &tls("client_auth_type: NoClientCert"), &tls("min_version: TLS12")] {
        assert!(read(folder.path(), text).is_ok(), "{text}");
    }
}

#[tokio::test]
async fn from_afar_only_metrics_are_read_without_a_password() {
    let reload = "/-/reload";
    let packets = "/api/v1/incidents/1/evidence.pcapng";
    let table = [
        ("127.0.0.1:1", Method::POST, reload, true),
        ("127.0.0.1:1", Method::GET, packets, true),
        ("[::1]:1", Method::PUT, reload, true),
        ("[::ffff:127.0.0.1]:1", Method::POST, reload, true),
        ("192.0.2.1:1", Method::GET, "/metrics", true),
        ("192.0.2.1:1", Method::HEAD, "/-/ready", true),
        ("192.0.2.1:1", Method::GET, "/probe", true),
        ("192.0.2.1:1", Method::GET, packets, false),
        ("192.0.2.1:1", Method::GET, "/", false),
        ("192.0.2.1:1", Method::POST, "/metrics", false),
        ("192.0.2.1:1", Method::POST, reload, false),
        ("[2001:db8::1]:1", Method::DELETE, reload, false),
        ("[2001:db8::1]:1", Method::GET, "/api/v1/targets", false),
    ];
    let web = Web::open();
    for (from, method, path, may) in table {
        let peer = Some(Peer(from.parse().unwrap()));
        let admitted = admit(&web, peer, (&method, path, &HeaderMap::new())).await;
        assert_eq!(admitted.is_ok(), may, "{method} {path} from {from}");
        assert!(admitted.is_ok() || admitted.is_err_and(|answer| answer.status() == 403));
    }
}

#[tokio::test]
async fn nothing_is_changed_under_a_name_that_anybody_may_give_us() {
    let table = [
        (Method::POST, "127.0.0.1:9639", true),
        (Method::POST, "[::1]:9639", true),
        (Method::POST, "LOCALHOST", true),
        (Method::GET, "evil.example:9639", true),
        (Method::POST, "evil.example:9639", false),
        (Method::DELETE, "localhost.evil.example", false),
        (Method::POST, "", false),
    ];
    let web = Web::open();
    let near = Some(Peer("127.0.0.1:1".parse().unwrap()));
    for (method, host, may) in table {
        let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
        let admitted = admit(&web, near, (&method, "/-/reload", &headers)).await;
        assert_eq!(admitted.is_ok(), may, "{method} {host}");
    }
}

#[tokio::test]
async fn guessers_do_not_keep_out_who_is_known() {
    let folder = tempfile::tempdir().unwrap();
    // At cost 10 each guess takes a good while.
    let slow = SESAME.replace("$04$", "$10$");
    let text = format!("basic_auth_users:\n  ali: {SESAME}\n  baba: \"{slow}\"\n");
    let running = behind(read(folder.path(), &text).unwrap()).await;
    let ask = async |headers: String| running.ask("GET", "/api/v1/targets", &headers).await;
    assert_eq!(status(&ask(basic("ali", "open sesame")).await), "200");
    let guesses = (0..80).map(|number| ask(basic("baba", &format!("guess {number}"))));
    let mut guesses = guesses.map(Box::pin).collect::<Vec<_>>();
    let mut known = Box::pin(async {
        for _ in 0..5 {
            assert_eq!(status(&ask(basic("ali", "open sesame")).await), "200");
        }
    });
    // All of them are under way until the known one has had its answers.
    std::future::poll_fn(|context| {
        guesses.retain_mut(|guess| guess.as_mut().poll(context).is_pending());
        known.as_mut().poll(context)
    })
    .await;
}
