//! From findings to signs: every number is reduced to one of a closed set of values.

use std::time::Duration;

use super::Depth;
pub use super::details::service_detail;
use super::findings::Findings;
use super::{details, ports, reached, security, senders, service, splits};
use crate::evidence::{
    AnswerKind, ConnectReport, ConnectResult, IcmpKind, InvalidReason, LocalError,
};
use crate::judge::Sign;
use crate::monitor::Baseline;
use crate::path::{Path, PathEnd, distance};
use crate::probe::flows::FlowFates;
use crate::probe::series::Tally;
use crate::statistics::{ALIKE, at_least, loss_above, real};
use crate::target::{Fronted, Target};
use crate::wording::Wording;

/// Belief in loss above the threshold from which a series counts as lossy.
pub(super) const LOSSY: f64 = 0.9;
/// A first look claims a loss only when it is probably above this.
const COLD_CLAIM: f64 = 0.10;
/// One probe of so many that was spoilt leaves a count open.
const SPOILT_SHARE: u64 = 4;
/// Probes from which a count that settles nothing is told as one: fewer are no count.
const COUNTED: u64 = 40;
/// So many SYNs of each fate, in no order, are no accident.
const MIXED: u64 = 2;
/// A host-unreachable later than this comes from a router whose neighbour does not answer: Linux
/// asks three times, a second apart, before it says so.
const NEIGHBOUR_DELAY: Duration = Duration::from_millis(800);

/// When hosts and kernels repeat what opens a connection: after a second, and each time after twice
/// as long (RFC 6298 2.1, 5.5).
const REPETITIONS: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(7)];
/// How much sooner than that an acceptance may come, by the jitter of the quickest, and how much
/// later, by that of its own.
const SOONER: Duration = Duration::from_millis(100);
const LATER: Duration = Duration::from_millis(400);

/// A sign with the numbers behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The value.
    pub sign: Sign,
    /// The numbers, for people.
    pub detail: Option<Wording>,
}

impl Seen {
    /// A sign with its numbers.
    pub const fn new(sign: Sign, detail: Option<Wording>) -> Self {
        Self { sign, detail }
    }
}

/// Reads all signs off one survey.
pub fn signs(findings: &Findings, target: &Target, baseline: Option<&Baseline>) -> Vec<Seen> {
    match findings.as_it_stands() {
        Some(since) => signs_of(&since, target, baseline),
        None => signs_of(findings, target, baseline),
    }
}

fn signs_of(findings: &Findings, target: &Target, baseline: Option<&Baseline>) -> Vec<Seen> {
    let local = local(findings);
    let fronted = is_fronted(findings, target);
    let mut seen = Vec::new();
    if is_dead_neighbour(findings) {
        seen.extend(dead_neighbour(findings));
    } else if local.sign == Sign::LocalFine {
        seen.extend(if fronted { front(findings) } else { echo(findings, target) });
        seen.extend(syn(findings, target));
        seen.extend(unreachable(findings, fronted, baseline));
        seen.extend(resets(findings, target, baseline));
        seen.extend(path(findings, fronted));
        seen.extend(siblings(findings, baseline));
        seen.extend(change(findings, baseline));
        seen.extend(service::sign(findings, target, baseline));
        seen.extend(security::signs(findings));
        seen.extend(splits::signs(findings, baseline));
        seen.extend(senders::signs(findings, target, baseline));
        seen.extend(ports::signs(findings, fronted, baseline));
        seen.extend(history(baseline, findings).filter(|_| !fronted));
        seen.extend(way_out(findings, baseline));
    }
    seen.push(local);
    seen
}

fn counts(tally: &Tally) -> Option<Wording> {
    let (received, valid) = (tally.received(), tally.valid());
    let repeated = (missing(tally) + received).saturating_sub(valid);
    Some(details::counts(received, valid, repeated))
}

