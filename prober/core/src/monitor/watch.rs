//! Watching: plans into views, standing probes, surveys, and where their answers go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::alarm::Alarm;
use super::chores::Chore;
use super::flights::{Purpose as Errand, ViewKey};
use super::lasting::add_up;
use super::naming::Names;
use super::queue::Urgency;
use super::standing::VantageWatch;
use super::view::{Rows, Stand, View};
use super::{Baseline, ConnectOrder, Monitor, Output, ProbePacket, Purpose, Timer, VantageState};
use crate::evidence::Probe;
use crate::incident::AlertKind;
use crate::judge::Class;
use crate::judge::verdict::Verdict;

use crate::probe::{Ask, Question};
use crate::report::TargetReport;
use crate::survey::ports::Ports;
use crate::survey::{Depth, Means, Scope, Survey, Want};
use crate::sweep::{LaneState, RowSpec};
use crate::target::{Target, TargetName};
use crate::time::Instant;
use crate::vantage::{Mode, VantageId};

/// How long the handshake of a full connection may take, and the service's answer after it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const SERVICE_TIMEOUT: Duration = Duration::from_secs(4);
/// The driver has this much longer to tell how a connection ended.
const CONNECT_GRACE: Duration = Duration::from_secs(2);
/// A look that may take this long has time for a rate sweep behind everything else.
const PATIENT: Duration = Duration::from_secs(75);
/// How long a probe waits that nothing may be sent for now.
const NO_ROOM: Duration = Duration::from_millis(100);

/// A target, or a canary, with all that is known of it.
#[derive(Debug)]
pub(super) struct TargetWatch {
    pub(super) target: Arc<Target>,
    pub(super) canary: bool,
    pub(super) names: BTreeMap<VantageId, Names>,
    pub(super) views: BTreeMap<(VantageId, IpAddr), View>,
    pub(super) baselines: BTreeMap<String, Baseline>,
    pub(super) verdict: Option<Verdict>,
    pub(super) report: Option<Arc<TargetReport>>,
    pub(super) class: Class,
    pub(super) classes_seen: Vec<Class>,
    pub(super) alarms: BTreeMap<AlertKind, Alarm>,
    pub(super) failing_kind: AlertKind,
    pub(super) since: Instant,
    /// Since when a verdict waits for evidence that is still being gathered.
    pub(super) waiting: Option<Instant>,
}

impl TargetWatch {
    pub(super) fn new(target: Arc<Target>, canary: bool, now: Instant) -> Self {
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

    /// Forgets all that was seen, since something else is asked now; the views must be gone.
    pub(super) fn forget(&mut self, now: Instant) {
        self.names.clear();
        self.baselines.clear();
        self.verdict = None;
        self.report = None;
        self.class = Class::Unknown;
        self.since = now;
    }

    /// The port that is asked, if any is.
    pub(super) fn port(&self) -> Option<u16> {
        self.target.service.has_port().then_some(self.target.port)
    }

    /// Whether this vantage watches it.
    pub(super) fn is_watched_from(&self, vantage: &str) -> bool {
        self.target.vantages.is_empty() || self.target.vantages.iter().any(|name| name == vantage)
    }
}

impl Monitor {
    pub(super) fn handle_vantage(&mut self, now: Instant, id: VantageId, state: VantageState) {
        let Some(watch) = self.vantages.get_mut(&id) else { return };
        let up = matches!(state, VantageState::Up { .. });
        watch.handle_state(now, state);
        self.show_lane(now, id);
        if !up {
            for report in self.flights.abandon(now, id) {
                self.book(&report);
            }
            for target in self.targets.values_mut() {
                for ((vantage, _), view) in &mut target.views {
                    if *vantage == id && view.survey.take().is_some() {
                        self.queue.running -= 1;
                    }
                }
            }
        }
        let names = self.targets.keys().cloned();
        let chore = |name| if up { Chore::Renew(name, id, now) } else { Chore::Rejudge(name) };
        self.chores.extend(names.map(chore));
        self.timers.set(Timer::Vantage(id), Some(now));
    }

