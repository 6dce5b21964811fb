//! What was said against what is true.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Mode, Said, Truth};

/// No member of a set that cannot be told apart may have more without separating evidence.
const HONEST_MAX: f64 = 0.8;

/// Everything seen of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The verdict that stood at the end.
    pub said: Option<Said>,
    /// Every class in turn, and how many seconds after the fault it was first said.
    pub history: Vec<(f64, String)>,
    /// Every note that was ever there.
    pub notes: BTreeSet<String>,
    /// Alerts of targets that fired, where anybody listened.
    pub pages: Option<u64>,
    /// Alerts of vantages that fired, where anybody listened.
    pub vantage_pages: Option<u64>,
    /// Alerts by their subject and class.
    pub alerts: BTreeMap<String, u64>,
    /// Whether all was well before the fault, where that was looked at.
    pub healthy_before: Option<bool>,
    /// Seconds from the heal until all was well, where that was waited for.
    pub healed: Option<f64>,
}

/// The judgement over one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Class, likeliest cause, notes and failing vantages are all as they should be.
    pub right: bool,
    /// The class alone is.
    pub class_right: bool,
    /// What is not.
    pub wrong: Vec<String>,
    /// Probability given to the true cause and its equals; `None` where there is no cause.
    pub set_mass: Option<f64>,
    /// The honesty rule is kept.
    pub honest: bool,
    /// What was said or done that must not be.
    pub broken: Vec<String>,
}

/// One run and its judgement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The scenario.
    pub id: String,
    /// What happens in it.
    pub title: String,
    /// How it was judged.
    pub mode: Mode,
    /// The classes that are right.
    pub expected: Vec<String>,
    /// What was seen.
    pub seen: Seen,
    /// The judgement.
    pub score: Score,
    /// Why there is nothing to judge, if there is not.
    pub error: Option<String>,
}

impl Truth {
    /// Judges a run.
    pub fn score(&self, seen: &Seen) -> Score {
        let Some(said) = &seen.said else {
            let wrong = vec!["no verdict".to_owned()];
            return Score { wrong, broken: self.broken(seen), ..Score::default() };
        };
        let wrong = self.wrong(seen, said);
        let of_set = said.causes.iter().filter(|(cause, _)| self.causes.contains(cause));
        Score {
            right: wrong.is_empty(),
            class_right: self.class.contains(&said.class),
            wrong,
            // The empty sum of floats is below zero by its sign.
            set_mass: (!self.causes.is_empty()).then(|| of_set.map(|(_, p)| p).sum::<f64>() + 0.0),
            honest: self.is_honest(said),
            broken: self.broken(seen),
        }
    }

    fn wrong(&self, seen: &Seen, said: &Said) -> Vec<String> {
        let mut wrong = Vec::new();
        if !self.class.contains(&said.class) {
            wrong.push(format!("class {}", said.class));
        }
        // Where health is among what is right, and is what was said, there is no cause to name.
        if said.class != HEALTHY
            && !self.causes.is_empty()
            && let Some((top, _)) = said.causes.first()
            && !self.causes.contains(top)
        {
            wrong.push(format!("cause {top}"));
        }
        let missing = self.notes.iter().filter(|note| !seen.notes.contains(*note));
        wrong.extend(missing.map(|note| format!("no note {note}")));
        if let Some(failing) = &self.failing {
            let [is, should] = [&said.failing, failing].map(|all| all.iter().collect());
            let (is, should): (BTreeSet<_>, BTreeSet<_>) = (is, should);
            if is != should {
                wrong.push(format!("fails from {is:?}"));
            }
        }
        wrong
    }

    fn is_honest(&self, said: &Said) -> bool {
        let several = self.causes.len() > 1 && !self.separated;
        let one_cause = said.causes.iter().any(|(_, p)| *p > HONEST_MAX);
        let one_class = self.undecided.contains(&said.class) && said.confidence > HONEST_MAX;
        !(several && one_cause || one_class)
    }

    fn broken(&self, seen: &Seen) -> Vec<String> {
        let mut broken = Vec::new();
        let said: BTreeSet<&String> = seen.history.iter().map(|(_, class)| class).collect();
        let never = self.never.iter().filter(|class| said.contains(class));
        broken.extend(never.map(|class| format!("said {class}")));
        let never = self.never_notes.iter().filter(|note| seen.notes.contains(*note));
        broken.extend(never.map(|note| format!("noted {note}")));
        for (wanted, is, what) in [
            (self.pages, seen.pages, "alerts"),
            (self.vantage_pages, seen.vantage_pages, "vantage alerts"),
        ] {
            if let (Some(wanted), Some(is)) = (wanted, is)
                && wanted != is
            {
                broken.push(format!("{is} {what}, not {wanted}"));
            }
        }
        let changes = changes(&seen.history);
        if self.changes_max.is_some_and(|most| changes > most) {
            broken.push(format!("{changes} changes of class"));
        }
        broken
    }
}

/// How often one failing class followed another.
fn changes(history: &[(f64, String)]) -> u64 {
    let failing = history.iter().map(|(_, class)| class).filter(|class| *class != HEALTHY);
    let mut failing: Vec<_> = failing.collect();
    failing.dedup();
    u64::try_from(failing.len().saturating_sub(1)).unwrap_or(u64::MAX)
}

const HEALTHY: &str = "reachable";
