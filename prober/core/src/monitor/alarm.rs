//! The life of one incident: damping between a verdict and a message to people.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::incident::{IncidentState, Moment, Opening};
use crate::judge::Class;
use crate::target::Severity;
use crate::time::Instant;

/// A failure that comes back within this time continues the incident it was part of.
pub(super) const REOPEN_WITHIN: Duration = Duration::from_secs(600);
/// Successes that close an incident, besides the time they must span.
const SUCCESSES: u32 = 3;

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// People are told for the first time, or again after a relapse.
    Opened,
    /// Still firing, with another class.
    Changed,
    /// Over.
    Resolved,
    /// It went away before it was told to anybody.
    Withdrawn,
}

/// One incident, or the readiness for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alarm {
    open_after: Duration,
    close_after: Duration,
    phase: Phase,
    /// Grows with every step told.
    pub(super) version: u64,
    /// Whether people were told that it fires, not of its group instead.
    pub(super) told: bool,
    /// Relapses within ten minutes.
    pub(super) flaps: u32,
    /// Class at opening.
    pub(super) class: Class,
    /// Class now.
    pub(super) class_now: Class,
    /// When belief in the failure began.
    pub(super) started: Moment,
    /// What was told at the opening and stays; `None` while nothing is told.
    pub(super) frozen: Option<Box<(Severity, BTreeMap<String, String>)>>,
    /// A pending one opens no sooner.
    pub(super) hold: Option<Instant>,
    /// The same of the last relapse; `None` if it was taken up from an earlier run.
    since: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Quiet,
    /// Believed in since then; `closed` is when the incident before it ended.
    Pending {
        since: Instant,
        closed: Option<Instant>,
    },
    Firing {
        healthy: Option<(Instant, u32)>,
    },
    Closed {
        at: Instant,
    },
}

impl Alarm {
    /// Nothing has happened yet.
    pub(super) const fn new(open_after: Duration, close_after: Duration) -> Self {
        Self {
            open_after,
            close_after,
            phase: Phase::Quiet,
            version: 0,
            told: false,
            flaps: 0,
            class: Class::Unknown,
            class_now: Class::Unknown,
            started: Moment::At(Instant::ZERO),
            frozen: None,
            hold: None,
            since: None,
        }
    }

    /// Takes over the damping of a changed plan.
    pub(super) const fn set_limits(&mut self, open_after: Duration, close_after: Duration) {
        self.open_after = open_after;
        self.close_after = close_after;
    }

    /// An incident that was firing when the process ended, taken up again.
    pub(super) fn resume(mut self, class: Class, version: u64, opening: Opening) -> Self {
        self.phase = Phase::Firing { healthy: None };
        self.class = class;
        self.class_now = class;
        self.version = version;
        self.started = opening.started;
        self.frozen = Some(Box::new((opening.severity, opening.labels)));
        self
    }

    /// Where it stands; `None` while nothing is wrong.
    pub(super) const fn state(&self) -> Option<IncidentState> {
        match self.phase {
            Phase::Quiet | Phase::Closed { .. } => None,
            Phase::Pending { .. } => Some(IncidentState::Pending),
            Phase::Firing { .. } => Some(IncidentState::Firing),
        }
    }