    /// Shows the sweep how a vantage can probe.
    pub(super) fn show_lane(&mut self, now: Instant, id: VantageId) {
        let watch = self.vantages.get(&id);
        let state = watch.map_or_else(LaneState::default, |watch| LaneState {
            mode: watch.mode(),
            tap: watch.tap(),
            believed: watch.is_believed(),
        });
        self.sweep.set_lane(now, id, state);
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
                        if !watch.views.contains_key(&(*id, *address)) {
                            fresh.push((*id, *address));
                        }
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
        let stale = |vantage: VantageId, address: IpAddr, watch: &TargetWatch| {
            let names = watch.names.get(&vantage);
            names.is_none_or(|names| !names.addresses.contains(&address))
        };
        let keys = watch.views.keys().copied();
        let gone: BTreeSet<_> = keys.filter(|(at, to)| stale(*at, *to, watch)).collect();
        if !gone.is_empty() {
            self.drop_views(now, name, |vantage, address| gone.contains(&(vantage, address)));
        }
        for id in unresolved {
            self.timers.set(Timer::Names(name.clone(), id), Some(now));
        }
        for (vantage, address) in fresh {
            let key = ViewKey { target: name.clone(), vantage, address };
            self.add_view(now, &key);
        }
    }

    fn add_view(&mut self, now: Instant, key: &ViewKey) {
        let ViewKey { target: name, vantage, address } = key;
        let phase = phase(&self.secret, name, *vantage, *address);
        let Some(watch) = self.targets.get_mut(name) else { return };
        let target = Arc::clone(&watch.target);
        let (canary, port) = (watch.canary, watch.port());
        let mut view = View::new(&target, &self.limits, now, phase);
        if self.purpose == Purpose::Watch {
            let lease = self.budgets.lease(*address, now);
            let owner = self.owners.add(key.clone());
            let (vantage, address) = (*vantage, *address);
            let spec = |probe, port, interval| RowSpec {
                vantage,
                address,
                probe,
                port,
                interval,
                owner,
                lease,
            };
            let Target { echo_interval, syn_interval, connect_interval, .. } = *target;
            let echo = spec(Probe::Echo, 0, echo_interval);
            let first = now + echo_interval.mul_f64(phase);
            let mut rows = Rows { echo: self.sweep.add(now, echo, first), ..Rows::default() };
            if let Some(port) = port {
                // Half an interval apart, the two find a fault sooner than side by side.
                let first = now + syn_interval.mul_f64(phase + 0.5);
                rows.syn = self.sweep.add(now, spec(Probe::Syn, port, syn_interval), first);
                let mut counted =
                    |probe| self.sweep.add(now, spec(probe, port, connect_interval), now);
                rows.connect = counted(Probe::Connect);
                rows.x224 = counted(Probe::X224);
            }
            (view.rows, view.owner, view.lease) = (rows, owner, Some(lease));
            if rows.echo.is_none() || port.is_some() && rows.x224.is_none() {
                *self.bugs.entry("sweep_full").or_default() += 1;
            }
        }
        let stand = Stand::default();
        view.stand = Some(stand);
        if let Some(vantage) = self.vantages.get_mut(vantage) {
            vantage.shares.change((canary, port), None, Some(stand));
        }
        watch.views.insert((*vantage, *address), view);
        self.neighbourhood.add(*vantage, *address, canary);
        self.directory.replace(None);
        if !canary {
            self.want_survey(now, key, Depth::Full, Urgency::Routine);
        }
        self.timers.set(Timer::View(key.clone()), Some(now));
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
            self.want_survey(now, &key, Depth::Suspicion, Urgency::Suspicion);
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
            self.want_survey(now, &key, Depth::Suspicion, Urgency::Suspicion);
            self.timers.set(Timer::View(key), Some(now));
        }
    }