/// Whether a first look has enough probes for a claim: some forty settle a loss of 30 %, and a
/// smaller claim would be wrong too often (DESIGN section 9). Echoes that are spared take nothing
/// from what SYNs say by themselves.
fn may_claim_loss(findings: &Findings) -> bool {
    let enough = findings.depth != Depth::Full || findings.rates.is_some();
    let clear = |lost, sent| loss_above(COLD_CLAIM, lost, sent) > LOSSY;
    let syn = findings.syn.as_ref().map_or((0, 0), |syn| (missing(syn), syn.valid()));
    let echo = (missing(&findings.echo), findings.echo.valid());
    enough || clear(syn.0, syn.1) || clear(syn.0 + echo.0, syn.1 + echo.1)
}

/// Whether enough is missing to speak of loss, given what is there. Where nothing is missing there
/// is none: a few answers cannot refute a small threshold, and need not.
pub fn is_lossy(tally: &Tally, threshold: f64) -> bool {
    let missing = missing(tally);
    let above = || loss_above(threshold, missing, tally.valid()) > LOSSY;
    tally.received() > 0 && missing > 0 && above()
}

/// How probably more is lost than may be, where a patient count leaves that open and it is likelier
/// than not.
pub fn open_loss(findings: &Findings, threshold: f64) -> Option<f64> {
    let deciding = findings.deciding();
    let (lost, sent) = (missing(deciding), deciding.valid());
    let counted = deciding.received() > 0 && sent >= COUNTED;
    let above = (counted && lost > 0).then(|| loss_above(threshold, lost, sent))?;
    (above > 0.5 && above <= LOSSY).then_some(above)
}

/// Probes whose first SYN or first answer went missing: those lost, and those that only a
/// repetition saved. A host repeats its SYN-ACK after a second (RFC 6298 2.1); through sockets our
/// own kernel repeats the SYN, and then no time is known, since nobody knows which was answered.
pub fn missing(tally: &Tally) -> u64 {
    let lost = tally.valid().saturating_sub(tally.received());
    if tally.count(AnswerKind::SynAck) == 0 {
        return lost;
    }
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let quickest = tally.rtts.iter().min().copied().unwrap_or_default();
    let late = tally.rtts.iter().filter(|rtt| is_repetition(**rtt - quickest)).count();
    let through_sockets = tally.ttls.is_empty();
    let untimed = tally.received().saturating_sub(count(tally.rtts.len()));
    lost + count(late) + if through_sockets { untimed } else { 0 }
}

/// Whether an acceptance so much later than the quickest waited for a timer: what the network
/// keeps, it keeps for any time.
pub(super) fn is_repetition(later: Duration) -> bool {
    REPETITIONS.iter().any(|timer| later + SOONER >= *timer && later <= *timer + LATER)
}

/// Whether something stands before the host and answers echoes for it. Where nothing but echo is
/// asked, whoever answers it is what is watched.
fn is_fronted(findings: &Findings, target: &Target) -> bool {
    let told = target.fronted != Fronted::None || speaks_for_another(findings);
    told && findings.port.is_some()
}

/// Whether the target echoes, and says of a SYN that its host does not answer, as much later than
/// its echoes as a router that asked for a neighbour in vain: it passes the port on.
fn speaks_for_another(findings: &Findings) -> bool {
    let Some(syn) = &findings.syn else { return false };
    let of_itself = syn.main_error() == Some((IcmpKind::HostUnreachable, findings.address));
    let way = findings.echo.slowest().unwrap_or_default();
    let late = syn.slowest_error(IcmpKind::HostUnreachable) > Some(way + NEIGHBOUR_DELAY);
    findings.echo.received() > 0 && syn.received() == 0 && of_itself && late
}

/// What a front says of the host behind it is only that the way to it is open.
fn front(findings: &Findings) -> Option<Seen> {
    let tally = &findings.echo;
    if tally.valid() == 0 || tally.received() == 0 && errors_at_full_ttl(tally) > 0 {
        return None;
    }
    let sign = if tally.received() > 0 { Sign::FrontAnswers } else { Sign::FrontSilent };
    Some(Seen::new(sign, counts(tally)))
}

