//! Proxies before a vantage: whoever answers for an address that nobody has answers for others too.
//!
//! A SYN to 192.0.2.1, which is set aside for documentation (RFC 5737), can be answered by nobody
//! but something on our own way that takes every connection itself. What TCP says from such a
//! vantage on that port is worth nothing. It is asked when a vantage opens, once an hour, and
//! before the first verdict that rests on what TCP answered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::chores::Chore;
use super::flights::{FIRST_PORT, News, Purpose as Errand, ViewKey};
use super::standing::VantageWatch;
use super::{Monitor, Output, ProbePacket, Purpose, TargetWatch, Timer};
use crate::evidence::{Answer, AnswerKind};
use crate::judge::verdict::ViewEvidence;
use crate::judge::{Class, Sign};
use crate::probe::{Ask, Question};
use crate::survey::signs::Seen;
use crate::target::TargetName;
use crate::time::Instant;
use crate::vantage::{Binding, VantageId};
use crate::wording::Wording;

/// The address that nobody has.
pub(super) const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The ports of the plan that are asked for without a special reason, the most frequent first.
const PORTS: usize = 4;
/// A proxy of our own side is no further away than this, and what is meant for nobody must not
/// wander.
const NEAR: u8 = 16;
/// How soon after its opening a vantage's ports are known.
const FIRST: Duration = Duration::from_secs(2);
const EVERY: Duration = Duration::from_secs(3_600);
/// A proxy that was found is looked for again this soon: nothing is known of its targets.
const WHILE_FOUND: Duration = Duration::from_secs(15);
/// What was asked so lately needs no asking again, whatever the verdict.
const RECENT: Duration = Duration::from_secs(4);

/// One port of one vantage.
#[derive(Debug, Clone, Copy)]
struct Decoy {
    /// When it was last asked.
    asked: Instant,
    /// Whether its fate is still open.
    open: bool,
}

/// What was asked of nobody.
#[derive(Debug, Default)]
pub(super) struct Decoys {
    asked: BTreeMap<(VantageId, u16), Decoy>,
    /// Verdicts that wait for a fate.
    waiting: BTreeSet<TargetName>,
}

impl Class {
    /// Whether it is read off what somebody answered to TCP.
    const fn rests_on_tcp(self) -> bool {
        matches!(
            self,
            Self::PortClosed
                | Self::ResetInjected
                | Self::ServiceHung
                | Self::WrongService
                | Self::RdpRefused
                | Self::Certificate
        )
    }
}

impl VantageWatch {
    /// What a proxy there makes of evidence about this address and port.
    pub(super) fn proxied(&self, address: IpAddr, port: Option<u16>) -> Option<Seen> {
        let port = port.filter(|port| address.is_ipv4() && self.proxied.contains(port))?;
        Some(Seen::new(Sign::VantageProxied, Some(proxy_text(port))))
    }

    /// What people are told of it.
    pub(super) fn proxy_reason(&self) -> Option<Wording> {
        self.proxied.first().map(|port| proxy_text(*port))
    }
}

fn proxy_text(port: u16) -> Wording {
    Wording::new(
        format!(
            "a SYN to {NOBODY}:{port}, an address that nobody has, is answered: \
             a proxy takes our connections"
        ),
        format!("发往 {NOBODY}:{port}（无人使用的地址）的 SYN 也有应答：连接被透明代理接管"),
    )
}

impl Monitor {
    /// A vantage opened or closed.
    pub(super) fn plan_decoys(&mut self, now: Instant, id: VantageId, up: bool) {
        self.decoys.asked.retain(|(vantage, _), _| *vantage != id);
        let watching = self.purpose == Purpose::Watch;
        self.timers.set(Timer::Decoys(id), (up && watching).then_some(now + FIRST));
        if up && !watching {
            self.run_decoys(now, id);
        }
    }

    /// Asks nobody, on the ports of the plan.
    pub(super) fn run_decoys(&mut self, now: Instant, id: VantageId) {
        let Some(watch) = self.vantages.get(&id).filter(|watch| watch.is_up()) else { return };
        let found: Vec<_> = watch.proxied.iter().copied().collect();
        let ports = if found.is_empty() { self.decoy_ports(id) } else { found.clone() };
        let asked = ports.into_iter().filter(|port| self.ask_nobody(now, id, *port)).count();
        if self.purpose == Purpose::Watch {
            let again = if asked == 0 || !found.is_empty() { WHILE_FOUND } else { EVERY };
            self.timers.set(Timer::Decoys(id), Some(now + again));
        }
    }

    fn decoy_ports(&self, id: VantageId) -> Vec<u16> {
        let Some(watch) = self.vantages.get(&id) else { return Vec::new() };
        let mut counts = match self.purpose {
            Purpose::Watch => watch.shares.asked_ports(),
            Purpose::Once => {
                let name = &watch.vantage.name;
                let targets = self.targets.values().filter(|target| {
                    let is_v6 = target.target.host.parse::<Ipv6Addr>().is_ok();
                    target.is_watched_from(name) && !is_v6
                });
                let mut counts = BTreeMap::new();
                for port in targets.filter_map(TargetWatch::port) {
                    *counts.entry(port).or_insert(0) += 1;
                }
                counts.into_iter().collect()
            }
        };
        counts.sort_by_key(|(port, count)| (std::cmp::Reverse(*count), *port));
        counts.into_iter().take(PORTS).map(|(port, _)| port).collect()
    }

