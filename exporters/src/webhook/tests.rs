use std::net::SocketAddr;
use std::time::SystemTime;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::signature::Secret;
use super::*;
use crate::fixture;
use crate::prometheus::{Detail, Exposition, Format};
use crate::store::message_id;

/// Takes one request and answers it with this status line; gives its text.
async fn answer_one(listener: &TcpListener, status: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    loop {
        let mut piece = [0u8; 4096];
        let read = stream.read(&mut piece).await.unwrap();
        request.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&request);
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body = text.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
        if length.is_some_and(|length| body >= length.parse().unwrap()) {
            break;
        }
    }
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8(request).unwrap()
}

fn receiver(address: SocketAddr) -> (Arc<Webhook>, WebhookTask, Arc<SelfMetrics>) {
    receiver_behind(Gate::default(), address)
}

fn receiver_behind(
    gate: Gate,
    address: SocketAddr,
) -> (Arc<Webhook>, WebhookTask, Arc<SelfMetrics>) {
    let mut settings = Settings::new("ops", &format!("http://{address}/hook?token=t"));
    settings.secret = Some(Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
    let metrics = fixture::metrics();
    let surroundings = Surroundings {
        write_back: Arc::default(),
        gate,
        external_url: "http://reachd.example".to_owned(),
        clock: WallClock::anchored(Instant::ZERO, SystemTime::UNIX_EPOCH),
        metrics: Arc::clone(&metrics),
    };
    let (webhook, task) = webhook(settings, surroundings, 1).unwrap();
    (webhook, task, metrics)
}

impl Webhook {
    /// As it is done with a store that commits at once.
    fn offer(&self, update: &IncidentUpdate) {
        if let Some(message) = self.render(update) {
            self.queue((&update.fingerprint, update.version), &message);
        }
    }
}

/// What the receiver knows a message by.
fn name(fingerprint: &str, version: u64) -> String {
    message_id("ops", (fingerprint, version), "1970-01-01T00:01:00.000Z")
}

fn page(metrics: &Arc<SelfMetrics>) -> String {
    let (own, empty) = (Arc::clone(metrics), Arc::default());
    String::from_utf8(Exposition::new(empty, own, Format::Text, Detail::Full).into_bytes()).unwrap()
}

#[tokio::test]
async fn a_refused_and_a_delivered_message_are_counted_and_signed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (webhook, task, metrics) = receiver(listener.local_addr().unwrap());
    assert!(page(&metrics).contains("{outcome=\"dead\",receiver=\"ops\"} 0\n"));
    webhook.offer(&fixture::update(1, IncidentState::Firing));
    let (stop, stopped) = oneshot::channel::<()>();
    let wait = async {
        let _ = stopped.await;
    };
    let running = tokio::spawn(task.run(wait, Duration::from_millis(500)));
    let first = answer_one(&listener, "400 Bad Request").await;
    let mut other = fixture::update(2, IncidentState::Firing);
    other.fingerprint = "fedcba9876543210".to_owned();
    webhook.offer(&other);
    let second = answer_one(&listener, "200 OK").await;
    stop.send(()).unwrap();
    // The refused one is still owed.
    assert_eq!(running.await.unwrap(), 1);
    assert!(first.starts_with("POST /hook?token=t HTTP/1.1\r\n"));
    assert!(first.contains(&format!("webhook-id: {}\r\n", name("0123456789abcdef", 1))));
    assert!(first.contains("x-reachd-attempt: 1\r\n"), "{first}");
    assert!(second.contains(&format!("webhook-id: {}\r\n", name("fedcba9876543210", 2))));
    let header = |name: &str| second.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let timestamp = header("webhook-timestamp: ").parse().unwrap();
    let (_, body) = second.split_once("\r\n\r\n").unwrap();
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let expected = secret.sign(&name("fedcba9876543210", 2), timestamp, body.as_bytes());
    assert_eq!(header("webhook-signature: "), expected);
    let page = page(&metrics);
    for outcome in ["refused", "delivered"] {
        assert!(page.contains(&format!("{{outcome=\"{outcome}\",receiver=\"ops\"}} 1\n")));
    }
    assert!(page.contains("reachd_notification_queue_length{receiver=\"ops\"} 1\n"));
}