fn echo(findings: &Findings, target: &Target) -> Option<Seen> {
    let tally = &findings.echo;
    if tally.valid() == 0 {
        return None;
    }
    let sign = if tally.received() > 0 {
        let lossy = is_lossy(tally, target.loss_threshold) && may_claim_loss(findings);
        if !lossy && is_doubtful(tally, target.loss_threshold) {
            return None;
        }
        if lossy { Sign::EchoPartial } else { Sign::EchoAnswered }
    } else if errors_at_full_ttl(tally) > 0 {
        Sign::EchoError
    } else {
        Sign::EchoSilent
    };
    Some(Seen::new(sign, counts(tally)))
}

fn syn(findings: &Findings, target: &Target) -> Option<Seen> {
    let tally = findings.syn.as_ref()?;
    if tally.valid() == 0 {
        return None;
    }
    let (accepted, reset) = (tally.count(AnswerKind::SynAck), tally.count(AnswerKind::Reset));
    let closed = match tally.turned_to() {
        Some(kind) => kind == AnswerKind::Reset,
        None => reset > accepted,
    };
    let sign = if tally.turned_to().is_none() && accepted.min(reset) >= MIXED {
        Sign::SynMixed
    } else if closed {
        Sign::SynReset
    } else if accepted > 0 {
        let threshold = target.loss_threshold;
        let lossy = is_lossy(tally, threshold) || shares_loss(tally, &findings.echo, threshold);
        let lossy = lossy && may_claim_loss(findings);
        if !lossy && is_doubtful(tally, threshold) {
            return None;
        }
        // A flow that fails for good is a loss however few of all packets it takes.
        if lossy || findings.is_split() { Sign::SynPartial } else { Sign::SynAccepted }
    } else if errors_at_full_ttl(tally) > 0 {
        Sign::SynError
    } else {
        Sign::SynSilent
    };
    Some(Seen::new(sign, counts(tally)))
}

/// Whether our own side spoilt so many probes that the loss may be what is claimed or none: a probe
/// that is answered is never spoilt, so those that were may all have been lost.
fn is_doubtful(tally: &Tally, threshold: f64) -> bool {
    let spoilt = tally.spoilt();
    let sent = tally.valid() + spoilt;
    let is_lossy = || loss_above(threshold, missing(tally) + spoilt, sent) > LOSSY;
    spoilt > 0 && spoilt >= sent / SPOILT_SHARE && is_lossy()
}

/// Whether SYNs, too few of them lost to say so alone, are lost as often as echoes beside them:
/// then both tell of the path. A host or a router that limits echoes spares SYNs.
fn shares_loss(syn: &Tally, echo: &Tally, threshold: f64) -> bool {
    let (lost, sent) = (missing(syn), syn.valid());
    if lost < 2 || missing(echo) == 0 {
        return false;
    }
    let (all_lost, all_sent) = (lost + missing(echo), sent + echo.valid());
    let so_few = 1.0 - at_least(lost + 1, sent, real(all_lost) / real(all_sent));
    so_few >= ALIKE && loss_above(threshold, all_lost, all_sent) > LOSSY
}

fn errors_at_full_ttl(tally: &Tally) -> usize {
    tally.errors.iter().filter(|(error, _)| error.kind != IcmpKind::TooBig).count()
}

/// The ICMP error that matters, of SYNs or else of echoes; beside answers, one of most that miss.
fn main_tally(findings: &Findings) -> Option<&Tally> {
    let mut candidates = [findings.syn.as_ref(), Some(&findings.echo)].into_iter().flatten();
    candidates.find(|tally| {
        let errors = errors_at_full_ttl(tally);
        let most = || errors >= 2 && real(missing(tally)) <= 2.0 * errors as f64;
        errors > 0 && (tally.received() == 0 || most())
    })
}

