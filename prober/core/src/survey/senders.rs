//! Signs of who answers: whether what comes in the host's name comes from where the host is.
//!
//! Distances are compared with distances only (DESIGN section 4 rule 2): a hop limit that arrives
//! depends on the number its sender counts down from, which differs between systems. Where nothing
//! but sockets tell the fates, no hop limit is known and nothing is said.

use std::time::Duration;

use super::details;
use super::findings::Findings;
use super::signs::{Seen, missing};
use crate::evidence::{IcmpAnswer, IcmpKind, Overheard, PeerEnd, ServiceAnswer, TcpAnswer};
use crate::judge::Sign;
use crate::monitor::Baseline;
use crate::path::{Path, PathEnd, distance};
use crate::statistics::real;
use crate::target::{Fronted, Target};
use crate::wording::Wording;

/// What the round trip of one connection may vary by.
const NOISE: Duration = Duration::from_millis(2);

/// Within this time a request that is not acknowledged was said again (RFC 6298 2.1, 5.5).
const REPEATED: Duration = Duration::from_secs(1);
/// How often a kernel says it while a service is waited for: Linux begins with a fifth of a second
/// and doubles it.
const SAID: i32 = 5;
/// How improbable it must be that only chance took all of these.
const CHANCE: f64 = 0.002;

/// What the senders of acceptances and endings say.
pub(super) fn signs(
    findings: &Findings,
    target: &Target,
    baseline: Option<&Baseline>,
) -> Vec<Seen> {
    // Behind a balancer, a NAT or an anycast address distances are no fingerprint.
    if target.fronted != Fronted::None {
        return Vec::new();
    }
    let seen = [
        acceptance(findings, baseline),
        ending(findings),
        receipt(findings),
        moved(findings, baseline),
    ];
    seen.into_iter().flatten().collect()
}

/// What is said of an address that drew no error: nothing, or what a router said of neighbours.
pub(super) fn of_neighbours(findings: &Findings) -> Vec<Seen> {
    let Some(IcmpAnswer { kind, from, .. }) = findings.neighbour_error else {
        return vec![Seen::new(Sign::NoError, None)];
    };
    let sign = match kind {
        IcmpKind::NetUnreachable => Sign::NetUnreachable,
        _ => Sign::HostUnreachable,
    };
    let origin = Seen::new(Sign::FromPath, Some(Wording::same(from.to_string())));
    vec![Seen::new(sign, Some(details::of_neighbours(from))), origin]
}

/// All acceptances of which the packet was seen.
fn acceptances(findings: &Findings) -> impl Iterator<Item = TcpAnswer> {
    let raw = findings.syn.iter().flat_map(|syn| syn.accepted.iter().copied());
    raw.chain(findings.overheard.map(|line| line.accepted))
}

fn acceptance(findings: &Findings, baseline: Option<&Baseline>) -> Option<Seen> {
    let passed = || acceptances(findings).filter_map(|answer| answer.ttl).map(distance);
    let (least, most) = (passed().min()?, passed().max()?);
    let echoed = || findings.echo.ttls.keys().map(|ttl| distance(*ttl));
    if let (Some(nearest), Some(furthest)) = (echoed().min(), echoed().max()) {
        // Acceptances from beyond the echoes' sender say that somebody else echoes.
        let sign = match (most < nearest, least > furthest) {
            (true, _) => Sign::AcceptNearer,
            (false, true) => return None,
            (false, false) => Sign::AcceptSame,
        };
        return Some(Seen::new(sign, Some(details::accept_distance(most, nearest))));
    }
    if let Some((reached, beyond)) = router_beyond(findings) {
        let detail = details::router_beyond(reached, beyond);
        return Some(Seen::new(Sign::AcceptNearer, Some(detail)));
    }
    let reached = findings.tcp_path.as_ref().and_then(reached);
    let learnt = baseline.and_then(|baseline| baseline.distance);
    by_path(findings, (most, reached), learnt)
}

/// The hop limit at which SYNs are answered in the host's name, and that of the furthest router on
/// the way of echoes, where that is no nearer.
pub(super) fn router_beyond(findings: &Findings) -> Option<(u8, u8)> {
    let reached = findings.tcp_path.as_ref().and_then(reached)?;
    let beyond = findings.icmp_path.as_ref().map_or(0, Path::last_router);
    (beyond >= reached).then_some((reached, beyond))
}

