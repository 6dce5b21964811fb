//! Watching: plans into views, standing probes, surveys, and where their answers go.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::alarm::Alarm;
use super::flights::{Purpose as Errand, ViewKey};
use super::naming::Names;
use super::standing::VantageWatch;
use super::view::View;
use super::{Baseline, ConnectOrder, Monitor, Output, Purpose, Timer, VantageState};
use crate::evidence::Probe;
use crate::incident::AlertKind;
use crate::judge::Class;
use crate::judge::verdict::Verdict;
use crate::monitor::budget::prefix;
use crate::plan::{Canary, Plan};
use crate::probe::{Ask, FULL_TTL, Question};
use crate::report::TargetReport;
use crate::survey::{Depth, Scope, Survey, Want};
use crate::target::{Service, Siblings, Target, TargetName};
use crate::time::Instant;
use crate::vantage::VantageId;

/// How long the handshake of a full connection may take, and the service's answer after it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const SERVICE_TIMEOUT: Duration = Duration::from_secs(4);
/// The driver has this much longer to tell how a connection ended.
const CONNECT_GRACE: Duration = Duration::from_secs(2);
/// How long a probe waits that nothing may be sent for now.
const NO_ROOM: Duration = Duration::from_millis(100);
/// Canaries are asked this often, so that a vantage's fault is known before a target's survey ends.
const CANARY_INTERVAL: Duration = Duration::from_secs(5);

/// A target, or a canary, with all that is known of it.
#[derive(Debug)]
pub(super) struct TargetWatch {
    pub(super) target: Target,
    pub(super) canary: bool,
    pub(super) names: BTreeMap<VantageId, Names>,
    pub(super) views: BTreeMap<(VantageId, IpAddr), View>,
    pub(super) baselines: BTreeMap<String, Baseline>,
    pub(super) verdict: Option<Verdict>,
    pub(super) report: Option<TargetReport>,
    pub(super) class: Class,
    pub(super) classes_seen: Vec<Class>,
    pub(super) alarms: BTreeMap<AlertKind, Alarm>,
    pub(super) failing_kind: AlertKind,
    pub(super) since: Instant,
    /// Since when a verdict waits for evidence that is still being gathered.
    pub(super) waiting: Option<Instant>,
}

impl TargetWatch {
    fn new(target: Target, canary: bool, now: Instant) -> Self {
        Self {
            target,
            canary,
            names: BTreeMap::new(),
            views: BTreeMap::new(),
            baselines: BTreeMap::new(),
            verdict: None,
            report: None,
            class: Class::Unknown,
            classes_seen: Vec::new(),
            alarms: BTreeMap::new(),
            failing_kind: AlertKind::Unreachable,
            since: now,
            waiting: None,
        }
    }

    /// Forgets all that was seen, since something else is asked now.
    fn forget(&mut self, now: Instant) {
        self.views.clear();
        self.names.clear();
        self.baselines.clear();
        self.verdict = None;
        self.report = None;
        self.class = Class::Unknown;
        self.since = now;
    }

    /// Whether this vantage watches it.
    pub(super) fn is_watched_from(&self, vantage: &str) -> bool {
        self.target.vantages.is_empty() || self.target.vantages.iter().any(|name| name == vantage)
    }
}

fn canary_target(canary: &Canary) -> Target {
    let mut target = Target::new(&canary.host, canary.port, Service::Tcp);
    target.name = TargetName::new(&format!("canary {}:{}", canary.host, canary.port));
    target.echo_interval = CANARY_INTERVAL;
    target.syn_interval = CANARY_INTERVAL;
    target.siblings = Siblings::Off;
    target
}

