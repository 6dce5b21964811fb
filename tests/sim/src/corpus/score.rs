//! Scores: what many outcomes say about the judge (`classification.md` 5.3).
//!
//! The **reported set** of a verdict is the smallest set of causes whose probabilities sum to
//! [`REPORTED`]; it covers the truth if the true cause is in it. Abstention (`unknown`) is a miss
//! of the true class and a claim about none. Calibration is scored twice: over the corpus as it
//! is, which has as many cases of a rare cause as of a common one, and with each case weighed by
//! the prior of its cause, which is the mix the judge was made for.

use std::collections::BTreeMap;
use std::time::Duration;

use reachd_core::judge::cause::CAUSES;
use reachd_core::judge::{Class, Sign};

use super::case::Corpus;
use super::examine::{Examined, Outcome};
use super::manifest::Set;

/// The probability a reported set holds at least.
pub const REPORTED: f64 = 0.95;
/// No member of an inseparable set may be believed more without evidence that separates it.
pub const HONEST: f64 = 0.8;
/// A wrong class said with more confidence than this is listed one by one.
pub const SURE: f64 = 0.9;
/// Bins of equal mass that calibration error is read off.
pub const BINS: usize = 15;

/// How often a label was true, said, and both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Cases of this label.
    pub truth: u64,
    /// Cases said to be of this label.
    pub said: u64,
    /// Cases that were both.
    pub both: u64,
}

impl Counts {
    /// How often it is true when said.
    pub fn precision(self) -> f64 {
        ratio(self.both, self.said)
    }

    /// How often it is said when true.
    pub fn recall(self) -> f64 {
        ratio(self.both, self.truth)
    }

    /// The harmonic mean of both.
    pub fn f1(self) -> f64 {
        ratio(2 * self.both, self.truth + self.said)
    }
}

/// A ratio of counts; 0 of 0 is 0.
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { real(part) / real(whole) }
}

/// Counts by label.
#[derive(Debug, Clone)]
pub struct Labels<L>(pub BTreeMap<L, Counts>);

impl<L: Ord + Copy> Labels<L> {
    /// From pairs of truth and what was said, if anything was.
    pub fn of(pairs: impl Iterator<Item = (L, Option<L>)>) -> Self {
        let mut all: BTreeMap<L, Counts> = BTreeMap::new();
        for (truth, said) in pairs {
            all.entry(truth).or_default().truth += 1;
            if let Some(said) = said {
                let counts = all.entry(said).or_default();
                counts.said += 1;
                counts.both += u64::from(said == truth);
            }
        }
        Self(all)
    }

    /// The mean F1 over labels that occur.
    pub fn macro_f1(&self) -> f64 {
        let occurring = || self.0.values().filter(|counts| counts.truth > 0);
        let count = u64::try_from(occurring().count()).unwrap_or(u64::MAX);
        occurring().map(|counts| counts.f1()).sum::<f64>() / real(count.max(1))
    }

    /// The counts of a label.
    pub fn get(&self, label: L) -> Counts {
        self.0.get(&label).copied().unwrap_or_default()
    }
}

/// Cases of about the same confidence.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bin {
    /// Mean confidence.
    pub confidence: f64,
    /// How often it was right.
    pub accuracy: f64,
    /// The share of all mass in it.
    pub mass: f64,
}

/// How far confidence and truth go together.
#[derive(Debug, Clone, Default)]
pub struct Reliability {
    /// Bins of equal mass, the least confident first.
    pub bins: Vec<Bin>,
}

impl Reliability {
    /// From confidence, whether it was right, and weight.
    pub fn of(mut points: Vec<(f64, bool, f64)>) -> Self {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: f64 = points.iter().map(|(_, _, weight)| weight).sum();
        let share = total / real(u64::try_from(BINS).unwrap_or(1));
        let (mut bins, mut sums) = (Vec::new(), [0.0; 3]);
        let close = |sums: [f64; 3]| {
            let [weight, confidence, right] = sums;
            let mass = weight / total;
            Bin { confidence: confidence / weight, accuracy: right / weight, mass }
        };
        for (confidence, right, weight) in points {
            sums[0] += weight;
            sums[1] += weight * confidence;
            sums[2] += if right { weight } else { 0.0 };
            if sums[0] >= share {
                bins.push(close(sums));
                sums = [0.0; 3];
            }
        }
        if sums[0] > total * 1e-9 {
            bins.push(close(sums));
        }
        Self { bins }
    }

    /// The expected calibration error.
    pub fn error(&self) -> f64 {
        self.bins.iter().map(|bin| bin.mass * (bin.confidence - bin.accuracy).abs()).sum()
    }
}

