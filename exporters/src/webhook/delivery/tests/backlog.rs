use super::*;

fn keeping(backlog: Backlog) -> Delivery {
    queue(Limits { backlog, ..Limits::default() })
}

/// An outage of an hour in which these open and are over, `c` opens, and `d`, which was told before,
/// is over. Gives the moment of its end.
fn outage(queue: &mut Delivery, pairs: &[&str]) -> Instant {
    queue.offer(at(0), message("d", 1, FIRING));
    assert_eq!(sent(queue, at(0)), ["d:1"]);
    settle(queue, at(0), "d:1", Outcome::Accepted);
    for incident in pairs.iter().chain(&["c"]) {
        queue.offer(at(1), message(incident, 1, FIRING));
    }
    let mut now = at(1);
    let mut over = false;
    while now < at(3600) {
        match queue.poll(now) {
            Next::Send(message) => queue.settle(now, &message.id, &fail(None)),
            Next::Wait(next) => now = next.unwrap(),
        }
        if now > at(600) && !std::mem::replace(&mut over, true) {
            for incident in pairs.iter().chain(&["d"]) {
                queue.offer(now, message(incident, 2, RESOLVED));
            }
        }
    }
    now
}

/// What is sent once the receiver is back, and what is said of the others.
fn drained(queue: &mut Delivery, mut now: Instant) -> (Vec<String>, Vec<Change>) {
    let (mut told, mut changes) = (Vec::new(), Vec::new());
    while queue.queued() > 0 {
        match queue.poll(now) {
            Next::Send(message) => {
                queue.settle(now, &message.id, &Outcome::Accepted);
                told.push(message.id.to_string());
            }
            Next::Wait(next) => now = next.unwrap(),
        }
        changes.extend(queue.take_changes());
    }
    changes.retain(|change| {
        !matches!(change, Change::Queued(_) | Change::Delivered(..) | Change::Retried(..))
    });
    told.sort();
    (told, changes)
}

fn check(backlog: Backlog, expected: &[&str], superseded: &[&str]) {
    let mut queue = keeping(backlog);
    let now = outage(&mut queue, &["a", "b"]);
    let (told, changes) = drained(&mut queue, now);
    let mut gone: Vec<_> = changes
        .iter()
        .map(|change| match change {
            Change::Superseded(id) => format!("{id} superseded"),
            Change::Digested(id) => format!("{id} digested"),
            other => panic!("{other:?}"),
        })
        .collect();
    gone.sort();
    assert_eq!((&told[..], &gone[..]), (&strings(expected)[..], &strings(superseded)[..]));
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn all_means_every_message() {
    check(Backlog::All, &["a:1", "a:2", "b:1", "b:2", "c:1", "d:2"], &[]);
}

#[test]
fn coalesced_is_what_an_incident_has_become() {
    let superseded = ["a:1 superseded", "b:1 superseded"];
    check(Backlog::Coalesce, &["a:2", "b:2", "c:1", "d:2"], &superseded);
}

/// The message that finds the receiver back is told by itself.
#[test]
fn a_digest_takes_in_what_opened_and_was_over() {
    let mut queue = keeping(Backlog::Digest);
    let now = outage(&mut queue, &["a", "b", "e", "f", "g"]);
    let (told, changes) = drained(&mut queue, now);
    let digested = changes.iter().filter_map(|change| match change {
        Change::Digested(id) => Some(id.fingerprint.clone()),
        _ => None,
    });
    let digested: std::collections::BTreeSet<_> = digested.collect();
    assert!(told.contains(&"c:1".to_owned()) && told.contains(&"d:2".to_owned()), "{told:?}");
    // One of the five may have been the one that found it back.
    assert!(digested.len() >= 4, "{changes:?}");
    assert_eq!(told.len() + digested.len(), 2 + 5, "{told:?} {changes:?}");
}

#[test]
fn without_an_outage_nothing_is_left_out() {
    for backlog in [Backlog::Coalesce, Backlog::Digest] {
        let mut queue = keeping(backlog);
        queue.offer(at(0), message("a", 1, FIRING));
        queue.offer(at(0), message("a", 2, RESOLVED));
        assert_eq!(drained(&mut queue, at(0)), (strings(&["a:1", "a:2"]), Vec::new()));
    }
}
