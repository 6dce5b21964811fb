use super::*;
use crate::fixture::at;

const FIRING: bool = false;
const RESOLVED: bool = true;

fn message(incident: &str, version: u64, resolved: bool) -> Message {
    let id = MessageId { fingerprint: incident.to_owned(), version };
    Message { id, resolved, body: Bytes::from_static(b"{}") }
}

fn queue(limits: Limits) -> Delivery {
    Delivery::new(limits, 7)
}

/// Sends what is due now; gives the ids.
fn sent(queue: &mut Delivery, now: Instant) -> Vec<String> {
    let mut ids = Vec::new();
    while let Next::Send(message) = queue.poll(now) {
        ids.push(message.id.to_string());
    }
    ids
}

fn settle(queue: &mut Delivery, now: Instant, id: &str, outcome: Outcome) {
    let (fingerprint, version) = id.split_once(':').unwrap();
    let id = MessageId { fingerprint: fingerprint.to_owned(), version: version.parse().unwrap() };
    queue.settle(now, &id, &outcome);
}

fn fail(after: Option<u64>) -> Outcome {
    Outcome::Retry { after: after.map(Duration::from_secs), why: "answered 503".to_owned() }
}

fn refused() -> Outcome {
    Outcome::Refused { why: "answered 400".to_owned() }
}

fn dead(queue: &mut Delivery) -> Vec<(String, DeadReason)> {
    let deaths = queue.take_changes().into_iter().filter_map(|change| match change {
        Change::Dead(id, reason) => Some((id.to_string(), reason)),
        Change::Queued(_)
        | Change::Superseded(_)
        | Change::Delivered(..)
        | Change::Retried(..)
        | Change::Disabled => None,
    });
    deaths.collect()
}

#[test]
fn one_incident_is_told_in_order_and_others_do_not_wait() {
    let mut queue = queue(Limits::default());
    queue.offer(at(0), message("a", 1, FIRING));
    queue.offer(at(0), message("a", 2, RESOLVED));
    queue.offer(at(0), message("b", 1, FIRING));
    assert_eq!(sent(&mut queue, at(0)), ["a:1", "b:1"]);
    assert_eq!(queue.poll(at(100)), Next::Wait(None));
    settle(&mut queue, at(1), "a:1", Outcome::Accepted);
    assert_eq!(sent(&mut queue, at(1)), ["a:2"]);
    settle(&mut queue, at(2), "a:2", Outcome::Accepted);
    settle(&mut queue, at(2), "b:1", Outcome::Accepted);
    assert_eq!(queue.queued(), 0);
    assert!(!queue.is_open("a") && queue.is_open("b"));
}

#[test]
fn retries_come_later_each_time_up_to_a_minute_with_jitter_downward() {
    let mut queue = queue(Limits::default());
    queue.offer(at(0), message("a", 1, FIRING));
    let mut now = at(0);
    for longest in [1u64, 2, 5, 10, 30, 60, 60, 60, 60] {
        assert_eq!(sent(&mut queue, now), ["a:1"]);
        settle(&mut queue, now, "a:1", fail(None));
        let Next::Wait(Some(next)) = queue.poll(now) else { panic!("nothing to wait for") };
        let delay = next.since(now);
        let longest = Duration::from_secs(longest);
        assert!(delay <= longest && delay >= longest / 2, "{delay:?} of {longest:?}");
        now = next;
    }
    assert_eq!(sent(&mut queue, now), ["a:1"]);
    settle(&mut queue, now, "a:1", Outcome::Accepted);
    assert_eq!(queue.queued(), 0);
}

#[test]
fn the_same_seed_gives_the_same_schedule() {
    let schedule = |seed| {
        let mut queue = Delivery::new(Limits::default(), seed);
        (0..8).map(|attempt| queue.delay(attempt)).collect::<Vec<_>>()
    };
    assert_eq!(schedule(1), schedule(1));
    assert_ne!(schedule(1), schedule(2));
}

#[test]
fn retry_after_pauses_the_whole_receiver_and_is_capped() {
    let mut queue = queue(Limits::default());
    queue.offer(at(0), message("a", 1, FIRING));
    assert_eq!(sent(&mut queue, at(0)), ["a:1"]);
    settle(&mut queue, at(0), "a:1", fail(Some(300)));
    queue.offer(at(10), message("b", 1, FIRING));
    assert_eq!(queue.poll(at(10)), Next::Wait(Some(at(300))));
    assert_eq!(sent(&mut queue, at(300)), ["a:1", "b:1"]);
    settle(&mut queue, at(300), "a:1", fail(Some(1_000_000)));
    settle(&mut queue, at(300), "b:1", fail(None));
    assert_eq!(queue.poll(at(300)), Next::Wait(Some(at(3900))));
}

#[test]
fn updates_coalesce_and_transitions_do_not() {
    let mut queue = queue(Limits::default());
    queue.offer(at(0), message("a", 1, FIRING));
    assert_eq!(sent(&mut queue, at(0)), ["a:1"]);
    for (version, state) in [(2, FIRING), (3, FIRING), (4, RESOLVED), (5, FIRING), (6, RESOLVED)] {
        queue.offer(at(1), message("a", version, state));
    }
    // The one in flight fails: version 3 says all it said.
    settle(&mut queue, at(2), "a:1", fail(None));
    let mut told = Vec::new();
    for second in 10..20 {
        for id in sent(&mut queue, at(second)) {
            settle(&mut queue, at(second), &id, Outcome::Accepted);
            told.push(id);
        }
    }
    assert_eq!(told, ["a:3", "a:4", "a:5", "a:6"]);
    assert!(dead(&mut queue).is_empty());
}

