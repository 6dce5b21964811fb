//! Judging: evidence into verdicts, verdicts into alarms.

use std::sync::Arc;
use std::time::Duration;

use super::alarm::Alarm;
use super::flights::ViewKey;
use super::groups::Place;
use super::proxy::looks;
use super::spells::note_lately;
use super::watch::TargetWatch;
use super::{Event, Monitor, Purpose, Timer};
use crate::incident::{AlertKind, IncidentState, Resolution};
use crate::judge::document::document;
use crate::judge::verdict::{Verdict, judge};
use crate::judge::{Class, Note};
use crate::probe::series::Tally;
use crate::report::TargetReport;
use crate::statistics::loss_above;
use crate::survey::Depth;
use crate::target::TargetName;
use crate::time::Instant;
use crate::vantage::VantageId;
use crate::wording::Wording;

/// Belief in a failure from which an incident is considered (DESIGN section 7).
const BELIEF: f64 = 0.99;
/// A vantage that fails is found out within this time; until then a target that fails unless the
/// vantage does is not told of by itself.
const SELF_DOUBT: Duration = Duration::from_secs(15);
/// What was told is over when it is rather not so than so. In between it is neither told nor over.
const DOUBT: f64 = 0.5;
/// Findings of a partial loss that are younger than this are not waited upon.
const RECENT: Duration = Duration::from_secs(20);
/// How long the first surveys of all vantages are waited for before judging without some.
const FIRST_LOOK: Duration = Duration::from_secs(20);
/// How long a verdict waits for surveys that go on, one beginning before the other ends.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

impl Monitor {
    /// A survey ended: its target is judged once nothing else is under way for it.
    pub(super) fn survey_ended(&mut self, now: Instant, key: &ViewKey, changed: bool) {
        let view = |monitor: &Self| {
            let watch = monitor.targets.get(&key.target)?;
            let view = watch.views.get(&(key.vantage, key.address))?;
            Some((view.findings.as_ref()?.started, view.look_again))
        };
        let (began, again) = view(self).unwrap_or((now, None));
        if changed {
            // Evidence of before the change must not be mixed with evidence of after it.
            self.look_again((now, began), &key.target, |vantage, view| {
                vantage != key.vantage && view.is_stale(began)
            });
        }
        if let Some(moment) = again {
            self.look_again((now, moment), &key.target, |vantage, view| {
                vantage == key.vantage && view.look_again.is_some()
            });
        }
        self.judge_target(now, &key.target, true);
        if changed {
            self.review_soon(now, key.vantage);
        }
    }

    /// Judges again without new probes, because something around them changed.
    pub(super) fn rejudge(&mut self, now: Instant, name: &TargetName) {
        self.judge_target(now, name, false);
    }

    /// Time passed for a target: a pending incident may be due.
    pub(super) fn run_target(&mut self, now: Instant, name: &TargetName) {
        let Some(watch) = self.targets.get_mut(name) else { return };
        let kinds: Vec<_> = watch.alarms.keys().copied().collect();
        for kind in kinds {
            let alarm = self.targets.get_mut(name).and_then(|watch| watch.alarms.get_mut(&kind));
            if let Some(step) = alarm.and_then(|alarm| alarm.handle_time(now)) {
                self.tell_step(now, name, kind, step);
            }
        }
        self.plan_target(now, name);
    }