fn unreachable(findings: &Findings, fronted: bool, baseline: Option<&Baseline>) -> Vec<Seen> {
    let Some((tally, (kind, from))) =
        main_tally(findings).and_then(|tally| Some((tally, tally.main_error()?)))
    else {
        return senders::of_neighbours(findings);
    };
    let sign = match kind {
        IcmpKind::NetUnreachable => Sign::NetUnreachable,
        IcmpKind::HostUnreachable => Sign::HostUnreachable,
        IcmpKind::PortUnreachable => Sign::PortUnreachable,
        IcmpKind::Prohibited => Sign::Prohibited,
        IcmpKind::TimeExceeded => Sign::TimeExceeded,
        IcmpKind::TooBig | IcmpKind::Other => Sign::NoError,
    };
    let mut seen = vec![Seen::new(sign, Some(details::from(from)))];
    if kind == IcmpKind::HostUnreachable
        && let Some(delay) = tally.slowest_error(kind)
    {
        let late = delay > NEIGHBOUR_DELAY;
        let sign = if late { Sign::ErrorDelayed } else { Sign::ErrorAtOnce };
        seen.push(Seen::new(sign, Some(details::after(delay))));
    }
    let origin = match sibling_sign(findings, baseline) {
        // A front is the last router of the host behind it.
        _ if from == findings.address && fronted => Some(Sign::FromLastRouter),
        _ if from == findings.address => Some(Sign::FromTarget),
        Some(Sign::SiblingFurther) => Some(Sign::FromPath),
        Some(_) => Some(Sign::FromLastRouter),
        None => None,
    };
    seen.extend(origin.map(|sign| Seen::new(sign, Some(Wording::same(from.to_string())))));
    seen
}

fn resets(findings: &Findings, target: &Target, baseline: Option<&Baseline>) -> Vec<Seen> {
    let Some(tally) = &findings.syn else { return Vec::new() };
    let mut seen = Vec::new();
    if tally.two_answers {
        seen.push(Seen::new(Sign::TwoAnswers, Some(details::two_answers())));
    } else if !tally.resets.is_empty() {
        seen.push(Seen::new(Sign::SingleAnswer, None));
    }
    // Behind a balancer, a NAT or an anycast address distances are no fingerprint.
    if target.fronted != Fronted::None {
        return seen;
    }
    let Some(reset) = tally.resets.iter().find_map(|reset| reset.ttl).map(distance) else {
        return seen;
    };
    // Where the host echoes nothing, by where it was; else by routers that are further than what
    // resets.
    let learnt = baseline.and_then(|baseline| baseline.distance);
    if let Some(host) = findings.echo.ttl().map(distance).or(learnt) {
        let sign = if reset == host { Sign::ResetSame } else { Sign::ResetElsewhere };
        seen.push(Seen::new(sign, Some(details::reset_distance(reset, host))));
    } else if let Some((reached, beyond)) = senders::router_beyond(findings) {
        let detail = details::router_beyond(reached, beyond);
        seen.push(Seen::new(Sign::ResetElsewhere, Some(detail)));
    }
    seen
}

fn path(findings: &Findings, fronted: bool) -> Option<Seen> {
    let ends = |path: &Option<Path>| path.as_ref().map(|path| path.end);
    let (icmp, tcp) = (ends(&findings.icmp_path), ends(&findings.tcp_path));
    if icmp.is_none() && tcp.is_none() {
        return None;
    }
    let looped = |end: Option<PathEnd>| end == Some(PathEnd::Loop);
    // A trace is short of packets: what the target answered at full hop limit proves its way.
    let accepted = |syn: &Tally| syn.count(AnswerKind::SynAck) > 0;
    let tcp_reaches = tcp.is_some_and(reached) || findings.syn.as_ref().is_some_and(accepted);
    let icmp_reaches = icmp.is_some_and(reached) || findings.echo.received() > 0;
    let sign = if looped(icmp) || looped(tcp) {
        Sign::PathLoops
    } else if tcp_reaches {
        Sign::PathReachesTarget
    } else if icmp_reaches && fronted {
        // Echo ends at the front, and TCP behind it, wherever that is.
        return None;
    } else if icmp_reaches {
        if tcp.is_some() { Sign::TcpStopsAlone } else { Sign::PathReachesTarget }
    } else {
        Sign::PathStops
    };
    // A hop's silence is a fact no sooner than that of the target: until then the trace is open.
    let waited = match sign {
        Sign::TcpStopsAlone => findings.syn.as_ref().is_some_and(|tally| tally.valid() > 0),
        Sign::PathStops => {
            let tallies = [Some(&findings.echo), findings.syn.as_ref()];
            tallies.into_iter().flatten().any(|tally| tally.valid() > 0)
        }
        _ => true,
    };
    if !waited {
        return None;
    }
    let last = findings.last_router();
    let stops = matches!(sign, Sign::PathStops | Sign::TcpStopsAlone);
    let detail = stops.then(|| details::last_answer(last));
    Some(Seen::new(sign, detail))
}