#[tokio::test]
async fn a_failed_attempt_is_repeated_with_the_same_id_and_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (webhook, task, metrics) = receiver(listener.local_addr().unwrap());
    webhook.offer(&fixture::update(1, IncidentState::Firing));
    let (told, mut requests) = mpsc::channel(2);
    tokio::spawn(async move {
        for status in ["503 Busy", "200 OK"] {
            told.send(answer_one(&listener, status).await).await.unwrap();
        }
    });
    // Stopped from the beginning: what is delivered is delivered by draining.
    assert_eq!(task.run(async {}, Duration::from_secs(30)).await, 0);
    let first = requests.recv().await.unwrap();
    let second = requests.recv().await.unwrap();
    let body = |text: &str| text.split_once("\r\n\r\n").unwrap().1.to_owned();
    assert_eq!(body(&first), body(&second));
    assert!(second.contains(&format!("webhook-id: {}\r\n", name("0123456789abcdef", 1))));
    assert!(second.contains("x-reachd-attempt: 2\r\n"), "{second}");
    assert!(second.contains("x-reachd-queued-seconds: "), "{second}");
    assert!(page(&metrics).contains("{outcome=\"retried\",receiver=\"ops\"} 1\n"));
}

/// Whatever the clock did between two runs, nothing waits for more than a minute, and nothing is
/// given up before it was tried.
#[tokio::test]
async fn a_clock_that_jumped_between_two_runs_delays_nothing() {
    const HOUR: i64 = 3_600_000;
    const YEAR: i64 = 365 * 24 * HOUR;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for jump in [HOUR, -HOUR, YEAR, -YEAR] {
        let (webhook, _task, _) = receiver(listener.local_addr().unwrap());
        let then = unix_millis(SystemTime::now()) - jump;
        let message = webhook.render(&fixture::update(1, IncidentState::Firing)).unwrap();
        webhook.restore(&OutboxRow {
            msg_id: "00".to_owned(),
            receiver: "ops".to_owned(),
            fingerprint: "0123456789abcdef".to_owned(),
            version: 1,
            resolved: false,
            body: message.body,
            enqueued_ms: then,
            not_before_ms: then + 60_000,
            attempts: 3,
            last_error: None,
            state: State::Pending,
            updated_ms: then,
            revision: 3,
        });
        // What was written in the future waits for nothing.
        let soon = webhook.now() + Duration::from_secs(if jump < 0 { 1 } else { 60 });
        let next = webhook.lock().poll(soon);
        assert!(matches!(next, Next::Send(_)), "{jump}: {next:?}");
        webhook.book(webhook.lock());
        assert_eq!(webhook.queued(), 1, "given up untried after {jump}");
    }
}

/// Nine receivers that hang take thirty-six places of thirty-two; a tenth is told at once.
#[tokio::test]
async fn receivers_that_hang_do_not_make_another_wait() {
    let gate = Gate::default();
    let (mut hanging, mut tasks) = (Vec::new(), Vec::new());
    let message = |number: u32| {
        let mut update = fixture::update(1, IncidentState::Firing);
        update.fingerprint = format!("{number:016x}");
        update
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (webhook, task, _) = receiver_behind(gate.clone(), listener.local_addr().unwrap());
    for _ in 0..9 {
        // It accepts in the kernel and never answers.
        let slow = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, task, _) = receiver_behind(gate.clone(), slow.local_addr().unwrap());
        (0..4).for_each(|number| near.offer(&message(number)));
        tasks.push(tokio::spawn(task.run(std::future::pending(), Duration::ZERO)));
        hanging.push((slow, near));
    }
    while gate.in_flight() < 31 {
        tokio::task::yield_now().await;
    }
    webhook.offer(&message(0));
    let answering = tokio::spawn(async move { answer_one(&listener, "200 OK").await });
    assert_eq!(task.run(async {}, Duration::from_secs(5)).await, 0);
    answering.await.unwrap();
    // A place was kept for the tenth all the while.
    assert_eq!(gate.in_flight(), 31);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn draining_ends_at_its_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (webhook, task, _) = receiver(listener.local_addr().unwrap());
    // The listener accepts in the kernel and never answers.
    webhook.offer(&fixture::update(1, IncidentState::Firing));
    assert_eq!(task.run(async {}, Duration::from_millis(50)).await, 1);
}

