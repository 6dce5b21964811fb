//! Receivers in TLS: whom is believed, and the way through a proxy and by STARTTLS.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use super::*;
use crate::receiver::{MailTls, Mailbox};

/// A server of the authority, for `localhost` and 127.0.0.1.
fn acceptor() -> TlsAcceptor {
    let (chain, key) = (PKI.chain.clone(), PKI.key.clone_key());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Reads until this stands in what was read.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "it ended after {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    text
}

/// An HTTPS receiver, behind the head of a proxy if there is one; gives what it read in TLS.
async fn serve(listener: TcpListener, proxied: bool) -> Option<String> {
    let (mut stream, _) = listener.accept().await.unwrap();
    if proxied {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.starts_with("CONNECT localhost:4433 HTTP/1.1\r\n"), "{head}");
        stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
    }
    let mut stream = acceptor().accept(stream).await.ok()?;
    let text = read_until(&mut stream, "\r\n\r\n{}").await;
    stream.write_all(b"HTTP/1.1 202 Taken\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    Some(text)
}

async fn carried(route: &Route) -> Carried {
    let dialect = Dialect::new(PLAIN, None).unwrap();
    Carrier::new("ops", dialect, route).unwrap().carry(&message()).await
}

fn trusting(url: &str, authority: &[u8]) -> Route {
    Route { authorities: Some(authority.to_vec()), ..Route::to(url) }
}

#[tokio::test]
async fn an_own_authority_is_believed_and_another_is_not() {
    for (authority, taken) in [(authority(), true), (PKI.stranger.as_bytes(), false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/hook", listener.local_addr().unwrap());
        let server = tokio::spawn(serve(listener, false));
        let carried = carried(&trusting(&url, authority)).await;
        let heard = server.await.unwrap();
        if taken {
            assert_eq!((carried.outcome, carried.status), (Outcome::Accepted, Some(202)));
            assert!(heard.unwrap().starts_with("POST /hook HTTP/1.1\r\n"));
        } else {
            let (_, why) = retry(&carried);
            assert!(why.starts_with("begin TLS with 127.0.0.1: invalid peer"), "{why}");
            assert_eq!(heard, None);
        }
    }
}

#[tokio::test]
async fn through_a_proxy_tls_is_spoken_with_the_receiver() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Some(format!("http://{}", listener.local_addr().unwrap()));
    let server = tokio::spawn(serve(listener, true));
    let route = Route { proxy, ..trusting("https://localhost:4433/hook", authority()) };
    assert_eq!(carried(&route).await.outcome, Outcome::Accepted);
    assert!(server.await.unwrap().unwrap().contains("\r\nhost: localhost:4433\r\n"));
}

#[tokio::test]
async fn a_password_goes_by_starttls_and_what_was_slipped_in_before_is_dropped() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 mail\r\n").await.unwrap();
        read_until(&mut stream, "\r\n").await;
        stream.write_all(b"250-mail\r\n250 STARTTLS\r\n").await.unwrap();
        read_until(&mut stream, "STARTTLS\r\n").await;
        // Somebody on the way answers the next question in advance.
        stream.write_all(b"220 go\r\n250 AUTH LOGIN\r\n").await.unwrap();
        let mut stream = acceptor().accept(stream).await.unwrap();
        let mut heard = read_until(&mut stream, "EHLO reachd.invalid\r\n").await;
        stream.write_all(b"250 AUTH PLAIN\r\n").await.unwrap();
        for (end, answer) in [
            ("==\r\n", "235 welcome\r\n"),
            ("MAIL FROM:<reachd@example.com>\r\n", "250 ok\r\n"),
            ("RCPT TO:<a@example.com>\r\n", "250 ok\r\n"),
            ("DATA\r\n", "354 go on\r\n"),
            ("\r\n.\r\n", "250 queued\r\n"),
        ] {
            heard.push_str(&read_until(&mut stream, end).await);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        heard
    });
    let kind = Kind::Email(Mailbox {
        from: "reachd@example.com".to_owned(),
        to: vec!["a@example.com".to_owned()],
        username: Some("reachd".to_owned()),
        password: Some(Hidden::new("hunter22")),
        tls: MailTls::Required,
    });
    let dialect = Dialect::new(kind, None).unwrap();
    let carrier = Carrier::new("ops", dialect, &trusting(&url, authority())).unwrap();
    let carried = carrier.carry(&message()).await;
    assert_eq!((carried.outcome, carried.status), (Outcome::Accepted, Some(250)));
    let heard = server.await.unwrap();
    assert!(heard.contains("AUTH PLAIN AHJlYWNoZABodW50ZXIyMg==\r\n"), "{heard}");
}