/// What is said of some cases: how often right, how sure, how dear.
#[derive(Debug, Clone, Copy, Default)]
pub struct Row {
    /// How many.
    pub cases: u64,
    /// The right class said.
    pub right: u64,
    /// The right class said where nothing is left to chance.
    pub ideal_right: u64,
    /// Nothing said.
    pub abstained: u64,
    /// The reported set covers the truth.
    pub covered: u64,
    /// Causes reported in all.
    pub reported: u64,
    /// The right cause is the likeliest.
    pub cause_right: u64,
    /// The likeliest cause and the right one cannot be told apart from outside.
    pub cause_in_set: u64,
}

impl Row {
    fn add(&mut self, corpus: &Corpus, examined: &Examined<'_>) {
        let (truth, outcome) = (examined.case.family.truth, &examined.outcome);
        let reported = outcome.reported(REPORTED);
        let (top, _) = outcome.top();
        let top_name = CAUSES.get(top).map_or("", |cause| cause.name);
        let set = corpus.manifest.set_of(truth.cause_name());
        let same = set.is_some_and(|set| set.causes.iter().any(|cause| cause == top_name));
        self.cases += 1;
        self.right += u64::from(outcome.class == truth.class);
        self.ideal_right += u64::from(examined.ideal.class == truth.class);
        self.abstained += u64::from(outcome.class == Class::Unknown);
        self.covered += u64::from(reported.contains(&truth.cause));
        self.reported += u64::try_from(reported.len()).unwrap_or(u64::MAX);
        self.cause_right += u64::from(top == truth.cause);
        self.cause_in_set += u64::from(top == truth.cause || same);
    }
}

/// How far probabilities are from the truth.
#[derive(Debug, Clone, Default)]
pub struct Calibration {
    /// The class said, or the leading one where none is, against its confidence.
    pub reliability: Reliability,
    /// The multi-class Brier score over classes, 0 to 2.
    pub brier: f64,
    /// Mean logarithmic loss of the true class, in nats.
    pub log_loss: f64,
}

impl Calibration {
    fn of(all: &[&Examined<'_>], weight: impl Fn(&Examined<'_>) -> f64) -> Self {
        let mut points = Vec::new();
        let (mut brier, mut loss, mut total) = (0.0, 0.0, 0.0);
        for examined in all {
            let (truth, outcome) = (examined.case.family.truth, &examined.outcome);
            let weight = weight(examined);
            let (said, confidence) = claim(outcome);
            points.push((confidence, said == truth.class, weight));
            let miss = |class: Class| {
                let is = if class == truth.class { 1.0 } else { 0.0 };
                (outcome.of_class(class) - is).powi(2)
            };
            brier += weight * Class::ALL.into_iter().map(miss).sum::<f64>();
            loss -= weight * outcome.of_class(truth.class).max(1e-12).ln();
            total += weight;
        }
        let reliability = Reliability::of(points);
        Self { reliability, brier: brier / total, log_loss: loss / total }
    }
}

/// The class an outcome stands for, and with what confidence.
pub fn claim(outcome: &Outcome) -> (Class, f64) {
    match outcome.class {
        Class::Unknown => (outcome.leading, outcome.of_class(outcome.leading)),
        class => (class, outcome.confidence),
    }
}

/// Mean, median and 95th percentile.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// Half are below.
    pub median: f64,
    /// All but one in twenty are below.
    pub p95: f64,
}

impl Spread {
    /// Of these values.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let last = values.len().saturating_sub(1);
            values.get(last * percent / 100).copied().unwrap_or_default()
        };
        let count = real(u64::try_from(values.len()).unwrap_or(u64::MAX));
        let mean = values.iter().sum::<f64>() / count.max(1.0);
        Self { mean, median: at(50), p95: at(95) }
    }
}

/// Everything counted over some cases.
#[derive(Debug)]
pub struct Scores<'a> {
    /// All of them together.
    pub all: Row,
    /// Classes as said.
    pub classes: Labels<Class>,
    /// Classes as they would be said if nothing were left to chance.
    pub ideal: Labels<Class>,
    /// True class and class said, with how often.
    pub confusion: BTreeMap<(Class, Class), u64>,
    /// The likeliest cause, against the true one.
    pub causes: Labels<usize>,
    /// The same if nothing were left to chance.
    pub ideal_causes: Labels<usize>,
    /// By true cause.
    pub by_cause: BTreeMap<usize, Row>,
    /// By the first confounder.
    pub by_confounder: BTreeMap<&'static str, Row>,
    /// By family.
    pub by_family: BTreeMap<&'a str, Row>,
    /// Calibration over the corpus as it is.
    pub as_counted: Calibration,
    /// Calibration in the mix of the priors.
    pub by_prior: Calibration,
    /// Seconds to the verdict.
    pub took: Spread,
    /// Packets spent.
    pub packets: Spread,
    /// Packets of one vantage without its traces.
    pub end_to_end: Spread,
    /// Verdicts that say more than can be known, with the set they say it about.
    pub dishonest: Vec<(&'a Examined<'a>, &'a str)>,
    /// Wrong and sure of it.
    pub sure_and_wrong: Vec<&'a Examined<'a>>,
}

