//! A small fixed sample, judged: nobody may make the judge worse unseen. The figures of the whole
//! corpus stand in `tests/scenarios/README.md`.

use reachd_core::judge::Class;
use reachd_sim::corpus::Corpus;
use reachd_sim::corpus::examine::{Examined, examine_all};
use reachd_sim::corpus::incidents::happen_all;
use reachd_sim::corpus::score::Scores;

/// Cases judged: enough for every family to be there several times.
const SAMPLE: u64 = 1_200;

#[test]
fn the_judge_does_not_fall_behind() {
    let corpus = Corpus::load().expect("the manifest and the families that are built in");
    let indices = corpus.sample(None, Some(SAMPLE));
    let examined = examine_all(&corpus, &indices, 2);
    let awaiting = &corpus.manifest.awaiting.families;
    let judged: Vec<&Examined<'_>> =
        examined.iter().filter(|it| !awaiting.contains(&it.case.family.name)).collect();
    let scores = Scores::of(&corpus, &judged);
    let all = scores.all;
    let share = |part: u64| part as f64 / all.cases as f64;
    let (ours, ideal) = (scores.classes.macro_f1(), scores.ideal.macro_f1());
    assert!(ours > 0.92, "macro-F1 of classes {ours}");
    assert!(ours / ideal > 0.975, "macro-F1 {ours}, of the oracle {ideal}");
    assert!(share(all.right) > 0.95, "class right {}", share(all.right));
    assert!(share(all.covered) > 0.975, "coverage {}", share(all.covered));
    let error = scores.by_prior.reliability.error();
    assert!(error < 0.08, "calibration error in the mix of the priors {error}");
    let reachable = scores.classes.get(Class::Reachable);
    assert!(reachable.recall() > 0.98, "healthy called sick: {}", 1.0 - reachable.recall());
    assert!(scores.dishonest.is_empty(), "{:?}", scores.dishonest.first());
}

#[test]
fn an_incident_is_named_once_and_told_once() {
    let corpus = Corpus::load().expect("the manifest and the families that are built in");
    let courses = happen_all(&corpus, &corpus.sample(None, Some(150)), 2);
    let all = courses.len();
    let count = |wanted: &dyn Fn(&&reachd_sim::corpus::incidents::Course) -> bool| {
        courses.iter().filter(wanted).count()
    };
    let noticed = count(&|course| !course.labels.is_empty());
    assert!(all >= 40 && noticed * 100 >= all * 95, "{noticed} of {all} noticed");
    let steady = count(&|course| course.labels.len() <= 1);
    assert!(steady * 100 >= all * 90, "{steady} of {all} keep their label");
    assert_eq!(count(&|course| course.firing > 1), 0, "one failure, one alert");
    // Where bursts of loss fell before the strike, it comes and goes for the judge, who then waits
    // longer than four minutes before he believes that it is over.
    let late: Vec<_> = courses.iter().filter(|course| course.firing != course.resolved).collect();
    assert!(late.len() * 40 <= all, "nearly all are taken back in time: {late:?}");
}
