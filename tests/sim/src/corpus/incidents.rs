//! Whole incidents: a case of the corpus strikes a target that the daemon has watched while it was
//! well, and is healed again. How often does what is said of it change, and who is told?

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reachd_core::incident::IncidentState;
use reachd_core::judge::Class;
use reachd_core::monitor::{Event, Purpose};
use reachd_core::time::Instant;

use super::case::{Case, Corpus};
use super::manifest::Manifest;
use super::scene::{Air, Scene};
use crate::run::Run;

/// How long the target is well before, struck, and well again.
const WELL: Duration = Duration::from_secs(180);
const STRUCK: Duration = Duration::from_secs(300);
const HEALED: Duration = Duration::from_secs(240);
/// Networks are an hour old, as in the looks of the corpus.
const AGE: Duration = Duration::from_secs(3_600);

/// What became of one incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// The case.
    pub case: u64,
    /// Classes said while it lasted, one after the other, from when the first was another.
    pub labels: Vec<Class>,
    /// From the strike to the first class of a failure, if there was one.
    pub noticed: Option<Duration>,
    /// Whether the truth, or a class that cannot be told from it, was the last thing said.
    pub right: bool,
    /// Alerts that went out, and that were taken back in time.
    pub firing: usize,
    /// Of these, resolved within four minutes of the heal.
    pub resolved: usize,
}

/// Lets a case happen to a watched target.
pub fn happen(case: &Case<'_>, manifest: &Manifest) -> Course {
    let before = Scene::before(case, manifest, Air::Real);
    let struck = Scene::of(case, manifest, Air::Real).world;
    let mut run = Run::new(Purpose::Watch, case.seed, before.world);
    run.transcribes = false;
    run.now = Instant::from_start(AGE);
    run.plan(&before.plan);
    run.pass(WELL);
    let began = run.now;
    let well = std::mem::replace(&mut run.world, struck);
    run.pass(STRUCK);
    let ended = run.now;
    run.world = well;
    run.pass(HEALED);
    let mut classes: Vec<(Instant, Class)> = Vec::new();
    let (mut firing, mut resolved) = (0, 0);
    for (at, event) in run.told.iter().filter(|(at, _)| *at >= began) {
        match event {
            Event::Judged { report, .. } if *at < ended => {
                let class = Class::from_name(&report.verdict.class).unwrap_or(Class::Unknown);
                let known = classes.last().map_or(Class::Reachable, |(_, class)| *class);
                if class != known {
                    classes.push((*at, class));
                }
            }
            Event::Incident(update) if update.notify => {
                firing += usize::from(update.state == IncidentState::Firing);
                resolved += usize::from(update.state == IncidentState::Resolved);
            }
            _ => {}
        }
    }
    let last = classes.last().map(|(_, class)| *class);
    Course {
        case: case.index,
        labels: classes.iter().map(|(_, class)| *class).collect(),
        noticed: classes.first().map(|(at, _)| at.since(began)),
        right: last == Some(case.family.truth.class),
        firing,
        resolved,
    }
}

/// Whether a case can happen to a target that was well: names and vantages fail otherwise.
fn can_strike(class: Class) -> bool {
    !matches!(class, Class::Reachable | Class::DnsFailure | Class::VantageFault)
}

/// Lets these cases happen, on so many threads, as far as they can.
pub fn happen_all(corpus: &Corpus, indices: &[u64], threads: usize) -> Vec<Course> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(index) = indices.get(next.fetch_add(1, Ordering::Relaxed)) {
            let case = corpus.case(*index);
            let case = case.filter(|case| can_strike(case.family.truth.class));
            done.extend(case.map(|case| happen(&case, &corpus.manifest)));
        }
        done
    };
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join().expect("no case breaks it"));
        joined.flatten().collect()
    });
    all.sort_by_key(|course| course.case);
    all
}
