//! The snapshot: all numbers at one moment.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::Monitor;
use super::groups::Place;
use super::standing::VantageWatch;
use crate::incident::IncidentState;
use crate::judge::verdict::Verdict;
use crate::snapshot::{ProbeRow, RdpRow, Snapshot, TargetRow, VantageRow, ViewRow};
use crate::target::TargetName;
use crate::vantage::VantageId;

/// How long a lag is shown, so that a scrape does not miss it.
const LAG_SHOWN_FOR: Duration = Duration::from_secs(60);

/// What the numbers page lists.
pub(super) type Directory = Arc<[ProbeRow]>;

impl Monitor {
    /// The last verdict over a target with its whole distribution; `None` before the first.
    pub fn verdict(&self, target: &TargetName) -> Option<&Verdict> {
        self.targets.get(target)?.verdict.as_ref()
    }

    /// Copies all numbers, for metrics and the HTTP interface.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            schedule_lag: self.lateness(),
            unmatched: self.flights.unmatched() + self.sweep.unmatched(),
            bugs: self.bugs.clone(),
            ..Snapshot::default()
        };
        for watch in self.vantages.values() {
            let blocked =
                (!watch.bad_ports.is_empty()).then(|| super::standing::port_list(&watch.bad_ports));
            let fault = watch.fault.as_ref().map(|fault| fault.reason.clone());
            snapshot.vantages.push(VantageRow {
                name: watch.vantage.name.clone(),
                role: watch.vantage.role,
                mode: watch.mode(),
                healthy: watch.is_believed() && blocked.is_none(),
                fault: fault.or(blocked).map(|reason| reason.en),
                capture_packets: watch.capture_packets,
                capture_drops: watch.capture_drops,
            });
            self.count_alarm(&mut snapshot, &watch.alarm);
        }
        for class in self.groups.classes() {
            *snapshot.incidents.entry((class, IncidentState::Firing)).or_default() += 1;
        }
        snapshot.vantages.sort_by(|a, b| a.name.cmp(&b.name));
        for watch in self.targets.values().filter(|watch| !watch.canary) {
            snapshot.targets.push(TargetRow {
                target: Arc::clone(&watch.target),
                report: watch.report.clone(),
                class: watch.class,
                classes_seen: watch.classes_seen.clone(),
            });
            // One root cause over many targets is one incident.
            for (kind, alarm) in &watch.alarms {
                if self.place_of(&watch.target.name, *kind) != Place::Member {
                    self.count_alarm(&mut snapshot, alarm);
                }
            }
            snapshot.unwatched += u64::from(self.is_unwatched(watch));
        }
        snapshot.probes = self.directory();
        self.view_rows(&mut snapshot);
        snapshot
    }

    /// All rows by vantage, target and probe, made only when one came or went.
    fn directory(&self) -> Directory {
        if let Some(known) = self.directory.borrow().as_ref() {
            return Arc::clone(known);
        }
        let mut rows: Vec<ProbeRow> = Vec::with_capacity(self.sweep.len());
        for (id, vantage) in self.vantages_by_name() {
            let name: Arc<str> = vantage.vantage.name.as_str().into();
            for watch in self.targets.values().filter(|watch| !watch.canary) {
                let first = rows.len();
                let views = watch.views.iter().filter(|((at, _), _)| *at == id);
                for (probe, row) in views.flat_map(|(_, view)| view.rows.all()) {
                    let Some(cell) = self.sweep.cell(row) else { continue };
                    let known = rows.iter_mut().skip(first).find(|known| known.probe == probe);
                    match known {
                        Some(known) => known.others.push(cell),
                        None => rows.push(ProbeRow {
                            vantage: Arc::clone(&name),
                            target: watch.target.name.clone(),
                            probe,
                            cell,
                            others: Vec::new(),
                        }),
                    }
                }
            }
        }
        let rows: Directory = rows.into();
        self.directory.replace(Some(Arc::clone(&rows)));
        rows
    }

    /// How late we were at worst of late.
    fn lateness(&self) -> Duration {
        let (at, lag) = self.worst_lag;
        let recent = self.now.since(at) < LAG_SHOWN_FOR;
        self.sweep.lateness().max(if recent { lag } else { Duration::ZERO })
    }

    fn vantages_by_name(&self) -> Vec<(VantageId, &VantageWatch)> {
        let mut vantages: Vec<_> = self.vantages.iter().map(|(id, watch)| (*id, watch)).collect();
        vantages.sort_by(|(_, a), (_, b)| a.vantage.name.cmp(&b.vantage.name));
        vantages
    }

    fn view_rows(&self, snapshot: &mut Snapshot) {
        for (id, vantage) in self.vantages_by_name() {
            let name: Arc<str> = vantage.vantage.name.as_str().into();
            for watch in self.targets.values().filter(|watch| !watch.canary) {
                let from = (id, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                let views = || {
                    let views = watch.views.range(from..);
                    views.take_while(|((at, _), _)| *at == id).map(|(_, view)| view)
                };
                if views().next().is_none() {
                    continue;
                }
                let judged = || views().filter_map(|view| view.reachable);
                let paths = views().filter_map(|view| view.findings.as_ref());
                snapshot.views.push(ViewRow {
                    vantage: Arc::clone(&name),
                    target: watch.target.name.clone(),
                    reachable: judged().next().map(|_| judged().all(|reached| reached)),
                    path_hops: paths
                        .map(super::super::survey::findings::Findings::last_router)
                        .find(|hops| *hops > 0),
                    path_changes: views().map(|view| view.path_changes).sum(),
                    rdp: views()
                        .filter_map(|view| view.rdp.known())
                        .min_by_key(|row| ends(row))
                        .cloned(),
                    rdp_names: watch.target.rdp_names,
                });
            }
        }
    }

    fn count_alarm(&self, snapshot: &mut Snapshot, alarm: &super::alarm::Alarm) {
        if let Some(state) = alarm.state() {
            let pending = state == IncidentState::Pending;
            let class = if pending { alarm.class_now } else { alarm.class };
            *snapshot.incidents.entry((class, state)).or_default() += 1;
        }
    }

    pub(super) fn is_unwatched(&self, watch: &super::TargetWatch) -> bool {
        let port = watch.target.service.has_port().then_some(watch.target.port);
        let mut watching = self
            .vantages
            .iter()
            .filter(|(_, vantage)| watch.is_watched_from(&vantage.vantage.name));
        let is_proxied =
            |vantage: &VantageWatch| port.is_some_and(|port| vantage.proxied.contains(&port));
        !watching.any(|(id, vantage)| self.can_judge(*id, port) && !is_proxied(vantage))
    }
}

/// When the certificate that a look showed ends; where none is known, after all others.
fn ends(row: &RdpRow) -> i64 {
    let certificate = row.look.shown().and_then(|shown| shown.certificate.as_ref().ok());
    certificate.map_or(i64::MAX, |certificate| certificate.not_after)
}
