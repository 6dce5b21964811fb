//! Routers that refuse a whole subnet, and limit how often they say so.
//!
//! Of several addresses that become unreachable at once, one look hears the error and another does
//! not, as the limit has it (RFC 1812 4.3.2.8 demands one). Without it, the silent ones would be
//! called blackholed beside those that have no route.

use std::net::IpAddr;
use std::time::Duration;

use super::flights::ViewKey;
use super::groups::TOGETHER;
use super::{Baseline, Monitor};
use crate::evidence::{IcmpAnswer, IcmpKind};
use crate::path::{Path, PathEnd, distance};
use crate::survey::findings::Findings;
use crate::time::Instant;

/// A router's word is believed so long after it was last heard.
const BELIEVED: Duration = Duration::from_secs(120);

/// What a router in front of a subnet said of one of its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    error: IcmpAnswer,
    /// Which address it is about.
    about: IpAddr,
    /// How many hops before the last router it stands; at least one.
    before_last: u8,
    /// When what that address answers had changed.
    since: Instant,
    /// When it was heard.
    at: Instant,
}

impl Refusal {
    /// Which address it is about.
    pub(super) const fn about(&self) -> IpAddr {
        self.about
    }

    /// Who said it.
    pub(super) const fn sender(&self) -> IpAddr {
        self.error.from
    }

    /// The word of a router that is not the last one before this address: that one asks for a
    /// neighbour, and means one host.
    fn of(findings: &Findings, baseline: &Baseline, since: Instant) -> Option<Self> {
        let at = findings.refused?;
        let last = last_hop(baseline)?;
        let tallies = [findings.syn.as_ref(), Some(&findings.echo)].into_iter().flatten();
        if !findings.came_to_nothing() {
            return None;
        }
        let mut errors = tallies.flat_map(|tally| &tally.errors).map(|(error, _)| *error);
        let error = errors.find(|error| {
            let kind = matches!(error.kind, IcmpKind::NetUnreachable | IcmpKind::HostUnreachable);
            kind && error.from != findings.address
        })?;
        let hop = hop_of(findings, error.from).or(error.ttl.map(|ttl| distance(ttl) + 1))?;
        let before_last = last.checked_sub(hop).filter(|hops| *hops > 0)?;
        Some(Self { error, about: findings.address, before_last, since, at })
    }

    /// Whether it tells of an address that nothing was heard of as well: which fell silent with
    /// the other, and on whose way, and on those toward its neighbours, somebody was heard just
    /// before this router and nobody behind it.
    fn tells_of(&self, now: Instant, findings: &Findings, (since, last): (Instant, u8)) -> bool {
        let apart = since.since(self.since).max(self.since.since(since));
        let hop = last.saturating_sub(self.before_last);
        let beyond = |path: &Path| {
            path.last_router() > hop || matches!(path.end, PathEnd::Reached(ttl) if ttl > hop)
        };
        now.since(self.at) < BELIEVED
            && apart <= TOGETHER
            && (hop.saturating_sub(1)..=hop).contains(&findings.last_router())
            && !findings.siblings.iter().any(|sibling| beyond(&sibling.path))
    }
}

/// The hop of the last router before an address, as it was learnt.
fn last_hop(baseline: &Baseline) -> Option<u8> {
    baseline.path_length.map(|length| length.saturating_sub(1)).or(baseline.distance)
}

/// The hop at which a path found this sender.
fn hop_of(findings: &Findings, from: IpAddr) -> Option<u8> {
    let in_path = |path: &Path| {
        let heard = path.hops.iter().find(|hop| hop.address == Some(from)).map(|hop| hop.ttl);
        heard.or(match path.end {
            PathEnd::Unreachable { ttl, from: sender } if sender == from => Some(ttl),
            _ => None,
        })
    };
    findings.icmp_path.iter().chain(&findings.tcp_path).find_map(in_path)
}

impl Monitor {
    /// A look ended: keeps what a router said of the address, or takes what it said of another one.
    pub(super) fn share_refusal(&mut self, now: Instant, key: &ViewKey) {
        let Some(baseline) = self.learnt(key) else { return };
        let at = (key.vantage, key.address);
        let Some(view) = self.targets.get_mut(&key.target).and_then(|it| it.views.get_mut(&at))
        else {
            return;
        };
        let Some(since) = view.changed() else { return };
        let Some(findings) = &mut view.findings else { return };
        if let Some(refusal) = Refusal::of(findings, &baseline, since) {
            self.neighbourhood.note_refusal(at, refusal);
            return;
        }
        if !findings.came_to_nothing() {
            self.neighbourhood.forget_refusal(at);
        }
        let Some(last) = last_hop(&baseline).filter(|_| findings.is_silent()) else { return };
        let refusal = self.neighbourhood.refusal(at);
        let refusal = refusal.filter(|it| it.tells_of(now, findings, (since, last)));
        findings.neighbour_error = refusal.map(|refusal| refusal.error);
    }
}
