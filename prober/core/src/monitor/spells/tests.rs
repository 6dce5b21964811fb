use std::time::Duration;

use super::{Course, Findings, Spells, course, failing_part};
use crate::evidence::{Answer, AnswerKind, Observation, TcpAnswer};
use crate::judge::Sign;
use crate::probe::series::{Series, Tally};
use crate::probe::{Engine, Question};
use crate::survey::Depth;
use crate::time::Instant;

fn at(seconds: u64) -> Instant {
    Instant::from_start(Duration::from_secs(1_000 + seconds))
}

/// SYNs of these fates, in order.
fn syns(fates: &[bool]) -> Tally {
    let offsets = vec![Duration::ZERO; fates.len()];
    let mut series = Series::new(Question::Syn { port: 3389 }, at(0), &offsets);
    for accepted in fates {
        let ask = series.poll_ask(at(0)).unwrap();
        let facts = TcpAnswer { ttl: Some(120), window: None, ip_id: None };
        let answer = if *accepted { Answer::SynAck(facts) } else { Answer::Silence };
        let seen = Observation { answer, sent: None, arrived: None };
        series.handle_observation(at(0), ask.id, &seen);
    }
    series.tally().clone()
}

fn look(seconds: u64, fates: &[bool]) -> Findings {
    let mut echo = Tally::default();
    let answer = Answer::EchoReply { ttl: Some(120) };
    echo.absorb(&Observation { answer, sent: None, arrived: None });
    Findings {
        port: Some(3389),
        echo,
        syn: Some(syns(fates)),
        ..Findings::nothing(
            [192, 0, 2, 10].into(),
            (at(seconds), at(seconds + 8)),
            Depth::Suspicion,
        )
    }
}

const WELL: [bool; 4] = [true; 4];
const DOWN: [bool; 4] = [false; 4];
const HEALS: [bool; 6] = [false, false, false, true, true, true];

fn signs(spells: &Spells, seconds: u64) -> Option<Sign> {
    spells.onset(at(seconds)).map(|seen| seen.sign)
}

#[test]
fn a_look_is_read_by_the_order_of_its_answers() {
    for (fates, read) in [
        (&WELL[..], Course::Well),
        (&DOWN, Course::Fails),
        (&HEALS, Course::FailsFirst),
        (&[true, true, true, false, false, false], Course::FailsLast),
        (&[true, false, true, false, true, false], Course::Unclear),
        (&[false, false], Course::Unclear),
    ] {
        assert_eq!(course(&syns(fates)), read, "{fates:?}");
    }
}

#[test]
fn the_third_spell_in_ten_minutes_is_held_until_the_rhythm_breaks() {
    let mut spells = Spells::default();
    for round in 0..3 {
        assert!(spells.held(at(round * 20)).is_none());
        spells.note(&look(round * 20, &DOWN));
        spells.note(&look(round * 20 + 10, &WELL));
    }
    assert_eq!(signs(&spells, 60), Some(Sign::ComesAndGoes));
    let shape = spells.held(at(60)).unwrap();
    assert_eq!(shape.syn.as_ref().unwrap().count(AnswerKind::Silence), 4);
    assert!(spells.held(at(50 + 60)).is_some());
    assert!(spells.held(at(50 + 61)).is_none(), "well for longer than it used to be");
}

#[test]
fn spells_far_apart_are_not_one_matter() {
    let mut spells = Spells::default();
    for round in 0..10 {
        spells.note(&look(round * 400, &DOWN));
        spells.note(&look(round * 400 + 20, &WELL));
        assert!(spells.held(at(round * 400 + 20)).is_none());
    }
}

#[test]
fn one_long_failure_is_one() {
    let mut spells = Spells::default();
    for look_number in 0..30 {
        spells.note(&look(look_number * 10, &DOWN));
    }
    assert_eq!(spells.count(at(300)), 1);
    assert_eq!(signs(&spells, 300), Some(Sign::OnsetOnce));
    assert_eq!(signs(&spells, 100), None, "too early to say");
}

#[test]
fn a_look_that_saw_the_heal_shows_the_failure_alone() {
    let part = failing_part(&look(0, &HEALS));
    let syn = part.syn.unwrap();
    assert_eq!((syn.received(), syn.valid()), (0, 3));
    assert_eq!(part.echo.received(), 1, "echo went on");
}

#[test]
fn only_what_was_soon_over_is_brief() {
    let mut spells = Spells::default();
    spells.note(&look(0, &HEALS));
    spells.note(&look(20, &DOWN));
    spells.note(&look(120, &WELL));
    let brief: Vec<_> = spells.within(at(130)).map(super::Spell::is_brief).collect();
    assert_eq!(brief, [true, false]);
}