#[test]
fn an_old_or_repeated_version_is_ignored() {
    let mut queue = queue(Limits::default());
    queue.offer(at(0), message("a", 2, FIRING));
    queue.offer(at(0), message("a", 2, FIRING));
    queue.offer(at(0), message("a", 1, RESOLVED));
    assert_eq!(queue.queued(), 1);
    assert!(queue.is_open("a"));
}

#[test]
fn a_refused_message_is_dead_and_the_next_one_goes_on() {
    let mut queue = queue(Limits::default());
    queue.offer(at(0), message("a", 1, FIRING));
    queue.offer(at(0), message("a", 2, RESOLVED));
    assert_eq!(sent(&mut queue, at(0)), ["a:1"]);
    settle(&mut queue, at(0), "a:1", refused());
    assert_eq!(dead(&mut queue), [("a:1".to_owned(), DeadReason::Refused)]);
    assert_eq!(sent(&mut queue, at(0)), ["a:2"]);
}

#[test]
fn gone_disables_the_receiver_and_counts_everything_dead() {
    let mut queue = queue(Limits::default());
    queue.offer(at(0), message("a", 1, FIRING));
    queue.offer(at(0), message("a", 2, RESOLVED));
    assert_eq!(sent(&mut queue, at(0)), ["a:1"]);
    settle(&mut queue, at(0), "a:1", Outcome::Gone);
    queue.offer(at(1), message("b", 1, FIRING));
    assert!(queue.is_disabled());
    assert_eq!(queue.queued(), 0);
    assert_eq!(queue.poll(at(100)), Next::Wait(None));
    let deaths: Vec<_> = dead(&mut queue).into_iter().map(|(id, _)| id).collect();
    assert_eq!(deaths, ["a:1", "a:2", "b:1"]);
}

#[test]
fn overflow_gives_up_what_is_overtaken_first_and_resolved_last() {
    let mut queue = queue(Limits { capacity: 3, ..Limits::default() });
    queue.offer(at(0), message("a", 1, FIRING));
    queue.offer(at(0), message("b", 1, FIRING));
    queue.offer(at(0), message("b", 2, RESOLVED));
    queue.offer(at(0), message("c", 1, FIRING));
    assert_eq!(dead(&mut queue), [("b:1".to_owned(), DeadReason::Overflow)]);
    queue.offer(at(0), message("d", 1, RESOLVED));
    assert_eq!(dead(&mut queue), [("a:1".to_owned(), DeadReason::Overflow)]);
    queue.offer(at(0), message("e", 1, RESOLVED));
    assert_eq!(dead(&mut queue), [("c:1".to_owned(), DeadReason::Overflow)]);
    assert_eq!(sent(&mut queue, at(0)), ["b:2", "d:1", "e:1"]);
}

#[test]
fn many_failures_in_a_row_mean_one_at_a_time() {
    let mut queue = queue(Limits::default());
    for incident in ["a", "b", "c", "d", "e"] {
        queue.offer(at(0), message(incident, 1, FIRING));
    }
    assert_eq!(sent(&mut queue, at(0)).len(), 4);
    for id in ["a:1", "b:1", "c:1", "d:1"] {
        settle(&mut queue, at(0), id, fail(None));
    }
    assert_eq!(sent(&mut queue, at(0)), ["e:1"]);
    settle(&mut queue, at(0), "e:1", fail(None));
    assert_eq!(sent(&mut queue, at(60)).len(), 1);
    assert_eq!(queue.poll(at(60)), Next::Wait(None));
}

#[test]
fn a_message_is_given_up_after_its_time() {
    let mut queue = queue(Limits::default());
    queue.offer(at(0), message("a", 1, FIRING));
    assert_eq!(queue.poll(at(72 * 3600)), Next::Wait(None));
    assert_eq!(dead(&mut queue), [("a:1".to_owned(), DeadReason::Expired)]);
}

/// Under any behaviour of the receiver, every resolved that was offered while there was room is
/// delivered, after its firing, and nothing is delivered twice or backwards.
#[test]
fn resolved_is_never_lost() {
    for seed in 0..200u64 {
        let mut random = Delivery::new(Limits::default(), seed);
        let mut queue = Delivery::new(Limits::default(), seed);
        let (mut now, mut told, mut offered) = (0u64, Vec::new(), Vec::new());
        let mut flying: Vec<MessageId> = Vec::new();
        let mut dice = move || random.delay(0).subsec_millis() % 10;
        for version in 1..=40u64 {
            now += u64::from(dice());
            let resolved = version % 4 == 0;
            queue.offer(at(now), message("a", version, resolved));
            if resolved {
                offered.push(version);
            }
            while let Next::Send(message) = queue.poll(at(now)) {
                flying.push(message.id);
            }
            for id in flying.drain(..) {
                let accepted = dice() < 4;
                let outcome = if accepted { Outcome::Accepted } else { fail(None) };
                queue.settle(at(now), &id, &outcome);
                if accepted {
                    told.push(id.version);
                }
            }
        }
        while queue.queued() > 0 {
            now += 60;
            while let Next::Send(message) = queue.poll(at(now)) {
                queue.settle(at(now), &message.id, &Outcome::Accepted);
                told.push(message.id.version);
            }
        }
        assert!(told.is_sorted_by(|left, right| left < right), "seed {seed}: {told:?}");
        let resolved: Vec<_> = told.iter().copied().filter(|version| version % 4 == 0).collect();
        assert_eq!(resolved, offered, "seed {seed}");
    }
}
