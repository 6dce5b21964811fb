//! One page of metrics over many targets, by the exporter's own writer.
//!
//! Each target has one vantage and two probes, echo and SYN. The page is taken in pieces, as the
//! HTTP server takes it, and thrown away: the network is not what is measured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reachd_core::accounting::Fate;
use reachd_core::budget::Lease;
use reachd_core::evidence::{LossReason, Probe};
use reachd_core::judge::Class;
use reachd_core::secret::Secret;
use reachd_core::snapshot::{ProbeRow, Snapshot, TargetRow, ViewRow};
use reachd_core::sweep::{Cell, RowSpec, Sweep};
use reachd_core::target::{Service, Target};
use reachd_core::time::Instant as Moment;
use reachd_core::vantage::VantageId;
use reachd_exporters::prometheus::{Detail, Exposition, Format, SelfMetrics};
use serde::{Deserialize, Serialize};

use crate::stage::Stage;
use crate::stats;

/// Which page to write.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Load {
    /// How many targets.
    pub(crate) targets: u32,
    /// Whether histograms are left out.
    pub(crate) is_compact: bool,
}

/// What writing it took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Page {
    /// Wall-clock seconds, the median of a few pages.
    pub(crate) seconds: f64,
    /// Bytes written.
    pub(crate) bytes: u64,
}

/// Writes the page a few times.
pub(crate) fn run(load: &Load) -> Result<Page> {
    let snapshot = Arc::new(snapshot(load.targets));
    let own = Arc::new(SelfMetrics::new("0").context("make the daemon's own metrics")?);
    let detail = if load.is_compact { Detail::Compact } else { Detail::Full };
    let (mut times, mut bytes) = (Vec::new(), 0);
    let mut piece = Vec::with_capacity(2 * PIECE);
    for _ in 0..PAGES {
        let begun = Instant::now();
        bytes = 0;
        let (snapshot, own) = (Arc::clone(&snapshot), Arc::clone(&own));
        let mut page = Exposition::new(snapshot, own, Format::default(), detail);
        loop {
            piece.clear();
            let more = page.fill(&mut piece, PIECE);
            bytes += piece.len() as u64;
            if !more {
                break;
            }
        }
        times.push(begun.elapsed().as_secs_f64());
    }
    let seconds = stats::percentile(&times, 0.5).context("no page was written")?;
    Ok(Page { seconds, bytes })
}

/// A row that has counted something.
fn counted(sweep: &mut Sweep, probe: Probe, owner: u32) -> Option<Cell> {
    let spec = RowSpec {
        vantage: VantageId(0),
        address: Stage::target(owner).into(),
        probe,
        port: 0,
        interval: Duration::from_secs(10),
        owner,
        lease: Lease::NONE,
    };
    let row = sweep.add(Moment::ZERO, spec, Moment::ZERO)?;
    for micros in [90, 300, 300, 2_000] {
        sweep.book(row, Fate::Received, Some(Duration::from_micros(micros)));
    }
    sweep.book(row, Fate::Lost(LossReason::Silent), None);
    sweep.cell(row)
}

fn snapshot(count: u32) -> Snapshot {
    let mut snapshot = Snapshot::default();
    // Read from a real sweep's rows, each in its own place in memory.
    let mut sweep = Sweep::new(Secret::new([1, 2]));
    let mut probes = Vec::new();
    for index in 0..count {
        let target = Target::new(&Stage::target(index).to_string(), 3389, Service::Rdp);
        for probe in [Probe::Echo, Probe::Syn] {
            let Some(cell) = counted(&mut sweep, probe, index) else { continue };
            let (vantage, target) = ("default".into(), target.name.clone());
            probes.push(ProbeRow { vantage, target, probe, cell, others: Vec::new() });
        }
        snapshot.views.push(ViewRow {
            vantage: "default".into(),
            target: target.name.clone(),
            reachable: Some(true),
            path_hops: Some(9),
            path_changes: 0,
            rdp: None,
            rdp_names: false,
        });
        snapshot.targets.push(TargetRow {
            target: Arc::new(target),
            report: None,
            class: Class::Reachable,
            classes_seen: vec![Class::Unknown, Class::Reachable],
        });
    }
    snapshot.probes = probes.into();
    snapshot
}

const PAGES: usize = 5;

/// What the HTTP server hands on at once.
const PIECE: usize = 64 * 1_024;
