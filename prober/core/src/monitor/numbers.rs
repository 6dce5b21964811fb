//! The snapshot: all numbers at one moment.

use super::Monitor;
use crate::evidence::Probe;
use crate::incident::IncidentState;
use crate::snapshot::{ProbeRow, Snapshot, TargetRow, VantageRow, ViewRow};

impl Monitor {
    /// Copies all numbers, for metrics and the HTTP interface.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            schedule_lag: self.worst_lag,
            unmatched: self.flights.unmatched(),
            bugs: self.bugs.clone(),
            ..Snapshot::default()
        };
        for watch in self.vantages.values() {
            let blocked =
                (!watch.bad_ports.is_empty()).then(|| super::standing::port_list(&watch.bad_ports));
            snapshot.vantages.push(VantageRow {
                name: watch.vantage.name.clone(),
                role: watch.vantage.role,
                mode: watch.mode(),
                healthy: watch.is_believed() && blocked.is_none(),
                fault: watch.fault.as_ref().map(|fault| fault.reason.clone()).or(blocked),
                capture_packets: watch.capture_packets,
                capture_drops: watch.capture_drops,
            });
            self.count_alarm(&mut snapshot, &watch.alarm);
        }
        snapshot.vantages.sort_by(|a, b| a.name.cmp(&b.name));
        for watch in self.targets.values().filter(|watch| !watch.canary) {
            snapshot.targets.push(TargetRow {
                target: watch.target.clone(),
                report: watch.report.clone(),
                class: watch.class,
                classes_seen: watch.classes_seen.clone(),
            });
            for alarm in watch.alarms.values() {
                self.count_alarm(&mut snapshot, alarm);
            }
            snapshot.unwatched += u64::from(self.is_unwatched(watch));
        }
        self.view_rows(&mut snapshot);
        snapshot
    }

    fn view_rows(&self, snapshot: &mut Snapshot) {
        let mut vantages: Vec<_> = self.vantages.iter().collect();
        vantages.sort_by(|(_, a), (_, b)| a.vantage.name.cmp(&b.vantage.name));
        for (id, vantage) in vantages {
            for watch in self.targets.values().filter(|watch| !watch.canary) {
                let views: Vec<_> = watch
                    .views
                    .iter()
                    .filter(|((at, _), _)| at == id)
                    .map(|(_, view)| view)
                    .collect();
                if views.is_empty() {
                    continue;
                }
                let (name, target) = (vantage.vantage.name.clone(), watch.target.name.clone());
                let judged: Vec<bool> = views.iter().filter_map(|view| view.reachable).collect();
                let paths = views.iter().filter_map(|view| view.findings.as_ref());
                snapshot.views.push(ViewRow {
                    vantage: name.clone(),
                    target: target.clone(),
                    reachable: (!judged.is_empty()).then(|| judged.iter().all(|reached| *reached)),
                    path_hops: paths
                        .map(super::super::survey::findings::Findings::last_router)
                        .find(|hops| *hops > 0),
                    path_changes: views.iter().map(|view| view.path_changes).sum(),
                });
                let asked = if watch.target.service.has_port() {
                    &[Probe::Echo, Probe::Syn, Probe::Connect, Probe::X224][..]
                } else {
                    &[Probe::Echo][..]
                };
                for probe in asked {
                    let mut row = ProbeRow {
                        vantage: name.clone(),
                        target: target.clone(),
                        probe: *probe,
                        counters: Default::default(),
                        rtt: Default::default(),
                    };
                    for (counters, rtt) in views.iter().filter_map(|view| view.counters.get(probe))
                    {
                        row.counters.merge(counters);
                        row.rtt.merge(rtt);
                    }
                    snapshot.probes.push(row);
                }
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
        !watching.any(|(id, _)| self.can_judge(*id, port))
    }
}
