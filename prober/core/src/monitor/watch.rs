//! Watching: plans into views and standing probes, and what is due in each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::alarm::Alarm;
use super::chores::Chore;
use super::flights::ViewKey;
use super::naming::Names;
use super::queue::Urgency;
use super::standing::VantageWatch;
use super::view::{Rows, Stand, View};
use super::{Baseline, Monitor, Purpose, Timer, VantageState};
use crate::evidence::Probe;
use crate::evidence::rdp::RdpDepth;
use crate::incident::AlertKind;
use crate::judge::Class;
use crate::judge::verdict::Verdict;
use crate::report::TargetReport;
use crate::survey::Depth;
use crate::sweep::{LaneState, RowSpec};
use crate::target::{Service, Target, TargetName};
use crate::time::Instant;
use crate::vantage::VantageId;

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
    /// From where it was seen failing last.
    pub(super) failing_from: BTreeSet<VantageId>,
    /// Since when it fails unless we do.
    pub(super) doubted: Option<Instant>,
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
            failing_from: BTreeSet::new(),
            doubted: None,
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

    /// Whether nothing of it is heard, or only of others on the way to it.
    fn is_cut_off(&self) -> bool {
        use Class::{
            Blackhole, HostSilent, NoRoute, Rejected, RoutingLoop, SourceBlocked, Unknown,
        };
        let silent =
            [Blackhole, HostSilent, NoRoute, Rejected, RoutingLoop, SourceBlocked, Unknown];
        silent.contains(&self.class)
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
        self.plan_decoys(now, id, up);
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
                let depth =
                    if target.service == Service::Rdp { target.rdp_depth } else { RdpDepth::Off };
                rows.tls = (depth >= RdpDepth::Tls).then(|| counted(Probe::Tls)).flatten();
                rows.ntlm = (depth >= RdpDepth::Ntlm).then(|| counted(Probe::Ntlm)).flatten();
            }
            (view.rows, view.owner, view.lease) = (rows, owner, Some(lease));
            if rows.echo.is_none() || port.is_some() && rows.x224.is_none() {
                *self.bugs.entry("sweep_full").or_default() += 1;
            }
        }
        let stand = Stand::default();
        view.stand = Some(stand);
        if let Some(vantage) = self.vantages.get_mut(vantage) {
            vantage.shares.change((canary, port, key.address.is_ipv4()), None, Some(stand));
        }
        watch.views.insert((*vantage, *address), view);
        self.neighbourhood.add(*vantage, *address, canary);
        self.directory.replace(None);
        if !canary {
            self.want_survey(now, key, Depth::Full, Urgency::Routine);
        }
        self.timers.set(Timer::View(key.clone()), Some(now));
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
            watch.loses() || matches!(watch.class, Class::PartialPath | Class::MtuBlackhole)
        });
        let silent = self.targets.get(&key.target).is_some_and(TargetWatch::is_cut_off);
        let lossy = self.is_lossy(&key.target);
        let Some(view) = self.view(key) else { return };
        // What else is silent on the way may change while the target stays so.
        let partly = partly || silent && view.was_traced_long_ago(now);
        if lossy {
            view.note_loss(now);
        }
        if view.recheck_due().is_some_and(|due| due <= now) {
            view.plan_recheck(now, false);
            let depth = if partly { Depth::Suspicion } else { Depth::Recheck };
            self.want_survey(now, key, depth, Urgency::Routine);
        }
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
pub(super) fn fraction(hash: u64) -> f64 {
    let bits = u32::try_from(hash >> 32).unwrap_or_default();
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}
