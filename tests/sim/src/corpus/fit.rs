//! Fitting the shared exponents: a plain search on the development split that only proposes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use reachd_core::judge::Sign;
use reachd_core::judge::cause::CAUSES;
use reachd_core::judge::posterior::{Exponents, posterior_by};

use super::calibrate::may_fit;
use super::case::Corpus;
use super::examine::Examined;
use super::score::real;

/// What is tried for a correlation, and for an exponent.
const CORRELATIONS: [f64; 9] = [0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.5];
const SHARPENINGS: [f64; 10] = [0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0];
/// Rounds over all exponents; the search ends sooner when none moves.
const ROUNDS: usize = 4;

/// The same evidence of cases of the same truth, together.
#[derive(Debug)]
struct Pattern {
    views: Vec<Vec<Sign>>,
    /// Weight by true cause.
    truths: BTreeMap<usize, f64>,
}

/// One of the exponents.
#[derive(Debug, Clone, Copy)]
enum Which {
    Echoing(usize),
    Read(usize),
    Refuted(usize),
}

impl Which {
    fn all(exponents: &Exponents) -> Vec<Self> {
        let echoing = (0..exponents.echoing.len()).map(Self::Echoing);
        let read = (0..exponents.read.len()).map(Self::Read);
        let refuted = (0..exponents.refuted.len()).map(Self::Refuted);
        echoing.chain(read).chain(refuted).collect()
    }

    fn of(self, exponents: &mut Exponents) -> Option<&mut f64> {
        match self {
            Self::Echoing(at) => exponents.echoing.get_mut(at),
            Self::Read(at) => exponents.read.get_mut(at),
            Self::Refuted(at) => exponents.refuted.get_mut(at),
        }
    }

    const fn candidates(self) -> &'static [f64] {
        match self {
            Self::Echoing(_) => &CORRELATIONS,
            Self::Read(_) | Self::Refuted(_) => &SHARPENINGS,
        }
    }
}

/// Searches the exponents, one after the other, for the least logarithmic loss of the true class,
/// once with the corpus as it is and once in the mix of the priors; changes nothing.
pub fn propose(corpus: &Corpus, all: &[Examined<'_>]) -> String {
    let fitted: Vec<_> = all.iter().filter(|examined| may_fit(corpus, examined)).collect();
    let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
    for examined in &fitted {
        *counts.entry(examined.case.family.truth.cause).or_default() += 1;
    }
    let by_prior = |cause: usize| {
        let prior = CAUSES.get(cause).map_or(0.0, |cause| cause.prior);
        prior / real(counts.get(&cause).copied().unwrap_or(1))
    };
    let mut text =
        String::from("\nexponents that lose least on the development split (proposals)\n");
    show(&mut text, "in force", &Exponents::IN_FORCE, None);
    for (name, patterns) in [
        ("as counted", patterns(&fitted, |_| 1.0)),
        ("mix of the priors", patterns(&fitted, by_prior)),
    ] {
        let before = loss(&patterns, &Exponents::IN_FORCE);
        let found = search(&patterns);
        show(&mut text, name, &found, Some((before, loss(&patterns, &found))));
    }
    text
}

fn show(text: &mut String, name: &str, by: &Exponents, losses: Option<(f64, f64)>) {
    let losses = losses.map_or_else(String::new, |(before, after)| {
        format!("  log loss {before:.4} -> {after:.4}")
    });
    let Exponents { echoing, read, refuted } = by;
    writeln!(text, "{name:<18} echoing {echoing:?}  read {read:?}  refuted {refuted:?}{losses}")
        .expect("a string takes everything");
}

fn patterns(all: &[&Examined<'_>], weight: impl Fn(usize) -> f64) -> Vec<Pattern> {
    let mut found: BTreeMap<&Vec<Vec<Sign>>, BTreeMap<usize, f64>> = BTreeMap::new();
    for examined in all {
        let cause = examined.case.family.truth.cause;
        let truths = found.entry(&examined.outcome.views).or_default();
        *truths.entry(cause).or_default() += weight(cause);
    }
    let pattern = |(views, truths): (&Vec<Vec<Sign>>, _)| Pattern { views: views.clone(), truths };
    found.into_iter().map(pattern).collect()
}

/// The mean loss of the true class, in nats.
fn loss(patterns: &[Pattern], by: &Exponents) -> f64 {
    let (mut lost, mut total) = (0.0, 0.0);
    for Pattern { views, truths } in patterns {
        let views: Vec<&[Sign]> = views.iter().map(Vec::as_slice).collect();
        let believed = posterior_by(by, &views);
        for (cause, weight) in truths {
            let Some(cause) = CAUSES.get(*cause) else { continue };
            lost -= weight * believed.of_class(cause.class).max(1e-12).ln();
            total += weight;
        }
    }
    lost / total
}

fn search(patterns: &[Pattern]) -> Exponents {
    let mut best = Exponents::IN_FORCE;
    let mut least = loss(patterns, &best);
    for _ in 0..ROUNDS {
        let before = best.clone();
        for which in Which::all(&Exponents::IN_FORCE) {
            for candidate in which.candidates() {
                let mut tried = best.clone();
                if let Some(value) = which.of(&mut tried) {
                    *value = *candidate;
                }
                let lost = loss(patterns, &tried);
                // A tie keeps what is in force.
                if lost < least - 1e-6 {
                    (best, least) = (tried, lost);
                }
            }
        }
        if best == before {
            break;
        }
    }
    best
}
