//! What to do: the validated meaning of a configuration, and what a reload changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::target::{Target, TargetName};
use crate::vantage::Vantage;

/// An address believed to be always reachable; its failure speaks of the vantage, not of a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Canary {
    /// Host name or literal address.
    pub host: String,
    /// TCP port; canaries are judged by protocol and port.
    pub port: u16,
}

/// Upper bounds on what is sent, whatever the plan says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Packets per second over everything.
    pub packets_per_second: f64,
    /// Packets per second to one destination address.
    pub per_destination: f64,
    /// Packets per second to one /24 or /64.
    pub per_prefix: f64,
    /// New TCP connections to one target from one source in a minute.
    pub connects_per_minute: u32,
    /// New TCP connections to one target from one source in an hour.
    pub connects_per_hour: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            packets_per_second: 5_000.0,
            per_destination: 50.0,
            per_prefix: 500.0,
            connects_per_minute: 10,
            connects_per_hour: 60,
        }
    }
}

/// Connections of a survey with a look: its own, and one for each of four offers.
const LOOK: f64 = 5.0;

impl Budget {
    /// How many connections of an hour may be made at once after a rest, and how many come evenly:
    /// half and half, so that no hour sees more than are allowed. Of few, so many may be made at
    /// once as a survey with a look at the server takes.
    pub fn hourly_connects(&self) -> (f64, f64) {
        let hour = f64::from(self.connects_per_hour);
        let at_once = (hour / 2.0).max((hour - 1.0).min(LOOK)).max(1.0);
        (at_once, (hour - at_once).max(0.25))
    }
}

/// Everything the monitor needs to know of the configuration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// What must be reachable.
    pub targets: Vec<Target>,
    /// From where; never empty in a checked plan.
    pub vantages: Vec<Vantage>,
    /// What tells our own faults from the targets'.
    pub canaries: Vec<Canary>,
    /// What may be sent at most.
    pub budget: Budget,
    /// Labels that targets which fail together may share.
    pub group_by_labels: Vec<String>,
}

/// How long an answer is waited for before a probe counts as lost.
pub const VERDICT_TIMER: Duration = Duration::from_secs(3);

/// How long answers are listened for after that, as late or as new facts.
pub const LISTEN_TIMER: Duration = Duration::from_secs(60);

/// What changes from one plan to the next: as much as there is of change, however large the plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlanChange {
    /// Targets that are new or asked otherwise now.
    pub upserted: Vec<Target>,
    /// Targets that are gone.
    pub removed: Vec<TargetName>,
    /// All vantages.
    pub vantages: Vec<Vantage>,
    /// All canaries.
    pub canaries: Vec<Canary>,
    /// What may be sent at most.
    pub budget: Budget,
    /// Labels that targets which fail together may share.
    pub group_by_labels: Vec<String>,
}

/// What a reload changes, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanDiff {
    /// Targets that are new.
    pub added: Vec<TargetName>,
    /// Targets that are gone.
    pub removed: Vec<TargetName>,
    /// Targets whose settings changed.
    pub changed: Vec<TargetName>,
}

impl Plan {
    /// What `next` changes in this plan.
    pub fn diff(&self, next: &Self) -> PlanDiff {
        let before: BTreeMap<_, _> = by_name(self);
        let mut diff = PlanDiff::default();
        for target in &next.targets {
            match before.get(&target.name) {
                None => diff.added.push(target.name.clone()),
                Some(old) if *old != target => diff.changed.push(target.name.clone()),
                Some(_) => {}
            }
        }
        let after = by_name(next);
        let gone = self.targets.iter().filter(|target| !after.contains_key(&target.name));
        diff.removed = gone.map(|target| target.name.clone()).collect();
        diff
    }

    /// The same with everything that is needed to apply it.
    pub fn change_to(&self, next: &Self) -> (PlanDiff, PlanChange) {
        let diff = self.diff(next);
        let wanted: BTreeSet<_> = diff.added.iter().chain(&diff.changed).collect();
        let upserted = next.targets.iter().filter(|target| wanted.contains(&target.name));
        let change = PlanChange {
            upserted: upserted.cloned().collect(),
            removed: diff.removed.clone(),
            vantages: next.vantages.clone(),
            canaries: next.canaries.clone(),
            budget: next.budget,
            group_by_labels: next.group_by_labels.clone(),
        };
        (diff, change)
    }
}

fn by_name(plan: &Plan) -> BTreeMap<&TargetName, &Target> {
    plan.targets.iter().map(|target| (&target.name, target)).collect()
}