impl Monitor {
    pub(super) fn handle_plan(&mut self, now: Instant, plan: Plan) {
        self.budgets = super::Budgets::new(plan.budget, now);
        self.change_vantages(&plan);
        let mut wanted: BTreeMap<TargetName, (Target, bool)> = BTreeMap::new();
        for target in &plan.targets {
            wanted.insert(target.name.clone(), (target.clone(), false));
        }
        for canary in plan.canaries.iter().filter(|_| self.purpose == Purpose::Watch) {
            let target = canary_target(canary);
            wanted.insert(target.name.clone(), (target, true));
        }
        let gone: Vec<_> =
            self.targets.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in gone {
            self.remove_target(now, &name);
        }
        self.plan = plan;
        for (name, (target, canary)) in wanted {
            self.upsert_target(now, name, target, canary);
        }
    }

    fn upsert_target(&mut self, now: Instant, name: TargetName, target: Target, canary: bool) {
        if let Some(watch) = self.targets.get_mut(&name) {
            if watch.target == target {
                self.refresh_views(now, &name);
                return;
            }
            let asks_the_same = watch.target.host == target.host
                && watch.target.port == target.port
                && watch.target.service == target.service
                && watch.target.family == target.family;
            watch.target = target;
            let limits = (watch.target.open_after, watch.target.close_after);
            watch.alarms.values_mut().for_each(|alarm| alarm.set_limits(limits.0, limits.1));
            for view in watch.views.values_mut() {
                view.reschedule(&watch.target, now);
                view.plan_recheck(now, true);
            }
            if !asks_the_same {
                watch.forget(now);
                self.flights.forget_view(|key| key.target == name);
                self.vantages.values_mut().for_each(|at| at.note_resolver(&name, false));
            }
        } else {
            self.targets.insert(name.clone(), TargetWatch::new(target, canary, now));
        }
        self.refresh_views(now, &name);
    }

    fn remove_target(&mut self, now: Instant, name: &TargetName) {
        self.resolve_removed(now, name);
        let Some(watch) = self.targets.remove(name) else { return };
        self.flights.forget_view(|key| key.target == *name);
        self.queries.retain(|_, (target, _)| target != name);
        self.timers.set(Timer::Target(name.clone()), None);
        for (vantage, address) in watch.views.into_keys() {
            let key = ViewKey { target: name.clone(), vantage, address };
            self.timers.set(Timer::View(key), None);
        }
        for (vantage, watch) in &mut self.vantages {
            watch.note_resolver(name, false);
            self.timers.set(Timer::Names(name.clone(), *vantage), None);
        }
    }

    pub(super) fn handle_vantage(&mut self, now: Instant, id: VantageId, state: VantageState) {
        let Some(watch) = self.vantages.get_mut(&id) else { return };
        let up = matches!(state, VantageState::Up { .. });
        watch.handle_state(now, state);
        if !up {
            for report in self.flights.abandon(now, id) {
                self.book(now, &report);
            }
            for target in self.targets.values_mut() {
                for ((vantage, _), view) in &mut target.views {
                    if *vantage == id {
                        view.survey = None;
                    }
                }
            }
        }
        let names: Vec<_> = self.targets.keys().cloned().collect();
        for name in names {
            if up {
                self.refresh_views(now, &name);
                self.look_again((now, now), &name, |view, _| view == id);
            } else {
                self.rejudge(now, &name);
            }
        }
        self.timers.set(Timer::Vantage(id), Some(now));
    }

    /// Makes the views of a target fit its addresses and the open vantages.
    pub(super) fn refresh_views(&mut self, now: Instant, name: &TargetName) {
        let Some(watch) = self.targets.get_mut(name) else { return };
        let mut fresh = Vec::new();
        let mut unresolved = Vec::new();
        for (id, vantage) in self.vantages.iter().filter(|(_, vantage)| vantage.is_up()) {
            if !watch.is_watched_from(&vantage.vantage.name) {
                continue;
            }
            match watch.names.get(id) {
                None => unresolved.push(*id),
                Some(names) => {
                    for address in &names.addresses {
                        let phase = phase(&self.secret, name, *id, *address);
                        watch.views.entry((*id, *address)).or_insert_with(|| {
                            fresh.push(ViewKey {
                                target: name.clone(),
                                vantage: *id,
                                address: *address,
                            });
                            View::new(&watch.target, &self.plan.budget, now, phase)
                        });
                    }
                }
            }
        }
        watch.names.retain(|id, _| {
            let vantage = self.vantages.get(id).map(|watch| &watch.vantage.name);
            vantage.is_some_and(|vantage| {
                let watching = &watch.target.vantages;
                watching.is_empty() || watching.contains(vantage)
            })
        });
        watch.views.retain(|(vantage, address), _| {
            watch.names.get(vantage).is_some_and(|names| names.addresses.contains(address))
        });
        for id in unresolved {
            self.timers.set(Timer::Names(name.clone(), id), Some(now));
        }
        for key in fresh {
            if self.targets.get(name).is_some_and(|watch| !watch.canary) {
                self.begin_survey(now, &key, Depth::Full);
            }
            self.timers.set(Timer::View(key), Some(now));
        }
    }

