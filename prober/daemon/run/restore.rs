//! What an earlier run knew: baselines, and incidents that were firing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reachd_core::grouping::GroupKey;
use reachd_core::incident::{
    GroupSubject, IncidentState, IncidentUpdate, Moment, Opening, Resolution, Subject,
};
use reachd_core::judge::Class;
use reachd_core::monitor::{Input, Monitor, RestoredGroup};
use reachd_core::plan::Plan;
use reachd_core::target::{Service, Severity, Target, TargetName};
use reachd_core::time::Instant;
use reachd_exporters::chain;
use reachd_exporters::store::{IncidentRow, Store, StoreHandle, SubjectRow};
use tracing::{info, warn};

use super::versions::Versions;

/// Older baselines say nothing about today.
const BASELINE_AGE: Duration = Duration::from_secs(30 * 86_400);

/// What the store says besides what the monitor was handed.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// The steps that were told of each incident.
    pub(super) versions: Versions,
    /// Incidents whose subject has left the plan meanwhile: they are over, and somebody waits to
    /// hear of it.
    pub(super) orphans: Vec<IncidentUpdate>,
    /// Every incident as it was saved last, for receivers that were not told of it.
    pub(super) saved: Vec<IncidentUpdate>,
}

/// Hands the monitor, which has its plan, what the store kept. A store that fails costs the memory,
/// not the start.
pub(super) async fn restore(monitor: &mut Monitor, plan: &Plan, store: &StoreHandle) -> Restored {
    match store.load_baselines(BASELINE_AGE).await {
        Ok(rows) => {
            info!(baselines = rows.len(), "Restored");
            for row in rows {
                let target = TargetName::new(&row.target);
                let (vantage, baseline) = (row.vantage.clone(), row.baseline());
                monitor.handle(Instant::ZERO, Input::Baseline { target, vantage, baseline });
            }
        }
        Err(error) => warn!(error = chain(&error), "Baselines were not restored"),
    }
    let mut restored = Restored::default();
    match store.call(Store::load_incidents).await {
        Ok(rows) => {
            let plan = Planned::new(plan);
            rows.iter().for_each(|row| restored.take_up(monitor, &plan, row));
        }
        Err(error) => warn!(error = chain(&error), "Incidents were not restored"),
    }
    restored
}

/// Every incident as it was saved last. A store that fails costs what is owed to new receivers
/// until the next start.
pub(super) async fn saved(plan: &Plan, store: &StoreHandle) -> Vec<IncidentUpdate> {
    match store.call(Store::load_incidents).await {
        Ok(rows) => {
            let plan = Planned::new(plan);
            rows.iter().filter_map(|row| revive(row, &plan)).collect()
        }
        Err(error) => {
            warn!(error = chain(&error), "What new receivers are owed is not known");
            Vec::new()
        }
    }
}

impl Restored {
    /// Remembers an incident, and lets it go on if it fires and somebody still watches its subject.
    fn take_up(&mut self, monitor: &mut Monitor, plan: &Planned<'_>, row: &IncidentRow) {
        let firing = row.incident_state() == Some(IncidentState::Firing);
        self.versions.remember(&row.fingerprint, row.version, firing);
        let Some(update) = revive(row, plan) else { return };
        let planned = |name: &str| plan.targets.contains_key(name);
        let input = match &row.subject {
            SubjectRow::Target { name, .. } => planned(name).then(|| firing_input(name, &update)),
            SubjectRow::Vantage { name } => {
                plan.vantages.contains(name.as_str()).then(|| firing_input(name, &update))
            }
            SubjectRow::Group { key, members, .. } => {
                let members = members.iter().filter(|name| planned(name));
                group_input(key, members.map(|name| TargetName::new(name)).collect(), &update)
            }
        };
        if let Some(input) = input.filter(|_| firing) {
            let (incident, class) = (&row.fingerprint, update.class.as_str());
            info!(incident, class, "An open incident goes on");
            monitor.handle(Instant::ZERO, input);
        } else if firing {
            self.orphans.push(IncidentUpdate {
                version: row.version + 1,
                state: IncidentState::Resolved,
                ended: Some((Moment::At(Instant::ZERO), Resolution::Removed)),
                ..update.clone()
            });
        }
        self.saved.push(update);
    }
}

