//! Work that concerns very many targets, done bit by bit, so that the ring is read in between.

use std::collections::VecDeque;
use std::time::Duration;

use super::Monitor;
use crate::target::{Target, TargetName};
use crate::time::Instant;
use crate::vantage::VantageId;

/// What is put off goes on after this long.
const STEP: Duration = Duration::from_millis(1);
/// Chores done in one go.
pub(super) const CHORES: usize = 64;

/// A piece of such work.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Chore {
    /// It leaves the plan.
    Remove(TargetName),
    /// It comes into the plan, or is asked something else from now on.
    Upsert(Box<Target>),
    /// Its views are made to fit its addresses and the open vantages.
    Refresh(TargetName),
    /// As well, evidence from this vantage must be new.
    Renew(TargetName, VantageId, Instant),
    /// It is judged again.
    Rejudge(TargetName),
}

impl Chore {
    const fn is_plan(&self) -> bool {
        matches!(self, Self::Remove(_) | Self::Upsert(_))
    }
}

/// Chores in the order in which they came up.
#[derive(Debug, Default)]
pub(super) struct Chores {
    line: VecDeque<Chore>,
    /// Those that change what is planned.
    planned: usize,
    /// When the next go may begin.
    due: Instant,
}

impl Chores {
    pub(super) fn push(&mut self, chore: Chore) {
        self.planned += usize::from(chore.is_plan());
        self.line.push_back(chore);
    }

    fn pop(&mut self) -> Option<Chore> {
        let chore = self.line.pop_front()?;
        self.planned -= usize::from(chore.is_plan());
        Some(chore)
    }

    /// Whether the plan is not carried out yet: what changes next must wait for its turn.
    pub(super) const fn is_planning(&self) -> bool {
        self.planned > 0
    }

    /// When the next go is due, if there is anything to do.
    fn due(&self) -> Option<Instant> {
        (!self.line.is_empty()).then_some(self.due)
    }

    /// When to wake for the next go: what came up in this moment's own work waits a step as well.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.due().map(|due| if due > now { due } else { now + STEP })
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.line.len()
    }
}

impl Extend<Chore> for Chores {
    fn extend<T: IntoIterator<Item = Chore>>(&mut self, chores: T) {
        chores.into_iter().for_each(|chore| self.push(chore));
    }
}

impl Monitor {
    /// One go, unless the last was only just now: every packet that is read asks for one.
    pub(super) fn run_chores(&mut self, now: Instant) {
        if self.chores.due().is_none_or(|due| now < due) {
            return;
        }
        self.chores.due = now + STEP;
        for _ in 0..CHORES {
            let Some(chore) = self.chores.pop() else { return };
            self.run_chore(now, chore);
        }
    }

    /// Carries out what is left of the plans before, so that the next may be compared with it.
    pub(super) fn finish_planning(&mut self, now: Instant) {
        while self.chores.is_planning()
            && let Some(chore) = self.chores.pop()
        {
            self.run_chore(now, chore);
        }
    }

    fn run_chore(&mut self, now: Instant, chore: Chore) {
        match chore {
            Chore::Remove(name) => self.remove_target(now, &name),
            Chore::Upsert(target) => self.upsert_target(now, target.name.clone(), *target, false),
            Chore::Refresh(name) => self.refresh_views(now, &name),
            Chore::Renew(name, vantage, moment) => {
                self.refresh_views(now, &name);
                self.look_again((now, moment), &name, |view, _| view == vantage);
            }
            Chore::Rejudge(name) => self.rejudge(now, &name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::IncidentState;
    use crate::monitor::{Event, Input, Output, Purpose, VantageState};
    use crate::plan::{Budget, Plan, PlanChange};
    use crate::target::Service;
    use crate::vantage::{Mode, Vantage};

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(1_000 + millis))
    }

    fn target(host: u32) -> Target {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + host);
        Target::new(&address.to_string(), 443, Service::Ping)
    }

