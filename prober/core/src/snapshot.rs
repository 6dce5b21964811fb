//! A copy of the monitor's numbers for those who tell the world: metrics, the HTTP interface.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::accounting::{Counters, Histogram};
use crate::evidence::Probe;
use crate::evidence::rdp::{RdpLook, RdpStage};
use crate::incident::IncidentState;
use crate::judge::Class;
use crate::report::TargetReport;
use crate::sweep::Cell;
use crate::target::{Target, TargetName};
use crate::time::Stamp;
use crate::vantage::{Mode, Role};

/// The numbers of one (vantage, target, probe), read when they are asked for.
#[derive(Debug, Clone)]
pub struct ProbeRow {
    /// Vantage name.
    pub vantage: Arc<str>,
    /// Target name.
    pub target: TargetName,
    /// Kind of probe.
    pub probe: Probe,
    /// The numbers of the target's first address.
    pub cell: Cell,
    /// Those of its others.
    pub others: Vec<Cell>,
}

impl ProbeRow {
    /// The numbers of every address.
    pub fn cells(&self) -> impl Iterator<Item = &Cell> {
        std::iter::once(&self.cell).chain(&self.others)
    }

    /// The fate of its packets.
    pub fn counters(&self) -> Counters {
        self.numbers().0
    }

    /// The fate of its packets, and their round-trip times.
    pub fn numbers(&self) -> (Counters, Histogram) {
        let (mut counters, mut rtt) = Default::default();
        self.cells().for_each(|cell| cell.add_to(&mut counters, &mut rtt));
        (counters, rtt)
    }
}

/// What one vantage currently sees of one target.
#[derive(Debug, Clone)]
pub struct ViewRow {
    /// Vantage name.
    pub vantage: Arc<str>,
    /// Target name.
    pub target: TargetName,
    /// Whether the target answers at every layer asked; `None` until known.
    pub reachable: Option<bool>,
    /// Routers passed on the way, from the last complete path.
    pub path_hops: Option<u8>,
    /// How often the path changed.
    pub path_changes: u64,
    /// What looks past the handshake show; of several addresses, of the one whose certificate ends
    /// first. `None` until the first.
    pub rdp: Option<Arc<RdpRow>>,
    /// Whether the names in it may be shown.
    pub rdp_names: bool,
}

/// What one vantage's looks at one RDP server show.
#[derive(Debug, Clone)]
pub struct RdpRow {
    /// When the newest ended.
    pub at: Stamp,
    /// What it showed.
    pub look: RdpLook,
    /// The certificate that was shown last, by its SHA-256 in hexadecimal.
    pub fingerprint: Option<String>,
    /// The one before it, if it changed.
    pub fingerprint_before: Option<String>,
    /// How often it changed.
    pub certificate_changes: u64,
    /// How long each stage took, in the order of [`RdpStage::ALL`].
    pub stages: [Histogram; RdpStage::ALL.len()],
}

/// The state of one vantage.
#[derive(Debug, Clone)]
pub struct VantageRow {
    /// Vantage name.
    pub name: String,
    /// Which side of the provider's edge it stands on.
    pub role: Role,
    /// How much it can see; `None` while it cannot be opened.
    pub mode: Option<Mode>,
    /// Whether its evidence is believed.
    pub healthy: bool,
    /// Why not, in a few words.
    pub fault: Option<String>,
    /// Packets its capture ring delivered.
    pub capture_packets: u64,
    /// Packets its capture ring dropped.
    pub capture_drops: u64,
}

/// The state of one target.
#[derive(Debug, Clone)]
pub struct TargetRow {
    /// The target as planned.
    pub target: Arc<Target>,
    /// The current verdict with its evidence; `None` until the first one.
    pub report: Option<Arc<TargetReport>>,
    /// Current class; `Unknown` until judged.
    pub class: Class,
    /// Classes seen since start, the current one included.
    pub classes_seen: Vec<Class>,
}

/// All numbers at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Per (vantage, target, probe), ordered by vantage, target and probe; the same list as long as
    /// nothing comes or goes.
    pub probes: Arc<[ProbeRow]>,
    /// Per (vantage, target), in the same order.
    pub views: Vec<ViewRow>,
    /// Per vantage, by name.
    pub vantages: Vec<VantageRow>,
    /// Per target, by name.
    pub targets: Vec<TargetRow>,
    /// Targets no healthy vantage watches.
    pub unwatched: u64,
    /// Open incidents by class at opening and state.
    pub incidents: BTreeMap<(Class, IncidentState), u64>,
    /// How late the sends of this second and the last were at worst, or how late the driver came in
    /// the last minute, if that is more.
    pub schedule_lag: Duration,
    /// Answers that matched nothing we sent, by what was wrong with them.
    pub unmatched: u64,
    /// Broken invariants, by id: bugs of ours that did not stop us.
    pub bugs: BTreeMap<&'static str, u64>,
}
