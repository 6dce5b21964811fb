//! The Prometheus page: target families streamed straight from the snapshot, the daemon's own
//! from the `prometheus` crate's registry.
//!
//! A page of 100,000 targets is tens of megabytes, so it is never held as a whole:
//! [`Exposition::fill`] writes the next piece whenever the client has taken the last one. Series
//! are written without an allocation each.

mod families;
mod labels;
mod line;
mod negotiate;
mod own;
mod process;
mod rdp;

use std::sync::Arc;

use reachd_core::snapshot::Snapshot;

use self::families::{FAMILIES, Family, Frozen, Pen, Rows};
use self::labels::Labels;
pub(crate) use self::line::Series;
pub use self::negotiate::{Format, negotiate};
pub use self::own::{EvidenceLoss, NotificationOutcome, ScrapeOutcome, SelfMetrics};

/// How much is told per target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Detail {
    /// Everything.
    #[default]
    Full,
    /// No per-target histograms.
    Compact,
}

/// The type of a family, as written behind `# TYPE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One page being written.
pub struct Exposition {
    snapshot: Arc<Snapshot>,
    frozen: Vec<Frozen>,
    probes: Labels,
    views: Labels,
    targets: Labels,
    own: Arc<SelfMetrics>,
    format: Format,
    detail: Detail,
    family: usize,
    row: usize,
    headed: bool,
    finished: bool,
}

impl Exposition {
    /// Begins a page.
    pub fn new(
        snapshot: Arc<Snapshot>,
        own: Arc<SelfMetrics>,
        format: Format,
        detail: Detail,
    ) -> Self {
        let frozen = snapshot.probes.iter().map(Frozen::of).collect();
        Self {
            probes: Labels::of(&snapshot.probes, labels::of_probe),
            views: Labels::of(&snapshot.views, labels::of_view),
            targets: Labels::of(&snapshot.targets, labels::of_target),
            snapshot,
            frozen,
            own,
            format,
            detail,
            family: 0,
            row: 0,
            headed: false,
            finished: false,
        }
    }

    /// Appends to `out` until it holds `limit` bytes or a little more; whether there is more.
    pub fn fill(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        while out.len() < limit && !self.finished {
            self.step(out, limit);
        }
        !self.finished
    }

    /// The whole page at once.
    pub fn into_bytes(mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.fill(&mut out, usize::MAX) {}
        out
    }

    /// Writes rows of one family, or the end.
    fn step(&mut self, out: &mut Vec<u8>, limit: usize) {
        let Some(family) = FAMILIES.get(self.family) else {
            self.own.write(self.format, out);
            finish(out, self.format);
            self.finished = true;
            return;
        };
        if family.full_only && self.detail == Detail::Compact {
            self.family += 1;
            return;
        }
        let snapshot = &self.snapshot;
        let rows = match family.rows {
            Rows::Whole(_) => 1,
            Rows::Probes(_) => snapshot.probes.len(),
            Rows::Views(_) => snapshot.views.len(),
            Rows::Vantages(_) => snapshot.vantages.len(),
            Rows::Targets(_) => snapshot.targets.len(),
        };
        while self.row < rows && out.len() < limit {
            let start = out.len();
            if !self.headed {
                header(out, self.format, family.name, family.kind, family.help);
            }
            let body = out.len();
            self.write_row(family, out);
            if out.len() > body {
                self.headed = true;
            } else {
                out.truncate(start);
            }
            self.row += 1;
        }
        if self.row >= rows {
            (self.family, self.row, self.headed) = (self.family + 1, 0, false);
        }
    }

    /// Writes the series of the row that is next.
    fn write_row(&self, family: &Family, out: &mut Vec<u8>) {
        let Self { snapshot, row: at, .. } = self;
        let (name, at) = (family.name, *at);
        match family.rows {
            Rows::Whole(write) => write(name, snapshot, out),
            Rows::Vantages(write) => {
                let Some(row) = snapshot.vantages.get(at) else { return };
                write(name, row, out);
            }
            Rows::Probes(write) => {
                let Some(row) = snapshot.probes.get(at) else { return };
                let Some(frozen) = self.frozen.get(at) else { return };
                write(Pen { name, labels: self.probes.get(at), out }, row, frozen);
            }
            Rows::Views(write) => {
                let Some(row) = snapshot.views.get(at) else { return };
                write(Pen { name, labels: self.views.get(at), out }, row);
            }
            Rows::Targets(write) => {
                let Some(row) = snapshot.targets.get(at) else { return };
                write(Pen { name, labels: self.targets.get(at), out }, row);
            }
        }
    }
}

/// Writes a family's description. `OpenMetrics` names a counter's family without `_total`.
pub(crate) fn header(out: &mut Vec<u8>, format: Format, name: &str, kind: Kind, help: &str) {
    let family = match (format, kind) {
        (Format::OpenMetrics, Kind::Counter) => name.strip_suffix("_total").unwrap_or(name),
        (Format::OpenMetrics | Format::Text, _) => name,
    };
    for part in ["# HELP ", family, " ", help, "\n# TYPE ", family, " ", kind.as_str(), "\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let unit = ["seconds", "bytes"]
        .into_iter()
        .find(|unit| family.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')));
    if let (Format::OpenMetrics, Some(unit)) = (format, unit) {
        for part in ["# UNIT ", family, " ", unit, "\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// Writes the end of a page.
pub(crate) fn finish(out: &mut Vec<u8>, format: Format) {
    match format {
        Format::Text => {}
        Format::OpenMetrics => out.extend_from_slice(b"# EOF\n"),
    }
}

#[cfg(test)]
mod tests;