fn siblings(findings: &Findings, baseline: Option<&Baseline>) -> Option<Seen> {
    let sign = sibling_sign(findings, baseline)?;
    let furthest = findings.siblings.iter().max_by_key(|sibling| sibling.path.last_router())?;
    let further = (furthest.address, furthest.path.last_router());
    Some(Seen::new(sign, Some(details::sibling(further, findings.last_router()))))
}

/// Compares the paths toward neighbours with the target's own. Silent hops make no difference, so
/// only routers that answer count, and a sibling that merely falls silent says nothing.
fn sibling_sign(findings: &Findings, baseline: Option<&Baseline>) -> Option<Sign> {
    let own = findings.last_router();
    let paths = || findings.siblings.iter().map(|sibling| &sibling.path);
    if paths().any(|path| path.last_router() > own) {
        return Some(Sign::SiblingFurther);
    }
    let arrives = |path: &Path| match path.end {
        PathEnd::Reached(ttl) => own > 0 && (ttl == own || ttl == own + 1),
        PathEnd::Unreachable { .. } | PathEnd::Loop | PathEnd::Silent => false,
    };
    if paths().any(arrives) {
        return Some(Sign::SiblingSame);
    }
    let own_sender = main_tally(findings).and_then(Tally::main_error).map(|(_, from)| from);
    let own_sender = own_sender.or(findings.neighbour_error.map(|error| error.from));
    let fails_too = |path: &Path| match path.end {
        PathEnd::Unreachable { from, .. } => Some(from) == own_sender,
        PathEnd::Reached(_) | PathEnd::Loop | PathEnd::Silent => false,
    };
    // The routers that were learnt behind where the path ends now stand before the neighbours as
    // well: they would answer, whoever has those addresses.
    let alive = || findings.asides.is_neighbour_alive();
    let cut_off = || paths().count() > 0 && !alive() && shortened(findings, baseline).is_some();
    (paths().any(fails_too) || cut_off()).then_some(Sign::SiblingFailsToo)
}

/// Whether neither SYNs nor echoes get to the target.
fn stops(findings: &Findings) -> bool {
    path(findings, false).is_some_and(|seen| seen.sign == Sign::PathStops)
}

/// How far the path was learnt to go while the target answered, where it ends before that now.
fn shortened(findings: &Findings, baseline: Option<&Baseline>) -> Option<u8> {
    let learnt = baseline?.last_router?;
    (stops(findings) && heard_up_to(findings, baseline) < learnt).then_some(learnt)
}

/// How far anybody was heard from. Routers limit how often they answer traces, but whoever refuses
/// a probe of the full hop limit tells by its distance where it stands, if it is known how much
/// longer the way back is than the way there.
fn heard_up_to(findings: &Findings, baseline: Option<&Baseline>) -> u8 {
    let learnt = baseline.and_then(|learnt| learnt.distance.zip(learnt.path_length));
    let detour = learnt.map(|(distance, length)| i16::from(distance) + 1 - i16::from(length));
    let tallies = [Some(&findings.echo), findings.syn.as_ref()].into_iter().flatten();
    let passed = tallies.flat_map(|tally| &tally.errors).filter_map(|(error, _)| error.ttl);
    let hops = passed.filter_map(|ttl| {
        let hop = i16::from(distance(ttl)) + 1 - detour?;
        u8::try_from(hop).ok()
    });
    hops.fold(findings.furthest_word(), u8::max)
}

