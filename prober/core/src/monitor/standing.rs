//! The standing of a vantage: whether its evidence is believed.
//!
//! A vantage withdraws when at least two canaries and most targets fail together, or on a local
//! fact; per port, when the canaries on that port and most targets on it fail while echo works.
//! Canaries that fail alone are a warning and nothing more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::alarm::Alarm;
use super::chores::Chore;
use super::view::{Stand, View};
use super::{Event, Monitor, Output, Purpose, TapId, Timer, VantageState};
use crate::evidence::Probe;
use crate::judge::{Class, Sign};
use crate::survey::findings::Findings;
use crate::survey::signs::local_sign;
use crate::target::TargetName;
use crate::time::Instant;
use crate::vantage::{Mode, Vantage, VantageId};
use crate::wording::Wording;

/// A standing is looked at this often even when nothing happens.
const REVIEW: Duration = Duration::from_secs(2);
/// News of many targets at once make one review.
const REVIEW_GAP: Duration = Duration::from_millis(200);
/// Canaries are asked out of turn at most this often.
const HURRY_GAP: Duration = Duration::from_secs(1);
/// Views asked at most where all of them must say the same.
const ASKED_MAX: usize = 1_024;
/// How long a fault must last before people are told, and how long a recovery before they are.
const OPEN_AFTER: Duration = Duration::from_secs(10);
const CLOSE_AFTER: Duration = Duration::from_secs(15);
/// A fault may have begun this long before it was noticed: canaries are asked every five seconds
/// and must be mute twice, and targets are asked every ten unless the plan says otherwise.
const UNNOTICED: Duration = Duration::from_secs(60);

/// One vantage with all that is known of it.
#[derive(Debug)]
pub(super) struct VantageWatch {
    pub(super) vantage: Vantage,
    pub(super) state: Option<VantageState>,
    /// Why its evidence is not believed, and the class of the fault's sign.
    pub(super) fault: Option<Fault>,
    /// Ports that fail from here for everybody.
    pub(super) bad_ports: BTreeSet<u16>,
    /// When it was last not believed, as a whole and of a port.
    doubts: BTreeMap<Option<u16>, Doubt>,
    /// Ports on which something before it answers for an address that nobody has.
    pub(super) proxied: BTreeSet<u16>,
    /// Those that were told of.
    proxies_told: BTreeSet<u16>,
    pub(super) capture_packets: u64,
    pub(super) capture_drops: u64,
    pub(super) alarm: Alarm,
    /// How its views stand, all together.
    pub(super) shares: Shares,
    /// When its canaries were last asked out of turn.
    hurried: Option<Instant>,
    dead_resolver: BTreeSet<TargetName>,
}

/// What is wrong with a vantage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) sign: Sign,
    /// For people.
    pub(super) reason: Wording,
}

/// A time in which nothing was believed, from when the fault may have begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Doubt {
    from: Instant,
    /// `None` while it lasts.
    until: Option<Instant>,
}

