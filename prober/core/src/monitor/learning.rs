//! Learning: what a healthy target looks like, to compare with when it is not.

use std::net::IpAddr;
use std::time::Duration;

use super::flights::ViewKey;
use super::view::View;
use super::{Baseline, ClosedPort, Event, Monitor};
use crate::evidence::AnswerKind;
use crate::path::{PathEnd, distance};
use crate::probe::asides::is_own_answer;
use crate::probe::series::Tally;
use crate::survey::Depth;
use crate::survey::findings::Findings;
use crate::target::TargetName;
use crate::vantage::VantageId;
use crate::wire::certificate::from_hexadecimal;

/// A healthy look is slower if its best round trip exceeds the usual one by a quarter and this;
/// after so many in a row, half an hour, that is usual.
const SLOWER: Duration = Duration::from_millis(2);
const SLOWER_LOOKS: u8 = 6;
/// How often a baseline that stays the same is told again, for whoever keeps it.
const CONFIRMED_EVERY: Duration = Duration::from_secs(12 * 3_600);

impl Monitor {
    /// What healthy surveys of a target teach for later.
    pub(super) fn learn_baselines(&mut self, name: &TargetName) {
        let Some(watch) = self.targets.get(name) else { return };
        let key = |(vantage, address): &(VantageId, IpAddr)| ViewKey {
            target: name.clone(),
            vantage: *vantage,
            address: *address,
        };
        let keys: Vec<_> = watch.views.keys().map(key).collect();
        keys.iter().for_each(|key| self.learn_baseline(key));
    }

    /// What was learnt of this view in health.
    pub(super) fn learnt(&self, key: &ViewKey) -> Option<Baseline> {
        let vantage = self.vantages.get(&key.vantage)?;
        let name = baseline_key(&vantage.vantage.name, key.address);
        self.targets.get(&key.target)?.baselines.get(&name).copied()
    }

    /// Whether it is known from here what the canary port does in health.
    pub(super) fn knows_closed_port(&self, key: &ViewKey) -> bool {
        self.learnt(key).is_some_and(|baseline| baseline.closed_port.is_some())
    }

    fn learn_baseline(&mut self, key: &ViewKey) {
        let Some(vantage) = self.vantages.get(&key.vantage) else { return };
        let name = baseline_key(&vantage.vantage.name, key.address);
        let Some(watch) = self.targets.get_mut(&key.target) else { return };
        let Some(view) = watch.views.get_mut(&(key.vantage, key.address)) else { return };
        let Some(findings) = &view.findings else { return };
        let answered = findings.syn.as_ref().map_or(findings.echo.received() > 0, |syn| {
            let accepted = syn.count(AnswerKind::SynAck);
            accepted > 0 && accepted == syn.valid()
        });
        if !answered || findings.depth == Depth::Recheck {
            return;
        }
        let length =
            findings.icmp_path.iter().chain(&findings.tcp_path).find_map(|path| match path.end {
                PathEnd::Reached(ttl) => Some(ttl),
                PathEnd::Unreachable { .. } | PathEnd::Loop | PathEnd::Silent => None,
            });
        // A host that echoes nothing is known by the distance of its acceptances.
        let accepted = findings.syn.as_ref().and_then(Tally::ttl);
        let routers = accepted.map(distance);
        let known = watch.baselines.get(&name).copied().unwrap_or_default();
        let hop = findings.echo.ttl().or(accepted).map(distance);
        // Answers that come from elsewhere come by another path: what was learnt of the old one
        // would make the new one look cut short.
        let moved = hop.zip(known.distance).is_some_and(|(now, before)| now != before);
        let known = match moved {
            true => Baseline { path_length: None, last_router: None, ..known },
            false => known,
        };
        // Routers limit their own ICMP: of looks at one path the furthest counts.
        let seen = Some(findings.last_router()).filter(|last| *last > 0);
        let same_path = length.is_none() || length == known.path_length;
        let last_router = seen.max(known.last_router.filter(|_| same_path || seen.is_none()));
        let tallies = [Some(&findings.echo), findings.syn.as_ref()].into_iter().flatten();
        let rtt = tallies.filter_map(|tally| tally.rtts.iter().min()).next().copied();
        let closed = closed_port(findings);
        let service_time = usual_service(findings, known.service_time);
        let look = findings.rdp.as_ref().and_then(|seen| seen.look.shown());
        let shown = look.and_then(|shown| from_hexadecimal(&shown.fingerprint_sha256));
        let echo_answered = findings.echo.received() > 0;
        if seen.is_some() {
            let at = (key.vantage, key.address);
            self.neighbourhood.note_way(at, findings.routers(), moved);
        }
        let baseline = Baseline {
            echo_answered,
            distance: hop.or(known.distance),
            path_length: length.or(known.path_length),
            last_router,
            rtt: usual_rtt(view, rtt, known.rtt.filter(|_| !moved)),
            closed_port: closed.or(known.closed_port),
            service_time,
            certificate: shown.or(known.certificate),
        };
        if let Some(routers) = routers {
            self.neighbourhood.note_distance(key, routers);
        }
        let is_known = watch.baselines.insert(name.clone(), baseline) == Some(baseline);
        // What is kept ages: now and then it is said that it still holds.
        let told = *view.baseline_told.get_or_insert(self.now);
        if !is_known || self.now.since(told) >= CONFIRMED_EVERY {
            view.baseline_told = Some(self.now);
            let event = Event::Baseline { target: key.target.clone(), vantage: name, baseline };
            self.tell(event);
        }
    }
}

/// The round trip that is usual from now on: what is learnt, unless it is faster now, or has been
/// slower for so long that the way must be another. Small changes are not worth a write.
fn usual_rtt(view: &mut View, seen: Option<Duration>, known: Option<Duration>) -> Option<Duration> {
    let (Some(seen), Some(known)) = (seen, known) else { return seen.or(known) };
    view.slower = if seen > known + known / 4 + SLOWER { view.slower.saturating_add(1) } else { 0 };
    let is_faster = seen < known - known / 10;
    if is_faster || view.slower >= SLOWER_LOOKS {
        view.slower = 0;
        return Some(seen);
    }
    Some(known)
}

/// How long the service takes at the upper end: a longer time at once, a much shorter one by
/// halves, so that one quick answer is forgotten.
fn usual_service(findings: &Findings, known: Option<Duration>) -> Option<Duration> {
    let seen = findings.connect.as_ref().and_then(|report| report.service_time);
    let (Some(seen), Some(known)) = (seen, known) else { return seen.or(known) };
    if seen > known + known / 2 {
        Some(seen)
    } else if seen < known / 4 {
        Some(known / 2)
    } else {
        Some(known)
    }
}

/// What the canary port did, if it was asked.
fn closed_port(findings: &Findings) -> Option<ClosedPort> {
    match findings.asides.canary()? {
        AnswerKind::Silence => Some(ClosedPort::Silent),
        kind => is_own_answer(kind).then_some(ClosedPort::Answers),
    }
}

/// Under which name a vantage's baseline is kept: one for each address family.
pub(super) fn baseline_key(vantage: &str, address: IpAddr) -> String {
    if address.is_ipv4() { vantage.to_owned() } else { format!("{vantage} (IPv6)") }
}
