//! A mail server that says what the test wants, and remembers what it heard.

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// What a server says besides the usual: an answer for commands that begin so.
type Script = &'static [(&'static str, &'static str)];

/// Serves one conversation; gives every line that was heard.
async fn server(script: Script) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        let mut heard = Vec::new();
        writer.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
        let mut in_message = false;
        while let Ok(Some(line)) = lines.next_line().await {
            let told = script.iter().find(|(start, _)| line.starts_with(start));
            let answer = match (in_message, line.as_str()) {
                (true, ".") => "250 queued",
                (true, _) => "",
                (false, line) if line.starts_with("EHLO") => "250-mail.example\r\n250 8BITMIME",
                (false, "DATA") => "354 go on",
                (false, "QUIT") => "221 bye",
                (false, _) => "250 ok",
            };
            let answer = told.filter(|_| !in_message || line == ".").map_or(answer, |told| told.1);
            in_message = match line.as_str() {
                "DATA" => answer.starts_with('3'),
                "." => false,
                _ => in_message,
            };
            heard.push(line);
            if !answer.is_empty() {
                let _ = writer.write_all(format!("{answer}\r\n").as_bytes()).await;
            }
        }
        heard
    });
    (url, task)
}

fn mailbox(tls: MailTls) -> Mailbox {
    Mailbox {
        from: "reachd@example.com".to_owned(),
        to: vec!["a@example.com".to_owned(), "b@example.com".to_owned()],
        username: None,
        password: None,
        tls,
    }
}

const MESSAGE: &[u8] = b"Subject: x\r\n\r\n.hidden\r\n..\r\nend";

async fn sent(script: Script, mailbox: Mailbox) -> (Carried, Vec<String>) {
    let (url, task) = server(script).await;
    let authorities = Some(crate::carry::tests::authority().to_vec());
    let route = Route { authorities, ..Route::to(&url) };
    let carried = Smtp::new("ops", &route, mailbox).unwrap().send(MESSAGE).await;
    (carried, task.await.unwrap())
}

#[tokio::test]
async fn a_mail_is_handed_over_with_its_dots_stuffed() {
    let (carried, heard) = sent(&[], mailbox(MailTls::Off)).await;
    assert_eq!((carried.outcome, carried.status), (Outcome::Accepted, Some(250)));
    let expected = [
        "EHLO reachd.invalid",
        "MAIL FROM:<reachd@example.com>",
        "RCPT TO:<a@example.com>",
        "RCPT TO:<b@example.com>",
        "DATA",
        "Subject: x",
        "",
        "..hidden",
        "...",
        "end",
        ".",
        "QUIT",
    ];
    assert_eq!(heard, expected);
}

async fn check(script: Script, expected: (Option<u16>, &str)) {
    let (carried, _) = sent(script, mailbox(MailTls::Off)).await;
    let name = match carried.outcome {
        Outcome::Accepted => "accepted",
        Outcome::Retry { .. } => "retry",
        Outcome::Refused { .. } => "refused",
        Outcome::Gone => "gone",
    };
    assert_eq!((carried.status, name), expected, "{script:?}");
}

#[tokio::test]
async fn reply_codes_decide() {
    check(&[("MAIL", "451 later")], (Some(451), "retry")).await;
    check(&[("MAIL", "550 no")], (Some(550), "refused")).await;
    check(&[("RCPT TO:<a", "550 nobody")], (Some(250), "accepted")).await;
    check(&[("RCPT", "550 nobody")], (Some(550), "refused")).await;
    check(&[("RCPT TO:<a", "450 greylisted")], (Some(450), "retry")).await;
    check(&[("DATA", "452 full")], (Some(452), "retry")).await;
    check(&[(".", "554 spam")], (Some(554), "refused")).await;
    check(&[("EHLO", "421 busy")], (Some(421), "retry")).await;
    check(&[("EHLO", "this is no mail server")], (None, "retry")).await;
    check(&[("EHLO", "250-first\r\n250-second\r\n250 last")], (Some(250), "accepted")).await;
}

/// One conversation after another with servers that say this; what each heard.
async fn tried(scripts: &[Script]) -> Vec<(Carried, Vec<String>)> {
    let mut smtp: Option<Smtp> = None;
    let mut all = Vec::new();
    for script in scripts {
        let (url, task) = server(script).await;
        let mut next = Smtp::new("ops", &Route::to(&url), mailbox(MailTls::Off)).unwrap();
        if let Some(last) = smtp {
            next.partial = last.partial;
        }
        let carried = next.send(MESSAGE).await;
        all.push((carried, task.await.unwrap()));
        smtp = Some(next);
    }
    all
}