/// Whoever is heard from behind our own gateway proves that the way out works. Where nobody is, be
/// it the first router or a neighbour, it may as well be our own that fails, unless routers kept
/// silent while the target answered.
fn way_out(findings: &Findings, baseline: Option<&Baseline>) -> Option<Seen> {
    let heard = findings.furthest_word();
    if !stops(findings) {
        return None;
    }
    let around = findings.siblings.iter().map(|sibling| &sibling.path);
    let nobody = heard == 0 && !around.into_iter().any(is_heard) && !errs(findings);
    let usual = baseline.is_some_and(|learnt| learnt.last_router.is_none_or(|last| last == 0));
    match heard {
        0 if nobody && !usual => {
            Some(Seen::new(Sign::VantageUnheard, Some(details::nobody_heard())))
        }
        0 | 1 => None,
        _ => Some(Seen::new(Sign::VantageFine, Some(details::hop_answers(heard)))),
    }
}

/// Whether any router or the end of a path answered.
fn is_heard(path: &Path) -> bool {
    path.last_router() > 0 || reached(path.end)
}

fn errs(findings: &Findings) -> bool {
    let tallies = [Some(&findings.echo), findings.syn.as_ref()];
    tallies.into_iter().flatten().any(|tally| errors_at_full_ttl(tally) > 0)
}

fn change(findings: &Findings, baseline: Option<&Baseline>) -> Option<Seen> {
    let learnt = baseline?.last_router?;
    if !stops(findings) {
        return None;
    }
    let shorter = shortened(findings, baseline).is_some();
    let sign = if shorter { Sign::PathShortened } else { Sign::PathAsLearnt };
    let last = heard_up_to(findings, baseline);
    Some(Seen::new(sign, Some(details::learnt_path(last, learnt))))
}

fn history(baseline: Option<&Baseline>, findings: &Findings) -> Option<Seen> {
    let baseline = baseline?;
    if findings.echo.received() > 0 {
        return None;
    }
    let sign =
        if baseline.echo_answered { Sign::EchoUsedToAnswer } else { Sign::EchoNeverAnswered };
    Some(Seen::new(sign, None))
}

/// Whether our own kernel could not pass probes on, while nothing at all was heard.
///
/// A neighbour entry that is still believed lets the first packets leave for nobody, so some that
/// left prove nothing where no hop ever answered.
fn held_back(findings: &Findings) -> Option<Wording> {
    let tallies = || [Some(&findings.echo), findings.syn.as_ref()].into_iter().flatten();
    if tallies().any(|tally| tally.received() > 0) {
        return None;
    }
    if tallies().any(|tally| tally.gave_up) {
        return Some(details::next_hop_silent());
    }
    let heard = findings.last_router() > 0
        || findings.siblings.iter().any(|sibling| is_heard(&sibling.path))
        || errs(findings);
    (tallies().all(was_held_back) && !heard).then(details::never_left)
}

/// Whether the target shares our own network and does not answer neighbour discovery: the kernel's
/// routes say so, or its neighbours answer without a router between. No gateway is at fault then.
fn is_dead_neighbour(findings: &Findings) -> bool {
    let ended = |error| {
        let report = findings.connect.as_ref();
        report.is_some_and(|report| report.result == ConnectResult::Local(error))
    };
    let direct = findings.siblings.iter().any(|sibling| sibling.path.end == PathEnd::Reached(1));
    let tallies = || [Some(&findings.echo), findings.syn.as_ref()].into_iter().flatten();
    let told =
        findings.local.contains(&LocalError::GatewaySilent) || ended(LocalError::GatewaySilent);
    let held = told || tallies().any(|tally| tally.gave_up) || tallies().all(was_held_back);
    let alone = direct && held || ended(LocalError::NeighbourSilent);
    alone && tallies().all(|tally| tally.received() == 0)
}

fn was_held_back(tally: &Tally) -> bool {
    tally.counters.invalid.contains_key(&InvalidReason::NotSeenLeaving)
}