    /// Sends one SYN to the address that nobody has, unless one is under way.
    fn ask_nobody(&mut self, now: Instant, id: VantageId, port: u16) -> bool {
        let Some(watch) = self.vantages.get(&id).filter(|watch| watch.is_up()) else {
            return false;
        };
        let tap = watch.tap();
        let v6 = matches!(watch.vantage.binding, Binding::Source(source) if source.is_ipv6());
        let open = self.decoys.asked.get(&(id, port)).is_some_and(|decoy| decoy.open);
        // Where it is a target, somebody has it.
        let taken = self.neighbourhood.has(id, NOBODY);
        if v6 || open || taken || !self.flights.has_room() {
            return open;
        }
        if self.budgets.admit(now, NOBODY).is_err() {
            return false;
        }
        self.budgets.spend(now, NOBODY);
        let target = TargetName::new(&NOBODY.to_string());
        let key = ViewKey { target, vantage: id, address: NOBODY };
        let what = Question::SameFlow { port, source_port: FIRST_PORT };
        let ask = Ask { id: 0, what, ttl: NEAR };
        let connects = self.sweep.connects(now, id);
        let tap = tap.filter(|_| !connects);
        let route = (key, Errand::Decoy(port), NOBODY);
        let mut order = self.flights.order(now, route, &ask, (tap, 0));
        if connects {
            order.what = ProbePacket::Connect { dest_port: port };
        }
        self.outputs.push_back(Output::Send(order));
        self.decoys.asked.insert((id, port), Decoy { asked: now, open: true });
        true
    }

    /// The fate of a SYN to nobody. A reset is none of a proxy's: firewalls refuse such addresses
    /// so, and answer for nobody.
    pub(super) fn take_decoy(&mut self, now: Instant, id: VantageId, port: u16, news: News) {
        let (seen, late) = match news {
            News::Settled(seen) => (seen, false),
            News::Afterthought { observation, late: true } => (observation, true),
            News::Afterthought { .. } | News::Duplicate | News::ConnectLost => return,
        };
        if let Some(decoy) = self.decoys.asked.get_mut(&(id, port)) {
            decoy.open = false;
        }
        let answered = seen.answer.kind() == AnswerKind::SynAck;
        let invalid = matches!(seen.answer, Answer::Invalid(_));
        if let Some(watch) = self.vantages.get_mut(&id).filter(|_| !invalid && (answered || !late))
        {
            let changed = match answered {
                true => watch.proxied.insert(port),
                false => watch.proxied.remove(&port),
            };
            if changed {
                self.timers.set(Timer::Vantage(id), Some(now));
                self.timers.hasten(Timer::Decoys(id), now + WHILE_FOUND);
                let once = self.purpose == Purpose::Once;
                let names = self.targets.keys().filter(|_| once).cloned();
                self.chores.extend(names.map(Chore::Rejudge));
            }
        }
        let waiting = std::mem::take(&mut self.decoys.waiting);
        self.chores.extend(waiting.into_iter().map(Chore::Rejudge));
    }

    /// Whether a verdict has to wait until it is known who answers TCP here.
    pub(super) fn must_ask_nobody(
        &mut self,
        now: Instant,
        (name, (class, leading)): (&TargetName, (Class, Class)),
        looks: &[(VantageId, Instant)],
    ) -> bool {
        let Some(watch) = self.targets.get(name) else { return false };
        let Some(port) = watch.port() else { return false };
        // Vantages that contradict each other settle on no class; one of them may be lied to.
        let rests = class.rests_on_tcp() || class == Class::Unknown && leading.rests_on_tcp();
        if !rests || watch.class == class {
            return false;
        }
        // In a single look the SYN to nobody left first: whoever has answered for the target by now
        // would have answered that one as well.
        if self.purpose == Purpose::Once {
            return false;
        }
        let mut waits = false;
        for (id, began) in looks {
            let known = self.decoys.asked.get(&(*id, port)).copied();
            waits |= match known {
                Some(decoy) if decoy.open => true,
                Some(decoy) if decoy.asked >= *began || now.since(decoy.asked) < RECENT => false,
                _ => self.ask_nobody(now, *id, port),
            };
        }
        if waits {
            self.decoys.waiting.insert(name.clone());
        }
        waits
    }
}

/// Where and since when the evidence was gathered that somebody answered on IPv4.
pub(super) fn looks(evidence: &[(VantageId, ViewEvidence<'_>)]) -> Vec<(VantageId, Instant)> {
    let looks = evidence.iter().filter_map(|(id, view)| {
        let findings = view.findings.filter(|findings| findings.address.is_ipv4())?;
        let answered = |kind| findings.syn.as_ref().is_some_and(|syn| syn.count(kind) > 0);
        let kinds = [AnswerKind::SynAck, AnswerKind::Reset, AnswerKind::BareReset];
        kinds.into_iter().any(answered).then_some((*id, findings.started))
    });
    looks.collect()
}
