//! Steps of incidents on their way out of the engine.
//!
//! They share no queue with what may be dropped: a step that is lost is an alert that is lost. The
//! queue has no limit of its own, for the engine must not wait, but of one incident only so many
//! steps wait: with more, the oldest goes, and the next one says in its place what it had to say.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use reachd_core::incident::IncidentUpdate;
use tokio::sync::Notify;

/// Steps of one incident that wait at most: more often than this it flapped while nobody listened.
const STEPS_MAX: usize = 16;

/// The queue, seen from both ends.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    waiting: Mutex<Waiting>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<Box<IncidentUpdate>>,
    /// How many of them each incident has.
    of: BTreeMap<String, usize>,
}

impl Steps {
    /// Takes a step; whether an older one of the same incident had to go for it.
    pub(crate) fn push(&self, update: Box<IncidentUpdate>) -> bool {
        let lost = self.lock().push(update);
        self.bell.notify_one();
        lost
    }

    /// The oldest step.
    pub(crate) fn pop(&self) -> Option<Box<IncidentUpdate>> {
        self.lock().pop()
    }

    /// Waits until there may be one.
    pub(crate) async fn wait(&self) {
        self.bell.notified().await;
    }

    /// The queue is never left half-changed.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, mut update: Box<IncidentUpdate>) -> bool {
        let count = self.of.entry(update.fingerprint.clone()).or_default();
        let full = *count >= STEPS_MAX;
        *count += usize::from(!full);
        if full {
            let oldest = self.queue.iter().position(|step| step.fingerprint == update.fingerprint);
            let gone = oldest.and_then(|index| self.queue.remove(index));
            // Whoever was to hear of that one hears of its successor.
            let heir = self.queue.iter_mut().find(|step| step.fingerprint == update.fingerprint);
            let notify = gone.is_some_and(|step| step.notify);
            heir.unwrap_or(&mut update).notify |= notify;
        }
        self.queue.push_back(update);
        full
    }

    fn pop(&mut self) -> Option<Box<IncidentUpdate>> {
        let update = self.queue.pop_front()?;
        if let Some(count) = self.of.get_mut(&update.fingerprint) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&update.fingerprint);
            }
        }
        Some(update)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use reachd_core::incident::{AlertKind, IncidentState, Moment, Subject};
    use reachd_core::judge::Class;
    use reachd_core::target::Severity;

    use super::*;

    pub(crate) fn step(fingerprint: &str, version: u64, notify: bool) -> IncidentUpdate {
        IncidentUpdate {
            fingerprint: fingerprint.to_owned(),
            version,
            kind: AlertKind::VantageFault,
            subject: Subject::Vantage("here".to_owned()),
            state: IncidentState::Firing,
            severity: Severity::Critical,
            class: Class::VantageFault,
            class_now: Class::VantageFault,
            started: Moment::default(),
            ended: None,
            flaps: 0,
            report: None,
            summary: (String::new(), String::new()),
            next_step: (String::new(), String::new()),
            notify,
            member: false,
        }
    }

    #[test]
    fn every_incident_keeps_its_newest_steps_and_nobody_unheard() {
        let steps = Steps::default();
        let lost = (1..=40).filter(|version| {
            assert!(!steps.push(Box::new(step(&format!("{version}"), *version, true))));
            steps.push(Box::new(step("flapping", *version, *version == 1)))
        });
        assert_eq!(lost.count(), 40 - STEPS_MAX);
        let all: Vec<_> = std::iter::from_fn(|| steps.pop()).collect();
        assert_eq!(all.len(), 40 + STEPS_MAX);
        let flapping: Vec<_> = all.iter().filter(|step| step.fingerprint == "flapping").collect();
        assert!(flapping.iter().map(|step| step.version).eq(25..=40));
        let told: Vec<_> = flapping.iter().map(|step| step.notify).collect();
        assert!(told[0] && !told[1..].contains(&true), "the first message is not lost: {told:?}");
        assert!(steps.lock().of.is_empty());
    }
}