    /// Looks again at every view of a target, so that all evidence is of one time.
    pub(super) fn resurvey(&mut self, now: Instant, name: &TargetName) {
        let Some(watch) = self.targets.get(name) else { return };
        if watch.canary {
            return;
        }
        let keys: Vec<_> = watch
            .views
            .iter()
            .filter(|(_, view)| view.may_survey(now))
            .map(|((vantage, address), _)| ViewKey {
                target: name.clone(),
                vantage: *vantage,
                address: *address,
            })
            .collect();
        for key in keys {
            self.begin_survey(now, &key, Depth::Suspicion);
            self.timers.set(Timer::View(key), Some(now));
        }
    }

    /// Demands evidence of these views of a target that is not older than `moment`.
    pub(super) fn look_again(
        &mut self,
        (now, moment): (Instant, Instant),
        name: &TargetName,
        wanted: impl Fn(VantageId, &View) -> bool,
    ) {
        let Some(watch) = self.targets.get_mut(name).filter(|watch| !watch.canary) else { return };
        let mut keys = Vec::new();
        for ((vantage, address), view) in &mut watch.views {
            if wanted(*vantage, view) {
                view.look_again = Some(moment);
                let (target, vantage, address) = (name.clone(), *vantage, *address);
                keys.push(ViewKey { target, vantage, address });
            }
        }
        for key in keys {
            self.begin_survey(now, &key, Depth::Suspicion);
            self.timers.set(Timer::View(key), Some(now));
        }
    }

    fn begin_survey(&mut self, now: Instant, key: &ViewKey, depth: Depth) {
        if !self.vantages.get(&key.vantage).is_some_and(VantageWatch::is_up) {
            return;
        }
        let siblings = self.siblings(key);
        let Some(watch) = self.targets.get_mut(&key.target) else { return };
        let Some(view) = watch.views.get_mut(&(key.vantage, key.address)) else { return };
        if view.survey.is_some() {
            return;
        }
        let has_port = watch.target.service.has_port();
        let scope = Scope {
            address: key.address,
            port: has_port.then_some(watch.target.port),
            depth,
            siblings,
            connect: has_port
                && (depth != Depth::Recheck || view.service_matters())
                && view.may_connect(now),
            known: view.known(),
        };
        self.next_survey += 1;
        view.begin(now, self.next_survey, Survey::new(scope, now));
    }

