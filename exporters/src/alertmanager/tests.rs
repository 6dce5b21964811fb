use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::carry::gate::Gate;
use crate::clock::WallClock;
use crate::fixture;
use reachd_core::incident::IncidentState;

/// An instance: every request's text comes out; answered by these statuses, the last for ever.
async fn instance(statuses: &'static [&'static str]) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, requests) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut statuses = statuses.iter().peekable();
        let mut status = "200 OK";
        while let Ok((mut stream, _)) = listener.accept().await {
            status = statuses.next().unwrap_or(&status);
            let mut text = String::new();
            // The body is JSON and ends with its list.
            while !text.ends_with(']') {
                let mut piece = [0; 4096];
                let read = stream.read(&mut piece).await.unwrap();
                text.push_str(&String::from_utf8_lossy(&piece[..read]));
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            if told.send(text).await.is_err() {
                return;
            }
        }
    });
    (url, requests)
}

fn surroundings() -> Surroundings {
    Surroundings {
        write_back: Arc::default(),
        gate: Gate::default(),
        external_url: "http://reachd.example".to_owned(),
        clock: WallClock::anchored(fixture::at(0), SystemTime::UNIX_EPOCH),
        metrics: fixture::metrics(),
    }
}

#[tokio::test]
async fn every_instance_is_told_at_once_and_one_that_fails_is_told_again() {
    let (first, mut told_first) = instance(&["200 OK"]).await;
    let (second, mut told_second) = instance(&["500 Oops", "200 OK"]).await;
    let urls = [format!("{first}/"), second];
    let settings = Settings::new("am", "");
    let (near, task) = alertmanager(settings, &urls, surroundings()).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let until = async {
        let _ = stopped.await;
    };
    let running = tokio::spawn(task.run(until, Duration::from_secs(30)));
    near.tell(&fixture::update(1, IncidentState::Firing));
    let one = told_first.recv().await.unwrap();
    assert!(one.starts_with("POST /api/v2/alerts HTTP/1.1\r\n"), "{one}");
    let failed = told_second.recv().await.unwrap();
    let again = told_second.recv().await.unwrap();
    assert!(failed.contains("192.0.2.10:3389") && again.contains("192.0.2.10:3389"));
    // An end of what is on the board is told, whatever the routing says.
    let mut over = fixture::update(2, IncidentState::Resolved);
    over.notify = false;
    near.tell(&over);
    // What is open may be told once more before.
    while !told_first.recv().await.unwrap().contains("\"endsAt\":\"1970-01-01T00:02:00.000Z\"") {}
    stop.send(()).unwrap();
    assert_eq!(running.await.unwrap(), 0);
}

#[tokio::test]
async fn what_was_never_told_as_open_is_not_told_as_over() {
    let settings = Settings::new("am", "");
    let (near, _task) = alertmanager(settings, &[], surroundings()).unwrap();
    let mut over = fixture::update(2, IncidentState::Resolved);
    over.notify = false;
    near.tell(&over);
    assert!(near.lock().bodies(SystemTime::UNIX_EPOCH).is_empty());
}

#[tokio::test]
async fn what_is_over_is_heard_no_more() {
    let settings = Settings::new("am", "");
    let (near, _task) = alertmanager(settings, &[], surroundings()).unwrap();
    let firing = fixture::update(1, IncidentState::Firing);
    near.tell(&firing);
    assert!(near.heard(&firing.fingerprint));
    near.tell(&fixture::update(2, IncidentState::Resolved));
    // Its end is repeated for a while, but whoever asks for silence asks about the next one.
    assert!(!near.heard(&firing.fingerprint));
    assert_eq!(near.lock().bodies(SystemTime::UNIX_EPOCH).len(), 1);
    // Nor is the next one told past the routing.
    let member = fixture::update(3, IncidentState::Firing);
    near.tell(&IncidentUpdate { notify: false, ..member });
    assert!(!near.heard(&firing.fingerprint));
}

#[tokio::test]
async fn a_refused_batch_does_not_keep_the_others_back() {
    let (url, mut told) = instance(&["400 Bad Request", "200 OK"]).await;
    let (near, task) = alertmanager(Settings::new("am", ""), &[url], surroundings()).unwrap();
    for number in 0..130 {
        let mut update = fixture::update(1, IncidentState::Firing);
        update.fingerprint = format!("{number:016x}");
        near.tell(&update);
    }
    let running = tokio::spawn(task.run(std::future::pending(), Duration::from_secs(1)));
    let mut batches = Vec::new();
    for _ in 0..3 {
        let text = told.recv().await.unwrap();
        batches.push(text.matches("\"startsAt\"").count());
    }
    assert_eq!(batches, [64, 64, 2]);
    running.abort();
}

#[tokio::test]
async fn a_successor_goes_on_with_what_is_open() {
    let settings = Settings::new("am", "");
    let (elder, _task) = alertmanager(settings.clone(), &[], surroundings()).unwrap();
    elder.tell(&fixture::update(1, IncidentState::Firing));
    let (heir, _task) = alertmanager(settings, &[], surroundings()).unwrap();
    heir.inherit(&elder);
    let now = SystemTime::UNIX_EPOCH;
    assert_eq!(heir.lock().bodies(now), elder.lock().bodies(now));
    assert_eq!(heir.lock().bodies(now).len(), 1);
}

#[test]
fn the_root_of_an_instance_leads_to_its_api() {
    let expected = "http://am:9093/prefix/api/v2/alerts";
    for tail in ["", "/", "/api/v2", "/api/v2/alerts", "/api/v2/"] {
        assert_eq!(api(&format!("http://am:9093/prefix{tail}")), expected);
    }
}
