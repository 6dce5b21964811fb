//! Judging and telling: evidence into verdicts, verdicts into incidents.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::alarm::{Alarm, Step};
use super::flights::ViewKey;
use super::groups::Place;
use super::learning::baseline_key;
use super::spells::note_lately;
use super::standing::{FAULT_CLASS, VantageWatch};
use super::watch::TargetWatch;
use super::{Event, Monitor, Purpose, Timer, VantageState};
use crate::incident::{AlertKind, IncidentState, IncidentUpdate, Resolution, Subject};
use crate::judge::document::{Lens, document, speaker};
use crate::judge::text::{Facts, next_step, summary};
use crate::judge::verdict::{Verdict, ViewEvidence, judge};
use crate::judge::{Class, Note, Sign};
use crate::probe::series::Tally;
use crate::report::TargetReport;
use crate::secret::Secret;
use crate::statistics::loss_above;
use crate::survey::Depth;
use crate::survey::signs::{Seen, local_sign};
use crate::target::{Expect, Severity, TargetName};
use crate::time::Instant;
use crate::vantage::VantageId;

/// Belief in a failure from which an incident is considered (DESIGN section 7).
const BELIEF: f64 = 0.99;
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
        self.judge_now(now, name, fresh);
    }

    /// The same without waiting for evidence that is still being gathered.
    pub(super) fn judge_now(&mut self, now: Instant, name: &TargetName, fresh: bool) {
        let Some(watch) = self.targets.get_mut(name).filter(|watch| !watch.canary) else { return };
        watch.waiting = None;
        let Some(watch) = self.targets.get(name) else { return };
        let evidence = self.evidence(watch);
        if evidence.is_empty() && self.purpose == Purpose::Watch {
            self.forget_verdict(now, name);
            return;
        }
        let views: Vec<_> = evidence.iter().map(|(_, view)| view.clone()).collect();
        let mut verdict = judge(&watch.target, &views);
        note_lately(now, watch.views.values(), &mut verdict);
        for vantage in &verdict.exposed {
            verdict.notes.insert(Note::Exposed, Some(format!("from vantage {vantage}")));
        }
        let lenses: Vec<_> = evidence.iter().map(|(id, view)| self.lens(*id, view)).collect();
        let report = document(&watch.target, &verdict, &lenses);
        let reached: Vec<(VantageId, bool)> = evidence
            .iter()
            .map(|(id, view)| (*id, !verdict.failing.iter().any(|name| name == view.vantage)))
            .collect();
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
        for (id, reached) in reached {
            let views = watch.views.iter_mut().filter(|((at, _), _)| *at == id);
            views.for_each(|(_, view)| view.reachable = Some(reached));
        }
        let before = std::mem::replace(&mut watch.class, verdict.class);
        if !watch.classes_seen.contains(&verdict.class) {
            watch.classes_seen.push(verdict.class);
        }
        let class = verdict.class;
        let failing = (belief(watch, &verdict) > BELIEF).then_some(class);
        let exposed = (!verdict.exposed.is_empty()).then_some(Class::Reachable);
        watch.verdict = Some(verdict);
        let report = Arc::new(report);
        watch.report = Some(Arc::clone(&report));
        let event = Event::Judged { target: name.clone(), before, report };
        self.tell(event);
        if class == Class::Reachable {
            self.learn_baselines(name);
        }
        if self.purpose == Purpose::Watch {
            self.alarm_target(now, name, (failing, exposed, fresh));
        }
        self.plan_target(now, name);
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
        let believed = [(watch.failing_kind, failing), (AlertKind::Exposed, exposed)];
        for (kind, class) in believed {
            let Some(watch) = self.targets.get_mut(name) else { return };
            let limits = (watch.target.open_after, watch.target.close_after);
            if class.is_none() && !watch.alarms.contains_key(&kind) {
                continue;
            }
            let alarm = watch.alarms.entry(kind).or_insert_with(|| Alarm::new(limits.0, limits.1));
            if let Some(step) = alarm.handle_verdict(now, class, fresh) {
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
        // A failure that was only pending is taken back; one that was told stays until seen over.
        let pending = watch.alarms.iter_mut();
        let pending = pending.filter(|(_, alarm)| alarm.state() == Some(IncidentState::Pending));
        for (_, alarm) in pending {
            alarm.handle_verdict(now, None, false);
        }
        self.plan_target(now, name);
    }

    fn plan_target(&mut self, now: Instant, name: &TargetName) {
        let Some(watch) = self.targets.get_mut(name) else { return };
        let open = watch.alarms.values().any(|alarm| alarm.state().is_some());
        let wanted = !matches!(watch.class, Class::Reachable) || open;
        let watching = self.purpose == Purpose::Watch;
        let mut keys = Vec::new();
        for ((vantage, address), view) in &mut watch.views {
            let wanted = wanted || view.spells.is_uneasy(now);
            view.plan_recheck(now, wanted && watching);
            let key = ViewKey { target: name.clone(), vantage: *vantage, address: *address };
            keys.push(key);
        }
        let deadline = watch.alarms.values().filter_map(Alarm::deadline).min();
        self.timers.set(Timer::Target(name.clone()), deadline);
        for key in keys {
            self.timers.set(Timer::View(key), Some(now));
        }
    }

    fn evidence<'a>(&'a self, watch: &'a TargetWatch) -> Vec<(VantageId, ViewEvidence<'a>)> {
        let port = watch.target.service.has_port().then_some(watch.target.port);
        let once = self.purpose == Purpose::Once;
        let watching = self
            .vantages
            .iter()
            .filter(|(_, vantage)| watch.is_watched_from(&vantage.vantage.name));
        let mut all = Vec::new();
        for (id, vantage) in watching {
            if !once && !self.can_judge(*id, port) {
                continue;
            }
            if let Some(seen) = closed_sign(vantage).filter(|_| once) {
                all.push((*id, bare(watch, vantage, vec![seen])));
                continue;
            }
            let trouble = watch.names.get(id).and_then(|names| names.trouble);
            if let Some(sign) = trouble.filter(|sign| once || *sign != Sign::ResolverDead) {
                let detail = Some(watch.target.host.clone());
                all.push((*id, bare(watch, vantage, vec![Seen::new(sign, detail)])));
            }
            for ((at, address), view) in &watch.views {
                if at != id {
                    continue;
                }
                let learnt = baseline_key(&vantage.vantage.name, *address);
                let baseline = watch.baselines.get(&learnt);
                let target = self.as_it_stands(&watch.target, (*at, *address));
                let judged = view.evidence(self.now, &target, baseline);
                let Some((findings, seen)) = judged else { continue };
                let mut evidence = bare(watch, vantage, seen);
                evidence.address = Some(*address);
                evidence.findings = Some(findings);
                evidence.baseline = baseline.is_some();
                all.push((*id, evidence));
            }
        }
        all
    }

    fn lens<'a>(&self, id: VantageId, view: &'a ViewEvidence<'a>) -> Lens<'a> {
        let vantage = self.vantages.get(&id);
        let v4 = view.address.is_none_or(|address| address.is_ipv4());
        let counts = vantage.filter(|vantage| vantage.tap().is_some());
        Lens {
            view,
            source: self.flights.source(id, v4),
            capture: counts.map(|vantage| (vantage.capture_packets, vantage.capture_drops)),
        }
    }

    /// An incident of an earlier run is taken up where it was left.
    pub(super) fn handle_firing(
        &mut self,
        now: Instant,
        target: &TargetName,
        kind: AlertKind,
        (class, version): (Class, u64),
    ) {
        if kind == AlertKind::VantageFault {
            let mut vantages = self.vantages.values_mut();
            if let Some(watch) = vantages.find(|watch| watch.vantage.name == target.as_str()) {
                watch.alarm = watch.alarm.clone().resume(class, version, now);
            }
            return;
        }
        let Some(watch) = self.targets.get_mut(target) else { return };
        let alarm = Alarm::new(watch.target.open_after, watch.target.close_after);
        watch.alarms.insert(kind, alarm.resume(class, version, now));
        if matches!(kind, AlertKind::Unreachable | AlertKind::Degraded) {
            watch.failing_kind = kind;
        }
        self.plan_target(now, target);
    }

    pub(super) fn resolve_removed(&mut self, now: Instant, name: &TargetName) {
        let Some(watch) = self.targets.get_mut(name) else { return };
        let mut gone = Vec::new();
        for (kind, alarm) in &mut watch.alarms {
            if alarm.remove(now) {
                gone.push(*kind);
            }
        }
        for kind in gone {
            let place = self.place_of(name, kind);
            if place != Place::Held {
                let state = (IncidentState::Resolved, Some(Resolution::Removed));
                self.tell_incident(now, (name, kind), state, (place, place == Place::Alone));
            }
            self.leave_group(now, (name, kind), Resolution::Removed);
        }
    }

    fn tell_step(&mut self, now: Instant, name: &TargetName, kind: AlertKind, step: Step) {
        let place = match step {
            Step::Withdrawn => return self.note_micro_outage(name),
            Step::Opened => self.place_alarm(now, name, kind),
            Step::Changed | Step::Resolved => self.place_of(name, kind),
        };
        let state = match step {
            Step::Resolved => (IncidentState::Resolved, Some(Resolution::Recovered)),
            Step::Opened | Step::Changed | Step::Withdrawn => (IncidentState::Firing, None),
        };
        // Another class is the same incident, and one that waits is nobody's yet.
        let notify = place == Place::Alone && step != Step::Changed;
        if place != Place::Held {
            self.tell_incident(now, (name, kind), state, (place, notify));
        }
        if step == Step::Resolved {
            self.leave_group(now, (name, kind), Resolution::Recovered);
        }
    }

    fn note_micro_outage(&mut self, name: &TargetName) {
        if let Some(report) = self.targets.get_mut(name).and_then(|watch| watch.report.as_mut()) {
            let note = Note::MicroOutage.as_str().to_owned();
            let notes = &mut Arc::make_mut(report).verdict.notes;
            if notes.iter().all(|part| part.note != note) {
                notes.push(crate::report::NotePart { note, detail: None });
            }
        }
    }

    pub(super) fn tell_incident(
        &mut self,
        now: Instant,
        (name, kind): (&TargetName, AlertKind),
        (state, resolution): (IncidentState, Option<Resolution>),
        (place, notify): (Place, bool),
    ) {
        let Some(watch) = self.targets.get(name) else { return };
        let Some(alarm) = watch.alarms.get(&kind) else { return };
        let (summary, next_step) = self.words(watch, kind);
        let update = IncidentUpdate {
            fingerprint: fingerprint(kind, "target", name.as_str()),
            version: alarm.version,
            kind,
            subject: Subject::Target(Box::new((*watch.target).clone())),
            state,
            severity: if kind == AlertKind::Degraded {
                Severity::Warning
            } else {
                watch.target.severity
            },
            class: alarm.class,
            class_now: watch.class,
            started: alarm.started,
            ended: resolution.map(|resolution| (now, resolution)),
            flaps: alarm.flaps,
            report: watch.report.clone(),
            summary,
            next_step,
            notify,
            member: place == Place::Member,
        };
        self.tell(Event::Incident(Box::new(update)));
    }

    pub(super) fn words(
        &self,
        watch: &TargetWatch,
        kind: AlertKind,
    ) -> ((String, String), (String, String)) {
        let Some(verdict) = watch.verdict.as_ref().filter(|_| kind != AlertKind::Exposed) else {
            let port = watch.target.port;
            let en = format!("TCP {port} answers where the plan expects it to be filtered.");
            let zh = format!("TCP {port} 应被过滤，却可以访问。");
            let next = "Next: check which inbound rule admits it.";
            return ((en, zh), (next.to_owned(), "下一步：核对是哪条入方向规则放行。".to_owned()));
        };
        let evidence = self.evidence(watch);
        let lenses: Vec<_> = evidence.iter().map(|(id, view)| self.lens(*id, view)).collect();
        let lens = speaker(verdict, &lenses);
        let source = lens.and_then(|lens| lens.source).map(|source: IpAddr| source.to_string());
        let facts = Facts {
            target: &watch.target,
            verdict,
            findings: lens.and_then(|lens| lens.view.findings),
            source: source.as_deref(),
        };
        let (summary, next) = (summary(&facts), next_step(&facts));
        ((summary.en, summary.zh), (next.en, next.zh))
    }

    /// The life of a vantage's own incident.
    pub(super) fn alarm_vantage(&mut self, now: Instant, id: VantageId, faulty: bool) {
        let Some(watch) = self.vantages.get_mut(&id) else { return };
        let class = faulty.then_some(FAULT_CLASS);
        let step = watch.alarm.handle_verdict(now, class, true);
        let state = match step {
            Some(Step::Opened) => (IncidentState::Firing, None),
            Some(Step::Resolved) => (IncidentState::Resolved, Some(Resolution::Recovered)),
            Some(Step::Changed | Step::Withdrawn) | None => return,
        };
        self.tell_vantage(now, id, state);
    }

    pub(super) fn resolve_vantage(&mut self, id: VantageId) {
        let now = self.vantages.get(&id).map_or(Instant::ZERO, |watch| watch.alarm.started);
        let firing = self.vantages.get_mut(&id).is_some_and(|watch| watch.alarm.remove(now));
        if firing {
            self.tell_vantage(now, id, (IncidentState::Resolved, Some(Resolution::Removed)));
        }
    }

    fn tell_vantage(
        &mut self,
        now: Instant,
        id: VantageId,
        (state, resolution): (IncidentState, Option<Resolution>),
    ) {
        let Some(watch) = self.vantages.get(&id) else { return };
        let name = watch.vantage.name.clone();
        let reason = watch.fault.as_ref().map(|fault| fault.reason.clone());
        let ports =
            (!watch.bad_ports.is_empty()).then(|| super::standing::port_list(&watch.bad_ports));
        let reason = reason.or(ports).unwrap_or_else(|| "recovered".to_owned());
        let targets = self.targets.values().filter(|watch| !watch.canary);
        let unwatched = targets.filter(|watch| self.is_unwatched(watch)).count();
        let summary = (
            format!("Vantage {name}: {reason}. {unwatched} targets are not watched meanwhile."),
            format!("观测点 {name} 故障：{reason}。期间有 {unwatched} 个目标无人监测。"),
        );
        let next = (
            "Next: run `reachd doctor` on the probing host. Leave the targets alone.".to_owned(),
            "下一步：在探测主机上运行 `reachd doctor`。勿动目标主机。".to_owned(),
        );
        let update = IncidentUpdate {
            fingerprint: fingerprint(AlertKind::VantageFault, "vantage", &name),
            version: watch.alarm.version,
            kind: AlertKind::VantageFault,
            subject: Subject::Vantage(name),
            state,
            severity: Severity::Critical,
            class: FAULT_CLASS,
            class_now: FAULT_CLASS,
            started: watch.alarm.started,
            ended: resolution.map(|resolution| (now, resolution)),
            flaps: watch.alarm.flaps,
            report: None,
            summary,
            next_step: next,
            notify: true,
            member: false,
        };
        self.tell(Event::Incident(Box::new(update)));
    }
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
        let (lost, sent) = (tallies().map(missing).sum(), tallies().map(Tally::valid).sum());
        loss_above(watch.target.loss_threshold, lost, sent)
    });
    beliefs.fold(0.0, f64::max)
}

