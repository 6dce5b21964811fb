use super::*;

fn found(slow: (u32, u32), before: (u32, u32), after: (u32, u32)) -> RateFates {
    let counts = |(answered, lost)| Counts { answered, lost };
    RateFates { slow: counts(slow), quick_before: counts(before), quick_after: counts(after) }
}

#[test]
fn a_limit_spares_what_is_slow() {
    let odds = |fates: RateFates| fates.odds_of_limit().unwrap();
    assert!(odds(found((20, 0), (5, 5), (6, 4))) > 100.0);
    assert!(odds(found((20, 0), (8, 2), (7, 3))) > 1.0);
    assert!(odds(found((19, 1), (4, 6), (5, 5))) > 20.0);
    assert!(odds(found((14, 6), (7, 3), (7, 3))) < 0.2, "loss by chance");
    assert!(odds(found((8, 12), (4, 6), (4, 6))) < 0.01, "much of it");
    assert_eq!(found((20, 0), (10, 0), (10, 0)).odds_of_limit(), None);
}

#[test]
fn a_loss_that_ends_or_begins_is_no_limit() {
    assert!(found((20, 0), (3, 7), (10, 0)).odds_of_limit().unwrap() <= 1.0);
    assert!(found((20, 0), (10, 0), (3, 7)).odds_of_limit().unwrap() <= 1.0);
}

#[test]
fn twenty_of_each_within_a_minute() {
    let start = Instant::from_nanos(5);
    let mut rates = Rates::new(Question::Echo, start);
    let mut asked = Vec::new();
    for millis in (0..60_000).step_by(10) {
        let now = start + Duration::from_millis(millis);
        while let Some(ask) = rates.poll_ask(now) {
            asked.push(millis);
            let silence = Observation { answer: Answer::Silence, sent: None, arrived: None };
            rates.handle_observation(now, ask.id, &silence);
        }
    }
    assert_eq!(asked.len(), 40);
    assert!(asked.last().is_some_and(|last| *last < 45_000), "{asked:?}");
    let fates = rates.fates();
    assert_eq!((fates.slow.lost, fates.quick().lost), (20, 20));
    assert!(rates.is_done());
    let gaps: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps.iter().filter(|gap| **gap == 2_000).count(), 19 + 1);
}