    /// Since when it fails, as far as this run knows; `None` while nothing is wrong.
    pub(super) const fn failing_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Quiet | Phase::Closed { .. } => None,
            Phase::Pending { since, .. } => Some(since),
            Phase::Firing { .. } => self.since,
        }
    }

    /// Takes a verdict: `failing` is the class believed in, `None` a success, and `fresh` whether
    /// it rests on new probes.
    pub(super) fn handle_verdict(
        &mut self,
        now: Instant,
        failing: Option<Class>,
        fresh: bool,
    ) -> Option<Step> {
        match (self.phase, failing) {
            (Phase::Quiet, None) | (Phase::Closed { .. }, None) => None,
            (Phase::Quiet, Some(class)) => {
                self.phase = Phase::Pending { since: now, closed: None };
                self.class_now = class;
                self.handle_time(now)
            }
            (Phase::Closed { at }, Some(class)) => {
                self.phase = Phase::Pending { since: now, closed: Some(at) };
                self.class_now = class;
                self.handle_time(now)
            }
            (Phase::Pending { closed, .. }, None) => {
                self.phase = closed.map_or(Phase::Quiet, |at| Phase::Closed { at });
                Some(Step::Withdrawn)
            }
            (Phase::Pending { .. }, Some(class)) => {
                self.class_now = class;
                self.handle_time(now)
            }
            (Phase::Firing { .. }, Some(class)) => {
                self.phase = Phase::Firing { healthy: None };
                let changed = self.class_now != class;
                self.class_now = class;
                self.version += u64::from(changed);
                changed.then_some(Step::Changed)
            }
            (Phase::Firing { healthy }, None) => {
                let (since, count) = healthy.unwrap_or((now, 0));
                let count = count + u32::from(fresh);
                self.phase = Phase::Firing { healthy: Some((since, count)) };
                if count < SUCCESSES || now.since(since) < self.close_after {
                    return None;
                }
                self.close(now);
                Some(Step::Resolved)
            }
        }
    }

    /// What is pending was already there at this moment, as its evidence says; but what was there
    /// before the incident before it ended belonged to that.
    pub(super) fn backdate(&mut self, began: Instant) {
        if let Phase::Pending { since, closed } = &mut self.phase {
            *since = (*since).min(closed.map_or(began, |at| began.max(at)));
        }
    }

    /// Time passed: a pending incident may have waited long enough.
    pub(super) fn handle_time(&mut self, now: Instant) -> Option<Step> {
        let Phase::Pending { since, closed } = self.phase else { return None };
        if now.since(since) < self.open_after || self.hold.is_some_and(|until| now < until) {
            return None;
        }
        if closed.is_some_and(|at| since.since(at) <= REOPEN_WITHIN) {
            self.flaps += 1;
        } else {
            (self.flaps, self.started) = (0, Moment::At(since));
        }
        self.class = self.class_now;
        self.since = Some(since);
        self.phase = Phase::Firing { healthy: None };
        self.version += 1;
        Some(Step::Opened)
    }

    /// Ends it whatever was seen, because its subject is gone; `true` if people had been told.
    pub(super) fn remove(&mut self, now: Instant) -> bool {
        let firing = matches!(self.phase, Phase::Firing { .. });
        self.close(now);
        firing
    }

    /// When [`Self::handle_time`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Pending { since, .. } => {
                let opens = since + self.open_after;
                Some(self.hold.map_or(opens, |until| opens.max(until)))
            }
            Phase::Quiet | Phase::Firing { .. } | Phase::Closed { .. } => None,
        }
    }

    fn close(&mut self, now: Instant) {
        self.phase = Phase::Closed { at: now };
        self.version += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_secs(10);
    const CLOSE: Duration = Duration::from_secs(30);
    const DOWN: Option<Class> = Some(Class::HostSilent);

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    fn firing() -> Alarm {
        let mut alarm = Alarm::new(OPEN, CLOSE);
        assert_eq!(alarm.handle_verdict(at(0), DOWN, true), None);
        assert_eq!(alarm.handle_time(at(9)), None);
        assert_eq!(alarm.handle_time(at(10)), Some(Step::Opened));
        alarm
    }

    #[test]
    fn a_short_failure_is_told_to_nobody() {
        let mut alarm = Alarm::new(OPEN, CLOSE);
        alarm.handle_verdict(at(0), DOWN, true);
        assert_eq!(alarm.handle_verdict(at(5), None, true), Some(Step::Withdrawn));
        assert_eq!(alarm.handle_time(at(60)), None);
        assert_eq!(alarm.state(), None);
    }

    #[test]
    fn closing_needs_three_successes_over_thirty_seconds() {
        let mut alarm = firing();
        for seconds in [20, 30, 40] {
            assert_eq!(alarm.handle_verdict(at(seconds), None, true), None);
        }
        assert_eq!(alarm.handle_verdict(at(50), None, true), Some(Step::Resolved));
        let mut alarm = firing();
        assert_eq!(alarm.handle_verdict(at(20), None, true), None);
        assert_eq!(alarm.handle_verdict(at(99), None, false), None, "two successes only");
    }

    #[test]
    fn a_relapse_while_closing_starts_over() {
        let mut alarm = firing();
        alarm.handle_verdict(at(20), None, true);
        alarm.handle_verdict(at(30), None, true);
        alarm.handle_verdict(at(40), DOWN, true);
        assert_eq!(alarm.handle_verdict(at(50), None, true), None);
        assert_eq!(alarm.state(), Some(IncidentState::Firing));
    }

    #[test]
    fn another_class_is_the_same_incident() {
        let mut alarm = firing();
        let changed = alarm.handle_verdict(at(12), Some(Class::PortClosed), true);
        assert_eq!(changed, Some(Step::Changed));
        assert_eq!((alarm.class, alarm.class_now), (Class::HostSilent, Class::PortClosed));
        assert_eq!(alarm.version, 2);
    }

    #[test]
    fn a_relapse_that_is_withdrawn_leaves_the_incident_closed() {
        let mut alarm = firing();
        for seconds in [20, 35, 50] {
            alarm.handle_verdict(at(seconds), None, true);
        }
        let version = alarm.version;
        alarm.handle_verdict(at(60), DOWN, true);
        assert_eq!(alarm.handle_verdict(at(65), None, true), Some(Step::Withdrawn));
        alarm.handle_verdict(at(100), DOWN, true);
        assert_eq!(alarm.handle_time(at(110)), Some(Step::Opened));
        assert!(alarm.version > version, "versions never start over under one fingerprint");
        assert_eq!((alarm.flaps, alarm.started), (1, Moment::At(at(0))));
    }

    #[test]
    fn evidence_from_before_the_end_opens_nothing_at_once() {
        let mut alarm = firing();
        for seconds in [20, 35, 50] {
            alarm.handle_verdict(at(seconds), None, true);
        }
        alarm.handle_verdict(at(55), DOWN, true);
        alarm.backdate(at(20));
        assert_eq!(alarm.handle_time(at(59)), None);
        assert_eq!(alarm.handle_time(at(60)), Some(Step::Opened));
    }

    #[test]
    fn a_failure_soon_after_continues_the_incident() {
        let mut alarm = firing();
        for seconds in [20, 35, 50] {
            alarm.handle_verdict(at(seconds), None, true);
        }
        assert_eq!(alarm.state(), None);
        let version = alarm.version;
        alarm.handle_verdict(at(100), DOWN, true);
        assert_eq!(alarm.handle_time(at(110)), Some(Step::Opened));
        assert_eq!((alarm.flaps, alarm.started), (1, Moment::At(at(0))));
        assert!(alarm.version > version, "versions grow over a relapse");
    }
}