/// Where the host echoes nothing: by what was learnt of it, and by how far SYNs had to go. The way
/// back may be shorter than the way there, so the path alone is a weak sign.
fn by_path(
    findings: &Findings,
    (most, reached): (u8, Option<u8>),
    learnt: Option<u8>,
) -> Option<Seen> {
    let path = reached.map(|reached| reached.saturating_sub(1));
    let short = path.map(|path| most < path);
    // No host opens with an empty window; proxies do that have not heard of their host yet.
    let empty = acceptances(findings).all(|answer| answer.window == Some(0));
    let sign = match (learnt.map(|learnt| most < learnt), short) {
        // Whoever answers at the end of a way of this very length is at its end: the way changed.
        (Some(true), Some(false)) if path == Some(most) => return None,
        (Some(true), _) => Sign::AcceptNearer,
        (_, Some(true)) if empty => Sign::AcceptNearer,
        (None, Some(true)) => Sign::AcceptShort,
        (Some(false), Some(true)) => return None,
        (Some(false), _) if learnt == Some(most) => Sign::AcceptSame,
        (None, Some(false)) if path == Some(most) => Sign::AcceptSame,
        (_, _) => return None,
    };
    let detail = details::accept_path(most, path, learnt);
    let detail = if empty { details::with_empty_window(&detail) } else { detail };
    Some(Seen::new(sign, Some(detail)))
}

/// The hop limit at which a SYN was accepted, if the router before it was seen as well: a trace
/// whose probes were lost looks longer than the way is.
fn reached(path: &Path) -> Option<u8> {
    match path.end {
        PathEnd::Reached(ttl) => (path.last_router() + 1 == ttl).then_some(ttl),
        PathEnd::Unreachable { .. } | PathEnd::Loop | PathEnd::Silent => None,
    }
}

/// Whether the host echoes from elsewhere than it was learnt to; another certificate says more.
fn moved(findings: &Findings, baseline: Option<&Baseline>) -> Option<Seen> {
    let learnt = baseline?.distance?;
    let now = distance(findings.echo.ttl()?);
    let another = findings.rdp.as_ref().is_some_and(|seen| seen.replaced.is_some());
    let moved = now != learnt && !another;
    moved.then(|| Seen::new(Sign::MachineMoved, Some(details::moved(now, learnt))))
}

/// Whether the host has the request that is not answered. One that hangs up at once need not say
/// so.
fn receipt(findings: &Findings) -> Option<Seen> {
    let line = findings.overheard?;
    let waited = match findings.connect.as_ref()?.service.as_ref()? {
        ServiceAnswer::Silent => true,
        ServiceAnswer::Closed { reset: false, .. } => {
            line.end.and_then(|end| end.after).is_some_and(|after| after >= REPEATED)
        }
        _ => false,
    };
    let taken = line.acknowledged.filter(|_| waited)?;
    if taken {
        return Some(Seen::new(Sign::RequestTaken, None));
    }
    let lost = || Seen::new(Sign::RequestLost, Some(details::request_lost()));
    (!may_lose_requests(findings)).then(lost)
}

/// Whether the loss that SYNs meet may well take a request and all its repetitions.
fn may_lose_requests(findings: &Findings) -> bool {
    let Some(syn) = &findings.syn else { return false };
    let ratio = (real(missing(syn)) + 1.0) / (real(syn.valid()) + 2.0);
    missing(syn) > 0 && ratio.powi(SAID) > CHANCE
}

/// Who ended the connection before the service answered.
fn ending(findings: &Findings) -> Option<Seen> {
    let report = findings.connect.as_ref()?;
    if !matches!(report.service, Some(ServiceAnswer::Closed { .. })) {
        return None;
    }
    let line = findings.overheard?;
    let end = line.end?;
    let (accepted, ended) = (distance(line.accepted.ttl?), distance(end.ttl));
    if let Some(times) = too_fast(findings, (line, end)) {
        let detail = details::end_too_soon(end.reset, times);
        return Some(Seen::new(Sign::ServiceResetElsewhere, Some(detail)));
    }
    // Before a proxy that accepts in its name the host may still end connections itself.
    let echoed = findings.echo.ttls.keys().any(|ttl| distance(*ttl) == ended);
    let own = ended == accepted || echoed;
    let sign = if own { Sign::ServiceResetSame } else { Sign::ServiceResetElsewhere };
    Some(Seen::new(sign, Some(details::end_distance(end.reset, ended, accepted))))
}

/// An end that came sooner after the request than any answer of the host can.
fn too_fast(
    findings: &Findings,
    (line, end): (Overheard, PeerEnd),
) -> Option<(Duration, Duration)> {
    let after = end.after?;
    let raw = findings.syn.iter().flat_map(|syn| &syn.rtts).copied();
    let least = raw.chain([line.round_trip]).min()?;
    (after + NOISE.max(least / 4) < least).then_some((after, least))
}

#[cfg(test)]
mod tests;