impl VantageWatch {
    fn new(vantage: Vantage) -> Self {
        Self {
            vantage,
            state: None,
            fault: None,
            bad_ports: BTreeSet::new(),
            doubts: BTreeMap::new(),
            proxied: BTreeSet::new(),
            proxies_told: BTreeSet::new(),
            capture_packets: 0,
            capture_drops: 0,
            alarm: Alarm::new(OPEN_AFTER, CLOSE_AFTER),
            shares: Shares::default(),
            hurried: None,
            dead_resolver: BTreeSet::new(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, Some(VantageState::Up { .. }))
    }

    pub(super) fn is_believed(&self) -> bool {
        self.is_up() && self.fault.is_none()
    }

    pub(super) fn tap(&self) -> Option<TapId> {
        match self.state {
            Some(VantageState::Up { tap, .. }) => tap,
            Some(VantageState::Down { .. }) | None => None,
        }
    }

    pub(super) fn mode(&self) -> Option<Mode> {
        match self.state {
            Some(VantageState::Up { mode, .. }) => Some(mode),
            Some(VantageState::Down { .. }) | None => None,
        }
    }

    pub(super) fn handle_state(&mut self, _now: Instant, state: VantageState) {
        self.state = Some(state);
        self.bad_ports.clear();
        self.proxied.clear();
    }

    /// Takes what was assessed; gives whether something is believed again.
    fn note_fault(&mut self, now: Instant, fault: Option<Fault>, ports: BTreeSet<u16>) -> bool {
        let doubted = |whole: bool, ports: &BTreeSet<u16>| {
            let ports = ports.iter().map(|port| Some(*port));
            ports.chain(whole.then_some(None)).collect::<BTreeSet<_>>()
        };
        // Addresses that are known are asked without a resolver.
        let whole = |fault: &Option<Fault>| {
            fault.as_ref().is_some_and(|fault| fault.sign != Sign::ResolverDead)
        };
        let before = doubted(whole(&self.fault), &self.bad_ports);
        let after = doubted(whole(&fault), &ports);
        for port in after.difference(&before) {
            let from = Instant::from_start(now.since_start().saturating_sub(UNNOTICED));
            // What was doubted only just now is still in doubt before.
            let doubt = self.doubts.entry(*port).or_insert(Doubt { from, until: None });
            let joined = doubt.until.is_none_or(|until| until >= from);
            *doubt = Doubt { from: if joined { doubt.from.min(from) } else { from }, until: None };
        }
        let mut renewed = false;
        for port in before.difference(&after) {
            renewed = true;
            if let Some(doubt) = self.doubts.get_mut(port) {
                doubt.until = Some(now);
            }
        }
        self.fault = fault;
        self.bad_ports = ports;
        renewed
    }

    /// Whether a look that began at `started` has probes in it that may have failed here.
    pub(super) fn is_doubtful(&self, port: Option<u16>, started: Instant) -> bool {
        let mut doubts = [None, port].into_iter().filter_map(|port| self.doubts.get(&port));
        doubts.any(|doubt| doubt.from <= started && doubt.until.is_none_or(|until| started < until))
    }

    pub(super) fn note_resolver(&mut self, name: &TargetName, dead: bool) {
        if dead {
            self.dead_resolver.insert(name.clone());
        } else {
            self.dead_resolver.remove(name);
        }
    }

    /// A fault known without looking at any target.
    fn local_fault(&self) -> Option<Fault> {
        if let Some(VantageState::Down { error, detail }) = &self.state {
            let sign = local_sign(*error).unwrap_or(Sign::LocalNoRoute);
            return Some(Fault { sign, reason: detail.clone() });
        }
        None
    }
}

/// How many of something fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    failing: usize,
    of: usize,
}

impl Share {
    const fn at_least_half(self) -> bool {
        self.of > 0 && self.failing * 2 >= self.of
    }

    fn change(&mut self, before: Option<bool>, after: Option<bool>) {
        let failing = |stand: Option<bool>| usize::from(stand == Some(true));
        self.of = self.of + usize::from(after.is_some()) - usize::from(before.is_some());
        self.failing = self.failing + failing(after) - failing(before);
    }
}

/// How the views of one port stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PortShares {
    /// Canaries whose SYNs were lost twice in a row.
    canaries: Share,
    /// Targets whose SYN was lost.
    targets: Share,
}

/// How many of a vantage's views fail, kept up to date view by view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shares {
    /// Canaries that were mute twice in a row.
    canaries: Share,
    /// Targets that are mute.
    targets: Share,
    /// Targets that our own side refuses, of IPv4 and of IPv6.
    local: [Share; 2],
    ports: BTreeMap<u16, PortShares>,
}

