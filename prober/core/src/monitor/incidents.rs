//! Telling: what alarms do, as incidents of targets and of vantages.

use std::net::IpAddr;
use std::sync::Arc;

use super::alarm::{Alarm, Step};
use super::groups::Place;
use super::recurrence::Lifted;
use super::standing::FAULT_CLASS;
use super::watch::TargetWatch;
use super::{Event, Monitor};
use crate::incident::{AlertKind, IncidentState, IncidentUpdate, Opening, Resolution, Subject};
use crate::judge::document::speaker;
use crate::judge::step::next_step;
use crate::judge::text::{Facts, summary};
use crate::judge::{Class, Note};
use crate::secret::Secret;
use crate::target::{Severity, Target, TargetName};
use crate::time::Instant;
use crate::vantage::VantageId;
use crate::wording::Wording;

impl Monitor {
    /// An incident of an earlier run is taken up where it was left.
    pub(super) fn handle_firing(
        &mut self,
        now: Instant,
        target: &TargetName,
        kind: AlertKind,
        (class, version, opening): (Class, u64, Opening),
    ) {
        if kind == AlertKind::VantageFault {
            let mut vantages = self.vantages.values_mut();
            if let Some(watch) = vantages.find(|watch| watch.vantage.name == target.as_str()) {
                watch.alarm = watch.alarm.clone().resume(class, version, opening);
            }
            return;
        }
        let alone = self.place_of(target, kind) == Place::Alone;
        let Some(watch) = self.targets.get_mut(target) else { return };
        let alarm = Alarm::new(watch.target.open_after, watch.target.close_after);
        let mut alarm = alarm.resume(class, version, opening);
        // Rather twice than never, but of members nobody was told.
        alarm.told = alone;
        watch.alarms.insert(kind, alarm);
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

    pub(super) fn tell_step(
        &mut self,
        now: Instant,
        name: &TargetName,
        kind: AlertKind,
        step: Step,
    ) {
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
        let alarm = self.targets.get_mut(name).and_then(|watch| watch.alarms.get_mut(&kind));
        let Some(alarm) = alarm else { return };
        // Who was told of the beginning is told of the end, and nobody else.
        let notify = if resolution.is_some() { std::mem::take(&mut alarm.told) } else { notify };
        alarm.told |= notify && resolution.is_none();
        let frozen = alarm.frozen.take();
        let Some(watch) = self.targets.get(name) else { return };
        let Some(alarm) = watch.alarms.get(&kind) else { return };
        // A changed plan must not change what receivers know an open incident by.
        let frozen = frozen.unwrap_or_else(|| {
            let severity =
                if kind == AlertKind::Degraded { Severity::Warning } else { watch.target.severity };
            Box::new((severity, watch.target.labels.clone()))
        });
        let target = Target { labels: frozen.1.clone(), ..(*watch.target).clone() };
        let (mut summary, next_step) = self.words(watch, kind);
        if let Some(Wording { en, zh }) =
            released(now, watch, alarm).filter(|_| resolution.is_some())
        {
            summary = (format!("{} {en}", summary.0), format!("{}{zh}", summary.1));
        }
        let update = IncidentUpdate {
            fingerprint: fingerprint(kind, "target", name.as_str()),
            version: alarm.version,
            kind,
            subject: Subject::Target(Box::new(target)),
            state,
            severity: frozen.0,
            class: alarm.class,
            class_now: watch.class,
            started: alarm.started,
            ended: resolution.map(|resolution| (now.into(), resolution)),
            flaps: alarm.flaps,
            report: watch.report.clone(),
            summary,
            next_step,
            notify,
            member: place == Place::Member,
        };
        let alarm = self.targets.get_mut(name).and_then(|watch| watch.alarms.get_mut(&kind));
        if let Some(alarm) = alarm.filter(|_| resolution.is_none()) {
            alarm.frozen = Some(frozen);
        }
        self.tell(Event::Incident(Box::new(update)));
    }

    pub(super) fn words(
        &self,
        watch: &TargetWatch,
        kind: AlertKind,
    ) -> ((String, String), (String, String)) {
        let Some(verdict) = &watch.verdict else {
            let en = "Nothing is known of it now: no vantage that watches it is believed.";
            let zh = "目前一无所知：监测它的观测点均不可信。";
            let next = "Next: look at the vantages' own alerts first.";
            return (
                (en.to_owned(), zh.to_owned()),
                (next.to_owned(), "下一步：先处理观测点自身的告警。".to_owned()),
            );
        };
        if kind == AlertKind::Exposed {
            let asked =
                watch.port().map_or_else(|| "ICMP echo".to_owned(), |port| format!("TCP {port}"));
            let en = format!("{asked} is answered where the plan expects it to be filtered.");
            let zh = format!("{asked} 应被过滤，却有应答。");
            let next = "Next: check which inbound rule admits it.";
            return ((en, zh), (next.to_owned(), "下一步：核对是哪条入方向规则放行。".to_owned()));
        }
        let evidence = self.evidence(watch);
        let lenses: Vec<_> =
            evidence.iter().map(|(id, view)| self.lens(watch, (*id, view))).collect();
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
        let now = self.now;
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
        let reason = reason.or(ports).or(watch.proxy_reason());
        let reason = reason.unwrap_or_else(|| Wording::new("recovered", "已恢复"));
        let targets = self.targets.values().filter(|watch| !watch.canary);
        let unwatched = targets.filter(|watch| self.is_unwatched(watch)).count();
        let summary = (
            format!(
                "Vantage {name}: {}. {unwatched} targets are not watched meanwhile.",
                reason.en
            ),
            format!("观测点 {name} 故障：{}。期间有 {unwatched} 个目标无人监测。", reason.zh),
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
            ended: resolution.map(|resolution| (now.into(), resolution)),
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

/// What is said of a silence that ended as a provider's blackhole does, in this very incident.
fn released(now: Instant, watch: &TargetWatch, alarm: &Alarm) -> Option<Wording> {
    let lifted = watch.views.values().filter_map(|view| view.recurrence.lifted(now));
    let mut lifted = lifted.filter(|lifted| alarm.started.is_by(lifted.at) && lifted.is_by_timer());
    lifted.next().map(Lifted::told)
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
