use proptest::prelude::*;

use super::*;

const ACCEPTED: AnswerKind = AnswerKind::SynAck;

fn at(millis: u64) -> Instant {
    Instant::from_start(Duration::from_millis(millis))
}

fn fates(rows: &[(u16, u32, u32)]) -> FlowFates {
    let row = |(port, answered, lost): &(u16, u32, u32)| {
        (*port, FlowFate { answered: *answered, lost: *lost })
    };
    FlowFates(rows.iter().map(row).collect())
}

/// A generator with a known seed: the next number from 0 to below 1.
fn draw(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    real(*state >> 33) / real(1 << 31)
}

/// What a survey sees: ten flows once, of these seven twice more, the lost ones first, and a third
/// time what these leave open.
fn survey(mut is_lost: impl FnMut(u16) -> bool) -> FlowFates {
    let mut fates = FlowFates::default();
    for port in 0..10 {
        let answer = if is_lost(port) { AnswerKind::Silence } else { ACCEPTED };
        fates.0.entry(port).or_default().note(answer);
    }
    let mut order: Vec<u16> = (0..10).collect();
    order.sort_by_key(|port| fates.0[port].answered);
    let lost = order.iter().take_while(|port| fates.0[port].answered == 0).count();
    let chosen = order.iter().take(lost.min(4)).chain(order.iter().skip(lost)).take(7);
    for port in chosen.copied().collect::<Vec<_>>().into_iter().cycle().take(14) {
        let answer = if is_lost(port) { AnswerKind::Silence } else { ACCEPTED };
        fates.0.entry(port).or_default().note(answer);
    }
    for port in fates.undecided(false) {
        let answer = if is_lost(port) { AnswerKind::Silence } else { ACCEPTED };
        fates.0.entry(port).or_default().note(answer);
    }
    fates
}

#[test]
fn one_dead_flow_among_living_ones_is_no_chance() {
    let one = fates(&[(1, 0, 3), (2, 3, 0), (3, 3, 0), (4, 3, 0), (5, 3, 0), (6, 3, 0), (7, 3, 0)]);
    assert!(one.odds_of_dead_path().unwrap() > 300.0, "{:?}", one.odds_of_dead_path());
    assert_eq!((one.dead(), one.alive(), one.repeated()), (vec![1], 6, 7));
    let two = fates(&[(1, 0, 3), (2, 0, 3), (3, 3, 0), (4, 3, 0), (5, 3, 0), (6, 3, 0), (7, 3, 0)]);
    assert!(two.odds_of_dead_path() > one.odds_of_dead_path());
}

#[test]
fn a_flow_that_sometimes_answers_speaks_against_a_dead_path() {
    let mixed = fates(&[(1, 1, 2), (2, 2, 1), (3, 3, 0), (4, 2, 1), (5, 3, 0), (6, 3, 0)]);
    assert!(mixed.odds_of_dead_path().unwrap() < 1e-3);
    assert_eq!(fates(&[(1, 3, 0), (2, 3, 0)]).odds_of_dead_path(), None, "nothing was lost");
}

#[test]
fn a_dead_path_of_two_four_and_eight_is_found_where_a_flow_meets_it() {
    for members in [2_u16, 4, 8] {
        let found = survey(|port| port % members == 1);
        assert!(found.odds_of_dead_path().unwrap() > 300.0, "one of {members}: {found:?}");
    }
}

#[test]
fn one_living_flow_of_ten_is_settled_by_a_third_round() {
    let once = [(8, 0, 1), (9, 0, 1), (10, 0, 1)];
    let twice = [(1, 3, 0), (2, 0, 3), (3, 0, 3), (4, 0, 3), (5, 0, 3), (6, 0, 3), (7, 0, 3)];
    let mut found = fates(&[&twice[..], &once].concat());
    assert!(!found.is_split(false) && !found.is_mixed());
    assert_eq!(found.undecided(false), vec![2, 3, 4, 5, 6, 7, 1]);
    for port in found.undecided(false) {
        let answer = if port == 1 { ACCEPTED } else { AnswerKind::Silence };
        found.0.entry(port).or_default().note(answer);
    }
    assert!(found.is_split(false), "{:?}", found.odds_of_dead_path());
    assert!(found.undecided(false).is_empty());
    let by_chance = fates(&[(1, 3, 0), (2, 0, 3), (3, 1, 2), (4, 2, 1), (5, 0, 3)]);
    assert!(by_chance.undecided(false).is_empty(), "{:?}", by_chance.odds_of_dead_path());
}