    /// Whether evidence is still being gathered that the verdict should wait for.
    fn must_wait(&self, now: Instant, watch: &TargetWatch) -> bool {
        let port = watch.target.service.has_port().then_some(watch.target.port);
        let young = now.since(watch.since) < FIRST_LOOK;
        let watching = self.vantages.iter().filter(|(id, vantage)| {
            watch.is_watched_from(&vantage.vantage.name)
                && (self.purpose == Purpose::Once || self.can_judge(**id, port))
        });
        for (id, vantage) in watching {
            let views = || watch.views.iter().filter(|((at, _), _)| at == id).map(|(_, view)| view);
            let busy = vantage.is_up()
                && views().any(|view| {
                    let survey = view.survey.as_ref();
                    let deep = survey.is_some_and(|(_, survey)| survey.depth() != Depth::Recheck);
                    // A loss surprises again and again; what was just found of it stands.
                    let lossy = view.findings.as_ref().is_some_and(|found| {
                        let tallies = found.syn.iter().chain([&found.echo]);
                        let partial = |tally: &Tally| {
                            tally.received() > 0 && tally.received() < tally.valid()
                        };
                        // Unless it is from before the moment that evidence is demanded of.
                        let timely = view.look_again.is_none_or(|moment| found.ended >= moment)
                            && now.since(found.ended) < RECENT;
                        timely && tallies.into_iter().any(partial)
                    });
                    (deep || view.look_again.is_some()) && !lossy
                });
            let named = watch.names.contains_key(id);
            let unseen = || views().any(|view| view.findings.is_none());
            let pending = vantage.is_up() && (!named || unseen());
            let opening = vantage.state.is_none();
            let once = self.purpose == Purpose::Once;
            if busy || once && (pending || opening) || young && pending {
                return true;
            }
        }
        false
    }

    /// Judges a target by everything its believed vantages saw.
    pub(super) fn judge_target(&mut self, now: Instant, name: &TargetName, fresh: bool) {
        let Some(watch) = self.targets.get(name).filter(|watch| !watch.canary) else { return };
        let since = watch.waiting.unwrap_or(now);
        let patient = self.purpose == Purpose::Once || now.since(since) < LONGEST_WAIT;
        if patient && self.must_wait(now, watch) {
            if let Some(watch) = self.targets.get_mut(name) {
                watch.waiting = Some(since);
            }
            return;
        }
        self.judge_with(now, name, (fresh, patient));
    }

    /// The same without waiting for evidence that is still being gathered.
    pub(super) fn judge_now(&mut self, now: Instant, name: &TargetName, fresh: bool) {
        self.judge_with(now, name, (fresh, false));
    }

    fn judge_with(&mut self, now: Instant, name: &TargetName, (fresh, patient): (bool, bool)) {
        let Some(watch) = self.targets.get_mut(name).filter(|watch| !watch.canary) else { return };
        let since = watch.waiting.take();
        let Some(watch) = self.targets.get(name) else { return };
        let evidence = self.evidence(watch);
        if evidence.is_empty() && self.purpose == Purpose::Watch {
            self.forget_verdict(now, name);
            return;
        }
        let views: Vec<_> = evidence.iter().map(|(_, view)| view.clone()).collect();
        let mut verdict = judge(&watch.target, &views);
        note_lately(now, watch.views.values(), &mut verdict);
        let said = (verdict.class, verdict.posterior.leading);
        let looks = if patient { looks(&evidence) } else { Vec::new() };
        for vantage in &verdict.exposed {
            let detail =
                Wording::new(format!("from vantage {vantage}"), format!("来自观测点 {vantage}"));
            verdict.notes.insert(Note::Exposed, Some(detail));
        }
        let lenses: Vec<_> =
            evidence.iter().map(|(id, view)| self.lens(watch, (*id, view))).collect();
        let report = document(&watch.target, &verdict, &lenses);
        let reached: Vec<(VantageId, bool)> = evidence
            .iter()
            .map(|(id, view)| (*id, !verdict.failing.iter().any(|name| name == view.vantage)))
            .collect();
        if self.must_ask_nobody(now, (name, said), &looks) {
            if let Some(watch) = self.targets.get_mut(name) {
                watch.waiting = Some(since.unwrap_or(now));
            }
            return;
        }
        self.accept(now, name, (verdict, report), (reached, fresh));
    }