impl Shares {
    /// A view, of a canary or not, of this port and family, stands otherwise now, or came, or went.
    pub(super) fn change(
        &mut self,
        (canary, port, v4): (bool, Option<u16>, bool),
        before: Option<Stand>,
        after: Option<Stand>,
    ) {
        let of = |stand: Option<Stand>, what: fn(Stand) -> bool| stand.map(what);
        if canary {
            let mute = |stand: Stand| stand.mute[1];
            self.canaries.change(of(before, mute), of(after, mute));
        } else {
            let (mute, local) = (|stand: Stand| stand.mute[0], |stand: Stand| stand.local);
            self.targets.change(of(before, mute), of(after, mute));
            let [of_v4, of_v6] = &mut self.local;
            let family = if v4 { of_v4 } else { of_v6 };
            family.change(of(before, local), of(after, local));
        }
        let Some(port) = port else { return };
        let shares = self.ports.entry(port).or_default();
        if canary {
            let lost = |stand: Stand| stand.lost[1];
            shares.canaries.change(of(before, lost), of(after, lost));
        } else {
            let lost = |stand: Stand| stand.lost[0];
            shares.targets.change(of(before, lost), of(after, lost));
        }
        if *shares == PortShares::default() {
            self.ports.remove(&port);
        }
    }
}

impl Shares {
    /// The ports that targets are asked on, and how many of them.
    pub(super) fn asked_ports(&self) -> Vec<(u16, usize)> {
        let asked = self.ports.iter().map(|(port, shares)| (*port, shares.targets.of));
        asked.filter(|(_, count)| *count > 0).collect()
    }
}

impl Monitor {
    /// Opens the vantages a plan adds or changes, and closes those it drops.
    ///
    /// Says whether anything changed.
    pub(super) fn change_vantages(&mut self, now: Instant, wanted: &[Vantage]) -> bool {
        let kept = |vantage: &Vantage| wanted.contains(vantage);
        let gone: Vec<_> = self
            .vantages
            .iter()
            .filter(|(_, watch)| !kept(&watch.vantage))
            .map(|(id, _)| *id)
            .collect();
        let mut changed = !gone.is_empty();
        for id in gone {
            self.close_vantage(now, id);
        }
        for vantage in wanted {
            if self.vantages.values().any(|watch| watch.vantage == *vantage) {
                continue;
            }
            let id = VantageId(self.next_vantage);
            self.next_vantage = self.next_vantage.wrapping_add(1);
            self.vantages.insert(id, VantageWatch::new(vantage.clone()));
            self.outputs.push_back(Output::OpenVantage(id, Box::new(vantage.clone())));
            changed = true;
        }
        changed
    }

    fn close_vantage(&mut self, now: Instant, id: VantageId) {
        self.resolve_vantage(id);
        self.vantages.remove(&id);
        self.show_lane(now, id);
        let names: Vec<_> = self.targets.keys().cloned().collect();
        for name in names {
            self.queries.forget(&name, id);
            self.drop_views(now, &name, |vantage, _| vantage == id);
            if let Some(watch) = self.targets.get_mut(&name) {
                watch.names.remove(&id);
            }
        }
        self.directory.replace(None);
        self.timers.set(Timer::Vantage(id), None);
        self.plan_decoys(now, id, false);
        self.outputs.push_back(Output::CloseVantage(id));
    }

    /// Asks the canaries at once: is it me?
    pub(super) fn hurry_canaries(&mut self, now: Instant, vantage: VantageId) {
        let Some(watch) = self.vantages.get_mut(&vantage) else { return };
        if watch.hurried.is_some_and(|at| now.since(at) < HURRY_GAP) {
            return;
        }
        watch.hurried = Some(now);
        let canaries = self.targets.values().filter(|watch| watch.canary);
        let views = canaries.flat_map(|watch| &watch.views).filter(|((at, _), _)| *at == vantage);
        for (_, row) in views.flat_map(|(_, view)| view.rows.all()) {
            self.sweep.hurry(row, now);
        }
    }

    /// Something happened that may change a vantage's standing.
    pub(super) fn review_soon(&mut self, now: Instant, id: VantageId) {
        self.timers.hasten(Timer::Vantage(id), now + REVIEW_GAP);
    }

