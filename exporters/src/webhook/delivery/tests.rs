use bytes::Bytes;

use super::*;
use crate::fixture::at;

const FIRING: bool = false;
const RESOLVED: bool = true;

fn message(incident: &str, version: u64, resolved: bool) -> Message {
    let id = MessageId { fingerprint: incident.to_owned(), version };
    Message {
        id,
        name: "0123abcd".to_owned(),
        resolved,
        body: Bytes::from_static(b"{}"),
        late: Late::default(),
    }
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
        Change::Dead(id, death) => Some((id.to_string(), death.reason)),
        Change::Queued(_)
        | Change::Superseded(_)
        | Change::Digested(_)
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
fn a_refused_message_is_tried_seldom_and_given_up_with_what_was_said() {
    let mut queue = queue(Limits::default());
    queue.offer(at(0), message("a", 1, FIRING));
    queue.offer(at(0), message("a", 2, RESOLVED));
    let mut now = at(0);
    for longest in [60_u64, 300, 300, 300] {
        assert_eq!(sent(&mut queue, now), ["a:1"]);
        settle(&mut queue, now, "a:1", refused());
        let Next::Wait(Some(next)) = queue.poll(now) else { panic!("nothing to wait for") };
        let (delay, longest) = (next.since(now), Duration::from_secs(longest));
        assert!(delay <= longest && delay >= longest / 2, "{delay:?} of {longest:?}");
        now = next;
    }
    queue.take_changes();
    assert_eq!(queue.poll(at(72 * 3600)), Next::Wait(None));
    let changes = queue.take_changes();
    let [Change::Dead(_, first), Change::Dead(_, second)] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(
        (first.to_string(), second.to_string()),
        ("expired: answered 400".to_owned(), "expired".to_owned(),)
    );
}

#[test]
fn refusals_are_no_sign_of_a_receiver_that_is_down() {
    let mut queue = queue(Limits::default());
    for incident in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        queue.offer(at(0), message(incident, 1, FIRING));
    }
    for _ in 0..2 {
        let batch = sent(&mut queue, at(0));
        assert_eq!(batch.len(), 4);
        batch.iter().for_each(|id| settle(&mut queue, at(0), id, refused()));
    }
    queue.offer(at(1), message("z", 1, FIRING));
    assert_eq!(sent(&mut queue, at(1)), ["z:1"]);
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

fn owed(incident: &str, version: u64, resolved: bool) -> Owed {
    let (age, wait) = (Duration::ZERO, Duration::ZERO);
    let message = message(incident, version, resolved);
    Owed { message, attempts: 0, age, wait, last_error: None }
}

#[test]
fn a_queue_taken_back_goes_on_where_it_was() {
    let mut queue = queue(Limits::default());
    let hour = Duration::from_secs(3600);
    let told = MessageId { fingerprint: "a".to_owned(), version: 3 };
    queue.remember(&told, FIRING);
    queue.restore(at(0), Owed { attempts: 2, age: hour, wait: 2 * hour, ..owed("b", 1, FIRING) });
    queue.restore(at(0), owed("b", 2, RESOLVED));
    queue.restore(at(0), owed("b", 2, RESOLVED));
    assert!(queue.is_open("a") && !queue.is_open("b"));
    assert_eq!((queue.queued(), queue.oldest(at(1))), (2, Some(hour + Duration::from_secs(1))));
    // A version that was told already is not told again.
    queue.offer(at(1), message("a", 3, FIRING));
    // However far the clock went back meanwhile, it waits no longer than a minute.
    assert_eq!(queue.poll(at(1)), Next::Wait(Some(at(60))));
    assert_eq!(sent(&mut queue, at(60)), ["b:1"]);
    queue.take_changes();
    settle(&mut queue, at(60), "b:1", fail(None));
    let changes = queue.take_changes();
    let [Change::Retried(_, trial)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((trial.attempts, trial.why.as_str()), (3, "answered 503"));
    let delay = trial.again.since(at(60)).as_secs_f64();
    assert!((2.5..=5.0).contains(&delay), "the third delay: {delay}");
}

#[test]
fn what_was_owed_for_too_long_is_tried_for_five_minutes_more() {
    let mut queue = queue(Limits::default());
    let year = Duration::from_secs(365 * 86_400);
    queue.restore(at(0), Owed { age: year, ..owed("a", 1, FIRING) });
    assert_eq!(sent(&mut queue, at(299)), ["a:1"]);
    settle(&mut queue, at(299), "a:1", fail(None));
    assert_eq!(queue.poll(at(301)), Next::Wait(None));
    assert_eq!(dead(&mut queue), [("a:1".to_owned(), DeadReason::Expired)]);
}

#[test]
fn a_revived_message_takes_the_place_of_its_version() {
    let mut queue = queue(Limits::default());
    queue.offer(at(0), message("a", 2, RESOLVED));
    queue.restore(at(0), owed("a", 1, FIRING));
    assert_eq!(sent(&mut queue, at(0)), ["a:1"]);
    settle(&mut queue, at(0), "a:1", Outcome::Accepted);
    assert_eq!(sent(&mut queue, at(0)), ["a:2"]);
    // Behind one in flight it would come backwards.
    queue.take_changes();
    queue.restore(at(0), owed("a", 1, FIRING));
    let id = MessageId { fingerprint: "a".to_owned(), version: 1 };
    assert_eq!(queue.take_changes(), [Change::Superseded(id)]);
}

#[test]
fn an_end_is_owed_as_soon_as_its_beginning_is_on_its_way() {
    let mut queue = queue(Limits::default());
    queue.announce("a", RESOLVED);
    assert!(!queue.is_open("a"));
    queue.announce("a", FIRING);
    assert!(queue.is_open("a"));
    queue.offer(at(0), message("a", 1, FIRING));
    assert_eq!(sent(&mut queue, at(0)), ["a:1"]);
}

#[test]
fn a_receiver_that_comes_back_is_led_up_to_its_pace() {
    let mut queue = queue(Limits::default());
    for incident in 0..500 {
        queue.offer(at(0), message(&format!("{incident:03}"), 1, FIRING));
    }
    let outage = Duration::from_secs(6 * 3600);
    let (mut now, mut tries) = (at(0), 0);
    while now.since_start() < outage {
        match queue.poll(now) {
            Next::Send(message) => {
                queue.settle(now, &message.id, &fail(None));
                tries += 1;
            }
            Next::Wait(next) => now = next.unwrap(),
        }
    }
    assert!((4_000..9_000).contains(&tries), "one at a time, some seconds apart: {tries}");
    let back = now;
    let (mut widths, mut told) = (Vec::new(), Vec::new());
    while queue.queued() > 0 {
        let batch = sent(&mut queue, now);
        if batch.is_empty() {
            let Next::Wait(Some(next)) = queue.poll(now) else { panic!("nothing to wait for") };
            now = next;
            continue;
        }
        widths.push(batch.len());
        for id in &batch {
            settle(&mut queue, now, id, Outcome::Accepted);
        }
        told.extend(batch);
    }
    assert_eq!(widths[..3], [1, 2, 4]);
    assert_eq!(told.len(), 500);
    let took = now.since(back).as_secs_f64();
    assert!((45.0..=60.0).contains(&took), "drained in {took} s");
    assert!(dead(&mut queue).is_empty());
}

#[test]
fn a_message_of_six_hours_is_tried_every_five_minutes() {
    let mut queue = queue(Limits::default());
    queue.restore(at(0), Owed { age: OLD, ..owed("a", 1, FIRING) });
    assert_eq!(sent(&mut queue, at(0)), ["a:1"]);
    settle(&mut queue, at(0), "a:1", fail(None));
    let Next::Wait(Some(next)) = queue.poll(at(0)) else { panic!("nothing to wait for") };
    assert!((150..=300).contains(&next.since_start().as_secs()), "{next}");
}

mod backlog;
mod properties;
