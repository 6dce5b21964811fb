//! Examination: the real monitor looks at a case once, in virtual time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reachd_core::judge::cause::CAUSES;
use reachd_core::judge::verdict::Verdict;
use reachd_core::judge::{Class, Sign};
use reachd_core::monitor::{Event, Input, Purpose};
use reachd_core::time::Instant;

use super::case::{Case, Corpus};
use super::manifest::Manifest;
use super::scene::{Air, Scene};
use super::score::real;
use crate::run::Run;

/// A look that takes longer is given up; the longest survey takes a fifth of it.
const LIMIT: Duration = Duration::from_secs(60);
/// Networks are an hour old when they are looked at, so that bad spells are as frequent at the
/// start as ever.
const AGE: Duration = Duration::from_secs(3_600);

/// What the monitor said.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The class.
    pub class: Class,
    /// Its confidence.
    pub confidence: f64,
    /// The class of the largest mass, named or not.
    pub leading: Class,
    /// The probability of each cause, in the order of the table.
    pub shares: Vec<f64>,
    /// The signs weighed, by view.
    pub views: Vec<Vec<Sign>>,
    /// Time from the question to the verdict.
    pub took: Duration,
    /// Packets spent, by all vantages together.
    pub packets: u64,
    /// Of these, packets of one vantage, on average, that were not meant to expire on the way.
    pub end_to_end: f64,
}

/// A case with what was said of it.
#[derive(Debug, Clone)]
pub struct Examined<'a> {
    /// The case.
    pub case: Case<'a>,
    /// What was said.
    pub outcome: Outcome,
    /// What would be said if nothing were left to chance.
    pub ideal: Outcome,
}

impl Outcome {
    /// The most probable cause, as its place in the table, and its probability.
    pub fn top(&self) -> (usize, f64) {
        let shares = self.shares.iter().copied().enumerate();
        shares.fold((0, 0.0), |best, next| if next.1 > best.1 { next } else { best })
    }

    /// The mass of a class.
    pub fn of_class(&self, class: Class) -> f64 {
        let shares = CAUSES.iter().zip(&self.shares);
        shares.filter(|(cause, _)| cause.class == class).map(|(_, share)| share).sum()
    }

    /// The smallest set of causes that holds this much probability, the likeliest first.
    pub fn reported(&self, mass: f64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.shares.len()).collect();
        let share = |at: usize| self.shares.get(at).copied().unwrap_or_default();
        order.sort_by(|a, b| share(*b).total_cmp(&share(*a)));
        let mut held = 0.0;
        let needed = order.iter().take_while(|at| {
            let open = held < mass;
            held += share(**at);
            open
        });
        let count = needed.count();
        order.truncate(count);
        order
    }
}

/// Lets the monitor look at a case.
///
/// # Panics
/// If it comes to no verdict within a minute, which would be a defect of the monitor's.
pub fn examine(case: &Case<'_>, manifest: &Manifest, air: Air) -> Outcome {
    let scene = Scene::of(case, manifest, air);
    let name = scene.plan.targets.first().expect("a scene has a target").name.clone();
    let mut run = Run::new(Purpose::Once, case.seed, scene.world);
    run.transcribes = false;
    run.now = Instant::from_start(AGE);
    run.shut = scene.down;
    run.plan(&scene.plan);
    for (vantage, baseline) in scene.baselines {
        run.input(Input::Baseline { target: name.clone(), vantage, baseline });
    }
    let began = run.now;
    let judged = |event: &Event| matches!(event, Event::Judged { .. });
    let mut done = false;
    for (at, lag) in scene.stalls {
        let rest = (began + at).since(run.now);
        done = done || run.wait(rest, judged).is_some();
        if !done {
            run.input(Input::Lag(lag));
        }
    }
    let done = done || run.wait(LIMIT, judged).is_some();
    assert!(done, "case {} comes to no verdict", case.index);
    let packets = run.told.iter().rev().find_map(|(_, event)| match event {
        Event::Judged { report, .. } => Some(report.packets_sent),
        Event::Incident(_)
        | Event::VantageHealth { .. }
        | Event::Baseline { .. }
        | Event::Bug { .. } => None,
    });
    let verdict = run.monitor.verdict(&name).expect("what was told is kept");
    let packets = packets.unwrap_or_default();
    let vantages = u64::try_from(scene.plan.vantages.len()).unwrap_or(1).max(1);
    let end_to_end = real(packets.saturating_sub(run.checker.traced)) / real(vantages);
    outcome(verdict, run.now.since(began), (packets, end_to_end))
}

fn outcome(verdict: &Verdict, took: Duration, (packets, end_to_end): (u64, f64)) -> Outcome {
    let mut views: Vec<(&str, Vec<Sign>)> = Vec::new();
    let mut common = Vec::new();
    for (vantage, seen) in &verdict.weighed {
        let Some(vantage) = vantage else {
            common.push(seen.sign);
            continue;
        };
        match views.iter_mut().find(|(name, _)| name == vantage) {
            Some((_, signs)) => signs.push(seen.sign),
            None => views.push((vantage, vec![seen.sign])),
        }
    }
    let whole = |(_, signs): (&str, Vec<Sign>)| {
        let mut signs: Vec<_> = signs.into_iter().chain(common.iter().copied()).collect();
        signs.sort_unstable();
        signs.dedup();
        signs
    };
    let mut shares = vec![0.0; CAUSES.len()];
    for (cause, probability) in &verdict.posterior.causes {
        let place = CAUSES.iter().position(|known| known.name == cause.name);
        if let Some(share) = place.and_then(|place| shares.get_mut(place)) {
            *share = *probability;
        }
    }
    Outcome {
        class: verdict.class,
        confidence: verdict.confidence,
        leading: verdict.posterior.leading,
        shares,
        views: views.into_iter().map(whole).collect(),
        took,
        packets,
        end_to_end,
    }
}

/// Examines these cases on so many threads; the result is in their order, whoever did what.
pub fn examine_all<'a>(corpus: &'a Corpus, indices: &[u64], threads: usize) -> Vec<Examined<'a>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(index) = indices.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Some(case) = corpus.case(*index) else { continue };
            let outcome = examine(&case, &corpus.manifest, Air::Real);
            let ideal = examine(&case, &corpus.manifest, Air::Still);
            done.push(Examined { case, outcome, ideal });
        }
        done
    };
    let mut all = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join().expect("no case breaks it"));
        joined.flatten().collect::<Vec<_>>()
    });
    all.sort_by_key(|examined| examined.case.index);
    all
}