#[tokio::test]
async fn the_end_is_told_to_whoever_was_told_the_beginning() {
    let (webhook, _task, _) = receiver("127.0.0.1:9".parse().unwrap());
    webhook.offer(&fixture::update(1, IncidentState::Pending));
    assert_eq!(webhook.queued(), 0);
    webhook.offer(&fixture::update(2, IncidentState::Firing));
    let mut end = fixture::update(3, IncidentState::Resolved);
    end.severity = reachd_core::target::Severity::Info;
    webhook.offer(&end);
    assert_eq!(webhook.queued(), 2);
}

#[tokio::test]
async fn a_receiver_that_is_gone_shows_in_a_metric_and_costs_no_row() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (webhook, task, metrics) = receiver(listener.local_addr().unwrap());
    let disabled = "reachd_receiver_disabled{receiver=\"ops\"}";
    assert!(page(&metrics).contains(&format!("{disabled} 0\n")));
    webhook.offer(&fixture::update(1, IncidentState::Firing));
    let answering = tokio::spawn(async move { answer_one(&listener, "410 Gone").await });
    assert_eq!(task.run(async {}, Duration::from_secs(30)).await, 0);
    answering.await.unwrap();
    assert!(page(&metrics).contains(&format!("{disabled} 1\n")));
}

/// The whole way over a restart: committed, not delivered, taken back, delivered, marked.
#[tokio::test]
async fn a_row_that_is_owed_is_sent_after_a_start_and_marked() {
    use crate::store::StoreHandle;

    let folder = tempfile::tempdir().unwrap();
    let (store, thread, _) = StoreHandle::start(&folder.path().join("db")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let update = fixture::update(1, IncidentState::Firing);
    let clock = WallClock::anchored(Instant::ZERO, SystemTime::UNIX_EPOCH);
    let row = crate::store::IncidentRow::new(&update, &clock);
    let (before, _task, _) = receiver(address);
    let message = before.render(&update).unwrap();
    store.save_incident(row, vec![message.clone()]).await.unwrap();

    let (webhook, task, metrics) = receiver(address);
    let rows = store.call(|store| store.outbox_of("ops")).await.unwrap();
    assert_eq!(rows[0].msg_id, name(&update.fingerprint, 1));
    rows.iter().for_each(|row| webhook.restore(row));
    assert_eq!(webhook.queued(), 1);
    let queued = "reachd_notification_queue_length{receiver=\"ops\"} 1\n";
    assert!(page(&metrics).contains(queued));
    let answering = tokio::spawn(async move { answer_one(&listener, "200 OK").await });
    assert_eq!(task.run(async {}, Duration::from_secs(30)).await, 0);
    let request = answering.await.unwrap();
    assert!(request.ends_with(std::str::from_utf8(&message.body).unwrap()));
    // Killed here, between the answer and its mark, it sends the same once more.
    let rows = store.call(|store| store.outbox_of("ops")).await.unwrap();
    assert_eq!((rows[0].state, &rows[0].body), (State::Pending, &message.body));
    assert!(webhook.surroundings.write_back.flush(&store, &Arc::default()).await);
    let rows = store.call(|store| store.outbox(None)).await.unwrap();
    assert_eq!((rows[0].state, rows[0].attempts), (State::Delivered, 1));
    // The next start owes nothing, and knows that the end is to be told.
    let (webhook, _task, _) = receiver(address);
    rows.iter().for_each(|row| webhook.restore(row));
    assert_eq!(webhook.queued(), 0);
    let mut end = fixture::update(2, IncidentState::Resolved);
    end.notify = false;
    assert!(webhook.render(&end).is_some());
    drop(store);
    thread.join().unwrap();
}
