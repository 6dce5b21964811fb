use super::*;
use crate::evidence::{IcmpAnswer, TcpAnswer};

const ROUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// A path that lets packets of up to so many bytes through.
#[derive(Clone, Copy)]
struct Way {
    there: u16,
    back: u16,
    /// The router in front of it says so.
    tells: bool,
    /// Segments of no connection are answered.
    resets: bool,
}

impl Way {
    fn answer(self, what: Question) -> Answer {
        let (size, reply, answered) = match what {
            Question::SizedEcho { size } => (size, size, Answer::EchoReply { ttl: Some(60) }),
            Question::Segment { size, .. } => {
                let facts = TcpAnswer { ttl: Some(60), window: None, ip_id: None };
                let answered = if self.resets { Answer::Reset(facts) } else { Answer::Silence };
                (size, 40, answered)
            }
            other => panic!("{other:?}"),
        };
        let too_big =
            IcmpAnswer { from: ROUTER, kind: IcmpKind::TooBig, ty: 3, code: 4, ttl: None };
        match (size > self.there, reply > self.back) {
            (true, _) if self.tells => Answer::Icmp(too_big),
            (true, _) | (_, true) => Answer::Silence,
            (false, false) => answered,
        }
    }

    /// What is found, how many packets that took, and for how long they were sent.
    fn look(self) -> (SizeFates, usize, u64) {
        let mut large = Large::new(Some(3389), Duration::from_millis(10));
        large.ask_echoes(Instant::ZERO);
        let mut silent: Vec<(u64, Ask)> = Vec::new();
        let (mut count, mut last) = (0, 0);
        for millis in (0..10_000).step_by(10) {
            let now = Instant::from_start(Duration::from_millis(millis));
            large.follow_up(now, true);
            while let Some(ask) = large.poll_ask(now) {
                (count, last) = (count + 1, millis);
                match self.answer(ask.what) {
                    Answer::Silence => silent.push((millis + 3_000, ask)),
                    answer => large.handle_observation(now, ask.id, &seen(answer)),
                }
            }
            let due = silent.extract_if(.., |(at, _)| *at <= millis).collect::<Vec<_>>();
            due.iter().for_each(|(_, ask)| {
                large.handle_observation(now, ask.id, &seen(Answer::Silence));
            });
        }
        assert!(large.is_done());
        (large.fates().clone(), count, last)
    }
}

fn seen(answer: Answer) -> Observation {
    Observation { answer, sent: None, arrived: None }
}

const WIDE: Way = Way { there: 1_500, back: 1_500, tells: false, resets: true };

#[test]
fn what_passes_costs_three_packets_at_once() {
    let (fates, count, last) = WIDE.look();
    assert_eq!((fates.echo_passes(), fates.echo_fails(), count), (Some(LARGEST), None, 3));
    assert!(last < 100);
}

#[test]
fn what_vanishes_on_the_way_there_vanishes_as_a_segment_too() {
    let (fates, count, last) = Way { there: 1_400, ..WIDE }.look();
    assert_eq!((fates.echo_passes(), fates.echo_fails()), (Some(1_400), Some((1_500, 3))));
    assert_eq!(fates.segment_passes(), Some(false));
    assert_eq!(count, 3 + 2 + 1 + 2 + 3);
    assert!(last < 2_000, "{last} ms");
}

#[test]
fn what_vanishes_on_the_way_back_passes_as_a_segment() {
    let (fates, count, _) = Way { back: 1_300, ..WIDE }.look();
    assert_eq!((fates.echo_passes(), fates.echo_fails()), (Some(1_280), Some((1_400, 6))));
    assert_eq!(fates.segment_passes(), Some(true));
    assert_eq!(count, 3 + 4 + 1 + 2 + 3);
}

#[test]
fn who_is_told_loses_nothing() {
    let (fates, count, _) = Way { there: 1_400, tells: true, ..WIDE }.look();
    assert_eq!((fates.told(), fates.echo_fails(), count), (Some((1_500, ROUTER)), None, 3));
    assert!(!fates.any_failed());
}

#[test]
fn swallowed_segments_prove_nothing() {
    let (fates, _, _) = Way { there: 1_400, resets: false, ..WIDE }.look();
    assert_eq!((fates.segment_passes(), fates.echo_fails()), (None, Some((1_500, 3))));
}

#[test]
fn what_our_own_link_does_not_take_is_not_lost() {
    let mut fate = SizeFate::default();
    for _ in 0..TRIES {
        fate.note(&Answer::Invalid(InvalidReason::SendError));
    }
    assert!(!fate.has_failed());
}

#[test]
fn what_passed_us_by_is_asked_again_a_few_times() {
    let mut large = Large::new(None, Duration::from_millis(10));
    large.ask_echoes(Instant::ZERO);
    let late = seen(Answer::Invalid(InvalidReason::Lag));
    let mut asked = 0;
    for millis in 0..1_000 {
        let now = Instant::from_start(Duration::from_millis(millis));
        while let Some(ask) = large.poll_ask(now) {
            asked += 1;
            large.handle_observation(now, ask.id, &late);
        }
    }
    assert_eq!(asked, 3 + usize::from(SPARE));
    assert!(large.is_done() && !large.fates().any_failed());
}

#[test]
fn a_bad_spell_that_begins_between_two_sizes_proves_nothing() {
    let mut large = Large::new(None, Duration::from_millis(10));
    large.ask_echoes(Instant::ZERO);
    let mut silent: Vec<(u64, Ask)> = Vec::new();
    for millis in (0..10_000).step_by(10) {
        let now = Instant::from_start(Duration::from_millis(millis));
        large.follow_up(now, true);
        while let Some(ask) = large.poll_ask(now) {
            // From the largest echo on nothing passes for three seconds.
            match (30..3_000).contains(&millis) {
                true => silent.push((millis + 3_000, ask)),
                false => {
                    large.handle_observation(
                        now,
                        ask.id,
                        &seen(Answer::EchoReply { ttl: Some(60) }),
                    );
                }
            }
        }
        let due = silent.extract_if(.., |(at, _)| *at <= millis).collect::<Vec<_>>();
        due.iter()
            .for_each(|(_, ask)| large.handle_observation(now, ask.id, &seen(Answer::Silence)));
    }
    assert!(large.is_done());
    assert_eq!((large.fates().echo_passes(), large.fates().echo_fails()), (Some(1_400), None));
    assert!(large.fates().0.get(&Packet::Echo(LARGEST)).is_some_and(|fate| fate.has_failed()));
}