    /// Looks at a vantage's standing, and tells when it changes.
    pub(super) fn run_vantage(&mut self, now: Instant, id: VantageId) {
        if self.purpose == Purpose::Once {
            return;
        }
        self.timers.set(Timer::Vantage(id), Some(now + REVIEW));
        let (fault, ports) = self.assess(id);
        let Some(watch) = self.vantages.get_mut(&id) else { return };
        let before = (watch.fault.is_some(), watch.bad_ports.clone());
        let again = watch.note_fault(now, fault.clone(), ports.clone());
        let proxies = std::mem::replace(&mut watch.proxies_told, watch.proxied.clone());
        let (proxied, proxy) = (watch.proxied.clone(), watch.proxy_reason());
        let name = watch.vantage.name.clone();
        let healthy = fault.is_none();
        self.show_lane(now, id);
        if before != (!healthy, ports.clone()) || proxies != proxied {
            let blocked = (!ports.is_empty()).then(|| port_list(&ports));
            let reason = fault.as_ref().map(|fault| fault.reason.clone()).or(blocked).or(proxy);
            let reason = reason.map(|reason| reason.en);
            self.tell(Event::VantageHealth { vantage: name, healthy, reason });
            let renewed = again || proxies.len() > proxied.len();
            for name in self.targets.keys() {
                if renewed {
                    self.chores.push(Chore::Renew(name.clone(), id, now));
                }
                self.chores.push(Chore::Rejudge(name.clone()));
            }
        }
        let faulty = fault.is_some() || !ports.is_empty() || !proxied.is_empty();
        self.alarm_vantage(now, id, faulty);
    }

    fn assess(&self, id: VantageId) -> (Option<Fault>, BTreeSet<u16>) {
        let Some(watch) = self.vantages.get(&id) else { return (None, BTreeSet::new()) };
        if let Some(fault) = watch.local_fault() {
            return (Some(fault), BTreeSet::new());
        }
        if !watch.is_up() {
            return (None, BTreeSet::new());
        }
        let fault = self.local_majority(id).or_else(|| self.uplink_fault(id));
        let dead = &watch.dead_resolver;
        let resolver = (!dead.is_empty())
            .then(|| Fault { sign: Sign::ResolverDead, reason: no_resolver(dead.len()) });
        let ports = if fault.is_none() { self.blocked_ports(id) } else { BTreeSet::new() };
        (fault.or(resolver), ports)
    }

    fn views_from(
        &self,
        id: VantageId,
        canary: bool,
    ) -> impl Iterator<Item = (&super::TargetWatch, &View)> {
        let watches = self.targets.values().filter(move |watch| watch.canary == canary);
        watches.flat_map(move |watch| {
            let views = watch.views.iter().filter(move |((vantage, _), _)| *vantage == id);
            views.map(move |(_, view)| (watch, view))
        })
    }

    /// Most targets are refused by our own kernel, of each family that is asked: whoever has no
    /// IPv6 can still tell of IPv4.
    fn local_majority(&self, id: VantageId) -> Option<Fault> {
        let shares = self.vantages.get(&id)?.shares.local;
        let mut asked = shares.into_iter().filter(|share| share.of > 0);
        let refused = asked.clone().count() > 0 && asked.all(Share::at_least_half);
        let mut local = self.views_from(id, false).filter_map(|(_, view)| view.local.as_ref());
        let seen = if refused { local.next()? } else { return None };
        let detail = seen.detail.clone().unwrap_or_else(|| seen.sign.title().into());
        let reason =
            Wording::new(format!("own side: {}", detail.en), format!("探测主机：{}", detail.zh));
        Some(Fault { sign: seen.sign, reason })
    }