fn bare<'a>(watch: &TargetWatch, vantage: &'a VantageWatch, seen: Vec<Seen>) -> ViewEvidence<'a> {
    let (name, role) = (vantage.vantage.name.as_str(), vantage.vantage.role);
    let expect: Expect = watch.target.expected_from(name, role.as_str());
    ViewEvidence {
        vantage: name,
        role,
        mode: vantage.mode(),
        address: None,
        findings: None,
        seen,
        expect,
        baseline: false,
    }
}

/// What a vantage that cannot be opened says of itself.
fn closed_sign(vantage: &VantageWatch) -> Option<Seen> {
    let Some(VantageState::Down { error, detail }) = &vantage.state else { return None };
    let sign = local_sign(*error).unwrap_or(Sign::LocalNoRoute);
    Some(Seen::new(sign, Some(detail.clone())))
}

/// A stable identity: the same over restarts and over daemons with the same plan.
pub(super) fn fingerprint(kind: AlertKind, scope: &str, subject: &str) -> String {
    let text = format!("{}\u{0}{scope}\u{0}{subject}", kind.alertname());
    let words: Vec<u64> = text
        .as_bytes()
        .chunks(8)
        .map(|chunk| chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)))
        .collect();
    format!("{:016x}", Secret::new([0, 0]).hash(&words))
}
