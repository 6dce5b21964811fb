//! The labels that every series of a row begins with, written once a page.
//!
//! A page goes through the same rows once a family. Names lie all over the heap; read in turn for
//! each family they would cost a cache miss each, and ten times the targets more than ten times the
//! time. Escaped and side by side they are read as they come.

use reachd_core::snapshot::{ProbeRow, TargetRow, ViewRow};

use super::line::Series;

/// The opening labels of some rows, in the order of the rows.
#[derive(Debug, Default)]
pub(super) struct Labels {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Labels {
    /// Writes the labels of all rows.
    pub(super) fn of<T>(rows: &[T], write: impl Fn(&T, Series<'_>)) -> Self {
        let mut labels = Self::default();
        labels.ends.reserve_exact(rows.len());
        for row in rows {
            write(row, Series::new(&mut labels.text, ""));
            labels.ends.push(labels.text.len());
        }
        labels
    }

    /// Those of one row: an opened brace and labels, no closing one.
    pub(super) fn get(&self, row: usize) -> &[u8] {
        let before = row.checked_sub(1).and_then(|before| self.ends.get(before));
        let range = before.copied().unwrap_or(0)..self.ends.get(row).copied().unwrap_or(0);
        self.text.get(range).unwrap_or_default()
    }
}

/// A row of probes.
pub(super) fn of_probe(row: &ProbeRow, series: Series<'_>) {
    let series = series.label("vantage", &row.vantage).label("target", row.target.as_str());
    series.label("probe", row.probe.as_str());
}

/// A target from one vantage.
pub(super) fn of_view(row: &ViewRow, series: Series<'_>) {
    series.label("vantage", &row.vantage).label("target", row.target.as_str());
}

/// A target.
pub(super) fn of_target(row: &TargetRow, series: Series<'_>) {
    series.label("target", row.target.name.as_str());
}