    /// Begins a survey, or lets it wait for its turn.
    fn want_survey(&mut self, now: Instant, key: &ViewKey, depth: Depth, urgency: Urgency) {
        if self.purpose == Purpose::Once || self.queue.has_room() && self.queue.len() == 0 {
            self.begin_survey(now, key, depth);
        } else if self.may_begin(key) {
            self.queue.push(key.clone(), depth, urgency);
        }
    }

    fn may_begin(&self, key: &ViewKey) -> bool {
        let open = self.vantages.get(&key.vantage).is_some_and(VantageWatch::is_up);
        let watch = self.targets.get(&key.target);
        let view = watch.and_then(|watch| watch.views.get(&(key.vantage, key.address)));
        open && view.is_some_and(|view| view.survey.is_none())
    }

    /// Begins surveys that wait, as far as there is room.
    pub(super) fn begin_waiting(&mut self, now: Instant) {
        while self.queue.has_room()
            && let Some((key, depth)) = self.queue.pop()
        {
            self.begin_survey(now, &key, depth);
            self.timers.set(Timer::View(key), Some(now));
        }
    }

    fn begin_survey(&mut self, now: Instant, key: &ViewKey, depth: Depth) {
        if !self.may_begin(key) {
            return;
        }
        let siblings = self.siblings(key);
        let means = self.means(now, key);
        let (learning, learnt) = (self.purpose == Purpose::Watch, self.knows_closed_port(key));
        let Some(watch) = self.targets.get_mut(&key.target) else { return };
        let Some(view) = watch.views.get_mut(&(key.vantage, key.address)) else { return };
        let has_port = watch.target.service.has_port();
        let learn = learning && depth != Depth::Recheck && view.take_canary_turn(now, learnt);
        let scope = Scope {
            address: key.address,
            port: has_port.then_some(watch.target.port),
            depth,
            siblings,
            connect: has_port
                && (depth != Depth::Recheck || view.service_matters())
                && view.may_connect(now),
            known: view.known(),
            means,
            suspects: view.take_suspects(),
            ports: Ports::of(&watch.target, learn).beside(key.address),
        };
        if means.patient && self.purpose == Purpose::Watch {
            view.note_rates(now);
        }
        self.next_survey += 1;
        view.begin(now, self.next_survey, Survey::new(scope, now));
        self.queue.running += 1;
    }

    /// What a survey may do from here, and whether it has a minute.
    fn means(&self, now: Instant, key: &ViewKey) -> Means {
        let vantage = self.vantages.get(&key.vantage).and_then(VantageWatch::mode);
        let raw = vantage.is_some_and(Mode::sees_packets);
        let view = || self.targets.get(&key.target)?.views.get(&(key.vantage, key.address));
        let patient = match self.purpose {
            Purpose::Once => self.patience >= PATIENT,
            // Whoever waits in the queue must not wait for a minute more.
            Purpose::Watch => {
                self.queue.len() == 0
                    && self.is_lossy(&key.target)
                    && view().is_some_and(|view| view.may_ask_rates(now))
            }
        };
        Means { raw, patient }
    }

