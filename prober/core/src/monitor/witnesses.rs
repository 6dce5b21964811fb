//! What the vantages know of a target, as far as they are believed.

use super::learning::baseline_key;
use super::standing::VantageWatch;
use super::watch::TargetWatch;
use super::{Monitor, Purpose, VantageState};
use crate::judge::Sign;
use crate::judge::document::Lens;
use crate::judge::verdict::ViewEvidence;
use crate::survey::findings::Findings;
use crate::survey::signs::{Seen, local_sign};
use crate::target::Expect;
use crate::vantage::VantageId;
use crate::wording::Wording;

impl Monitor {
    /// What each vantage says of it that can judge it.
    pub(super) fn evidence<'a>(
        &'a self,
        watch: &'a TargetWatch,
    ) -> Vec<(VantageId, ViewEvidence<'a>)> {
        let port = watch.target.service.has_port().then_some(watch.target.port);
        let once = self.purpose == Purpose::Once;
        let watching = self
            .vantages
            .iter()
            .filter(|(_, vantage)| watch.is_watched_from(&vantage.vantage.name));
        let mut all = Vec::new();
        for (id, vantage) in watching {
            if !once && !self.can_judge(*id, port) {
                continue;
            }
            if let Some(seen) = closed_sign(vantage).filter(|_| once) {
                all.push((*id, bare(watch, vantage, vec![seen])));
                continue;
            }
            let trouble = watch.names.get(id).and_then(|names| names.trouble);
            if let Some(sign) = trouble.filter(|sign| once || *sign != Sign::ResolverDead) {
                let detail = Some(Wording::same(watch.target.host.as_str()));
                all.push((*id, bare(watch, vantage, vec![Seen::new(sign, detail)])));
            }
            for ((at, address), view) in &watch.views {
                if at != id {
                    continue;
                }
                let doubtful = |found: &Findings| !once && vantage.is_doubtful(port, found.started);
                if view.findings.as_ref().is_some_and(doubtful) {
                    continue;
                }
                let learnt = baseline_key(&vantage.vantage.name, *address);
                let baseline = watch.baselines.get(&learnt);
                let seen = vantage.proxied(*address, port).map(|seen| vec![seen]);
                let target = self.as_it_stands(&watch.target, (*at, *address));
                let judged = view.evidence(self.now, &target, baseline);
                let Some((findings, found)) = judged else { continue };
                let seen = seen.unwrap_or(found);
                let mut evidence = bare(watch, vantage, seen);
                evidence.address = Some(*address);
                evidence.findings = Some(findings);
                evidence.baseline = baseline.is_some();
                all.push((*id, evidence));
            }
        }
        all
    }

    /// The same, with what a report names besides.
    pub(super) fn lens<'a>(
        &self,
        watch: &'a TargetWatch,
        (id, view): (VantageId, &'a ViewEvidence<'a>),
    ) -> Lens<'a> {
        let vantage = self.vantages.get(&id);
        let v4 = view.address.is_none_or(|address| address.is_ipv4());
        let counts = vantage.filter(|vantage| vantage.tap().is_some());
        Lens {
            view,
            source: self.flights.source(id, v4),
            rdp: view
                .address
                .and_then(|address| watch.views.get(&(id, address))?.rdp.known())
                .map(|row| &**row),
            capture: counts.map(|vantage| (vantage.capture_packets, vantage.capture_drops)),
        }
    }
}

fn bare<'a>(watch: &TargetWatch, vantage: &'a VantageWatch, seen: Vec<Seen>) -> ViewEvidence<'a> {
    let (name, role) = (vantage.vantage.name.as_str(), vantage.vantage.role);
    let expect: Expect = watch.target.expected_from(name, role.as_str());
    ViewEvidence {
        vantage: name,
        role,
        way: vantage.vantage.way(),
        mode: vantage.mode(),
        address: None,
        findings: None,
        seen,
        expect,
        baseline: false,
    }
}

/// What a vantage that cannot be opened says of itself.
fn closed_sign(vantage: &VantageWatch) -> Option<Seen> {
    let Some(VantageState::Down { error, detail }) = &vantage.state else { return None };
    let sign = local_sign(*error).unwrap_or(Sign::LocalNoRoute);
    Some(Seen::new(sign, Some(detail.clone())))
}