    fn accept(
        &mut self,
        now: Instant,
        name: &TargetName,
        (verdict, report): (Verdict, TargetReport),
        (reached, fresh): (Vec<(VantageId, bool)>, bool),
    ) {
        let Some(watch) = self.targets.get_mut(name) else { return };
        for (id, reached) in &reached {
            let (id, reached) = (*id, *reached);
            let views = watch.views.iter_mut().filter(|((at, _), _)| *at == id);
            views.for_each(|(_, view)| view.reachable = Some(reached));
        }
        let before = std::mem::replace(&mut watch.class, verdict.class);
        if !watch.classes_seen.contains(&verdict.class) {
            watch.classes_seen.push(verdict.class);
        }
        let class = verdict.class;
        let failing = believes(now, watch, &verdict).then_some(class);
        let exposed = (!verdict.exposed.is_empty()).then_some(Class::Reachable);
        watch.verdict = Some(verdict);
        let report = Arc::new(report);
        watch.report = Some(Arc::clone(&report));
        let event = Event::Judged { target: name.clone(), before, report };
        self.tell(event);
        if class == Class::Reachable {
            self.learn_baselines(name);
        }
        let unseen = failing.is_none() && self.fails_unseen(name, &reached);
        let watch = self.targets.get_mut(name);
        if let Some(watch) = watch.filter(|_| failing.is_some()) {
            let from = reached.iter().filter(|(_, reached)| !reached);
            watch.failing_from = from.map(|(id, _)| *id).collect();
        }
        if self.purpose == Purpose::Watch && class != Class::VantageFault && !unseen {
            self.alarm_target(now, name, (failing, exposed, fresh));
        } else {
            self.take_back_pending(now, name);
        }
        self.plan_target(now, name);
    }

    /// Whether a vantage that saw it fail has no say now: that others reach it, as they may have
    /// done all the time, is no recovery.
    fn fails_unseen(&self, name: &TargetName, reached: &[(VantageId, bool)]) -> bool {
        let Some(watch) = self.targets.get(name) else { return false };
        let is_blind = |id: &VantageId| {
            let watches = watch.views.keys().any(|(vantage, _)| vantage == id);
            watches && reached.iter().all(|(asked, _)| asked != id)
        };
        watch.failing_from.iter().any(is_blind)
    }

    fn alarm_target(
        &mut self,
        now: Instant,
        name: &TargetName,
        (failing, exposed, fresh): (Option<Class>, Option<Class>, bool),
    ) {
        let Some(watch) = self.targets.get_mut(name) else { return };
        let quiet =
            watch.alarms.get(&watch.failing_kind).is_none_or(|alarm| alarm.state().is_none());
        if quiet && let Some(class) = failing {
            watch.failing_kind = if class == Class::PacketLoss {
                AlertKind::Degraded
            } else {
                AlertKind::Unreachable
            };
        }
        // A loss is believed in only once it has spanned the time that others wait from now on.
        let found = watch.views.values().filter_map(|view| view.findings.as_ref());
        let lasting = found.filter_map(|found| found.deciding().missed_between).map(|(at, _)| at);
        let lasting = lasting.min();
        let believed = [(watch.failing_kind, failing), (AlertKind::Exposed, exposed)];
        for (kind, class) in believed {
            let Some(watch) = self.targets.get_mut(name) else { return };
            let limits = (watch.target.open_after, watch.target.close_after);
            if class.is_none() && !watch.alarms.contains_key(&kind) {
                continue;
            }
            let alarm = watch.alarms.entry(kind).or_insert_with(|| Alarm::new(limits.0, limits.1));
            // A port that is open and should not be is no doubt about ourselves.
            let doubted = watch.doubted.filter(|_| kind != AlertKind::Exposed);
            alarm.hold = doubted.map(|since| since + SELF_DOUBT);
            let step = alarm.handle_verdict(now, class, fresh);
            let step = step.or_else(|| {
                let began = lasting.filter(|_| class == Some(Class::PacketLoss));
                began.into_iter().for_each(|at| alarm.backdate(at));
                alarm.handle_time(now)
            });
            if let Some(step) = step {
                self.tell_step(now, name, kind, step);
            }
        }
    }

    /// No vantage is believed: the target is unknown, never its last value.
    fn forget_verdict(&mut self, now: Instant, name: &TargetName) {
        let Some(watch) = self.targets.get_mut(name) else { return };
        watch.class = Class::Unknown;
        watch.verdict = None;
        if !watch.classes_seen.contains(&Class::Unknown) {
            watch.classes_seen.push(Class::Unknown);
        }
        watch.report = None;
        watch.views.values_mut().for_each(|view| view.reachable = None);
        self.take_back_pending(now, name);
        self.plan_target(now, name);
    }