impl<'a> Scores<'a> {
    /// Scores these cases.
    pub fn of(corpus: &'a Corpus, all: &[&'a Examined<'a>]) -> Self {
        let named = |class: Class| Some(class).filter(|class| *class != Class::Unknown);
        let truth = |examined: &&&Examined<'_>| examined.case.family.truth;
        let mut scores = Self {
            all: Row::default(),
            classes: Labels::of(all.iter().map(|e| (truth(&e).class, named(e.outcome.class)))),
            ideal: Labels::of(all.iter().map(|e| (truth(&e).class, named(e.ideal.class)))),
            confusion: BTreeMap::new(),
            causes: Labels::of(all.iter().map(|e| (truth(&e).cause, Some(e.outcome.top().0)))),
            ideal_causes: Labels::of(all.iter().map(|e| (truth(&e).cause, Some(e.ideal.top().0)))),
            by_cause: BTreeMap::new(),
            by_confounder: BTreeMap::new(),
            by_family: BTreeMap::new(),
            as_counted: Calibration::of(all, |_| 1.0),
            by_prior: Calibration::default(),
            took: Spread::of(all.iter().map(|e| e.outcome.took.as_secs_f64())),
            packets: Spread::of(all.iter().map(|e| real(e.outcome.packets))),
            end_to_end: Spread::of(all.iter().map(|e| e.outcome.end_to_end)),
            dishonest: Vec::new(),
            sure_and_wrong: Vec::new(),
        };
        for examined in all {
            scores.add(corpus, examined);
        }
        scores.by_prior = Calibration::of(all, |examined| {
            let cause = examined.case.family.truth.cause;
            let prior = CAUSES.get(cause).map_or(0.0, |cause| cause.prior);
            prior / real(scores.causes.get(cause).truth.max(1))
        });
        scores
    }

    fn add(&mut self, corpus: &'a Corpus, examined: &'a Examined<'a>) {
        let (case, outcome) = (&examined.case, &examined.outcome);
        let truth = case.family.truth;
        *self.confusion.entry((truth.class, outcome.class)).or_default() += 1;
        let confounder = case.confounders.first().map_or("none", |first| first.as_str());
        let rows = [
            &mut self.all,
            self.by_cause.entry(truth.cause).or_default(),
            self.by_confounder.entry(confounder).or_default(),
            self.by_family.entry(case.family.name.as_str()).or_default(),
        ];
        rows.into_iter().for_each(|row| row.add(corpus, examined));
        let (said, confidence) = claim(outcome);
        if said != truth.class && outcome.class != Class::Unknown && confidence > SURE {
            self.sure_and_wrong.push(examined);
        }
        if let Some(set) = dishonest(corpus, outcome) {
            self.dishonest.push((examined, set));
        }
    }
}

/// Which inseparable set an outcome says too much about, if any: one member above [`HONEST`]
/// without any evidence that separates it; or one of the two silent classes without siblings or
/// other vantages.
pub fn dishonest<'a>(corpus: &'a Corpus, outcome: &Outcome) -> Option<&'a str> {
    let (top, share) = outcome.top();
    let name = CAUSES.get(top).map_or("", |cause| cause.name);
    let has = |sign: Sign| outcome.views.iter().any(|view| view.contains(&sign));
    let separates = |set: &Set| {
        let signs = outcome.views.iter().flatten();
        let mut values = signs.map(|sign| format!("{}={}", sign.family().as_str(), sign.as_str()));
        values.any(|value| set.separated_by.contains(&value))
    };
    let set = corpus.manifest.set_of(name);
    if let Some(set) = set.filter(|set| share > HONEST && !separates(set)) {
        return Some(&set.name);
    }
    let silent = has(Sign::EchoSilent) && has(Sign::SynSilent);
    let placed = [
        Sign::SiblingFurther,
        Sign::SiblingSame,
        Sign::SiblingFailsToo,
        Sign::OthersFail,
        Sign::OthersReach,
        Sign::InsideReaches,
    ];
    let class = matches!(outcome.class, Class::Blackhole | Class::HostSilent);
    let blind = silent && class && !placed.into_iter().any(has);
    (blind && outcome.confidence > HONEST).then_some("silent classes")
}

/// Seconds as people read them.
pub fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// A count as a real number; exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "cases stay far below 2^53")]
pub fn real(count: u64) -> f64 {
    count as f64
}