    fn change(upserted: Vec<Target>, removed: Vec<TargetName>) -> Input<'static> {
        let vantages = vec![Vantage::unbound("a")];
        let budget = Budget::default();
        let canaries = Vec::new();
        let change =
            PlanChange { upserted, removed, vantages, canaries, budget, ..PlanChange::default() };
        Input::Change(Box::new(change))
    }

    /// A monitor of so many targets in the middle of their first surveys.
    fn busy(targets: u32) -> Monitor {
        let mut monitor = Monitor::new(Purpose::Watch, [1, 2]);
        let plan = Plan {
            targets: (0..targets).map(target).collect(),
            vantages: vec![Vantage::unbound("a")],
            ..Plan::default()
        };
        monitor.handle(at(0), Input::Plan(Box::new(plan)));
        while let output = monitor.poll()
            && !matches!(output, Output::Wait(_))
        {
            if let Output::OpenVantage(id, _) = output {
                let state = VantageState::Up { mode: Mode::Sockets, tap: None };
                monitor.handle(at(0), Input::Vantage(id, state));
            }
        }
        (1..200).for_each(|millis| monitor.handle(at(millis), Input::Tick));
        assert_eq!(monitor.sweep.len(), usize::try_from(targets).unwrap());
        monitor
    }

    #[test]
    fn a_large_removal_is_done_bit_by_bit() {
        let mut monitor = busy(2_000);
        let gone = (0..1_000).map(|host| target(host).name).collect();
        monitor.handle(at(300), change(Vec::new(), gone));
        for go in 0..16 {
            let before = monitor.targets.len();
            // Whatever else comes within the same step does not hasten it.
            (0..10).for_each(|_| monitor.handle(at(301 + go), Input::Tick));
            let done = before - monitor.targets.len();
            assert!(done <= CHORES, "{done} in one go");
        }
        assert_eq!(
            (monitor.targets.len(), monitor.sweep.len(), monitor.chores.len()),
            (1_000, 1_000, 0)
        );
        assert_eq!(monitor.snapshot().probes.len(), 1_000, "their series leave with them");
        assert!(monitor.chores.due().is_none());
    }

    #[test]
    fn a_name_that_leaves_and_comes_again_is_new_however_much_else_changes() {
        let mut monitor = busy(500);
        let all: Vec<_> = (0..500).map(|host| target(host).name).collect();
        let again: Vec<_> = (0..500).filter(|host| host % 2 == 0).map(target).collect();
        let owner = |monitor: &Monitor, name| monitor.targets.get(name).map(|watch| watch.since);
        assert_eq!(owner(&monitor, &all[4]), Some(at(0)));
        monitor.handle(at(300), change(again, all.clone()));
        // The next reload comes before the first is carried out: 4 leaves for good, 5 comes back.
        monitor.handle(at(300), change(vec![target(5)], vec![all[4].clone()]));
        assert!(monitor.chores.is_planning());
        (301..400).for_each(|millis| monitor.handle(at(millis), Input::Tick));
        assert!(!monitor.chores.is_planning());
        assert_eq!(monitor.targets.len(), 250);
        assert!(owner(&monitor, &all[2]).is_some_and(|since| since > at(300)));
        assert_eq!(owner(&monitor, &all[4]), None);
        assert!(owner(&monitor, &all[5]).is_some());
        assert_eq!(monitor.sweep.len(), 250);
    }

    #[test]
    fn a_whole_plan_is_compared_with_what_the_change_before_it_makes() {
        let mut monitor = busy(500);
        let all: Vec<_> = (0..500).map(|host| target(host).name).collect();
        monitor.handle(at(300), change(Vec::new(), all));
        let plan = Plan {
            targets: (0..300).map(target).collect(),
            vantages: vec![Vantage::unbound("a")],
            ..Plan::default()
        };
        monitor.handle(at(300), Input::Plan(Box::new(plan)));
        assert_eq!(monitor.targets.len(), 300);
        (301..400).for_each(|millis| monitor.handle(at(millis), Input::Tick));
        assert_eq!((monitor.targets.len(), monitor.sweep.len()), (300, 300));
    }

    #[test]
    fn an_open_incident_of_a_removed_target_resolves() {
        let mut monitor = busy(200);
        let names: Vec<_> = (0..200).map(|host| target(host).name).collect();
        let firing = |name: &TargetName| Input::Firing {
            target: name.clone(),
            kind: crate::incident::AlertKind::Unreachable,
            class: crate::judge::Class::HostSilent,
            version: 3,
            opening: Box::default(),
        };
        monitor.handle(at(250), firing(&names[150]));
        while !matches!(monitor.poll(), Output::Wait(_)) {}
        monitor.handle(at(300), change(Vec::new(), names));
        (301..400).for_each(|millis| monitor.handle(at(millis), Input::Tick));
        let outputs = std::iter::from_fn(|| Some(monitor.poll()));
        let outputs = outputs.take_while(|output| !matches!(output, Output::Wait(_)));
        let resolved = outputs.filter(|output| {
            matches!(output, Output::Event(event) if matches!(&**event,
                Event::Incident(update) if update.state == IncidentState::Resolved))
        });
        assert_eq!(resolved.count(), 1);
    }
}