/// Who is in the plan, by name.
struct Planned<'a> {
    targets: BTreeMap<&'a str, &'a Target>,
    vantages: BTreeSet<&'a str>,
}

impl<'a> Planned<'a> {
    /// Everybody in it.
    fn new(plan: &'a Plan) -> Self {
        let targets = plan.targets.iter().map(|target| (target.name.as_str(), target)).collect();
        Self { targets, vantages: plan.vantages.iter().map(|one| one.name.as_str()).collect() }
    }

    fn labels(&self, names: &[String]) -> BTreeSet<BTreeMap<String, String>> {
        let known = names.iter().filter_map(|name| self.targets.get(name.as_str()));
        known.map(|target| target.labels.clone()).collect()
    }
}

fn firing_input(name: &str, update: &IncidentUpdate) -> Input<'static> {
    let IncidentUpdate { kind, class, version, .. } = *update;
    let opening = Box::new(opening(update));
    Input::Firing { target: TargetName::new(name), kind, class, version, opening }
}

/// What receivers were told of it and know it by.
fn opening(update: &IncidentUpdate) -> Opening {
    let labels = match &update.subject {
        Subject::Target(target) => target.labels.clone(),
        Subject::Group(group) => group.labels.clone(),
        Subject::Vantage(_) => BTreeMap::new(),
    };
    Opening { started: update.started, severity: update.severity, labels }
}

/// A date as it was saved.
fn moment(text: &str) -> Moment {
    let date: Option<jiff::Timestamp> = text.parse().ok();
    date.map_or_else(Moment::default, |date| Moment::Dated(date.as_millisecond()))
}

/// `None` for a group that nobody of is left.
fn group_input(
    key: &str,
    members: Vec<TargetName>,
    update: &IncidentUpdate,
) -> Option<Input<'static>> {
    let key = GroupKey::parse(key).filter(|_| !members.is_empty())?;
    let IncidentUpdate { kind, class, version, .. } = *update;
    let opening = opening(update);
    let group = RestoredGroup { key, kind, class, version, members, opening };
    Some(Input::FiringGroup(Box::new(group)))
}

/// An incident's last step, as far as it was saved: its verdict is left behind. `None` for one
/// that nobody was to be told of.
fn revive(row: &IncidentRow, plan: &Planned<'_>) -> Option<IncidentUpdate> {
    let severities = [Severity::Info, Severity::Warning, Severity::Critical];
    let class = Class::from_name(&row.class)?;
    let state = row.incident_state().filter(|state| *state != IncidentState::Pending)?;
    let resolution = match row.resolution.as_deref() {
        Some("removed") => Resolution::Removed,
        Some(_) | None => Resolution::Recovered,
    };
    let ended = moment(row.ended.as_deref().unwrap_or_default());
    Some(IncidentUpdate {
        fingerprint: row.fingerprint.clone(),
        version: row.version,
        kind: row.alert_kind()?,
        subject: match &row.subject {
            SubjectRow::Vantage { name } => Subject::Vantage(name.clone()),
            SubjectRow::Group { key, members, labels } => Subject::Group(Box::new(GroupSubject {
                key: key.clone(),
                members: members.iter().map(|name| TargetName::new(name)).collect(),
                labels: labels.clone(),
                member_labels: plan.labels(members),
            })),
            SubjectRow::Target { name, host, port, labels } => {
                let service = if port.is_some() { Service::Tcp } else { Service::Ping };
                let mut target = Target::new(host, port.unwrap_or_default(), service);
                target.name = TargetName::new(name);
                target.labels.clone_from(labels);
                Subject::Target(Box::new(target))
            }
        },
        state,
        severity: severities.into_iter().find(|one| one.as_str() == row.severity)?,
        class,
        class_now: Class::from_name(&row.class_now).unwrap_or(class),
        started: moment(&row.started),
        ended: (state == IncidentState::Resolved).then_some((ended, resolution)),
        flaps: row.flaps,
        report: None,
        summary: (row.summary.en.clone(), row.summary.zh.clone()),
        next_step: (row.next_step.en.clone(), row.next_step.zh.clone()),
        notify: !row.member,
        member: row.member,
    })
}