    /// Neighbours whose path may be traced: of the plan in the same /24 or /64, else configured
    /// ones, else the subnet's first addresses.
    fn siblings(&self, key: &ViewKey) -> Vec<IpAddr> {
        let Some(watch) = self.targets.get(&key.target) else { return Vec::new() };
        if watch.target.siblings == Siblings::Off {
            return Vec::new();
        }
        let subnet = prefix(key.address);
        let planned = self.targets.values().filter(|other| !other.canary).flat_map(|other| {
            other.views.keys().filter(|(vantage, _)| *vantage == key.vantage).map(|(_, at)| *at)
        });
        let first = [1_u8, 2].map(|host| match subnet {
            IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() | u32::from(host)).into()),
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() | u128::from(host)).into()),
        });
        let configured = watch.target.neighbours.iter().copied();
        let mut siblings = Vec::new();
        // The nearest: if all targets of a subnet traced the same two, those two would drown.
        let mut near: Vec<_> = planned.filter(|at| prefix(*at) == subnet).collect();
        near.sort_by_key(|at| (bits(*at).abs_diff(bits(key.address)), *at));
        for address in near.into_iter().chain(configured).chain(first) {
            if address != key.address && !siblings.contains(&address) && siblings.len() < 2 {
                siblings.push(address);
            }
        }
        siblings
    }

    /// Does what is due in one view.
    pub(super) fn run_view(&mut self, now: Instant, key: &ViewKey) {
        let open = self.vantages.get(&key.vantage).is_some_and(VantageWatch::is_up);
        let known = self
            .targets
            .get(&key.target)
            .is_some_and(|watch| watch.views.contains_key(&(key.vantage, key.address)));
        if !open || !known {
            return;
        }
        let held_back = self.run_survey(now, key);
        let sweeping = self.purpose == Purpose::Watch;
        if sweeping {
            self.run_rows(now, key);
            self.run_recheck(now, key);
        }
        let next = self.view(key).and_then(|view| view.next_due(now, sweeping));
        let soonest = now + Duration::from_millis(1);
        let next = match held_back {
            Some(wait) => Some(now + wait),
            None => next.map(|at| at.max(soonest)),
        };
        self.timers.set(Timer::View(key.clone()), next);
    }

    pub(super) fn view(&mut self, key: &ViewKey) -> Option<&mut View> {
        self.targets.get_mut(&key.target)?.views.get_mut(&(key.vantage, key.address))
    }

    /// Sends what the survey wants; gives how long the budget holds it back, if it does.
    fn run_survey(&mut self, now: Instant, key: &ViewKey) -> Option<Duration> {
        loop {
            let destinations = self.view(key)?.survey.as_ref()?.1.destinations();
            let waits = destinations.into_iter().map(|to| self.budgets.admit(now, to));
            if let Some(wait) = waits.filter_map(Result::err).max() {
                return Some(wait.max(self.turn(now, key)));
            }
            if !self.flights.has_room() {
                *self.bugs.entry("flights_full").or_default() += 1;
                return Some(self.turn(now, key));
            }
            let (number, want) = {
                let (number, survey) = self.view(key)?.survey.as_mut()?;
                (*number, survey.poll_want(now))
            };
            match want {
                Some(Want::Ask(part, to, ask)) => {
                    self.budgets.spend(to);
                    self.send(now, key, Errand::Survey { number, part, ask: ask.id }, (to, ask));
                }
                Some(Want::Connect) => {
                    self.budgets.spend(key.address);
                    self.connect(now, key, Errand::SurveyConnect(number));
                }
                None => break,
            }
        }
        let findings = {
            let (_, survey) = self.view(key)?.survey.as_mut()?;
            survey.poll_findings(now)
        };
        if let Some(mut findings) = findings {
            // We are no neighbour of the target: our own address answers whatever happens there.
            let own = self.flights.source(key.vantage, key.address.is_ipv4());
            findings.siblings.retain(|sibling| Some(sibling.address) != own);
            let changed = self.view(key)?.conclude(findings);
            self.survey_ended(now, key, changed);
        }
        None
    }

    /// How long a view that is held back lets others go first; all asking at once for every free
    /// token would cost more than the packets do.
    fn turn(&self, now: Instant, key: &ViewKey) -> Duration {
        let draw = self.secret.hash_address(key.address, now.as_nanos(), 9);
        NO_ROOM.mul_f64(0.5 + fraction(draw))
    }

    fn run_rows(&mut self, now: Instant, key: &ViewKey) {
        let canary = self.targets.get(&key.target).is_some_and(|watch| watch.canary);
        let port = self.targets.get(&key.target).map_or(0, |watch| watch.target.port);
        let stretch = 0.95 + 0.1 * fraction(self.secret.hash(&[now.as_nanos(), 8]));
        let Some(view) = self.view(key) else { return };
        let mut due = Vec::new();
        for row in view.rows.iter_mut().filter(|row| row.due <= now) {
            row.due = now + row.interval.mul_f64(stretch);
            due.push(row.probe);
        }
        for probe in due {
            let what = match probe {
                Probe::Echo => Question::Echo,
                Probe::Syn => Question::Syn { port },
                Probe::Connect | Probe::X224 if canary => continue,
                Probe::Connect | Probe::X224 => {
                    self.begin_survey(now, key, Depth::Suspicion);
                    continue;
                }
            };
            let granted = self.budgets.take(now, key.address);
            if granted.is_ok() && self.flights.has_room() {
                let ask = Ask { id: 0, what, ttl: FULL_TTL };
                self.send(now, key, Errand::Sweep(probe), (key.address, ask));
                continue;
            }
            if granted.is_ok() {
                *self.bugs.entry("flights_full").or_default() += 1;
            }
            // What the budget holds back is late, not left out.
            let again = now + granted.err().unwrap_or_default().max(NO_ROOM);
            let rows = self.view(key).into_iter().flat_map(|view| &mut view.rows);
            rows.filter(|row| row.probe == probe).for_each(|row| row.due = again);
        }
    }

    fn run_recheck(&mut self, now: Instant, key: &ViewKey) {
        let lossy =
            self.targets.get(&key.target).is_some_and(|watch| watch.class == Class::PacketLoss);
        let Some(view) = self.view(key) else { return };
        if view.recheck_due().is_some_and(|due| due <= now) {
            view.plan_recheck(now, false);
            let depth = if lossy { Depth::Suspicion } else { Depth::Recheck };
            self.begin_survey(now, key, depth);
        }
    }

    fn send(&mut self, now: Instant, key: &ViewKey, errand: Errand, (to, ask): (IpAddr, Ask)) {
        let tap = self.vantages.get(&key.vantage).and_then(VantageWatch::tap);
        let survey = match errand {
            Errand::Survey { number, .. } | Errand::SurveyConnect(number) => number,
            Errand::Sweep(_) => 0,
        };
        let order = self.flights.order(now, (key.clone(), errand, to), &ask, (tap, survey));
        self.outputs.push_back(Output::Send(order));
    }

    fn connect(&mut self, now: Instant, key: &ViewKey, errand: Errand) {
        let Some(watch) = self.targets.get(&key.target) else { return };
        let limit = CONNECT_TIMEOUT + SERVICE_TIMEOUT + CONNECT_GRACE;
        let order = ConnectOrder {
            flight: self.flights.order_connect(now, key.clone(), errand, limit),
            vantage: key.vantage,
            to: SocketAddr::new(key.address, watch.target.port),
            service: watch.target.service,
            expect_banner: watch.target.expect_banner.clone(),
            send: watch.target.send.clone(),
            connect_timeout: CONNECT_TIMEOUT,
            service_timeout: SERVICE_TIMEOUT,
        };
        self.outputs.push_back(Output::Connect(Box::new(order)));
    }

    pub(super) fn handle_baseline(&mut self, target: &TargetName, vantage: &str, known: Baseline) {
        if let Some(watch) = self.targets.get_mut(target) {
            watch.baselines.insert(vantage.to_owned(), known);
        }
    }

    /// Ends every survey with what it has, and judges.
    pub(super) fn conclude(&mut self, now: Instant) {
        let mut names = Vec::new();
        for (name, watch) in &mut self.targets {
            for view in watch.views.values_mut() {
                if let Some((_, survey)) = view.survey.take() {
                    view.findings = Some(survey.findings(now));
                }
            }
            names.push(name.clone());
        }
        for name in names {
            self.judge_now(now, &name, true);
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Where in its interval a view begins, so that probes do not leave all at once.
fn phase(secret: &crate::secret::Secret, name: &TargetName, vantage: VantageId, at: IpAddr) -> f64 {
    let text = name
        .as_str()
        .bytes()
        .fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    fraction(secret.hash_address(at, text, u64::from(vantage.0)))
}

/// A hash as a number from 0 to below 1.
fn fraction(hash: u64) -> f64 {
    let bits = u32::try_from(hash >> 32).unwrap_or_default();
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}