fn recipients(heard: &[String]) -> Vec<&str> {
    heard.iter().filter_map(|line| line.strip_prefix("RCPT TO:")).collect()
}

#[tokio::test]
async fn who_may_have_the_mail_has_it_though_others_may_not_yet() {
    let full: Script = &[("RCPT TO:<b", "452 mailbox full")];
    let told = tried(&[full, full, &[]]).await;
    let [(first, heard), (second, again), (third, last)] = &told[..] else { panic!() };
    assert!(heard.contains(&"DATA".to_owned()), "{heard:?}");
    assert!(matches!(first.outcome, Outcome::Retry { .. }), "{first:?}");
    // Nobody gets it twice.
    assert_eq!(recipients(again), ["<b@example.com>"]);
    assert!(!again.contains(&"DATA".to_owned()), "{again:?}");
    assert!(matches!(second.outcome, Outcome::Retry { .. }), "{second:?}");
    assert_eq!((recipients(last), &third.outcome), (vec!["<b@example.com>"], &Outcome::Accepted));
}

#[tokio::test]
async fn the_others_wait_no_longer_than_their_time() {
    let (url, task) = server(&[("RCPT TO:<b", "452 mailbox full")]).await;
    let smtp = Smtp::new("ops", &Route::to(&url), mailbox(MailTls::Off)).unwrap();
    let key = digest(&SHA256, MESSAGE).as_ref().to_vec();
    let since = Instant::now().checked_sub(LATER).unwrap();
    let taken = BTreeSet::from(["a@example.com".to_owned()]);
    smtp.partial.lock().unwrap().insert(key, Partial { since, taken });
    assert_eq!(smtp.send(MESSAGE).await.outcome, Outcome::Accepted);
    assert!(smtp.partial.lock().unwrap().is_empty());
    assert_eq!(recipients(&task.await.unwrap()), ["<b@example.com>"]);
}

#[tokio::test]
async fn without_tls_no_mail_and_no_password_leave() {
    let (carried, heard) = sent(&[], mailbox(MailTls::Required)).await;
    let Outcome::Retry { why, .. } = carried.outcome else { panic!("not tried again") };
    assert_eq!((why.as_str(), heard.len()), ("the server offers no STARTTLS", 1));
    let login = Mailbox {
        username: Some("reachd".to_owned()),
        password: Some(Hidden::new("hunter22")),
        ..mailbox(MailTls::IfOffered)
    };
    let (carried, heard) = sent(&[("EHLO", "250 AUTH PLAIN LOGIN")], login).await;
    let Outcome::Retry { why, .. } = carried.outcome else { panic!("not tried again") };
    assert_eq!((why.as_str(), heard.len()), ("a password is sent over TLS only", 1));
}

#[tokio::test]
async fn a_server_that_breaks_tls_gets_nothing_in_plain() {
    let script = &[("EHLO", "250-mail.example\r\n250 STARTTLS"), ("STARTTLS", "220 go")];
    let (carried, heard) = sent(script, mailbox(MailTls::IfOffered)).await;
    let Outcome::Retry { why, .. } = carried.outcome else { panic!("not tried again") };
    assert!(why.starts_with("begin TLS with 127.0.0.1"), "{why}");
    assert!(!heard.iter().any(|line| line.starts_with("MAIL")), "{heard:?}");
}

/// Both forms of RFC 4954, spoken over a pipe that stands for the encrypted way.
#[tokio::test]
async fn who_signs_in_is_told_as_the_server_asks() {
    let check = async |offer: &str, answers: &'static str, expected: &[&str]| {
        let (near, mut far) = tokio::io::duplex(4096);
        far.write_all(answers.as_bytes()).await.unwrap();
        let mut talk = Talk { stream: Box::new(near), rest: Vec::new() };
        let offered = Reply { code: 250, text: offer.to_owned() };
        talk.sign_in("reachd", &Hidden::new("hunter22"), &offered).await.unwrap();
        drop(talk);
        let mut heard = String::new();
        far.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard.lines().collect::<Vec<_>>(), expected);
    };
    let plain = "AUTH PLAIN AHJlYWNoZABodW50ZXIyMg==";
    check("AUTH LOGIN PLAIN\n", "235 welcome\r\n", &[plain]).await;
    let answers = "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 welcome\r\n";
    check("AUTH LOGIN\n", answers, &["AUTH LOGIN", "cmVhY2hk", "aHVudGVyMjI="]).await;
}
