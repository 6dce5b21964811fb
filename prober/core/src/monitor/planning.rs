//! Plans into targets: what a new plan adds, changes and ends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::chores::{CHORES, Chore};
use super::flights::ViewKey;
use super::watch::TargetWatch;
use super::{Monitor, Purpose, Timer};
use crate::plan::{Canary, Plan, PlanChange};
use crate::target::{Service, Siblings, Target, TargetName};
use crate::time::Instant;
use crate::vantage::VantageId;

/// Canaries are asked this often, so that a vantage's fault is known before a target's survey ends.
const CANARY_INTERVAL: Duration = Duration::from_secs(5);

fn canary_target(canary: &Canary) -> Target {
    let mut target = Target::new(&canary.host, canary.port, Service::Tcp);
    target.name = TargetName::new(&format!("canary {}:{}", canary.host, canary.port));
    target.echo_interval = CANARY_INTERVAL;
    target.syn_interval = CANARY_INTERVAL;
    target.siblings = Siblings::Off;
    target
}

impl Monitor {
    /// Applies the difference between what is watched and a whole plan.
    pub(super) fn handle_plan(&mut self, now: Instant, plan: Plan) {
        self.finish_planning(now);
        let wanted: BTreeSet<_> = plan.targets.iter().map(|target| &target.name).collect();
        let own = self.targets.iter().filter(|(_, watch)| !watch.canary);
        let removed = own.map(|(name, _)| name).filter(|name| !wanted.contains(name));
        let removed = removed.cloned().collect();
        let mut upserted = plan.targets;
        upserted.retain(|target| {
            let known = self.targets.get(&target.name).filter(|watch| !watch.canary);
            known.is_none_or(|watch| *watch.target != *target)
        });
        let Plan { vantages, canaries, budget, group_by_labels, .. } = plan;
        let change = PlanChange { upserted, removed, vantages, canaries, budget, group_by_labels };
        self.handle_change(now, change);
        // What is told next may be about these targets.
        self.finish_planning(now);
    }

    /// Applies a difference; what it does not name goes on as it is.
    pub(super) fn handle_change(&mut self, now: Instant, change: PlanChange) {
        let PlanChange { upserted, removed, vantages, canaries, budget, group_by_labels } = change;
        self.groups.set_labels(group_by_labels);
        self.limits = budget;
        self.budgets.set_limits(budget, now);
        let vantages_changed = self.change_vantages(now, &vantages);
        self.change_canaries(now, &canaries);
        if vantages_changed {
            self.refresh_all();
        }
        // In this order: a name may leave and come again as something else.
        let few = removed.len() + upserted.len() <= CHORES && !self.chores.is_planning();
        self.chores.extend(removed.into_iter().map(Chore::Remove));
        self.chores.extend(upserted.into_iter().map(|target| Chore::Upsert(Box::new(target))));
        if few {
            self.finish_planning(now);
        }
    }

    fn change_canaries(&mut self, now: Instant, canaries: &[Canary]) {
        let watched = canaries.iter().filter(|_| self.purpose == Purpose::Watch);
        let wanted: BTreeMap<_, _> =
            watched.map(canary_target).map(|target| (target.name.clone(), target)).collect();
        let own = self.targets.iter().filter(|(_, watch)| watch.canary);
        let gone = own.map(|(name, _)| name).filter(|name| !wanted.contains_key(*name));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.remove_target(now, &name);
        }
        for (name, target) in wanted {
            self.upsert_target(now, name, target, true);
        }
    }

    /// Lets every target's views fit again, bit by bit.
    fn refresh_all(&mut self) {
        let names = self.targets.keys().cloned();
        self.chores.extend(names.map(Chore::Refresh));
    }

    pub(super) fn upsert_target(
        &mut self,
        now: Instant,
        name: TargetName,
        target: Target,
        canary: bool,
    ) {
        let Some(watch) = self.targets.get_mut(&name) else {
            let watch = TargetWatch::new(Arc::new(target), canary, now);
            self.targets.insert(name.clone(), watch);
            return self.refresh_views(now, &name);
        };
        if *watch.target == target {
            return;
        }
        let asks_the_same = watch.target.host == target.host
            && watch.target.port == target.port
            && watch.target.service == target.service
            && watch.target.family == target.family;
        let target = Arc::new(target);
        watch.target = Arc::clone(&target);
        let limits = (target.open_after, target.close_after);
        watch.alarms.values_mut().for_each(|alarm| alarm.set_limits(limits.0, limits.1));
        for view in watch.views.values_mut() {
            view.reschedule(&target, now);
            view.plan_recheck(now, true);
            let intervals =
                [(view.rows.echo, target.echo_interval), (view.rows.syn, target.syn_interval)];
            for (row, interval) in intervals {
                row.into_iter().for_each(|row| self.sweep.set_interval(now, row, interval));
            }
        }
        if !asks_the_same {
            self.drop_views(now, &name, |_, _| true);
            if let Some(watch) = self.targets.get_mut(&name) {
                watch.forget(now);
            }
            self.vantages.values_mut().for_each(|at| at.note_resolver(&name, false));
        }
        self.refresh_views(now, &name);
    }

    pub(super) fn remove_target(&mut self, now: Instant, name: &TargetName) {
        self.resolve_removed(now, name);
        self.drop_views(now, name, |_, _| true);
        if self.targets.remove(name).is_none() {
            return;
        }
        self.timers.set(Timer::Target(name.clone()), None);
        for (vantage, watch) in &mut self.vantages {
            self.queries.forget(name, *vantage);
            watch.note_resolver(name, false);
            self.timers.set(Timer::Names(name.clone(), *vantage), None);
        }
    }

    /// Ends these views of a target, with their rows and whatever they have under way.
    pub(super) fn drop_views(
        &mut self,
        now: Instant,
        name: &TargetName,
        gone: impl Fn(VantageId, IpAddr) -> bool,
    ) {
        let Some(watch) = self.targets.get_mut(name) else { return };
        let (canary, port) = (watch.canary, watch.port());
        let keys: Vec<_> = watch.views.keys().filter(|(at, to)| gone(*at, *to)).copied().collect();
        if keys.is_empty() {
            return;
        }
        let mut dropped = Vec::new();
        for at in keys {
            dropped.extend(watch.views.remove(&at).map(|view| (at, view)));
        }
        self.directory.replace(None);
        for ((vantage, address), view) in dropped {
            let key = ViewKey { target: name.clone(), vantage, address };
            view.rows.all().for_each(|(_, row)| self.sweep.remove(now, row));
            self.owners.remove(view.owner);
            view.lease.into_iter().for_each(|lease| self.budgets.release(lease));
            self.neighbourhood.remove(vantage, address, canary);
            self.queue.running -= usize::from(view.survey.is_some());
            if let Some(vantage) = self.vantages.get_mut(&vantage) {
                vantage.shares.change((canary, port, address.is_ipv4()), view.stand, None);
            }
            self.flights.forget_view(&key);
            self.timers.set(Timer::View(key), None);
        }
    }
}