    /// Nothing is known of the target: a failure that was only pending is taken back; one that was
    /// told stays until seen over.
    fn take_back_pending(&mut self, now: Instant, name: &TargetName) {
        let Some(watch) = self.targets.get_mut(name) else { return };
        let pending = watch.alarms.iter_mut();
        let pending = pending.filter(|(_, alarm)| alarm.state() == Some(IncidentState::Pending));
        for (_, alarm) in pending {
            alarm.handle_verdict(now, None, false);
        }
        // Nor are people told of one that waits to find out whether it is a group's.
        let Some(watch) = self.targets.get(name) else { return };
        let held = |kind: &AlertKind| self.place_of(name, *kind) == Place::Held;
        let held: Vec<_> = watch.alarms.keys().copied().filter(held).collect();
        for kind in held {
            let watch = self.targets.get_mut(name);
            if let Some(alarm) = watch.and_then(|watch| watch.alarms.get_mut(&kind)) {
                alarm.remove(now);
            }
            self.leave_group(now, (name, kind), Resolution::Recovered);
        }
    }

    pub(super) fn plan_target(&mut self, now: Instant, name: &TargetName) {
        let Some(watch) = self.targets.get_mut(name) else { return };
        let open = watch.alarms.values().any(|alarm| alarm.state().is_some());
        let wanted = !matches!(watch.class, Class::Reachable) || open;
        let watching = self.purpose == Purpose::Watch;
        let mut keys = Vec::new();
        for ((vantage, address), view) in &mut watch.views {
            let wanted = wanted || view.spells.is_uneasy(now);
            view.plan_recheck(now, wanted && watching);
            if watch.class == Class::PacketLoss && self.queue.len() == 0 {
                view.hasten_recheck(now, &watch.target);
            }
            let key = ViewKey { target: name.clone(), vantage: *vantage, address: *address };
            keys.push(key);
        }
        let deadline = watch.alarms.values().filter_map(Alarm::deadline).min();
        self.timers.set(Timer::Target(name.clone()), deadline);
        for key in keys {
            self.timers.set(Timer::View(key), Some(now));
        }
    }
}

/// Whether a verdict opens an incident or keeps it open.
fn believes(now: Instant, watch: &mut TargetWatch, verdict: &Verdict) -> bool {
    let sure = belief(watch, verdict) > BELIEF;
    if verdict.class == Class::PacketLoss {
        watch.doubted = None;
        return sure;
    }
    let belief = verdict.patient_belief();
    let doubted = !sure && belief > BELIEF;
    watch.doubted = doubted.then(|| watch.doubted.unwrap_or(now));
    let alarm = watch.alarms.get(&watch.failing_kind);
    let told = alarm.is_some_and(|alarm| alarm.state() == Some(IncidentState::Firing));
    sure || doubted || told && belief > DOUBT
}

/// How sure a failure is, for opening an incident. For a partial loss the counts say it: how
/// probable it is that more than the threshold is lost, TCP too.
fn belief(watch: &TargetWatch, verdict: &Verdict) -> f64 {
    if verdict.class != Class::PacketLoss {
        return verdict.belief_in_failure();
    }
    let found = watch.views.values().filter_map(|view| view.findings.as_ref());
    let beliefs = found.map(|found| {
        let missing = |tally: &Tally| tally.valid().saturating_sub(tally.received());
        let lost = found.syn.as_ref().map_or(1, &missing);
        if lost == 0 {
            return 0.0;
        }
        let tallies = || found.syn.iter().chain([&found.echo]);
        // What began and ended within the time in which a failure is borne is one bad spell,
        // however much it took: only losses that follow it make a loss that lasts.
        if found.deciding().missed_for().unwrap_or_default() < watch.target.open_after {
            return 0.0;
        }
        let (lost, sent) = (tallies().map(missing).sum(), tallies().map(Tally::valid).sum());
        loss_above(watch.target.loss_threshold, lost, sent)
    });
    beliefs.fold(0.0, f64::max)
}