#[test]
fn what_two_sweeps_saw_of_a_dead_path_adds_up() {
    let known = fates(&[(1, 0, 3), (2, 0, 3), (3, 3, 0), (4, 3, 0), (5, 3, 0), (9, 1, 0)]);
    assert!(known.is_split(false));
    // A short look asks the dead flows once more and new ones once.
    let mut again = fates(&[(1, 0, 1), (2, 0, 1), (11, 1, 0), (12, 0, 1)]);
    assert!(!again.is_split(false));
    again.add_repeated(&known);
    assert!(again.is_split(false) && again.odds_of_dead_path() > known.odds_of_dead_path());
    assert!(!again.0.contains_key(&9), "asked once, it says nothing of what is for good");
    let mut healed = fates(&[(1, 1, 0), (2, 1, 0), (11, 1, 0), (12, 0, 1)]);
    healed.add_repeated(&known);
    assert!(!healed.is_split(false), "{:?}", healed.odds_of_dead_path());
}

#[test]
fn chance_seldom_looks_like_a_dead_path() {
    let mut state = 7;
    for ratio in [0.05, 0.2, 0.3, 0.5, 0.7, 0.85] {
        let split = (0..4_000)
            .filter(|_| {
                let found = survey(|_| draw(&mut state) < ratio);
                let odds = found.odds_of_dead_path();
                odds.is_some_and(|odds| odds >= 300.0) && !found.dead().is_empty()
            })
            .count();
        assert!(split <= 14, "{split} of 4000 at {ratio}");
    }
}

#[test]
fn flows_are_asked_round_by_round_and_missing_ones_first() {
    let mut flows = Flows::new(3389, at(0), &[61_001]);
    assert_eq!(
        flows.poll_ask(at(0)).map(|ask| ask.what),
        Some(Question::SameFlow { port: 3389, source_port: 61_001 })
    );
    let missing = BTreeSet::from([61_001, 61_002]);
    let answered: BTreeSet<u16> = (61_100..61_110).collect();
    flows.sweep(at(3_000), &missing, &answered);
    let mut asked = Vec::new();
    for millis in (3_000..9_000).step_by(50) {
        while let Some(ask) = flows.poll_ask(at(millis)) {
            let Question::SameFlow { source_port, .. } = ask.what else { panic!("{ask:?}") };
            asked.push((source_port, millis));
        }
    }
    assert_eq!(asked.len(), 14);
    let of = |port: u16| asked.iter().filter(|(asked, _)| *asked == port).count();
    assert_eq!((of(61_001), of(61_002), of(61_104), of(61_105)), (2, 2, 2, 0));
    let moments: Vec<_> =
        asked.iter().filter(|(port, _)| *port == 61_001).map(|(_, t)| t).collect();
    assert!(moments[1] - moments[0] > 2_000, "one bad spell strikes a flow once: {moments:?}");
    assert!(!flows.is_done() && flows.overdue(at(9_000)).count() == 15);
}

#[test]
fn what_was_our_own_fault_says_nothing_of_a_flow() {
    let mut fate = FlowFate::default();
    fate.note(AnswerKind::Invalid);
    assert_eq!(fate, FlowFate::default());
}

proptest! {
    #[test]
    fn odds_are_a_number(rows in prop::collection::vec((any::<u16>(), 0..9_u32, 0..9_u32), 0..30)) {
        if let Some(odds) = fates(&rows).odds_of_dead_path() {
            prop_assert!(odds.is_finite() && odds >= 0.0);
        }
    }
}
