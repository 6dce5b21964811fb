use super::*;
use crate::evidence::{Answer, Observation};
use crate::survey::Depth;

const MINUTE: Duration = Duration::from_secs(60);

/// A look at this moment in which so many of ten echoes came back.
fn look(at: Duration, answered: u64) -> Findings {
    let started = Instant::from_start(at);
    let address = [192, 0, 2, 10].into();
    let mut findings = Findings::nothing(address, (started, started), Depth::Suspicion);
    for number in 0..10 {
        let reply = Answer::EchoReply { ttl: Some(120) };
        let answer = if number < answered { reply } else { Answer::Silence };
        findings.echo.absorb(&Observation { answer, sent: None, arrived: None });
    }
    findings
}

fn seen(recurrence: &Recurrence, at: Duration) -> Vec<Sign> {
    recurrence.signs(Instant::from_start(at)).map(|seen| seen.sign).collect()
}

#[test]
fn a_silence_that_ends_by_a_providers_timer_explains_the_next() {
    for (lasted, sign) in [
        (150 * MINUTE, Some(Sign::TimerRanOut)),
        (153 * MINUTE, Some(Sign::TimerRanOut)),
        (DAY, Some(Sign::TimerRanOut)),
        (190 * MINUTE, Some(Sign::EndedAtAnyTime)),
        (20 * MINUTE, None),
    ] {
        let mut recurrence = Recurrence::default();
        recurrence.note(&look(MINUTE, 0), 0.05);
        recurrence.note(&look(MINUTE * 2, 0), 0.05);
        let ended = MINUTE + lasted;
        recurrence.note(&look(ended, 10), 0.05);
        assert!(seen(&recurrence, ended).is_empty(), "it is well");
        let again = ended + MINUTE;
        recurrence.note(&look(again, 0), 0.05);
        assert_eq!(seen(&recurrence, again), Vec::from_iter(sign), "{lasted:?}");
        assert!(seen(&recurrence, ended + MEMORY + MINUTE).is_empty(), "long ago");
    }
}

/// A week of hourly looks; `lossy` says of day and hour whether half of a look is lost.
fn week(lossy: impl Fn(u32, u32) -> bool) -> Vec<Sign> {
    let mut recurrence = Recurrence::default();
    let mut last = Duration::ZERO;
    for hour in 0..6 * 24 + 21 {
        last = HOUR * hour;
        let answered = if lossy(hour / 24, hour % 24) { 5 } else { 10 };
        recurrence.note(&look(last, answered), 0.05);
    }
    seen(&recurrence, last)
}

#[test]
fn a_loss_at_the_same_hours_of_each_day_is_told_from_one_at_any() {
    assert_eq!(week(|_, hour| (18..22).contains(&hour)), [Sign::LossSameHours]);
    assert_eq!(week(|day, hour| day >= 3 && hour == 20), [Sign::LossSameHours]);
    assert_eq!(week(|_, _| true), [Sign::LossAnyHour]);
    assert_eq!(week(|day, hour| (day * 24 + hour) % 7 == 3), [Sign::LossAnyHour]);
    assert!(week(|_, _| false).is_empty(), "nothing is kept of who loses nothing");
    assert!(week(|day, hour| day == 6 && hour == 20).is_empty(), "the first loss tells nothing");
}

#[test]
fn hours_are_forgotten_after_a_week() {
    let mut hours = Hours::default();
    hours.note(Instant::ZERO, true);
    hours.note(Instant::from_start(DAY * 9), false);
    assert_eq!(hours.before(0..=23), (0, 0));
}