/// What a dead neighbour shows: our own kernel says about it what a last router says elsewhere.
/// Where no other neighbour answers, our own link may be what is dead.
fn dead_neighbour(findings: &Findings) -> Vec<Seen> {
    let mut seen = vec![
        Seen::new(Sign::EchoError, None),
        Seen::new(Sign::HostUnreachable, Some(details::no_neighbour())),
        Seen::new(Sign::FromLastRouter, None),
        Seen::new(Sign::ErrorDelayed, None),
        Seen::new(Sign::PathStops, None),
    ];
    seen.extend(findings.port.map(|_| Seen::new(Sign::SynError, None)));
    if findings.siblings.iter().any(|sibling| sibling.path.end == PathEnd::Reached(1)) {
        seen.push(Seen::new(Sign::SiblingSame, Some(details::neighbours_near())));
    } else {
        seen.push(Seen::new(Sign::VantageUnheard, Some(details::nobody_heard())));
    }
    seen
}

/// What a refusal of our own kernel says of our side; `None` when it says nothing.
pub const fn local_sign(error: LocalError) -> Option<Sign> {
    match error {
        LocalError::NoRoute | LocalError::VantageGone => Some(Sign::LocalNoRoute),
        LocalError::GatewaySilent => Some(Sign::LocalGatewaySilent),
        LocalError::Blocked => Some(Sign::LocalBlocked),
        LocalError::Exhausted => Some(Sign::LocalExhausted),
        LocalError::NoPrivilege => Some(Sign::LocalNoPrivilege),
        LocalError::NeighbourSilent | LocalError::TooLarge | LocalError::Other(_) => None,
    }
}

/// What our own side says: fine, or what it refused.
pub fn local(findings: &Findings) -> Seen {
    let connect = match findings.connect.as_ref().map(|report| &report.result) {
        Some(ConnectResult::Local(error)) => Some(*error),
        _ => None,
    };
    let at_fault =
        |error: &LocalError| *error != LocalError::GatewaySilent || !is_dead_neighbour(findings);
    for error in findings.local.iter().copied().chain(connect).filter(at_fault) {
        // A missing right is told by the vantage itself, and its probes are merely invalid.
        let Some(sign) = local_sign(error).filter(|sign| *sign != Sign::LocalNoPrivilege) else {
            continue;
        };
        return Seen::new(sign, Some(error.title().into()));
    }
    if let Some(detail) = held_back(findings).filter(|_| !is_dead_neighbour(findings)) {
        return Seen::new(Sign::LocalGatewaySilent, Some(detail));
    }
    // The ring reads before netfilter: an acceptance of the connection itself that it saw and the
    // kernel did not was eaten here. One that it did not see either was never sent, or not to us.
    let accepted = findings.syn.as_ref().is_some_and(|tally| {
        // The flow of the connection itself is asked as well, and may still be held over there.
        let (accepted, held) =
            (tally.count(AnswerKind::SynAck), tally.count(AnswerKind::ChallengeAck));
        let is_captured = !tally.ttls.is_empty();
        is_captured
            && findings.overheard.is_some()
            && accepted >= 3
            && accepted + held == tally.valid()
    });
    // Unless that one flow is dead on the wire as well.
    let is_dead = |port: Option<u16>| {
        let dead = findings.flows.as_ref().map(FlowFates::dead).unwrap_or_default();
        port.is_some_and(|port| dead.contains(&port))
    };
    let timed_out = |report: &ConnectReport| {
        report.result == ConnectResult::TimedOut && !is_dead(report.local_port)
    };
    if accepted && findings.connect.as_ref().is_some_and(timed_out) {
        return Seen::new(Sign::LocalBlocked, Some(details::eaten_acceptance()));
    }
    Seen::new(Sign::LocalFine, spoilt(findings))
}

/// How many probes our own side spoilt, where it did.
fn spoilt(findings: &Findings) -> Option<Wording> {
    let tallies = || [Some(&findings.echo), findings.syn.as_ref()].into_iter().flatten();
    let spoilt: u64 = tallies().map(Tally::spoilt).sum();
    let sent = tallies().map(|tally| tally.counters.sent).sum();
    (spoilt > 0).then(|| details::spoilt(spoilt, sent))
}

#[cfg(test)]
mod tests;