    /// Canaries and most targets fall silent together; without canaries several targets do, and
    /// their paths end right behind us.
    fn uplink_fault(&self, id: VantageId) -> Option<Fault> {
        let Shares { canaries, targets, .. } = &self.vantages.get(&id)?.shares;
        let (canaries, targets) = (*canaries, *targets);
        let with_canaries =
            canaries.failing >= 2 && canaries.at_least_half() && targets.at_least_half();
        // Whoever refuses behind the first router, since all fell silent, was reached.
        let refused = |view: &View| {
            let (refused, silent) = (view.refused_beyond, view.missed_since());
            view.stand().mute[0] && refused.zip(silent).is_some_and(|(at, since)| at >= since)
        };
        let at_our_door = || {
            if self.views_from(id, false).any(|(_, view)| refused(view)) {
                return false;
            }
            let mute = self.views_from(id, false).filter(|(_, view)| view.stand().mute[0]);
            let mute = mute.filter(|(_, view)| view.is_current(Probe::Echo)).take(ASKED_MAX);
            all_near(
                mute.map(|(_, view)| view.findings.as_ref().map_or(0, Findings::furthest_word)),
            )
        };
        // One canary is no witness by itself, but its life is one for us.
        let without = canaries.of < 2
            && canaries.failing == canaries.of
            && targets.failing >= 3
            && targets.failing * 5 >= targets.of * 4
            && at_our_door();
        (with_canaries || without)
            .then(|| Fault { sign: Sign::VantageSuspect, reason: fail_together(canaries, targets) })
    }

    /// Ports that fail for canaries and most targets alike, while echo works.
    fn blocked_ports(&self, id: VantageId) -> BTreeSet<u16> {
        let Some(watch) = self.vantages.get(&id) else { return BTreeSet::new() };
        let blocked = |port: u16, shares: &PortShares| {
            let PortShares { canaries, targets } = *shares;
            let of_port = |(watch, _): &(&super::TargetWatch, &View)| watch.port() == Some(port);
            let with_canaries = canaries.failing >= 2 && canaries.at_least_half();
            let near = || {
                let affected = self.views_from(id, false).filter(of_port);
                let affected = affected.filter(|(_, view)| view.stand().lost[0]);
                let affected = affected.filter(|(_, view)| view.is_current(Probe::Syn));
                let affected = affected.take(ASKED_MAX);
                all_near(affected.map(|(_, view)| {
                    let findings = view.findings.as_ref();
                    let path = findings.and_then(|findings| findings.tcp_path.as_ref());
                    path.map_or(0, crate::path::Path::last_router)
                }))
            };
            let without = canaries.of < 2
                && canaries.failing == canaries.of
                && targets.failing >= 3
                && targets.failing * 5 >= targets.of * 4
                && near();
            targets.at_least_half() && (with_canaries || without)
        };
        let ports = watch.shares.ports.iter();
        ports.filter(|(port, shares)| blocked(**port, shares)).map(|(port, _)| *port).collect()
    }

    /// Whether a target can be judged from this vantage at all.
    pub(super) fn can_judge(&self, id: VantageId, port: Option<u16>) -> bool {
        self.vantages.get(&id).is_some_and(|watch| {
            let resolver_only =
                watch.fault.as_ref().is_some_and(|fault| fault.sign == Sign::ResolverDead);
            let open = watch.is_up() && (watch.fault.is_none() || resolver_only);
            open && port.is_none_or(|port| !watch.bad_ports.contains(&port))
        })
    }
}

/// Whether several paths, by how far away somebody was heard, all end right behind us.
fn all_near(last_routers: impl Iterator<Item = u8>) -> bool {
    let (mut count, mut all) = (0, true);
    for last in last_routers {
        count += 1;
        all &= last <= 1;
    }
    count >= 2 && all
}

/// The class a vantage fault is told as.
pub(super) const FAULT_CLASS: Class = Class::VantageFault;

fn no_resolver(names: usize) -> Wording {
    Wording::new(
        format!("no resolver answers ({names} names concerned)"),
        format!("解析器均无响应（涉及 {names} 个域名）"),
    )
}

fn fail_together(canaries: Share, targets: Share) -> Wording {
    let (canary, canary_all) = (canaries.failing, canaries.of);
    let (target, target_all) = (targets.failing, targets.of);
    Wording::new(
        format!(
            "{canary} of {canary_all} canaries and {target} of {target_all} targets fail together"
        ),
        format!("{canary_all} 个金丝雀中 {canary} 个、{target_all} 个目标中 {target} 个同时失败"),
    )
}

pub(super) fn port_list(ports: &BTreeSet<u16>) -> Wording {
    let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    Wording::new(
        format!("outbound TCP {ports} fails for everybody"),
        format!("出方向 TCP {ports} 对所有目标均失败"),
    )
}