    fn is_lossy(&self, name: &TargetName) -> bool {
        self.targets.get(name).is_some_and(|watch| watch.class == Class::PacketLoss)
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
            self.run_connect(now, key);
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
                    self.budgets.spend(now, to);
                    self.send(now, key, Errand::Survey { number, part, ask: ask.id }, (to, ask));
                }
                Some(Want::Connect) => {
                    self.budgets.spend(now, key.address);
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
            // Half of what it saw is of before. Where others wait for their look, that must do.
            let again = self.purpose == Purpose::Watch && self.queue.len() == 0;
            let turned = (again && findings.saw_a_turn()).then_some(findings.ended);
            let watch = self.targets.get_mut(&key.target)?;
            let lossy = watch.class == Class::PacketLoss;
            let view = watch.views.get_mut(&(key.vantage, key.address))?;
            if lossy {
                add_up(view, &mut findings);
            }
            let changed = view.conclude(findings);
            if let Some(ended) = turned {
                view.look_again = Some(ended + Duration::from_nanos(1));
            }
            self.queue.running -= 1;
            self.after_conclusion(now, key, changed);
            self.begin_waiting(now);
        }
        None
    }

    /// A view's findings are new: what surprises changes with them.
    pub(super) fn after_conclusion(&mut self, now: Instant, key: &ViewKey, changed: bool) {
        self.note_spell(key);
        if let Some(watch) = self.targets.get(&key.target)
            && let Some(view) = watch.views.get(&(key.vantage, key.address))
        {
            for (probe, row) in view.rows.all() {
                self.sweep.set_usual(row, view.expected(probe));
            }
        }
        self.restand(key);
        self.survey_ended(now, key, changed);
    }

    /// How long a view that is held back lets others go first; all asking at once for every free
    /// token would cost more than the packets do.
    fn turn(&self, now: Instant, key: &ViewKey) -> Duration {
        let draw = self.secret.hash_address(key.address, now.as_nanos(), 9);
        NO_ROOM.mul_f64(0.5 + fraction(draw))
    }

    /// The full connection that is due now and then, with a look at everything else.
    fn run_connect(&mut self, now: Instant, key: &ViewKey) {
        let stretch = 0.95 + 0.1 * fraction(self.secret.hash(&[now.as_nanos(), 8]));
        let Some(watch) = self.targets.get_mut(&key.target) else { return };
        let interval = watch.target.connect_interval.mul_f64(stretch);
        let canary = watch.canary;
        let Some(view) = watch.views.get_mut(&(key.vantage, key.address)) else { return };
        if view.take_connect(now, interval) && !canary {
            self.want_survey(now, key, Depth::Suspicion, Urgency::Routine);
        }
    }

    fn run_recheck(&mut self, now: Instant, key: &ViewKey) {
        // What fails in part needs more than a short look to be seen, or to be seen healed.
        let partly = self.targets.get(&key.target).is_some_and(|watch| {
            matches!(watch.class, Class::PacketLoss | Class::PartialPath | Class::MtuBlackhole)
        });
        let lossy = self.is_lossy(&key.target);
        let Some(view) = self.view(key) else { return };
        if lossy {
            view.note_loss(now);
        }
        if view.recheck_due().is_some_and(|due| due <= now) {
            view.plan_recheck(now, false);
            let depth = if partly { Depth::Suspicion } else { Depth::Recheck };
            self.want_survey(now, key, depth, Urgency::Routine);
        }
    }

    fn send(&mut self, now: Instant, key: &ViewKey, errand: Errand, (to, ask): (IpAddr, Ask)) {
        // Where not even our own resets leave, a raw SYN would stay half open at the target.
        let is_plain = matches!(ask.what, Question::Syn { .. });
        let connects = is_plain && self.sweep.connects(now, key.vantage);
        let tap = self.vantages.get(&key.vantage).and_then(VantageWatch::tap);
        let tap = tap.filter(|_| !connects);
        let (Errand::Survey { number: survey, .. } | Errand::SurveyConnect(survey)) = errand;
        let mut order = self.flights.order(now, (key.clone(), errand, to), &ask, (tap, survey));
        if let ProbePacket::Syn { source_port, dest_port, .. } = order.what {
            if connects {
                order.what = ProbePacket::Connect { dest_port };
            } else if let Errand::Survey { part, ask, .. } = errand
                && let Some((_, survey)) = self.view(key).and_then(|view| view.survey.as_mut())
            {
                survey.note_source_port(part, ask, source_port);
            }
        }
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
                    self.queue.running -= 1;
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
